//! `wadi-hub`: wiring only. The words of the command line are in `arguments`; what
//! a command does is in [`wadi_hub::command`].
mod arguments;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use wadi_hub::command;
use wadi_hub::config::{self, Config, ConfigError};
use wadi_hub::identity::Identity;
use wadi_hub::store::repair::Edits;
use wadi_hub::store::settle::Decision;
use wadi_hub::store::{Store, StoreError};
use wadi_hub::{logging, serve};

use crate::arguments::{
    Arguments, BrokerConfigCommand, Command, GatewayCommand, QuarantineCommand, ReviewCommand,
    SchemaCommand,
};

/// The configuration or the arguments cannot be used: systemd should not try again.
const EXIT_CONFIG: u8 = 78;
/// Another process serves: the database may be free later.
const EXIT_LATER: u8 = 75;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match logging::start().map_err(Into::into).and_then(|()| run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wadi-hub: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// What systemd is to make of an error. A database that is another's, newer or
/// damaged is as lasting as a bad configuration: starting again changes nothing.
fn exit_code(error: &anyhow::Error) -> u8 {
    let store = error.downcast_ref::<StoreError>();
    let serving = error.downcast_ref::<serve::ServeError>();
    let asked = error.downcast_ref::<command::CommandError>();
    let store = store.or(match (serving, asked) {
        (Some(serve::ServeError::Store(error)), _) => Some(error),
        (_, Some(command::CommandError::Store(error))) => Some(error),
        _ => None,
    });
    match store {
        _ if error.is::<ConfigError>() => EXIT_CONFIG,
        Some(error) if error.is_lasting() => EXIT_CONFIG,
        Some(StoreError::InUse) => EXIT_LATER,
        _ => 1,
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    if let Command::Config { template: true } = arguments.command {
        out.write_all(config::TEMPLATE.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::read(&arguments.config)?;
    match &arguments.command {
        Command::Serve => return start(&config),
        Command::Config { .. } => {
            out.write_all(config.effective().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Restore { file } => {
            let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            command::restore(&config, file, now_s, &mut out)
                .with_context(|| config.database.display().to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        // Looking makes no database.
        Command::Schema(SchemaCommand::Check { file }) if !config.database.exists() => {
            command::schema_check(None, file, &mut out)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    // A mistyped path must not look like a hub that knows nothing.
    anyhow::ensure!(
        arguments.command.may_create() || config.database.exists(),
        "{}: there is no such database; `schema publish`, `gateway add` and `serve` create one",
        config.database.display()
    );
    let mut store =
        Store::open(&config.database).with_context(|| config.database.display().to_string())?;
    if let Command::Status { json, check } = arguments.command {
        let well = command::status(&store, &config.database, json, now_s()?, &mut out)?;
        return Ok(if well || !check { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    ask(&config, &mut store, arguments.command, &mut out)
}

fn ask(
    config: &Config,
    store: &mut Store,
    command: Command,
    out: &mut dyn std::io::Write,
) -> Result<ExitCode> {
    let now_s = now_s()?;
    match command {
        Command::Serve
        | Command::Config { .. }
        | Command::Restore { .. }
        | Command::Status { .. } => {
            unreachable!("handled before")
        }
        Command::Backup { file, force } => {
            command::backup(store, config, &file, force, now_s, out)?
        }
        Command::Resume => command::resume(store, now_s, out)?,
        Command::Schema(SchemaCommand::Check { file }) => {
            command::schema_check(Some(store), &file, out)?
        }
        Command::Schema(SchemaCommand::Publish { file }) => {
            command::schema_publish(store, &file, now_s, out)?
        }
        Command::Gateway(GatewayCommand::Add { site, out: file }) => {
            enrol(config, store, (&site, false), file.as_deref(), now_s, out)?
        }
        Command::Gateway(GatewayCommand::Enrol { site, out: file }) => {
            enrol(config, store, (&site, true), file.as_deref(), now_s, out)?
        }
        Command::Gateway(GatewayCommand::Rejoin { site }) => {
            command::gateway_rejoin(store, &site, out)?
        }
        Command::Gateway(GatewayCommand::Revoke { site }) => {
            command::gateway_revoke(store, &site, now_s, out)?
        }
        Command::BrokerConfig(BrokerConfigCommand::Mosquitto { out: folder, port }) => {
            let identity = Identity::open(&config.identity, now_s)?;
            command::broker_config(store, config, &identity, (&folder, port), now_s, out)?
        }
        Command::Gateway(GatewayCommand::List { json }) => command::gateway_list(store, json, out)?,
        Command::History { table, row } => command::history(store, &table, &row, out)?,
        Command::Review(ReviewCommand::List { json, closed: false }) => {
            command::review_list(store, json, out)?
        }
        Command::Review(ReviewCommand::List { json, closed: true }) => {
            command::review_closed(store, json, out)?
        }
        Command::Review(ReviewCommand::Show { case }) => command::review_show(store, case, out)?,
        Command::Review(ReviewCommand::Settle { case, pick, choice }) => {
            let decision = pick.map_or_else(|| choice.decision(), Decision::Pick);
            command::review_settle(store, case, &decision, now_s, out)?
        }
        Command::Review(ReviewCommand::SettleAlike { table, field, choice, dry_run }) => {
            let of = (&table[..], &field[..]);
            command::review_settle_alike(store, of, &choice.decision(), (dry_run, now_s), out)?
        }
        Command::Review(ReviewCommand::Undo { cases }) => {
            command::review_undo(store, &cases, now_s, out)?
        }
        Command::Quarantine(QuarantineCommand::List { json }) => {
            command::quarantine_list(store, json, out)?
        }
        Command::Quarantine(QuarantineCommand::Show { dot }) => {
            command::quarantine_show(store, &dot, out)?
        }
        Command::Quarantine(QuarantineCommand::Repair { dot, set, unset, table }) => {
            let edits = Edits { table, set, unset };
            command::quarantine_repair(store, &dot, &edits, now_s, out)?
        }
        Command::Quarantine(QuarantineCommand::Release { dot }) => {
            command::quarantine_repair(store, &dot, &Edits::default(), now_s, out)?
        }
        Command::Quarantine(QuarantineCommand::Map { table, field, from, to }) => {
            command::quarantine_map(store, (&table, &field), (&from, &to), now_s, out)?
        }
        Command::Quarantine(QuarantineCommand::Reject { dot, reason }) => {
            command::quarantine_reject(store, &dot, &reason, now_s, out)?
        }
        Command::Ledger { json, against } => {
            let whole = match against.is_empty() {
                true => command::ledger(store, json, out)?,
                false => command::agreement(store, &against, json, out)?,
            };
            return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Export => command::export(store, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn enrol(
    config: &Config,
    store: &mut Store,
    site: (&str, bool),
    file: Option<&Path>,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<()> {
    let address = config.address().ok_or_else(|| ConfigError {
        origin: "of the hub".into(),
        reason:
            "address: say where gateways reach the broker, as in address = \"hub.example:8883\""
                .into(),
    })?;
    let identity = Identity::open(&config.identity, now_s)?;
    let enroller = command::Enroller {
        identity: &identity,
        address: &address,
        tls: config.broker_tls(),
        days: config.certificate_days,
    };
    Ok(command::gateway_enrol(store, &enroller, site, file, now_s, out)?)
}

fn start(config: &Config) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the async runtime")?;
    // Heard from the first moment: a stop that comes early is still a clean one.
    let mut term = {
        let _guard = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let mut store = Store::open_to_serve(&config.database)
        .with_context(|| config.database.display().to_string())?;
    let now_s = now_s()?;
    store.begin_run(now_s)?;
    let identity = Identity::open(&config.identity, now_s)?;
    let ended = runtime.block_on(async {
        let stop = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        serve::serve(config, store, identity, stop).await?;
        anyhow::Ok(ExitCode::SUCCESS)
    });
    // Threads that look up a name in vain are not waited for.
    runtime.shutdown_background();
    ended
}

fn now_s() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
