//! Children before their parent, and parents that go while children come.
use anyhow::Result;
use serde_json::{Value, json};
use wadi_harness::handheld::Handheld;
use wadi_harness::random::Random;
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World, text};

/// A parent with a child for each rule.
const SCHEMA: &str = r#"
name = "stations"

[tables.station.fields]
name = { type = "text" }

[tables.reading.fields]
station = { type = "reference", table = "station", on_delete = "restrict" }
value = { type = "text" }

[tables.photo.fields]
station = { type = "reference", table = "station", on_delete = "cascade" }
value = { type = "text" }

[tables.visit.fields]
station = { type = "reference", table = "station", on_delete = "set-null" }
value = { type = "text" }
"#;

fn insert(table: &str, id: &str, fields: Value) -> Value {
    json!({"op": "insert", "table": table, "id": id, "fields": fields})
}

/// No row anywhere refers to a row that is not there.
fn no_orphan(world: &World) {
    for database in world.databases() {
        for child in ["reading", "photo", "visit"] {
            let sql = format!(
                "SELECT count(*) FROM \"{child}\" c WHERE c.station IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM station s WHERE s.id = c.station)"
            );
            assert_eq!(count(&database, &sql).unwrap(), 0, "{child} in {}", database.display());
        }
    }
}

/// The queue still moves: an ordinary record gets through everywhere.
fn the_queue_moves(
    world: &World,
    handheld: &Handheld,
    gateway: usize,
    random: &mut Random,
) -> Result<()> {
    let id = random.uuid();
    world.enter(handheld, gateway, &insert("station", &id, json!({"name": "later"})))?;
    world.until_cell(("station", &id), "name", text("later"))
}

#[test]
fn children_wait_for_a_parent_that_comes_by_another_village() {
    let mut world = World::start(SCHEMA, 2, false, 31).unwrap();
    let mut random = Random::seeded(31);
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    let (parent, child, second) = (random.uuid(), random.uuid(), random.uuid());
    // In one import a child may stand before its parent, too.
    world
        .enter(&anna, 0, &insert("reading", &child, json!({"station": parent, "value": "7"})))
        .unwrap();
    world
        .enter(&anna, 0, &insert("photo", &second, json!({"station": parent, "value": "p"})))
        .unwrap();
    the_queue_moves(&world, &anna, 0, &mut random).unwrap();
    until("both children to be parked", PATIENCE, || {
        let parked = world.hub.operator.json(&["status"])?["parked"].as_u64();
        Ok(Look::when(parked == Some(2), || format!("{parked:?} parked")))
    })
    .unwrap();
    assert_eq!(count(world.hub.database(), "SELECT count(*) FROM reading").unwrap(), 0);
    world.enter(&ben, 1, &insert("station", &parent, json!({"name": "well"}))).unwrap();
    // The first village has shown its own children all along; it gets the parent, too.
    world.until_cell(("station", &parent), "name", text("well")).unwrap();
    for (table, id) in [("reading", &child), ("photo", &second)] {
        world.until_cell((table, id), "station", text(&parent)).unwrap();
    }
    assert_eq!(world.hub.operator.json(&["status"]).unwrap()["parked"].as_u64(), Some(0));
    no_orphan(&world);
    world.stop().unwrap();
}

#[test]
fn a_parent_is_deleted_while_children_are_added_elsewhere() {
    let mut world = World::start(SCHEMA, 2, false, 32).unwrap();
    let mut random = Random::seeded(32);
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    let parents: Vec<String> = (0..3).map(|_| random.uuid()).collect();
    for parent in &parents {
        world.enter(&anna, 0, &insert("station", parent, json!({"name": "well"}))).unwrap();
    }
    for parent in &parents {
        world.until_cell(("station", parent), "name", text("well")).unwrap();
    }
    ben.sync_well(&world.lan(1), PATIENCE).unwrap();
    world.offline(0);
    world.offline(1);
    for parent in &parents {
        let delete = json!({"op": "delete", "table": "station", "id": parent});
        world.enter(&anna, 0, &delete).unwrap();
    }
    let children: Vec<String> = (0..3).map(|_| random.uuid()).collect();
    for (at, table) in ["reading", "photo", "visit"].into_iter().enumerate() {
        let fields = json!({"station": parents[at], "value": "v"});
        world.enter(&ben, 1, &insert(table, &children[at], fields)).unwrap();
    }
    world.online(0);
    world.online(1);
    the_queue_moves(&world, &anna, 0, &mut random).unwrap();
    the_queue_moves(&world, &ben, 1, &mut random).unwrap();
    // Restrict: the child keeps its parent alive.
    world.until_cell(("reading", &children[0]), "station", text(&parents[0])).unwrap();
    world.until_cell(("station", &parents[0]), "name", text("well")).unwrap();
    // Cascade: the child goes with it.
    world.until_cell(("station", &parents[1]), "name", None).unwrap();
    world.until_cell(("photo", &children[1]), "value", None).unwrap();
    // Set-null: the child stays without it.
    world.until_cell(("station", &parents[2]), "name", None).unwrap();
    world
        .until_cell(("visit", &children[2]), "station", Some(wadi_harness::plan::Cell::Null))
        .unwrap();
    no_orphan(&world);
    world.stop().unwrap();
}

/// Rows that refer to each other come in together.
#[test]
fn a_ring_of_references_is_released_together() {
    const RING: &str = "name = \"ring\"\n\n[tables.person.fields]\nname = { type = \"text\" }\nfriend = { type = \"reference\", table = \"person\", on_delete = \"set-null\" }\n";
    let mut world = World::start(RING, 2, false, 33).unwrap();
    let mut random = Random::seeded(33);
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    let (one, two) = (random.uuid(), random.uuid());
    world.enter(&anna, 0, &insert("person", &one, json!({"name": "one", "friend": two}))).unwrap();
    world.enter(&ben, 1, &insert("person", &two, json!({"name": "two", "friend": one}))).unwrap();
    world.until_cell(("person", &one), "friend", text(&two)).unwrap();
    world.until_cell(("person", &two), "friend", text(&one)).unwrap();
    world.stop().unwrap();
}
