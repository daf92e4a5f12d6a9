//! `wadi-hub`: wiring only. What a command does is in [`wadi_hub::command`].
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use wadi_hub::command;
use wadi_hub::config::{Config, ConfigError};
use wadi_hub::store::Store;
use wadi_hub::{logging, serve};

/// The configuration or the arguments cannot be used: systemd should not try again.
const EXIT_CONFIG: u8 = 78;

/// The centre of Wadi: commits what gateways bring, resolves conflicts, and
/// gives back what changed elsewhere.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the gateways until stopped.
    Serve,
    /// Every site with its age, and what waits for whom.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The schema of all sites.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// The gateways.
    #[command(subcommand)]
    Gateway(GatewayCommand),
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
    },
    /// Everything as canonical JSON lines.
    Export,
}

#[derive(Subcommand)]
enum SchemaCommand {
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

#[derive(Subcommand)]
enum GatewayCommand {
    /// Enrol the gateway of a site, and print its number and configuration.
    Add {
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

#[derive(Subcommand)]
enum ReviewCommand {
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

#[derive(Subcommand)]
enum QuarantineCommand {
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
    fn may_create(&self) -> bool {
        matches!(
            self,
            Command::Serve | Command::Schema(_) | Command::Gateway(GatewayCommand::Add { .. })
        )
    }
}

fn main() -> ExitCode {
    logging::start();
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wadi-hub: {error:#}");
            let bad_config = error.downcast_ref::<ConfigError>().is_some();
            ExitCode::from(if bad_config { EXIT_CONFIG } else { 1 })
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let config = Config::read(&arguments.config)?;
    if matches!(arguments.command, Command::Serve) {
        return start(&config);
    }
    // A mistyped path must not look like a hub that knows nothing.
    anyhow::ensure!(
        arguments.command.may_create() || config.database.exists(),
        "{}: there is no such database; `schema publish`, `gateway add` and `serve` create one",
        config.database.display()
    );
    let mut store =
        Store::open(&config.database).with_context(|| config.database.display().to_string())?;
    let mut out = std::io::stdout().lock();
    ask(&mut store, arguments.command, &mut out)
}

fn ask(store: &mut Store, command: Command, out: &mut dyn std::io::Write) -> Result<ExitCode> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    match command {
        Command::Serve => unreachable!("handled before"),
        Command::Status { json } => command::status(store, json, now_s, out)?,
        Command::Schema(SchemaCommand::Check { file }) => command::schema_check(store, &file, out)?,
        Command::Schema(SchemaCommand::Publish { file }) => {
            command::schema_publish(store, &file, now_s, out)?
        }
        Command::Gateway(GatewayCommand::Add { site }) => {
            command::gateway_add(store, &site, now_s, out)?
        }
        Command::Gateway(GatewayCommand::List { json }) => command::gateway_list(store, json, out)?,
        Command::History { table, row } => command::history(store, &table, &row, out)?,
        Command::Review(ReviewCommand::List { json }) => command::review_list(store, json, out)?,
        Command::Review(ReviewCommand::Show { case }) => command::review_show(store, case, out)?,
        Command::Review(ReviewCommand::Settle { case, pick, value }) => {
            command::review_settle(store, case, pick, value.as_deref(), now_s, out)?
        }
        Command::Quarantine(QuarantineCommand::List { json }) => {
            command::quarantine_list(store, json, out)?
        }
        Command::Quarantine(QuarantineCommand::Show { dot }) => {
            command::quarantine_show(store, &dot, out)?
        }
        Command::Ledger { json } => {
            let whole = command::ledger(store, json, out)?;
            return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Export => command::export(store, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start(config: &Config) -> Result<ExitCode> {
    let mut store =
        Store::open(&config.database).with_context(|| config.database.display().to_string())?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    store.begin_run(now_s)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the async runtime")?;
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let stop = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        serve::serve(config, store, stop).await?;
        anyhow::Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
