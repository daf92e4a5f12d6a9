//! What a gateway takes of memory: the same however much waits in it, or for it.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;
use wadi_harness::gateway::Gateway;
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"notes\"\n[tables.note.fields]\ntext = { type = \"text\" }\n";

/// A change of one text takes some 700 bytes of memory: all of them would not fit.
const ROWS: i64 = 50_000;
/// Of each row's text.
const TEXT_BYTES: usize = 100;
/// Rows that a program writes in one transaction.
const WRITTEN_AT_ONCE: i64 = 2_000;
/// Resident memory of a gateway at any time of its life, where it is built without
/// optimisation: its program alone takes 14 MB then.
const MEMORY_BYTES_MAX: u64 = 48 * 1024 * 1024;

#[test]
fn a_backlog_and_a_snapshot_pass_through_a_gateway_of_little_memory() {
    let mut world = World::start(SCHEMA, 2, false, 91).unwrap();
    world.until_schema().unwrap();
    world.offline(0);
    world.offline(1);
    write(&world.gateways[0]).unwrap();
    // Weeks later the backlog goes, and then the other village fetches all of it.
    world.online(0);
    until_there(world.hub.database());
    world.online(1);
    until_there(world.gateways[1].database());
    world.check().unwrap();
    for gateway in &world.gateways {
        let most = memory_bytes_most(gateway).unwrap();
        eprintln!("{}: {most} bytes at most", gateway.database().display());
        assert!(most <= MEMORY_BYTES_MAX, "{most} bytes, at most {MEMORY_BYTES_MAX} are allowed");
    }
    world.stop().unwrap();
}

/// A program writes all of it, no faster than the gateway takes it into its changelog.
fn write(gateway: &Gateway) -> Result<()> {
    let mut db = Connection::open(gateway.database())?;
    db.busy_timeout(Duration::from_secs(30))?;
    let text = "x".repeat(TEXT_BYTES);
    for step in 1..=ROWS / WRITTEN_AT_ONCE {
        let transaction = db.transaction()?;
        for _ in 0..WRITTEN_AT_ONCE {
            transaction.prepare_cached("INSERT INTO note (text) VALUES (?)")?.execute([&text])?;
        }
        transaction.commit()?;
        until("what was written to be in the changelog", PATIENCE, || {
            let pending = gateway.json(&["status"])?["pending_changes"].as_i64();
            Ok(Look::when(pending == Some(step * WRITTEN_AT_ONCE), || format!("{pending:?}")))
        })?;
    }
    Ok(())
}

fn until_there(database: &Path) {
    until(&format!("every row in {}", database.display()), PATIENCE * 2, || {
        let rows = count(database, "SELECT count(*) FROM note")?;
        Ok(Look::when(rows == ROWS, || format!("{rows} rows")))
    })
    .unwrap();
}

/// The most that a gateway's process ever held, as the kernel counts.
fn memory_bytes_most(gateway: &Gateway) -> Result<u64> {
    let id = gateway.id().context("it runs")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.context("no VmHWM in /proc")?.trim().trim_end_matches("kB").trim();
    Ok(kib.parse::<u64>()? * 1024)
}
