//! The command line of `wadi-hub`: words only, nothing is done here.
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use wadi_hub::config;

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
    /// Changes that broke the schema, kept whole.
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
    /// Enrol the gateway of a site anew (a lost or stolen key); the former enrolment ends.
    Enrol {
        /// The site's name.
        site: String,
        /// Where to write it; gateway-NUMBER.enrolment.toml here, if left out.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
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
    },
    /// One case with all its competing values.
    Show {
        /// The case's number.
        case: u64,
    },
    /// Settle a case: everywhere, for good.
    Settle {
        /// The case's number.
        case: u64,
        /// Take the candidate of this number, as `review show` lists them.
        #[arg(long, value_name = "N", conflicts_with = "value", required_unless_present = "value")]
        pick: Option<usize>,
        /// Take this value instead.
        #[arg(long, value_name = "VALUE")]
        value: Option<String>,
    },
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
    /// One change, whole.
    Show {
        /// Its dot, as `quarantine list` prints it.
        dot: String,
    },
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
