//! The command line of `wadi-hub`: words only, nothing is done here.
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use wadi_hub::config;
use wadi_hub::store::settle::Decision;

/// The centre of Wadi: commits what gateways bring, resolves conflicts, and
/// gives back what changed elsewhere.
#[derive(Parser)]
#[command(version, after_help = "WADI_LOG=debug in the environment says more.")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = config::FILE)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an operator can ask for.
#[derive(Subcommand)]
pub enum Command {
    /// Serve the gateways until stopped.
    Serve,
    /// Every site with its age, and what waits for whom.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Exit with code 1 if there is a problem, for monitoring.
        #[arg(long)]
        check: bool,
    },
    /// The schema of all sites.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// The gateways.
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// What a broker of your own needs, so that each gateway has only its own topics.
    #[command(subcommand)]
    BrokerConfig(BrokerConfigCommand),
    /// Every change of one row, and what became of it.
    History {
        /// The table's name.
        table: String,
        /// The row's id.
        row: String,
    },
    /// Conflicts that wait for a person.
    #[command(subcommand)]
    Review(ReviewCommand),
    /// Changes that broke the schema, kept whole: repair and release them, or reject them.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Accounts for every change; exit code 1 if one is in no custody or in two.
    Ledger {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Compare with what gateways account for: files that `wadi-gateway ledger --json`
        /// wrote; exit code 1 if they contradict.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        against: Vec<PathBuf>,
    },
    /// Everything as canonical JSON lines.
    Export,
    /// Copy the database and the hub's identity, whole, beside the serving hub.
    Backup {
        /// The copy; it must not exist.
        file: PathBuf,
        /// Replace the copy if it exists.
        #[arg(long)]
        force: bool,
    },
    /// Put a backup in the place of the database; the hub must not serve.
    Restore {
        /// The backup.
        file: PathBuf,
    },
    /// Number changes again after a restore, and take back what gateways still hold.
    Resume,
    /// The configuration as it takes effect, and where each value comes from.
    Config {
        /// A commented file to begin with, instead.
        #[arg(long)]
        template: bool,
    },
}

/// `schema …`
#[derive(Subcommand)]
pub enum SchemaCommand {
    /// Say what is wrong with a schema file, or that it may be published.
    Check {
        /// The TOML file.
        file: PathBuf,
    },
    /// Make a schema file the schema of all sites.
    Publish {
        /// The TOML file.
        file: PathBuf,
    },
}

/// `broker-config …`
#[derive(Subcommand)]
pub enum BrokerConfigCommand {
    /// Configuration, topics and certificates of a mosquitto, into a folder.
    Mosquitto {
        /// The folder; it is made if it is not there.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The port to listen on [default: that of [broker] in the configuration, else 8883]
        #[arg(long)]
        port: Option<u16>,
    },
}

/// `gateway …`
#[derive(Subcommand)]
pub enum GatewayCommand {
    /// Enrol the gateway of a new site, and write its enrolment file.
    Add {
        /// The site's name.
        site: String,
        /// Where to write it; gateway-NUMBER.enrolment.toml here, if left out.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Enrol the gateway of a site anew (a lost or stolen key, another box); the former
    /// enrolment ends.
    Enrol {
        /// The site's name.
        site: String,
        /// Where to write it; gateway-NUMBER.enrolment.toml here, if left out.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Go on with the box of a site that `status` names: restored, cloned or empty. It gets
    /// what it lacks; the box that the hub knew is refused from then on.
    Rejoin {
        /// The site's name.
        site: String,
    },
    /// Believe a gateway no longer: a stolen box, a lost card.
    Revoke {
        /// The site's name.
        site: String,
    },
    /// The gateways, one a line.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `review …`
#[derive(Subcommand)]
pub enum ReviewCommand {
    /// The open cases, one a line.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The newest closed cases instead, those whose settle can be undone marked.
        #[arg(long)]
        closed: bool,
    },
    /// One case with all its competing values, by whom, when, and what each had seen.
    Show {
        /// The case's number.
        case: u64,
    },
    /// Settle a case, everywhere. `review undo` opens it again.
    #[command(group = ArgGroup::new("way").required(true)
        .args(["pick", "value", "newest", "site", "join"]))]
    Settle {
        /// The case's number.
        case: u64,
        /// Take the candidate of this number, as `review show` lists them.
        #[arg(long, value_name = "N")]
        pick: Option<usize>,
        #[command(flatten)]
        choice: Choice,
    },
    /// Settle every open case of one field alike; those that cannot be stay open, and are named.
    #[command(group = ArgGroup::new("way").required(true)
        .args(["value", "newest", "site", "join"]))]
    SettleAlike {
        /// The table's name.
        table: String,
        /// The field's name, or `existence`.
        field: String,
        #[command(flatten)]
        choice: Choice,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Undo the settles that closed cases: they are open again, with all that has come since.
    ///
    /// An edit by somebody who was shown the decision joins the case. An undo cannot be
    /// undone: settle the case anew.
    Undo {
        /// The cases' numbers, as `review list --closed` prints them.
        #[arg(required = true, value_name = "CASE")]
        cases: Vec<u64>,
    },
}

/// How cases are settled.
#[derive(Args)]
#[group(skip)]
pub struct Choice {
    /// Take this value.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub value: Option<String>,
    /// Take the candidate of the latest stamp.
    #[arg(long)]
    pub newest: bool,
    /// Take the candidate of this site, the newest if there are several.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// Join the texts of all candidates, oldest first, with this between them.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub join: Option<String>,
}

impl Choice {
    /// What was chosen: the command line has asked for one.
    pub fn decision(self) -> Decision {
        match self {
            Choice { value: Some(value), .. } => Decision::Value(value),
            Choice { site: Some(site), .. } => Decision::Site(site),
            Choice { join: Some(between), .. } => Decision::Join(between),
            Choice { .. } => Decision::Newest,
        }
    }
}

/// `quarantine …`
#[derive(Subcommand)]
pub enum QuarantineCommand {
    /// The quarantined changes, one a line.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// One change, whole: as it came, and as the schema reads it.
    Show {
        /// Its dot, as `quarantine list` prints it.
        dot: String,
    },
    /// Repair a change and release it: it counts at its own place, as if recorded so.
    ///
    /// Its group, edits of its row and rows that reference it follow by themselves. The
    /// record as it came stays in `history`. A released change can be repaired again (the
    /// latest repair counts), but not taken back.
    Repair {
        /// Its dot, as `quarantine list` prints it.
        dot: String,
        /// A field and its new value; `{"add":5}` and such for sums and sets, `null` for none.
        #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
        /// A field that it is not to touch.
        #[arg(long, value_name = "FIELD")]
        unset: Vec<String>,
        /// Its table, where the schema does not know the one that it names.
        #[arg(long, value_name = "TABLE")]
        table: Option<String>,
    },
    /// Release a change as it came, if the schema of today takes it.
    Release {
        /// Its dot, as `quarantine list` prints it.
        dot: String,
    },
    /// Repair every quarantined change that carries an option code, by another code.
    Map {
        /// The table's name.
        table: String,
        /// The field's name.
        field: String,
        /// The code that was recorded.
        from: String,
        /// The code that is meant.
        to: String,
    },
    /// Reject a change and its group: never applied; whoever recorded it reads the reason.
    ///
    /// They stay here, whole. A later `repair` or `release` outdoes a reject.
    Reject {
        /// Its dot, as `quarantine list` prints it.
        dot: String,
        /// Why, for whoever recorded it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// `FIELD=VALUE`
fn assignment(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("say FIELD=VALUE, as in age=13")?;
    Ok((field.trim().into(), value.into()))
}

impl Command {
    /// Whether a hub may begin with it.
    pub fn may_create(&self) -> bool {
        matches!(
            self,
            Command::Serve | Command::Schema(_) | Command::Gateway(GatewayCommand::Add { .. })
        )
    }
}
