//! Bad changes stop only themselves.
use serde_json::json;
use wadi_harness::random::Random;
use wadi_harness::records::{Record, lines};
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World, text};

const SCHEMA: &str = r#"
name = "clinic"

[tables.visit.fields]
patient = { type = "text" }
age = { type = "integer", min = 0, max = 130 }
seen_on = { type = "date" }
notes = { type = "text" }
"#;

/// Good rows around four bad ones, all in one changeset.
#[test]
fn poison_is_quarantined_with_its_reason_and_the_others_commit_in_the_same_round() {
    let mut world = World::start(SCHEMA, 2, false, 41).unwrap();
    let mut random = Random::seeded(41);
    let mut record = |table: &str, fields: serde_json::Value| {
        Record::of(json!({"op": "insert", "table": table, "id": random.uuid(), "fields": fields}))
    };
    let good: Vec<Record> = (0..20)
        .map(|at| record("visit", json!({"patient": format!("p{at}"), "age": at})))
        .collect();
    let bad = [
        record("visit", json!({"patient": "bad type", "age": "three"})),
        record("vist", json!({"patient": "unknown table"})),
        record("visit", json!({"patient": "out of range", "age": 131})),
        record("visit", json!({"patient": "oversize", "notes": "x".repeat(9_000)})),
    ];
    let mut all = good.clone();
    for (at, bad) in bad.iter().enumerate() {
        all.insert(3 + 4 * at, bad.clone());
    }
    let anna = world.handheld("anna");
    // The gateway gathers all of it before it can send any.
    world.offline(0);
    let imported = anna.import_text(&lines(&all)).unwrap();
    assert_eq!(imported.code, Some(0), "{imported:?}");
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    world.online(0);
    let rows = |world: &World| count(world.hub.database(), "SELECT count(*) FROM visit");
    until("the first good row at the hub", PATIENCE, || {
        Ok(Look::when(rows(&world)? > 0, || "none".into()))
    })
    .unwrap();
    // A round is one transaction: whoever sees one of its rows sees all, and the quarantine.
    assert_eq!(rows(&world).unwrap(), good.len() as i64);
    let quarantined = world.hub.operator.list(&["quarantine", "list"]).unwrap();
    assert_eq!(quarantined.len(), bad.len(), "{quarantined:?}");
    let list = world.hub.operator.command(&["quarantine", "list"]).unwrap().ok().unwrap();
    for reason in ["age", "vist", "131"] {
        assert!(list.contains(reason), "{reason} is not in\n{list}");
    }
    let whole: String = quarantined
        .iter()
        .map(|line| {
            world.hub.operator.command(&["quarantine", "show", &line[0]]).unwrap().ok().unwrap()
        })
        .collect();
    for kept in ["three", "unknown table", "out of range", "xxxxxxxx"] {
        assert!(whole.contains(kept), "{kept} is not kept:\n{whole}");
    }
    for record in &good {
        let patient = record.json["fields"]["patient"].as_str().unwrap();
        let id = record.json["id"].as_str().unwrap();
        world.until_cell(("visit", id), "patient", text(patient)).unwrap();
    }
    world.stop().unwrap();
}

/// An edit of a row whose insert is in quarantine waits with it, and stops nobody.
#[test]
fn edits_of_a_quarantined_row_are_held_back_with_it() {
    let mut world = World::start(SCHEMA, 1, false, 42).unwrap();
    let mut random = Random::seeded(42);
    let anna = world.handheld("anna");
    let (bad, good) = (random.uuid(), random.uuid());
    let records = [
        Record::of(
            json!({"op": "insert", "table": "visit", "id": bad, "fields": {"patient": "a", "age": -1}}),
        ),
        Record::of(
            json!({"op": "update", "table": "visit", "id": bad, "fields": {"patient": "b"}}),
        ),
        Record::of(
            json!({"op": "insert", "table": "visit", "id": good, "fields": {"patient": "c", "age": 1}}),
        ),
    ];
    anna.import(&records).unwrap();
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    world.until_cell(("visit", &good), "patient", text("c")).unwrap();
    world.until_cell(("visit", &good), "age", Some(wadi_harness::plan::Cell::Integer(1))).unwrap();
    assert_eq!(world.hub.operator.list(&["quarantine", "list"]).unwrap().len(), 1);
    assert_eq!(world.hub.operator.json(&["status"]).unwrap()["parked"].as_u64(), Some(1));
    assert_eq!(count(world.hub.database(), "SELECT count(*) FROM visit").unwrap(), 1);
    world.stop().unwrap();
}

/// A group shares custody: one bad change holds its companions, and only them.
#[test]
fn a_group_with_one_bad_change_is_quarantined_whole() {
    let mut world = World::start(SCHEMA, 1, false, 43).unwrap();
    let mut random = Random::seeded(43);
    let anna = world.handheld("anna");
    let mut insert = |patient: &str, age: i64| json!({"op": "insert", "table": "visit", "id": random.uuid(), "fields": {"patient": patient, "age": age}});
    let (first, second, alone) = (insert("first", 3), insert("second", 999), insert("alone", 5));
    let records = [Record::of(json!({"group": [first, second]})), Record::of(alone.clone())];
    anna.import(&records).unwrap();
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    world.until_cell(("visit", alone["id"].as_str().unwrap()), "patient", text("alone")).unwrap();
    assert_eq!(count(world.hub.database(), "SELECT count(*) FROM visit").unwrap(), 1);
    assert_eq!(world.hub.operator.list(&["quarantine", "list"]).unwrap().len(), 2);
    world.stop().unwrap();
}

/// What is no record at all never leaves the handheld: it is told by line and put aside.
#[test]
fn bad_lines_are_put_aside_with_their_number_and_the_others_go_in() {
    let mut world = World::start(SCHEMA, 1, false, 44).unwrap();
    let mut random = Random::seeded(44);
    let anna = world.handheld("anna");
    let good = random.uuid();
    let insert =
        json!({"op": "insert", "table": "visit", "id": good, "fields": {"patient": "good"}});
    let text_lines = format!(
        "{{\"op\":\"insert\",\n{insert}\n{}\n{}\n",
        json!({"op": "upsert", "table": "visit", "id": random.uuid(), "fields": {}}),
        json!({"op": "insert", "table": "visit", "id": "seven", "fields": {}}),
    );
    let file = world.folder().join("mixed.jsonl");
    let rejects = world.folder().join("rejects.jsonl");
    std::fs::write(&file, &text_lines).unwrap();
    let words = ["import", file.to_str().unwrap(), "--rejects", rejects.to_str().unwrap()];
    let outcome = anna.command(&words, "").unwrap();
    for line in ["1", "3", "4"] {
        assert!(outcome.stderr.contains(&format!("mixed.jsonl:{line}:")), "{outcome:?}");
    }
    let aside = std::fs::read_to_string(&rejects).unwrap();
    assert!(aside.contains("upsert") && aside.contains("seven"), "{aside}");
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    world.until_cell(("visit", &good), "patient", text("good")).unwrap();
    world.stop().unwrap();
}
