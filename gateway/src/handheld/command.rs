//! The command line of `wadi-handheld`.
//!
//! Results go to standard output, news and reasons to standard error. Exit
//! codes: 0 all went well, 1 something was put aside or failed, 2 usage, 69 no
//! link, 75 try later.
use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{ArgGroup, Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use wadi_protocol::change::Op;
use wadi_protocol::limits;

use super::entry::enter;
use super::import::{Import, ImportError, Note, import};
use super::list::list;
use super::nearby::nearby;
use super::record::{Record, parse};
use super::report;
use super::store::{Draw, Opening, Origin, Store, StoreError};
use super::sync::{Place, Sync};
use super::synced::{SyncError, Synced};
use crate::words::count;

const FAILED: u8 = 1;
const NO_LINK: u8 = 69;
const LATER: u8 = 75;

/// Collect records offline; sync them with a Wadi gateway over a serial line or the local network.
#[derive(Debug, Parser)]
#[command(name = "wadi-handheld", version)]
pub struct Cli {
    /// The file that keeps everything: records to send, and what the village shows.
    #[arg(long, value_name = "FILE")]
    pub db: PathBuf,
    /// Whose records these are, unless a record says so itself. A new file gets
    /// this name for its own device (else the host's name).
    #[arg(long, value_name = "NAME", value_parser = limits::name)]
    pub device: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take in a file of records, one JSON record a line.
    ///
    /// Lines that are no records are put aside and named; the others go in, a
    /// thousand in a transaction. An import that was cut off goes on where it was
    /// when run again. A finished one that is run again makes the changes again:
    /// without ids, the rows too.
    Import {
        /// The file, JSON lines.
        file: PathBuf,
        /// Where lines are put aside [default: FILE.rejects.jsonl]
        #[arg(long, value_name = "FILE")]
        rejects: Option<PathBuf>,
    },
    /// Take in one record, or those on standard input; prints the ids of the rows.
    Put {
        /// The record as JSON, or - for standard input, one a line.
        record: String,
    },
    /// Delete a row.
    Delete {
        /// Its table.
        table: String,
        /// Its id.
        id: String,
    },
    /// Print the rows of a table as JSON lines, with marks where own edits are not decided yet.
    List {
        /// The table.
        table: String,
    },
    /// Offer what is not sent, learn what became of the rest, pull what changed.
    Sync(SyncArgs),
    /// The key that gateways know this handheld by: its name, the digits to compare, the whole.
    Key,
    /// Forget the key of a site's gateway, which was replaced: the next one that answers is believed.
    Forget {
        /// The site.
        site: String,
    },
    /// What is where.
    Status {
        /// As one line of JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Where the gateway is.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("gateway").required(true).args(["serial", "tcp", "lan"])))]
pub struct SyncArgs {
    /// The serial port.
    #[arg(long, value_name = "PATH")]
    serial: Option<PathBuf>,
    /// Bits a second on the serial port.
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = clap::value_parser!(u32).range(300..=4_000_000))]
    baud: u32,
    /// Host and port on the local network.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    tcp: Option<String>,
    /// Find the gateway of a site on the local network; without a name, the only one there.
    #[arg(long, value_name = "SITE", num_args = 0..=1)]
    lan: Option<Option<String>>,
    /// Learn the schema only; offer and pull nothing.
    #[arg(long)]
    schema_only: bool,
}

/// Why a command failed: its exit code and what to say.
#[derive(Debug)]
struct Failed {
    code: u8,
    reason: String,
}

impl Failed {
    fn new(code: u8, reason: impl ToString) -> Failed {
        Failed { code, reason: reason.to_string() }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::new(FAILED, error)
    }
}

/// Run a command.
pub fn run(cli: &Cli) -> ExitCode {
    match execute(cli) {
        Ok(code) => code,
        Err(failed) => {
            eprintln!("wadi-handheld: {}", failed.reason);
            ExitCode::from(failed.code)
        }
    }
}

fn execute(cli: &Cli) -> Result<ExitCode, Failed> {
    let creates = matches!(
        cli.command,
        Command::Import { .. } | Command::Put { .. } | Command::Sync(_) | Command::Key
    );
    let opening = Opening {
        path: cli.db.clone(),
        label: cli.device.clone(),
        create: creates,
        origin: Origin::here(),
        draw: Draw::default(),
    };
    let failed = |error: StoreError| at(&cli.db, error);
    let (mut store, created) = Store::open(&opening).map_err(failed)?;
    if created {
        eprintln!("{}: new file of device {}", cli.db.display(), store.device().label);
    }
    let device = cli.device.clone().unwrap_or_else(|| store.device().label.clone());
    match &cli.command {
        Command::Import { file, rejects } => {
            run_import(&mut store, file, rejects.as_deref(), device)
        }
        Command::Put { record } => put(&mut store, record, &device),
        Command::Delete { table, id } => delete(&mut store, table, id, &device),
        Command::List { table } => run_list(&store, table),
        Command::Sync(args) => sync(&mut store, args),
        Command::Key => key(&store),
        Command::Forget { site } => forget(&mut store, site),
        Command::Status { json } => status(&store, *json),
    }
}

fn key(store: &Store) -> Result<ExitCode, Failed> {
    let key = store.keys().public();
    println!("name   {}\nkey    {key}\nwhole  {}", store.device().label, key.whole());
    Ok(ExitCode::SUCCESS)
}

fn forget(store: &mut Store, site: &str) -> Result<ExitCode, Failed> {
    let path = store.path().to_owned();
    let forgotten = store.write(now_s(), |work| work.forget_site(site));
    if forgotten.map_err(|error| at(&path, error))? {
        println!(
            "the key of site {site:?} is forgotten: the next gateway that answers for it is believed"
        );
        return Ok(ExitCode::SUCCESS);
    }
    let sites = store.sites().map_err(|error| at(&path, error))?;
    let known: Vec<String> = sites.iter().map(|(site, _)| format!("{site:?}")).collect();
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    Err(Failed::new(FAILED, format!("no key of site {site:?} is known here; known: {known}")))
}

fn at(db: &Path, error: StoreError) -> Failed {
    Failed::new(FAILED, format!("{}: {error}", db.display()))
}

fn host_and_port(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
    match parts {
        Some((host, Ok(1..))) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("host and port are needed, as 192.168.4.1:7420".into()),
    }
}

/// Seconds since 1970, by the system's clock.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A bar on a terminal, nothing elsewhere.
fn bar(length: u64, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    bar.set_style(ProgressStyle::with_template(template).expect("our own templates are right"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn run_import(
    store: &mut Store,
    file: &Path,
    rejects: Option<&Path>,
    device: String,
) -> Result<ExitCode, Failed> {
    let rejects = rejects.map_or_else(
        || {
            let mut name = file.as_os_str().to_owned();
            name.push(".rejects.jsonl");
            PathBuf::from(name)
        },
        Path::to_owned,
    );
    let length = std::fs::metadata(file).map_or(0, |found| found.len());
    let bar = bar(length, "{wide_bar} {bytes}/{total_bytes}, {eta} left");
    let shown = file.display();
    let tell = |note| match note {
        Note::Resumed(line) => bar.suspend(|| {
            eprintln!("{shown}: an import of this file was cut off; it goes on after line {line}");
        }),
        Note::Aside(line, reason) => {
            bar.suspend(|| eprintln!("{shown}:{line}: put aside: {reason}"))
        }
        Note::Doubtful(line, reason) => bar.suspend(|| {
            eprintln!("{shown}:{line}: taken, but the hub will put it aside: {reason}");
        }),
        Note::Done(bytes) => bar.set_position(bytes),
    };
    if store.schema().is_none() {
        eprintln!("no schema yet: records are taken as they are, and judged at the hub");
    }
    let what = Import { file: file.to_owned(), rejects: rejects.clone(), device };
    let outcome = import(store, &what, now_s, tell);
    bar.finish_and_clear();
    let done = outcome.map_err(|error| match error {
        ImportError::Store(error) => at(store.path(), error),
        other => Failed::new(FAILED, other),
    })?;
    println!(
        "{} taken, {} put aside, {} doubtful",
        count(done.changes, "change", "changes"),
        count(done.aside, "line", "lines"),
        done.doubtful
    );
    if done.aside == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("the lines put aside are in {}: mend them and import that file", rejects.display());
    Ok(ExitCode::from(FAILED))
}

fn put(store: &mut Store, record: &str, device: &str) -> Result<ExitCode, Failed> {
    if record != "-" {
        let taken = put_line(store, record, device)?;
        return Ok(ExitCode::from(u8::from(!taken)));
    }
    let mut bad = false;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if !line.trim().is_empty() {
            bad |= !put_line(store, &line, device)?;
        }
    }
    Ok(ExitCode::from(u8::from(bad)))
}

/// Take in one line; whether it could be.
fn put_line(store: &mut Store, line: &str, device: &str) -> Result<bool, Failed> {
    let records = match parse(line) {
        Ok(records) => records,
        Err(reason) => {
            eprintln!("not taken: {reason}");
            return Ok(false);
        }
    };
    put_records(store, &records, device)
}

fn put_records(store: &mut Store, records: &[Record], device: &str) -> Result<bool, Failed> {
    let path = store.path().to_owned();
    let entered = store.write(now_s(), |work| enter(work, records, device));
    match entered.map_err(|error| at(&path, error))? {
        Ok(entered) => {
            for reason in entered.warnings {
                eprintln!("taken, but the hub will put it aside: {reason}");
            }
            for row in entered.rows {
                println!("{row}");
            }
            Ok(true)
        }
        Err(reason) => {
            eprintln!("not taken: {reason}");
            Ok(false)
        }
    }
}

fn delete(store: &mut Store, table: &str, id: &str, device: &str) -> Result<ExitCode, Failed> {
    let row = id.parse().map_err(|error| Failed::new(FAILED, format!("id {id:?}: {error}")))?;
    let record = Record {
        op: Op::Delete,
        table: table.to_owned(),
        row: Some(row),
        fields: Default::default(),
        entered_s: None,
        device: None,
    };
    let taken = put_records(store, &[record], device)?;
    Ok(ExitCode::from(u8::from(!taken)))
}

fn run_list(store: &Store, table: &str) -> Result<ExitCode, Failed> {
    let Some(schema) = store.schema() else {
        return Err(Failed::new(
            FAILED,
            "no schema yet: run `sync` once, so that there are tables",
        ));
    };
    let Some(table) = schema.table_named(table) else {
        let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
        return Err(Failed::new(
            FAILED,
            format!("there is no table {table}; there are: {}", names.join(", ")),
        ));
    };
    match list(store, table, &mut BufWriter::new(io::stdout().lock())) {
        // Whoever reads has read enough.
        Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        outcome => outcome.map(|()| ExitCode::SUCCESS).map_err(|error| at(store.path(), error)),
    }
}

fn sync(store: &mut Store, args: &SyncArgs) -> Result<ExitCode, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let place = match (&args.serial, &args.tcp, &args.lan) {
        (Some(path), ..) => Place::Serial { path: path.clone(), baud: args.baud },
        (None, Some(address), _) => Place::Tcp(address.clone()),
        (None, None, Some(site)) => {
            runtime.block_on(nearby(site.as_deref())).map_err(not_synced)?
        }
        (None, None, None) => unreachable!("one of them is required"),
    };
    let path = store.path().to_owned();
    let waiting = store.status().map_err(|error| at(&path, error))?.changes["pending"];
    let bar = bar(waiting, "{wide_bar} {pos}/{len} offered, {msg}");
    let mut tell = |synced: &Synced| {
        bar.set_position(synced.offered);
        bar.set_message(format!("{} durable, {} rows pulled", synced.durable, synced.pulled));
    };
    let sync = Sync::new(store, place, args.schema_only, now_s, &mut tell);
    let (synced, outcome) = runtime.block_on(sync.run());
    bar.finish_and_clear();
    // Where there was no link there is nothing to sum up.
    if outcome.is_ok() || synced.is_something() {
        report::synced(&synced);
    }
    match outcome {
        Ok(()) if synced.refused > 0 => Ok(ExitCode::from(FAILED)),
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(SyncError::Store(error)) => Err(at(&path, error)),
        Err(error) => Err(not_synced(error)),
    }
}

fn not_synced(error: SyncError) -> Failed {
    let code = match error {
        SyncError::NoLink(_) => NO_LINK,
        SyncError::Later(_) => LATER,
        SyncError::Refused(_)
        | SyncError::Unclear(_)
        | SyncError::OtherKey { .. }
        | SyncError::Store(_) => FAILED,
    };
    Failed::new(code, error)
}

fn status(store: &Store, json: bool) -> Result<ExitCode, Failed> {
    let status = store.status().map_err(|error| at(store.path(), error))?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", report::status_json(store, &status))?;
    } else {
        report::status(&mut out, store, &status)?;
    }
    Ok(ExitCode::SUCCESS)
}
