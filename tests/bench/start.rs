//! How long a gateway takes from its start until it is ready, on a database that has grown.
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rusqlite::Connection;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::{ports, records};
use wadi_protocol::id::GatewayId;

use crate::figures::{Pairs, Spent, Table, millis, timed};
use crate::samples::Source;
use crate::{Scale, intake, village};

/// Between two looks whether a gateway listens: a part of what it takes to start.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);

/// Fill the lines of the start.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let (mut store, path) = village::open(folder)?;
    let mut source = Source::new(7)?;
    for _ in 0..scale.rows / 1_000 {
        let changes = source.inserts(1_000);
        intake::take(&mut store, source.batch(changes))?;
    }
    drop(store);
    let pairs = Pairs::take(scale.blocks, || ready(&path), || opened(&path))?;
    let what = format!("open the gateway's store, {} rows, all pending", scale.rows);
    table.pairs(&what, &pairs, millis, "");
    process(folder, &path, scale, table)
}

/// Our store, ready.
fn ready(path: &Path) -> Result<Spent> {
    let (time, _store) = timed(|| village::open_at(path, GatewayId(1)))?;
    Ok(time)
}

/// SQLite alone, with the file's tables read and one of them asked.
fn opened(path: &Path) -> Result<Spent> {
    let (time, _db) = timed(|| {
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        let row: Option<String> = db.query_row("SELECT min(id) FROM trip", (), |row| row.get(0))?;
        ensure!(row.is_some(), "an empty database");
        Ok(db)
    })?;
    Ok(time)
}

/// The real process, from its start until it takes connections of handhelds.
fn process(folder: &Path, path: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let (folder, port) = (folder.join("process"), ports::free());
    let hub = Hub::lay_out(&folder, BrokerAt::Port(port), &records::sample_schema()?)?;
    let enrolment = hub.add_gateway("bench")?;
    let settings = Settings {
        number: 1,
        enrolment: &enrolment,
        broker_port: port,
        serial: vec![],
        interval_s: 3_600,
    };
    let mut gateway = Gateway::lay_out(&folder, &settings)?;
    std::fs::copy(path, gateway.database())?;
    let blocks = scale.blocks.min(7);
    let pairs = Pairs::take(blocks, || takes_records(&mut gateway), || opened(path))?;
    let what = format!("start wadi-gateway until it takes records, {} rows", scale.rows);
    table.pairs(&what, &pairs, millis, "");
    Ok(())
}

/// One start. Its processor is not this thread's: only the clock on the wall counts.
fn takes_records(gateway: &mut Gateway) -> Result<Spent> {
    let start = Instant::now();
    gateway.launch()?;
    while !ports::answers(gateway.port()) {
        gateway.check()?;
        std::thread::sleep(LOOK_INTERVAL);
    }
    let wall = start.elapsed().as_secs_f64();
    gateway.stop()?;
    Ok(Spent { wall, cpu: f64::NAN })
}
