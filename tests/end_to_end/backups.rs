//! Backups taken while records pour in at one end and rounds run at the other:
//! each is whole, and holds everything that was acknowledged before it began.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use serde_json::{Value, json};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::link;
use wadi_harness::records::Record;
use wadi_harness::relay::Relay;
use wadi_harness::tables::count;

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\nnumber = { type = \"integer\" }\n";
const RECORDS: usize = 3_000;
/// So slow that backups are made on the way, at either end, until there are enough.
const RATE_BYTES_S: u64 = 15_000;
/// Backups that must show a part of the records, or this would prove nothing.
const AMID_MIN: usize = 5;
/// After so many something hangs.
const BACKUPS_MAX: u32 = 1_000;

/// How many records a backup holds: the first ones, without a gap.
fn prefix(backup: &Path) -> u64 {
    let db = Connection::open(backup).unwrap();
    let whole: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok", "{}", backup.display());
    let (rows, last) = db
        .query_row("SELECT count(*), coalesce(max(number), 0) FROM visit", (), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .unwrap();
    assert_eq!(rows, last, "{} is no prefix", backup.display());
    rows as u64
}

fn sum(counts: &Value, names: &[&str]) -> u64 {
    names.iter().map(|name| counts[name].as_u64().unwrap()).sum()
}

/// What the handheld heard to be safe at the gateway, or farther.
fn taken(handheld: &Handheld) -> u64 {
    sum(&handheld.status().unwrap()["changes"], &["taken", "durable"])
}

/// What the gateway heard to be safe at the hub.
fn committed(world: &World) -> u64 {
    sum(&world.gateways[0].json(&["ledger"]).unwrap()["total"], &["committed"])
}

#[test]
fn backups_amid_intake_and_rounds_hold_all_that_was_acknowledged_before() {
    let mut world = World::start(SCHEMA, 1, false, 91).unwrap();
    world.until_schema().unwrap();
    let handheld = world.handheld("anna");
    let record = |number| {
        Record::of(json!({"op": "insert", "table": "visit", "fields": {"number": number}}))
    };
    handheld.import(&(1..=RECORDS).map(record).collect::<Vec<_>>()).unwrap();
    let slow = Relay::tcp(world.gateways[0].port(), 92).unwrap();
    slow.lay(link::Link::of_rate(RATE_BYTES_S));
    world.uplinks[0].lay(link::Link::of_rate(RATE_BYTES_S));
    let all = RECORDS as u64;
    let amid = |held: &[u64]| held.iter().filter(|held| (1..all).contains(held)).count();
    let ended = AtomicBool::new(false);
    let (mut amid_intake, mut amid_rounds) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let pouring = scope.spawn(|| {
            let poured = handheld.sync_well(&Link::Tcp(slow.port()), PATIENCE);
            ended.store(true, Ordering::Relaxed);
            poured
        });
        let mut number = 0;
        while !ended.load(Ordering::Relaxed) || committed(&world) < all {
            number += 1;
            assert!(number < BACKUPS_MAX, "the records never arrive: {amid_rounds:?}");
            let file = |end: &str| world.folder().join(format!("{end}-{number}.backup"));
            let (gateway, hub) = (file("gateway"), file("hub"));
            let before = taken(&handheld);
            let words = ["backup", gateway.to_str().unwrap()];
            world.gateways[0].command(&words).unwrap().ok().unwrap();
            let held = prefix(&gateway);
            assert!(held >= before, "{held} of {before} that were acknowledged");
            amid_intake.push(held);
            let before = committed(&world);
            let words = ["backup", hub.to_str().unwrap()];
            world.hub.operator.command(&words).unwrap().ok().unwrap();
            let held = prefix(&hub);
            assert!(held >= before, "{held} of {before} that were committed");
            amid_rounds.push(held);
            if [&amid_intake, &amid_rounds].iter().all(|held| amid(held) >= AMID_MIN) {
                slow.lay(link::Link::OPEN);
                world.uplinks[0].lay(link::Link::OPEN);
            }
        }
        pouring.join().unwrap().unwrap();
    });
    eprintln!("at the gateway {amid_intake:?}, at the hub {amid_rounds:?}");
    for held in [&amid_intake, &amid_rounds] {
        assert!(held.is_sorted(), "{held:?}");
        assert!(amid(held) >= AMID_MIN, "too few amid the records: {held:?}");
    }
    let rows = count(world.hub.database(), "SELECT count(*) FROM visit").unwrap();
    assert_eq!(rows as u64, all, "backups held nothing up for good");
    world.stop().unwrap();
}
