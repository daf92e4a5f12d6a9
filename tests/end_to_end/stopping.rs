//! SIGTERM while a round is in flight, at either end and in either of its phases,
//! and while a handheld hands over: an end with success by itself, and afterwards
//! nothing is lost and nothing is there twice.
use std::time::{Duration, Instant};

use serde_json::json;
use wadi_harness::handheld::Handheld;
use wadi_harness::link;
use wadi_harness::random::Random;
use wadi_harness::records::Record;
use wadi_harness::relay::Relay;
use wadi_harness::wait::{Look, until};
use wadi_harness::{handheld::Link, tables};

use crate::ledger;
use crate::world::{PATIENCE, World, number};

const SCHEMA: &str = r#"
name = "x"
[tables.tally.fields]
count = { type = "integer", merge = "sum" }
[tables.letter.fields]
text = { type = "text" }
"#;
const ROW: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";
/// Each message waits so long at most, so that a phase can be met.
const DELAY_MS: u64 = 400;
/// Additions that a handheld hands over while its gateway is stopped.
const POURED: usize = 2_000;
/// So slow that the stop comes amid them.
const RATE_BYTES_S: u64 = 20_000;

/// Who is stopped.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Gateway,
    Hub,
}

fn addition() -> Record {
    let fields = json!({"count": {"add": 1}});
    Record::of(json!({"op": "update", "table": "tally", "id": ROW, "fields": fields}))
}

/// A record that takes more than one message, so that the hub is asked to commit.
fn letter(number: u64) -> Record {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let mut random = Random::seeded(number);
    let letters = (0..7_000).map(|_| char::from(LETTERS[random.within(0..64) as usize]));
    let fields = json!({"text": letters.collect::<String>()});
    let id = format!("8dd32ccf-ea43-49e0-8514-{number:012x}");
    Record::of(json!({"op": "insert", "table": "letter", "id": id, "fields": fields}))
}

/// Hold every message at the hub's link while a round is in this phase. One that was over
/// before it was met is followed by `another`.
fn hold_in(world: &World, phase: &str, mut another: impl FnMut()) {
    until(&format!("a round that is {phase}"), PATIENCE, || {
        let seen = world.gateways[0].json(&["status"])?;
        if seen["phase"] == "idle" && seen["pending_changes"] == 0 {
            another();
        }
        let met = || world.gateways[0].json(&["status"]).map(|seen| seen["phase"] == phase);
        let held = met()? && {
            world.hub_link.trouble().go_silent(true);
            // What was on its way arrives; then nothing moves.
            std::thread::sleep(Duration::from_millis(100));
            met()?
        };
        if !held {
            world.hub_link.trouble().go_silent(false);
        }
        Ok(Look::when(held, || "another phase".into()))
    })
    .unwrap();
}

fn stop(world: &mut World, end: End, phase: &str) {
    let begun = Instant::now();
    // Past the harness's limit it would be killed, and that is an error here.
    match end {
        End::Gateway => world.gateways[0].stop().unwrap(),
        End::Hub => world.hub.stop().unwrap(),
    }
    eprintln!("{end:?} while {phase}: ended by itself after {:?}", begun.elapsed());
}

fn start(world: &mut World, end: End) {
    match end {
        End::Gateway => world.gateways[0].start().unwrap(),
        End::Hub => world.hub.start().unwrap(),
    }
}

#[test]
fn a_stop_amid_a_round_loses_and_doubles_nothing() {
    let mut world = World::start(SCHEMA, 1, false, 93).unwrap();
    world.until_schema().unwrap();
    let handheld = world.handheld("anna");
    let mut records = vec![Record::of(
        json!({"op": "insert", "table": "tally", "id": ROW, "fields": {"count": 0}}),
    )];
    world.enter(&handheld, 0, &records[0].json).unwrap();
    world.hub_link.trouble().shuffle(0, 1_000, DELAY_MS, 0);
    for phase in ["preparing", "committing"] {
        for end in [End::Gateway, End::Hub] {
            let large = phase == "committing";
            hold_in(&world, phase, || {
                let record = if large { letter(records.len() as u64) } else { addition() };
                world.enter(&handheld, 0, &record.json).unwrap();
                records.push(record);
            });
            stop(&mut world, end, phase);
            world.hub_link.trouble().go_silent(false);
            start(&mut world, end);
        }
    }
    world.hub_link.trouble().heal();
    records.extend(a_stop_amid_intake(&mut world, &handheld));
    let additions = records.iter().filter(|record| record.json["op"] == "update").count();
    world.until_cell(("tally", ROW), "count", number(additions as i64)).unwrap();
    let (link, changes) = (world.lan(0), records.len());
    ledger::settled(&world, &[(handheld, records)], &link, changes).unwrap();
    world.stop().unwrap();
}

/// A handheld hands over when its gateway is stopped; it comes back later.
fn a_stop_amid_intake(world: &mut World, handheld: &Handheld) -> Vec<Record> {
    let records: Vec<Record> = (0..POURED).map(|_| addition()).collect();
    handheld.import(&records).unwrap();
    let before = tables::count(world.gateways[0].database(), ALL).unwrap();
    let slow = Relay::tcp(world.gateways[0].port(), 94).unwrap();
    slow.lay(link::Link::of_rate(RATE_BYTES_S));
    let pouring = handheld.begin_sync(&Link::Tcp(slow.port())).unwrap();
    let taken = |world: &World| tables::count(world.gateways[0].database(), ALL).unwrap() - before;
    until("some of them to be taken", PATIENCE, || {
        Ok(Look::when(taken(world) > 0, || "none".into()))
    })
    .unwrap();
    stop(world, End::Gateway, "a handheld pours");
    let amid = taken(world);
    assert!((1..POURED as i64).contains(&amid), "{amid} of {POURED} taken before the stop");
    let cut = pouring.finish(PATIENCE).unwrap();
    assert!(matches!(cut.code, Some(69 | 75)), "{cut:?}");
    assert!(
        cut.stderr.contains("check the network") || cut.stderr.contains("run `sync` again"),
        "{cut:?}"
    );
    start(world, End::Gateway);
    handheld.sync_well(&world.lan(0), PATIENCE).unwrap();
    records
}

const ALL: &str = "SELECT count(*) FROM wadi_change";
