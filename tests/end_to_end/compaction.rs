//! Changes that are at the hub and in a backup of it shrink to their numbers at the
//! gateways, and nobody notices: sums, pictures, ledgers and late copies are as before.
use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;
use serde_json::{Value, json};
use wadi_harness::figures::{HandheldFigures, number as figure};
use wadi_harness::random::Random;
use wadi_harness::records::Record;
use wadi_harness::tables::Tables;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World, number};

const SCHEMA: &str = r#"
name = "depot"
[tables.item.fields]
name = { type = "text" }
stock = { type = "integer", merge = "sum" }
"#;
const ITEMS: usize = 200;

fn back_up(world: &World, name: &str) {
    let file = world.folder().join(name);
    world.hub.operator.command(&["backup", file.to_str().unwrap()]).unwrap().ok().unwrap();
}

/// Of a gateway: changes kept whole, changes let go.
fn kept(world: &World, gateway: usize) -> Result<(i64, i64)> {
    let status = world.gateways[gateway].json(&["status"])?;
    Ok((figure(&status, "changelog_changes")?, figure(&status, "compacted_changes")?))
}

/// Wait until a gateway has let go of all that it took, and its books say so.
fn until_let_go(world: &World, gateway: usize, changes: i64) {
    until(&format!("gateway {gateway} to let go"), PATIENCE, || {
        let kept = kept(world, gateway)?;
        Ok(Look::when(kept == (0, changes), || format!("{kept:?} of {changes}")))
    })
    .unwrap();
    let ledger = world.gateways[gateway].json(&["ledger"]).unwrap();
    let total = |name| figure(&ledger["total"], name).unwrap();
    assert_eq!(
        (total("changes"), total("committed"), total("compacted")),
        (changes, changes, changes)
    );
    assert_eq!(ledger["faults"], json!([]));
}

fn copy(from: &Path, to: &Path) {
    assert!(!from.with_extension("db-wal").exists(), "the copy would lack what lies in its log");
    std::fs::copy(from, to).unwrap();
}

fn add(id: &str, by: i64) -> Value {
    json!({"op": "update", "table": "item", "id": id, "fields": {"stock": {"add": by}}})
}

#[test]
fn nobody_notices_that_changes_were_let_go() {
    let mut world = World::start(SCHEMA, 2, false, 131).unwrap();
    world.until_schema().unwrap();
    let mut random = Random::seeded(131);
    let ids: Vec<String> = (0..ITEMS).map(|_| random.uuid()).collect();
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    let insert = |id: &String| {
        let fields = json!({"name": "bolt", "stock": 10});
        Record::of(json!({"op": "insert", "table": "item", "id": id, "fields": fields}))
    };
    anna.learn(&world.lan(0), PATIENCE).unwrap();
    anna.import(&ids.iter().map(insert).collect::<Vec<_>>()).unwrap();
    let before = world.folder().join("anna-before-her-sync.db");
    copy(anna.database(), &before);
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    world.until_cell(("item", &ids[ITEMS - 1]), "stock", number(10)).unwrap();
    ben.sync_well(&world.lan(1), PATIENCE).unwrap();
    for id in &ids[..5] {
        world.enter(&ben, 1, &add(id, 5)).unwrap();
    }
    world.until_cell(("item", &ids[4]), "stock", number(15)).unwrap();
    assert_eq!(kept(&world, 0).unwrap(), (ITEMS as i64, 0), "no backup has them");

    back_up(&world, "first.backup");
    until_let_go(&world, 0, ITEMS as i64);
    until_let_go(&world, 1, 5);

    // Anna's file as it was before: all of it comes once more, and is known.
    copy(&before, anna.database());
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    let wanted = HandheldFigures { open: 0, held_back: 0, durable: ITEMS as i64 };
    assert_eq!(HandheldFigures::ask(&anna).unwrap(), wanted);
    assert_eq!(kept(&world, 0).unwrap(), (0, ITEMS as i64), "taken once");

    // What is made on top of it, by everybody, with a crash in between.
    world.gateways[0].kill();
    world.gateways[0].start().unwrap();
    world.enter(&anna, 0, &add(&ids[0], 100)).unwrap();
    let program = Connection::open(world.gateways[1].database()).unwrap();
    program.busy_timeout(PATIENCE).unwrap();
    program.execute("UPDATE item SET stock = stock + 1000 WHERE id = ?", [&ids[0]]).unwrap();
    world.enter(&ben, 1, &add(&ids[0], 10_000)).unwrap();
    world.until_cell(("item", &ids[0]), "stock", number(11_115)).unwrap();
    back_up(&world, "second.backup");
    until_let_go(&world, 0, ITEMS as i64 + 1);
    until_let_go(&world, 1, 7);
    for handheld in [(&anna, 0), (&ben, 1)] {
        handheld.0.sync_well(&world.lan(handheld.1), PATIENCE).unwrap();
        assert_eq!(handheld.0.value("item", &ids[0], "stock").unwrap(), number(11_115));
    }
    let hub = Tables::read(world.hub.database(), &world.plan).unwrap();
    assert_eq!(hub.row_count(), ITEMS);
    world.until_all_equal(&hub, PATIENCE).unwrap();
    let ledger = world.hub.operator.json(&["ledger"]).unwrap();
    assert_eq!(figure(&ledger, "committed").unwrap(), ITEMS as i64 + 8);
    let page = world.gateways[0].command(&["status"]).unwrap().ok().unwrap();
    assert!(
        page.contains("changelog     0 changes kept whole, 201 let go; the hub's backup"),
        "{page}"
    );
    world.stop().unwrap();
}
