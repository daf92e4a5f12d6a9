//! Boxes that are not what they were: restored from an older copy, cloned, replaced.
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::tables::{self, Tables};
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World, number, text};

const SCHEMA: &str = r#"
name = "stock"
[tables.item.fields]
name = { type = "text" }
count = { type = "integer", merge = "sum" }
[tables.note]
scope = "site"
[tables.note.fields]
text = { type = "text" }
[tables.report]
scope = "upload"
[tables.report.fields]
text = { type = "text" }
"#;

const ITEM: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";

fn insert(table: &str, field: &str, value: &str) -> Value {
    json!({"op": "insert", "table": table, "fields": {field: value}})
}

/// A record that adds to the one item's count.
fn add(count: i64) -> Value {
    json!({"op": "update", "table": "item", "id": ITEM, "fields": {"count": {"add": count}}})
}

/// A world that has synced an item with a count of 1.
fn world(gateways: u32, seed: u64) -> (World, Handheld) {
    let world = World::start(SCHEMA, gateways, false, seed).unwrap();
    world.until_schema().unwrap();
    let anna = world.handheld("anna");
    let fields = json!({"name": "pump", "count": 1});
    let item = json!({"op": "insert", "table": "item", "id": ITEM, "fields": fields});
    world.enter(&anna, 0, &insert("note", "text", "first")).unwrap();
    // The last that goes, so that the hub has both.
    world.enter(&anna, 0, &item).unwrap();
    until_count(&world, 1);
    (world, anna)
}

fn until_count(world: &World, count: i64) {
    world.until_cell(("item", ITEM), "count", number(count)).unwrap();
}

/// Wait until the hub tells of a problem, its words with these in them; it is the worst.
fn until_problem(world: &World, code: &str, words: &str) -> String {
    let mut said = String::new();
    until(&format!("the hub to tell of {code}"), PATIENCE, || {
        let seen = world.hub.operator.json(&["status"])?["problems"].get(0).cloned();
        let seen = seen.unwrap_or_default();
        let word = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
        said = format!("{} -> {}", word("text"), word("remedy"));
        Ok(Look::when(seen["code"] == code && said.contains(words), || seen.to_string()))
    })
    .unwrap();
    said
}

/// Wait until the hub has nothing to tell.
fn until_no_problem(world: &World) {
    until("the hub to be content", PATIENCE, || {
        let seen = world.hub.operator.json(&["status"])?["problems"].take();
        Ok(Look::when(seen.as_array().is_some_and(Vec::is_empty), || seen.to_string()))
    })
    .unwrap();
}

/// Every change is in one custody at both ends, all of them committed, and every
/// gateway has the hub's global tables.
fn all_is_whole(world: &mut World) {
    for gateway in &world.gateways {
        until("nothing to be pending", PATIENCE, || {
            let total = gateway.json(&["ledger"])?["total"].clone();
            Ok(Look::when(total["changes"] == total["committed"], || total.to_string()))
        })
        .unwrap();
        gateway.command(&["ledger"]).unwrap().ok().unwrap();
    }
    world.hub.operator.command(&["ledger"]).unwrap().ok().unwrap();
    let global = |database: &Path| {
        let all = Tables::read(database, &world.plan).unwrap();
        all.rows("item").map(|(id, cells)| (id.clone(), cells.clone())).collect::<Vec<_>>()
    };
    let hub = global(world.hub.database());
    for gateway in &world.gateways {
        until("the tables to be equal", PATIENCE, || {
            let there = global(gateway.database());
            Ok(Look::when(there == hub, || format!("{there:?}, the hub has {hub:?}")))
        })
        .unwrap();
    }
}

fn notes(gateway: &Gateway) -> Vec<String> {
    let db = Connection::open(gateway.database()).unwrap();
    let mut rows = db.prepare("SELECT text FROM note ORDER BY text").unwrap();
    rows.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn remove(database: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", database.display()));
    }
}

#[test]
fn a_box_restored_from_an_older_copy_rejoins_with_one_command() {
    let (mut world, anna) = world(2, 801);
    let ben = world.handheld("ben");
    let backup = world.folder().join("site-1.backup");
    let backup = backup.to_str().unwrap();
    world.gateways[0].command(&["backup", backup]).unwrap().ok().unwrap();
    // By a handheld, by a program and from elsewhere, all after the copy.
    world.enter(&anna, 0, &add(10)).unwrap();
    let program = Connection::open(world.gateways[0].database()).unwrap();
    program.busy_timeout(PATIENCE).unwrap();
    program
        .execute_batch(
            "UPDATE item SET count = count + 100;
             INSERT INTO note (text) VALUES ('second');
             INSERT INTO report (text) VALUES ('up');
             INSERT INTO item (name, count) VALUES ('bucket', 7);",
        )
        .unwrap();
    drop(program);
    ben.learn(&world.lan(1), PATIENCE).unwrap();
    world.enter(&ben, 1, &add(1_000)).unwrap();
    until_count(&world, 1_111);
    until_no_problem(&world);

    world.gateways[0].stop().unwrap();
    let told = world.gateways[0].command(&["restore", backup]).unwrap().ok().unwrap();
    assert!(told.contains("`wadi-hub gateway rejoin site-1`"), "{told}");
    world.gateways[0].start().unwrap();
    let said = until_problem(&world, "other-line", "an older copy of its database");
    assert!(said.contains("run `wadi-hub gateway rejoin site-1`"), "{said}");
    // It collects meanwhile, and a round of the other site goes on.
    world.enter(&anna, 0, &add(10_000)).unwrap();
    world.enter(&ben, 1, &add(100_000)).unwrap();
    let hub = world.hub.database().to_path_buf();
    until("the other site's change", PATIENCE, || {
        let found = tables::value(&hub, "item", ITEM, "count")?;
        Ok(Look::when(found == number(101_111), || format!("{found:?}")))
    })
    .unwrap();

    let told = world.hub.operator.command(&["gateway", "rejoin", "site-1"]).unwrap().ok().unwrap();
    assert!(told.contains("gateway 1 of site site-1 goes on"), "{told}");
    until_count(&world, 111_111);
    until_no_problem(&world);
    all_is_whole(&mut world);
    assert_eq!(notes(&world.gateways[0]), ["first", "second"]);
    // And it goes on as if nothing had been.
    world.enter(&anna, 0, &add(1_000_000)).unwrap();
    until_count(&world, 1_111_111);
    all_is_whole(&mut world);
    world.stop().unwrap();
}

#[test]
fn an_empty_box_in_the_place_of_another_rejoins_with_one_command() {
    let (mut world, anna) = world(2, 802);
    world.enter(&anna, 0, &add(10)).unwrap();
    until_count(&world, 11);
    world.gateways[0].kill();
    remove(world.gateways[0].database());
    world.gateways[0].start().unwrap();
    until_problem(&world, "other-line", "an empty box");
    // Before it knows the tables it takes what it is given, and what it is given again.
    anna.put(&add(100)).unwrap();
    anna.sync(&world.lan(0)).unwrap();
    world.hub.operator.command(&["gateway", "rejoin", "site-1"]).unwrap().ok().unwrap();
    until_count(&world, 111);
    until_no_problem(&world);
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    all_is_whole(&mut world);
    assert_eq!(notes(&world.gateways[0]), ["first"]);
    world.stop().unwrap();
}

#[test]
fn of_two_clones_one_goes_on_and_the_other_keeps_what_it_has_until_it_is_enrolled() {
    let (mut world, anna) = world(1, 803);
    let ben = world.handheld("ben");
    world.gateways[0].stop().unwrap();
    let folder = world.folder().join("clone");
    let enrolment = world.folder().join("add-site-1.enrolment.toml");
    let settings = Settings {
        number: 1,
        enrolment: &enrolment,
        broker_port: world.uplinks[0].port(),
        serial: Vec::new(),
        interval_s: 1,
    };
    let mut clone = Gateway::lay_out(&folder, &settings).unwrap();
    for end in ["", "-wal"] {
        let beside = |file: &Path| format!("{}{end}", file.display());
        let copied = std::fs::copy(beside(world.gateways[0].database()), beside(clone.database()));
        assert!(copied.is_ok() || !end.is_empty(), "{copied:?}");
    }
    // The box goes on, then it is switched off and the clone is there.
    world.gateways[0].start().unwrap();
    world.enter(&anna, 0, &add(10)).unwrap();
    until_count(&world, 11);
    world.offline(0);
    world.enter(&anna, 0, &add(100)).unwrap();
    world.gateways[0].stop().unwrap();
    world.online(0);
    clone.start().unwrap();
    let lan = Link::Tcp(clone.port());
    until_problem(&world, "other-line", "an older copy");
    ben.learn(&lan, PATIENCE).unwrap();
    ben.put(&add(1_000)).unwrap();
    ben.sync_well(&lan, PATIENCE).unwrap();
    let asked = clone.command(&["sync"]).unwrap();
    assert_eq!(asked.code, Some(69), "{asked:?}");
    assert!(asked.stderr.contains("records stay safe here"), "{asked:?}");
    clone.stop().unwrap();

    // The box that the hub knows is back, and nothing has happened to it.
    world.gateways[0].start().unwrap();
    until_count(&world, 111);
    let said = until_problem(&world, "other-line", "so there are two");
    assert!(said.contains("switch one of them off"), "{said}");
    world.offline(0);
    world.enter(&anna, 0, &add(10_000)).unwrap();
    world.gateways[0].stop().unwrap();
    world.online(0);

    // Enrolled anew, the clone is the site's box, with all that it kept.
    let again = world.hub.enrol_again("site-1").unwrap();
    clone.enrol(&again).unwrap();
    clone.start().unwrap();
    let hub = world.hub.database().to_path_buf();
    for database in [hub.as_path(), clone.database()] {
        crate::world::until_cell(database, ("item", ITEM), "count", &number(1_111)).unwrap();
    }
    until_no_problem(&world);
    clone.command(&["ledger"]).unwrap().ok().unwrap();
    clone.stop().unwrap();
    // The other is refused now, keeps what it has, and that comes in the same way.
    world.gateways[0].start().unwrap();
    let asked = world.gateways[0].command(&["sync"]).unwrap();
    assert!(asked.stderr.contains("enrolled anew"), "{asked:?}");
    assert_eq!(world.gateways[0].json(&["status"]).unwrap()["pending_changes"], 1);
    world.gateways[0].stop().unwrap();
    std::fs::remove_file(&again).unwrap();
    let again = world.hub.enrol_again("site-1").unwrap();
    world.gateways[0].enrol(&again).unwrap();
    world.gateways[0].start().unwrap();
    until_count(&world, 11_111);
    all_is_whole(&mut world);
    assert_eq!(tables::value(&hub, "item", ITEM, "name").unwrap(), text("pump"));
    world.stop().unwrap();
}

/// A hub that was restored from an older backup, and gateways that know more.
#[test]
fn a_restored_hub_gets_back_what_its_gateways_still_hold() {
    let (mut world, anna) = world(2, 804);
    let ben = world.handheld("ben");
    ben.learn(&world.lan(1), PATIENCE).unwrap();
    let backup = world.folder().join("hub.backup");
    let backup = backup.to_str().unwrap();
    world.hub.operator.command(&["backup", backup]).unwrap().ok().unwrap();
    // Another run of the hub, edits that see one another, rows of every scope.
    world.hub.stop().unwrap();
    world.hub.start().unwrap();
    let name =
        |name: &str| json!({"op": "update", "table": "item", "id": ITEM, "fields": {"name": name}});
    world.enter(&anna, 0, &name("hand pump")).unwrap();
    world.until_cell(("item", ITEM), "name", text("hand pump")).unwrap();
    ben.sync_well(&world.lan(1), PATIENCE).unwrap();
    world.enter(&ben, 1, &name("old pump")).unwrap();
    world.until_cell(("item", ITEM), "name", text("old pump")).unwrap();
    world.enter(&anna, 0, &add(10)).unwrap();
    world.enter(&ben, 1, &add(100)).unwrap();
    world.enter(&anna, 0, &insert("note", "text", "second")).unwrap();
    world.enter(&anna, 0, &insert("report", "text", "up")).unwrap();
    world.enter(&ben, 1, &insert("item", "name", "bucket")).unwrap();
    until_count(&world, 111);
    all_is_whole(&mut world);
    let before = Tables::read(world.hub.database(), &world.plan).unwrap();
    let shown: Vec<Tables> = world
        .gateways
        .iter()
        .map(|gateway| Tables::read(gateway.database(), &world.plan).unwrap())
        .collect();

    world.hub.stop().unwrap();
    let told = world.hub.operator.command(&["restore", backup]).unwrap().ok().unwrap();
    assert!(told.contains("run `wadi-hub resume`"), "{told}");
    world.hub.start().unwrap();
    let said = until_problem(&world, "stopped", "of these sites know more: site-1, site-2");
    assert!(said.contains("run `wadi-hub resume`"), "{said}");
    // Villages work on meanwhile, and their screens keep what they show.
    world.enter(&anna, 0, &add(1_000)).unwrap();
    for (gateway, shown) in world.gateways.iter().zip(&shown) {
        let now = Tables::read(gateway.database(), &world.plan).unwrap();
        assert_eq!(now.row_count(), shown.row_count());
    }
    let asked = world.gateways[1].command(&["sync"]).unwrap();
    assert!(asked.stderr.contains("restored from an older backup, and waits for its"), "{asked:?}");
    let told = world.hub.operator.command(&["resume"]).unwrap().ok().unwrap();
    assert!(told.contains("2 gateways know more than this database"), "{told}");

    until_count(&world, 1_111);
    world.until_cell(("item", ITEM), "name", text("old pump")).unwrap();
    until_no_problem(&world);
    all_is_whole(&mut world);
    assert_eq!(notes(&world.gateways[0]), ["first", "second"]);
    assert_eq!(notes(&world.gateways[1]), [""; 0]);
    let after = Tables::read(world.hub.database(), &world.plan).unwrap();
    assert_eq!(before.row_count(), after.row_count(), "{:?}", before.differences(&after));
    assert_eq!(before.differences(&after).len(), 1, "only the count is another now");
    let status = world.hub.operator.json(&["status"]).unwrap();
    // Who had seen whose name for it is known, whichever came back first.
    let names = "SELECT count(*) FROM wadi_candidate WHERE instr(value, CAST('pump' AS BLOB)) > 0";
    assert_eq!(tables::count(world.hub.database(), names).unwrap(), 0, "{status}");
    let loss = &status["loss"];
    let lost = loss["last"].as_u64().unwrap() - loss["fork"].as_u64().unwrap();
    assert_eq!((loss["returned"].as_u64(), &loss["stopped_s"]), (Some(lost), &json!(0)), "{loss}");
    // And everything goes on.
    world.enter(&ben, 1, &add(10_000)).unwrap();
    until_count(&world, 11_111);
    all_is_whole(&mut world);
    let again = world.hub.operator.command(&["resume"]).unwrap();
    assert!(again.stderr.contains("nothing waits for this"), "{again:?}");
    world.stop().unwrap();
}

/// One of the gateways is gone with the hub: what only it held is not known any more,
/// and the hub says so.
#[test]
fn a_restored_hub_says_what_nobody_returned() {
    let (mut world, anna) = world(2, 805);
    let ben = world.handheld("ben");
    ben.learn(&world.lan(1), PATIENCE).unwrap();
    let backup = world.folder().join("hub.backup");
    let backup = backup.to_str().unwrap();
    world.hub.operator.command(&["backup", backup]).unwrap().ok().unwrap();
    world.enter(&anna, 0, &add(10)).unwrap();
    until_count(&world, 11);
    world.enter(&ben, 1, &add(100)).unwrap();
    world.enter(&ben, 1, &insert("item", "name", "bucket")).unwrap();
    until_count(&world, 111);
    all_is_whole(&mut world);
    world.hub.stop().unwrap();
    world.gateways[1].kill();
    world.hub.operator.command(&["restore", backup]).unwrap().ok().unwrap();
    world.hub.start().unwrap();
    until_problem(&world, "stopped", "of these sites know more: site-1");
    world.hub.operator.command(&["resume"]).unwrap().ok().unwrap();
    // What the lost gateway had brought is nowhere now, also not where it had been shown.
    let hub = world.hub.database().to_path_buf();
    for database in [hub.as_path(), world.gateways[0].database()] {
        crate::world::until_cell(database, ("item", ITEM), "count", &number(11)).unwrap();
        let items = tables::count(database, "SELECT count(*) FROM item").unwrap();
        assert_eq!(items, 1, "{}", database.display());
    }
    let said = world.hub.operator.command(&["status"]).unwrap().ok().unwrap();
    assert!(said.contains("1 came back, of 2 nobody has returned what they were"), "{said}");
    // Its handheld has the rest: what was not told to be durable comes, the rest is lost.
    world.gateways[0].command(&["ledger"]).unwrap().ok().unwrap();
    world.hub.operator.command(&["ledger"]).unwrap().ok().unwrap();
    // The gateway is found again: all of it comes back.
    world.gateways[1].start().unwrap();
    until_count(&world, 111);
    all_is_whole(&mut world);
    let said = world.hub.operator.command(&["status"]).unwrap().ok().unwrap();
    assert!(said.contains("3 came back, of 0 nobody has returned"), "{said}");
    world.stop().unwrap();
}
