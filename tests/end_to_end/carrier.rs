//! A silent link is left where its pings cost more than to come back, and what happens
//! then brings it back.
use std::time::Duration;

use serde_json::json;
use wadi_harness::wait::{Look, until};

use crate::identity::edit;
use crate::world::{PATIENCE, World, text, until_cell};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";

/// Pinged each 5 s, and needed again in an hour, as far as anybody knows.
fn hasty(world: &World, more: &str) {
    let file = world.folder().join("gateway-1.toml");
    edit(&file, "[broker]", "[broker]\nkeep_alive_s = 5\nkeep_alive_max_s = 5");
    let now = std::fs::read_to_string(&file).unwrap();
    let interval = now.lines().find(|line| line.starts_with("interval_s")).unwrap().to_owned();
    edit(&file, &interval, &format!("interval_s = 3600{more}"));
}

fn link(world: &World) -> serde_json::Value {
    world.gateways[0].json(&["status"]).unwrap()["live"]["link"].clone()
}

fn until_left(world: &World, connections: u64) {
    until("the link is left", PATIENCE, || {
        let link = link(world);
        let there = link["left"] == true && link["connections"] == connections;
        Ok(Look::when(there, || link.to_string()))
    })
    .unwrap();
}

#[test]
fn a_silent_link_is_left_and_a_change_brings_it_back() {
    let mut world = World::start(SCHEMA, 1, false, 1).unwrap();
    world.until_schema().unwrap();
    world.gateways[0].stop().unwrap();
    hasty(&world, "");
    world.gateways[0].start().unwrap();
    until_left(&world, 1);
    let page = world.gateways[0].command(&["status"]).unwrap().ok().unwrap();
    assert!(page.contains("left the broker") && page.contains("or with the next change"), "{page}");
    // A record brings it back, and it is left again once that is durable.
    let anna = world.handheld("anna");
    let id = "018f0000-0000-7000-8000-000000000001";
    let record = json!({"op": "insert", "table": "visit", "id": id, "fields": {"patient": "p"}});
    world.enter(&anna, 0, &record).unwrap();
    until_left(&world, 2);
    until_cell(world.hub.database(), ("visit", id), "patient", &text("p")).unwrap();
    // So does a person.
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    until_left(&world, 3);
    world.stop().unwrap();
}

#[test]
fn who_wants_to_stay_stays() {
    let mut world = World::start(SCHEMA, 1, false, 1).unwrap();
    world.until_schema().unwrap();
    world.gateways[0].stop().unwrap();
    hasty(&world, "\nstay = true");
    world.gateways[0].start().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let link = link(&world);
    assert!(link["connected"] == true && link["left"] == false, "{link}");
    world.stop().unwrap();
}
