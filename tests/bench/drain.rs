//! The real gateway process: its memory idle and while it drains what weeks
//! alone have piled up, to a real hub over a real broker.
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wadi_gateway::store::Store;
use wadi_harness::broker::Broker;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::records;
use wadi_harness::wait::{Look, until};
use wadi_protocol::id::GatewayId;

use crate::figures::Table;
use crate::samples::Source;
use crate::{Scale, intake, village};

/// Everything must be drained after this.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1_800);
/// A process must come to rest after this.
const REST_DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at a process.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long an idle process is looked at.
const IDLE: Duration = Duration::from_secs(2);

/// Fill the lines of memory and of draining.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let broker = Broker::start(folder, false)?;
    let port = broker.port();
    let mut hub = Hub::lay_out(folder, BrokerAt::Port(port), &records::sample_schema()?)?;
    let enrolment = hub.add_gateway("bench")?;
    hub.start()?;
    let settings = Settings {
        number: 1,
        enrolment: &enrolment,
        broker_port: port,
        serial: vec![],
        interval_s: 3_600,
    };
    let mut gateway = Gateway::lay_out(folder, &settings)?;
    gateway.start()?;
    until("the gateway to fetch the schema", REST_DEADLINE, || {
        let schema = gateway.command(&["schema"])?.stdout;
        Ok(Look::when(schema.contains("weather"), || schema))
    })?;
    let idle = watch(&gateway, IDLE, || Ok(false))?;
    table.alone("gateway memory, idle, empty database", idle.text(), "16 MB");
    gateway.stop()?;

    let mut store = village::open_at(gateway.database(), GatewayId(1))?;
    let mut source = Source::new(7)?;
    for _ in 0..scale.rows / 1_000 {
        intake_thousand(&mut store, &mut source)?;
    }
    drop(store);
    let start = Instant::now();
    gateway.start()?;
    let mut looked = Instant::now();
    let busy = watch(&gateway, DRAIN_DEADLINE, || {
        if looked.elapsed() < LOOK_INTERVAL * 10 {
            return Ok(false);
        }
        looked = Instant::now();
        Ok(pending(gateway.database())? == 0)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(pending(gateway.database())? == 0, "not drained\n{}", gateway.tail());
    let what = format!("gateway memory, draining {} changes", scale.rows);
    table.alone(&what, busy.text(), "32 MB");
    let each = scale.rows as f64 / seconds;
    table.alone("draining them", format!("{seconds:.1} s, {each:.0}/s"), "");
    gateway.stop()?;
    gateway.start()?;
    let idle = watch(&gateway, IDLE, || Ok(false))?;
    table.alone(&format!("gateway memory, idle, {} rows", scale.rows), idle.text(), "16 MB");
    gateway.stop()?;
    hub.stop()
}

fn intake_thousand(store: &mut Store, source: &mut Source) -> Result<()> {
    let changes = source.inserts(1_000);
    let batch = source.batch(changes);
    intake::take(store, batch)?;
    Ok(())
}

/// Changes that wait, read beside the gateway.
fn pending(database: &Path) -> Result<i64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(database, flags)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let sql = "SELECT count(*) FROM (SELECT 1 FROM wadi_change
               WHERE custody = 0 AND custody <> 1 LIMIT 1)";
    Ok(db.query_row(sql, (), |row| row.get(0))?)
}

/// Resident memory of a process, in KiB as the kernel counts.
struct Memory {
    /// The most ever.
    peak: u64,
    /// At the end.
    last: u64,
    /// Of that, what is the process's own and not the program's file.
    own: u64,
}

impl Memory {
    fn text(&self) -> String {
        let mb = |kib: u64| kib as f64 * 1024.0 / 1e6;
        format!("{:.1} MB, most {:.1} MB (own {:.1})", mb(self.last), mb(self.peak), mb(self.own))
    }
}

/// Look at the gateway's memory until it is done, or for so long.
fn watch(
    gateway: &Gateway,
    most: Duration,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<Memory> {
    let id = gateway.id().context("the gateway runs")?;
    let start = Instant::now();
    while start.elapsed() < most && !done()? {
        std::thread::sleep(LOOK_INTERVAL);
    }
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))
        .context("the gateway ended by itself")?;
    let number = |key: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let line = line.with_context(|| format!("no {key} in /proc"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    };
    Ok(Memory { peak: number("VmHWM:")?, last: number("VmRSS:")?, own: number("RssAnon:")? })
}
