//! A gateway on a small disk of its own that another program fills to the last byte, and
//! on one that fails: records are refused before it is full and kept by handhelds, sync
//! goes on, and all of it comes back by itself with the room.
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use wadi_harness::disk::Disk;
use wadi_harness::handheld::Handheld;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
/// Of the disk; the reserve is 4.
const MEGABYTES: u64 = 48;
/// All is as before so soon after there is room again.
const MINUTE: Duration = Duration::from_secs(60);
/// Exit code of a handheld: try again later.
const LATER: Option<i32> = Some(75);
/// Exit code of a gateway whose disk fails.
const DISK: Option<i32> = Some(74);

fn visit(patient: &str) -> Value {
    json!({"op": "insert", "table": "visit", "fields": {"patient": patient}})
}

fn patients(database: &Path) -> Vec<String> {
    let db = Connection::open(database).unwrap();
    let mut rows = db.prepare("SELECT patient FROM visit ORDER BY patient").unwrap();
    rows.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A world whose first gateway has its database on a disk of its own.
fn world(seed: u64) -> (World, Disk) {
    let mut world = World::start(SCHEMA, 1, true, seed).unwrap();
    world.until_schema().unwrap();
    let disk = Disk::mount(world.folder(), MEGABYTES).unwrap();
    world.gateways[0].stop().unwrap();
    world.gateways[0].move_to(disk.folder()).unwrap();
    world.gateways[0].start().unwrap();
    (world, disk)
}

fn until_patients(database: &Path, wanted: usize, deadline: Duration) {
    until(&format!("{wanted} patients"), deadline, || {
        let found = patients(database);
        Ok(Look::when(found.len() == wanted, || format!("{found:?}")))
    })
    .unwrap();
}

fn problems(world: &World) -> Vec<String> {
    let status = world.gateways[0].json(&["status"]).unwrap();
    let problems = status["problems"].as_array().unwrap().iter();
    problems.map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

fn until_problem(world: &World, code: &str, there: bool) {
    until(&format!("{code} to be {there}"), MINUTE, || {
        let found = problems(world);
        Ok(Look::when(found.iter().any(|found| found == code) == there, || format!("{found:?}")))
    })
    .unwrap();
}

/// The handheld is told to keep its record, and why.
fn refused(world: &World, handheld: &Handheld) {
    for link in [world.lan(0), world.serial()] {
        let outcome = handheld.sync(&link).unwrap();
        assert_eq!(outcome.code, LATER, "{outcome:?}");
        let said = outcome.text();
        assert!(said.contains("the gateway's disk is nearly full"), "{said}");
    }
    let status = handheld.status().unwrap();
    assert_eq!(status["changes"]["pending"], 1, "{status}");
}

#[test]
fn a_disk_that_others_fill_stops_intake_in_time_and_nothing_else() {
    let (mut world, disk) = world(611);
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    world.enter(&anna, 0, &visit("a1")).unwrap();
    until_patients(world.hub.database(), 1, PATIENCE);
    world.offline(0);
    world.enter(&anna, 0, &visit("a2")).unwrap();
    let started = world.gateways[0].id();

    // Another program takes every byte that it can get, again and again.
    assert!(disk.fill().unwrap() > 20 << 20);
    until_problem(&world, "no-room", true);
    disk.fill().unwrap();
    ben.put(&visit("b1")).unwrap();
    refused(&world, &ben);
    let program = Connection::open(world.gateways[0].database()).unwrap();
    let said = program.execute("INSERT INTO visit (patient) VALUES ('s1')", ()).unwrap_err();
    assert!(said.to_string().contains("wadi: the disk is nearly full"), "{said}");
    drop(program);

    // What was taken before leaves, what is decided elsewhere comes, all on the reserve.
    world.online(0);
    until_patients(world.hub.database(), 2, PATIENCE);
    let status = world.gateways[0].json(&["status"]).unwrap();
    until("nothing pending", PATIENCE, || {
        let seen = world.gateways[0].json(&["status"])?;
        Ok(Look::when(seen["pending_changes"] == 0, || seen.to_string()))
    })
    .unwrap();
    assert_eq!(status["live"]["disk_scarce"], true, "{status}");

    // Not even a power cut amid it: the start needs room too.
    disk.fill().unwrap();
    assert_eq!(world.gateways[0].id(), started, "the same process all the time");
    world.gateways[0].kill();
    disk.fill().unwrap();
    world.gateways[0].start().unwrap();
    refused(&world, &ben);
    world.check().unwrap();

    // By itself, once there is room.
    let started = world.gateways[0].id();
    disk.empty().unwrap();
    ben.sync_well(&world.serial(), MINUTE).unwrap();
    let program = Connection::open(world.gateways[0].database()).unwrap();
    program.execute("INSERT INTO visit (patient) VALUES ('s1')", ()).unwrap();
    drop(program);
    until_problem(&world, "no-room", false);
    for database in world.databases() {
        until_patients(&database, 4, MINUTE);
        assert_eq!(patients(&database), ["a1", "a2", "b1", "s1"]);
    }
    let reserve = disk.folder().join("gateway-1.db-reserve").metadata().unwrap().len();
    assert_eq!((world.gateways[0].id(), reserve), (started, 4 << 20));
    world.gateways[0].command(&["ledger"]).unwrap().ok().unwrap();
    world.stop().unwrap();
}

#[test]
fn a_disk_that_becomes_read_only_is_waited_for() {
    let (mut world, disk) = world(612);
    let anna = world.handheld("anna");
    world.enter(&anna, 0, &visit("a1")).unwrap();
    disk.fail().unwrap();
    anna.put(&visit("a2")).unwrap();
    assert_ne!(anna.sync(&world.lan(0)).unwrap().code, Some(0), "nothing was taken");
    assert_eq!(world.gateways[0].ended(MINUTE).unwrap(), DISK, "{}", world.gateways[0].tail());
    assert!(world.gateways[0].tail().contains("the disk fails"), "{}", world.gateways[0].tail());

    // Started again it waits, as often as that may be, and status says what for.
    world.gateways[0].launch().unwrap();
    until("the gateway to wait", MINUTE, || {
        let tail = world.gateways[0].tail();
        Ok(Look::when(tail.contains("waiting for the disk"), || tail.clone()))
    })
    .unwrap();
    world.gateways[0].check().unwrap();
    assert!(problems(&world).contains(&"read-only".to_owned()), "{:?}", problems(&world));

    // As after a start of the box.
    disk.detach().unwrap();
    disk.attach().unwrap();
    anna.sync_well(&world.lan(0), MINUTE).unwrap();
    for database in world.databases() {
        until_patients(&database, 2, MINUTE);
    }
    world.stop().unwrap();
}
