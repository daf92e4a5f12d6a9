//! How long a gateway takes from its start until it is ready, on a database that has grown.
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use rusqlite::Connection;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::{ports, records};
use wadi_protocol::id::GatewayId;

use crate::figures::{Pairs, Spent, Table, millis, timed};
use crate::samples::Source;
use crate::{Scale, intake, village};

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
    let mut all = crate::figures::Sample::default();
    for _ in 0..scale.blocks.min(7) {
        let start = Instant::now();
        gateway.start()?;
        all.push(start.elapsed().as_secs_f64());
        gateway.stop()?;
    }
    let what = format!("start wadi-gateway until it takes records, {} rows", scale.rows);
    table.alone(&what, millis(all.median()), "");
    Ok(())
}
