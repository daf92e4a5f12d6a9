//! `wadi-gateway`: wiring only. The words of the command line are in `arguments`.
mod arguments;
mod enrolment;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};
use wadi_gateway::bridle::Bridle;
use wadi_gateway::config::{self, Config, ConfigError};
use wadi_gateway::control::{self, Presence};
use wadi_gateway::identity::Identity;
use wadi_gateway::links::Links;
use wadi_gateway::live::Observer;
use wadi_gateway::mqtt::LinkError;
use wadi_gateway::reception::Reception;
use wadi_gateway::reserve::Reserve;
use wadi_gateway::route::Route;
use wadi_gateway::store::damage;
use wadi_gateway::store::status::Term;
use wadi_gateway::store::thread::{self, Failure, Handle};
use wadi_gateway::store::{Opening, Problem, Store, StoreError};
use wadi_gateway::sync::Worker;
use wadi_gateway::{
    command, compaction, handheld_command, http, lan, logging, mdns, metrics, noise, overview,
    rescue, route, serial, service,
};
use wadi_protocol::id::GatewayId;

use crate::arguments::{Arguments, Command};

/// The configuration or the arguments cannot be used: systemd should not try again.
const EXIT_CONFIG: u8 = 78;
/// Another process has the database: it may be free later.
const EXIT_LATER: u8 = 75;
/// The disk is full, read-only or failing.
const EXIT_DISK: u8 = 74;
/// There is no link to the hub.
const EXIT_UNAVAILABLE: u8 = 69;
/// How often the store looks for what other programs wrote.
const LOOK: Duration = Duration::from_millis(500);
/// Threads for what the system only does by waiting (files, names).
const BLOCKING_THREADS_MAX: usize = 4;
/// Between two attempts to open a database whose disk is full, read-only or failing.
const DISK_RETRY: Duration = Duration::from_secs(10);
/// How long systemd is to be patient with an attempt.
const DISK_PATIENCE: Duration = Duration::from_secs(60);
/// How long a gateway whose disk failed waits with its end: what starts it again at once
/// would wear the card.
const DISK_REST: Duration = Duration::from_secs(5);
/// How long tasks have to end.
const STOP_PATIENCE: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match logging::start().map_err(Into::into).and_then(|()| ask(arguments)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wadi-gateway: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// What systemd is to make of an error. A database that is another's, newer or
/// damaged at the start is as lasting as a bad configuration: starting again and
/// again would only wear the card.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return EXIT_CONFIG;
    }
    match error.downcast_ref::<StoreError>() {
        Some(error) if error.problem.is_lasting() => EXIT_CONFIG,
        Some(StoreError { problem: Problem::InUse, .. }) => EXIT_LATER,
        Some(error) if error.problem.is_of_disk() => EXIT_DISK,
        _ => 1,
    }
}

fn ask(arguments: Arguments) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if let Command::Config { template: true } = arguments.command {
        out.write_all(config::TEMPLATE.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Enrol { file } = &arguments.command {
        enrolment::enrol(&arguments.config, file, &mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Restore { file } = &arguments.command {
        enrolment::restore(&arguments.config, file, now_s(), &mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (config, identity) = enrolment::read(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("the async runtime")?;
    match arguments.command {
        Command::Run => return finish(runtime, run(&config, identity)),
        Command::Sync { within } => return finish(runtime, sync(&config, identity, within)),
        Command::Backup { file, force, with_identity } => {
            rescue::backup(&config, &file, (force, with_identity), &mut out)?;
        }
        Command::Enrol { .. } | Command::Restore { .. } => unreachable!("handled before"),
        Command::Config { .. } => out.write_all(config.effective().as_bytes())?,
        Command::Status { json, check } => {
            let presence = runtime.block_on(control::look(&config.database));
            let enrolled = identity.as_ref().map(Identity::term);
            let seen = overview::see(&config, presence, now_s(), enrolled)?;
            let well = command::status(&seen, json, &mut out)?;
            return Ok(if well || !check { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Handheld { command } => {
            return Ok(handheld_command::run(&command, &config.database, now_s(), &mut out)?);
        }
        Command::Plan { rate, round_trip, window, price, json } => {
            let terms = command::Terms { rate, round_trip_ms: round_trip, window_s: window, price };
            command::plan(&config.database, &terms, json, &mut out)?;
        }
        Command::Schema => command::schema(&config.database, &mut out)?,
        Command::Ledger { json } => {
            let whole = command::ledger(&config.database, json, &mut out)?;
            return Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Run to the end. Threads that look up a name in vain are not waited for.
fn finish(
    runtime: tokio::runtime::Runtime,
    work: impl Future<Output = Result<ExitCode>>,
) -> Result<ExitCode> {
    let ended = runtime.block_on(work);
    runtime.shutdown_background();
    ended
}

/// Everything at once, until a signal or a failing store.
async fn run(config: &Config, identity: Option<Identity>) -> Result<ExitCode> {
    // Heard from the first moment: a stop that comes early is still a clean one.
    let mut terminate = signal(SignalKind::terminate())?;
    let opened = tokio::select! {
        opened = open_patiently(config) => opened?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
    };
    let (handle, failure) = opened;
    let keys = Arc::new(noise::file::read_or_make(&config.database)?);
    let reception = Reception { handle: handle.clone(), keys, admit: config.handhelds.admit };
    let (stop, stopping) = watch::channel(false);
    let (desk, counter) = control::desk(broker(config));
    let mut tasks = tokio::task::JoinSet::new();
    // These have no end of their own, and nobody waits for it.
    let mut endless = tokio::task::JoinSet::new();
    let links = Links::new();
    let observer = Observer::new(handle.clone(), desk.board.clone(), links.clone());
    let observer = Arc::new(observer);
    for port in &config.serial {
        let (port, reception, links) = (port.clone(), reception.clone(), links.clone());
        tasks.spawn(serial::serve_serial(port.path, port.baud, reception, links, stopping.clone()));
    }
    if let Some(lan) = &config.lan {
        let (ready, listening) = watch::channel(None);
        let (address, links) = (lan.listen.clone(), links.clone());
        tasks.spawn(lan::run(address, reception, links, ready, stopping.clone()));
        if lan.announce {
            tasks.spawn(announce(config.site.clone(), config.gateway, listening, stopping.clone()));
        }
    }
    endless.spawn(look(handle.clone()));
    endless.spawn(compaction::run(handle.clone(), config.changelog.keep()));
    let watched = handle.clone();
    if let Some(address) = config.metrics.listen {
        let listener = http::listen(address).await?;
        let (config, observer) = (Arc::new(config.clone()), Arc::clone(&observer));
        let term = identity.as_ref().map(Identity::term);
        let gather = move || figures(Arc::clone(&config), Arc::clone(&observer), term);
        endless.spawn(http::serve(listener, gather));
    }
    let (database, seen) = (config.database.clone(), Arc::clone(&observer));
    endless.spawn(async move { control::serve(&database, counter, seen).await });
    endless.spawn(async move { observer.sample().await });
    let enrolled = identity.is_some();
    tasks.spawn(Worker::new(config, identity, handle, desk, route::listen(), stopping).run());
    let version = env!("CARGO_PKG_VERSION");
    if !enrolled {
        error!(phase = "start", "{}", LinkError::not_enrolled());
    }
    info!(phase = "start", site = config.site, gateway = config.gateway, version, "running");
    service::ready(&format!("gateway {} of site {}", config.gateway, config.site));

    tokio::select! {
        _ = terminate.recv() => info!(phase = "stop", "stopping"),
        _ = tokio::signal::ctrl_c() => info!(phase = "stop", "stopping"),
        never = service::watchdog(async || watched.lives().await) => match never {},
        error = failure => {
            let error = error.context("the store's thread ended without a word")?;
            damage::note(&error);
            if error.problem.is_of_disk() {
                tokio::time::sleep(DISK_REST).await;
            }
            return Err(error.into());
        }
    }
    // Nothing is lost by ending here: what was acknowledged is fsynced.
    service::stopping();
    stop.send_replace(true);
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_PATIENCE / 3, ended).await;
    tasks.shutdown().await;
    endless.shutdown().await;
    let _ = std::fs::remove_file(control::path(&config.database));
    Ok(ExitCode::SUCCESS)
}

/// The figures of this gateway. The file is read by a thread of its own, on its own
/// connection: that holds up nobody.
async fn figures(
    config: Arc<Config>,
    observer: Arc<Observer>,
    enrolled: Option<Term>,
) -> Result<String, String> {
    let presence = Presence::Running(Box::new(observer.look().await));
    let read =
        tokio::task::spawn_blocking(move || overview::see(&config, presence, now_s(), enrolled));
    let seen = read.await.map_err(|error| error.to_string())?;
    seen.map(|seen| metrics::text(&seen)).map_err(|error| error.to_string())
}

/// The broker as status shows it.
fn broker(config: &Config) -> String {
    format!("{}:{}", config.broker.host, config.broker.port)
}

/// Ask the running gateway to sync, or do it here if none runs.
async fn sync(config: &Config, identity: Option<Identity>, within_s: u32) -> Result<ExitCode> {
    let outcome = match control::ask(&config.database, within_s).await {
        Some(outcome) => outcome,
        None => {
            let (handle, failure) = open(config)?;
            let (_stop, stopping) = watch::channel(false);
            let (desk, _counter) = control::desk(broker(config));
            let worker = Worker::new(config, identity, handle, desk, Route::deaf(), stopping);
            tokio::select! {
                done = worker.once(Duration::from_secs(within_s.into())) => done.map_err(|error| error.to_string()),
                error = failure => return Err(error.context("the store's thread ended")?.into()),
            }
        }
    };
    match outcome {
        Ok(()) => {
            println!("synced");
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            eprintln!("wadi-gateway: not synced: {why}");
            Ok(ExitCode::from(EXIT_UNAVAILABLE))
        }
    }
}

/// Open the store. Where that fails for the disk, not for what the file holds, wait: room
/// is made, a box is started again, and to end would only wear the card.
async fn open_patiently(config: &Config) -> Result<(Handle, Failure)> {
    let told = Bridle::default();
    loop {
        let error = match open(config) {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        match error.downcast_ref::<StoreError>() {
            Some(of_disk) if of_disk.problem.is_of_disk() => {
                let status = format!("waiting for the disk: {of_disk}");
                let patience = NotifyState::ExtendTimeoutUsec(DISK_PATIENCE.as_micros() as u32);
                let _ = sd_notify::notify(&[NotifyState::Status(&status), patience]);
                if let Some(unlogged) = told.may_log() {
                    let file = of_disk.path.display();
                    warn!(phase = "start", %file, unlogged, "waiting for the disk: {of_disk}");
                }
            }
            Some(other) => {
                let file = other.path.display();
                error!(phase = "start", %file, "{other}");
                damage::note(other);
                return Err(error);
            }
            None => return Err(error),
        }
        tokio::time::sleep(DISK_RETRY).await;
    }
}

fn open(config: &Config) -> Result<(Handle, Failure)> {
    let reserve = Reserve::take(&config.database, config.disk.reserve_bytes());
    let opening = Opening {
        path: config.database.clone(),
        site: config.site.clone(),
        gateway: GatewayId(config.gateway),
        now_s: now_s(),
        random: [random()?, random()?],
    };
    let store = Store::open(&opening)?;
    Ok(thread::start(store, Box::new(now_s), Some(reserve)))
}

fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| anyhow::anyhow!("no random numbers: {error}"))
}

/// Tell the local network who is here, from when the listener listens to the end.
async fn announce(
    site: String,
    gateway: u32,
    mut listening: watch::Receiver<Option<SocketAddr>>,
    mut stopping: watch::Receiver<bool>,
) {
    let address = tokio::select! {
        ready = listening.wait_for(Option::is_some) => ready.ok().and_then(|address| *address),
        _ = stopping.wait_for(|over| *over) => None,
    };
    let Some(address) = address else { return };
    match mdns::announce(&site, gateway, address) {
        Ok(Some(announcement)) => {
            info!(phase = "announce", site, gateway, listen = %address, "announced on the local network");
            let _ = stopping.wait_for(|over| *over).await;
            announcement.withdraw().await;
        }
        Ok(None) => {}
        Err(error) => {
            warn!(phase = "announce", listen = %address, "{error}; handhelds must be told the address {address}");
        }
    }
}

/// What other programs write becomes changes soon, link or no link.
async fn look(handle: Handle) {
    loop {
        tokio::time::sleep(LOOK).await;
        handle.drain().await;
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
