//! What people who look after a site rely on: sync on demand, a hub that is not
//! ready, files that others cannot read.
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use wadi_harness::handheld::Link;

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";

#[test]
fn sync_on_demand_works_beside_a_running_gateway_and_without_one() {
    let mut world = World::start(SCHEMA, 1, false, 71).unwrap();
    let handheld = world.handheld("anna");
    handheld.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}})).unwrap();
    let link = Link::Tcp(world.gateways[0].port());
    handheld.sync_well(&link, PATIENCE).unwrap();
    let durable = |world: &World| world.hub.operator.json(&["status"]).unwrap()["durable"].as_u64();
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    assert_eq!(durable(&world), Some(1));

    world.gateways[0].stop().unwrap();
    let database = world.gateways[0].database().to_path_buf();
    let write = "INSERT INTO visit (patient) VALUES ('q')";
    rusqlite::Connection::open(&database).unwrap().execute(write, ()).unwrap();
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    assert_eq!(durable(&world), Some(2));

    world.hub.stop().unwrap();
    let outcome = world.gateways[0].command(&["sync"]).unwrap();
    assert_eq!(outcome.code, Some(69), "{outcome:?}");
    assert!(outcome.stderr.contains("hub"), "{outcome:?}");
    world.stop().unwrap();
}

#[test]
fn databases_are_not_for_everybody() {
    let mut world = World::start(SCHEMA, 1, false, 73).unwrap();
    let handheld = world.handheld("anna");
    handheld.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}})).unwrap();
    for file in [world.hub.database(), world.gateways[0].database(), handheld.database()] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{}: mode {mode:o}", file.display());
    }
    world.stop().unwrap();
}

#[test]
fn a_mistyped_hub_database_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hub.toml");
    std::fs::write(&config, "database = \"hbu.db\"\n").unwrap();
    let mut command = wadi_harness::binaries::command("wadi-hub").unwrap();
    let output = command.arg("--config").arg(&config).arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hbu.db"));
    assert!(!folder.path().join("hbu.db").exists());
}
