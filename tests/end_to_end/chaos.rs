//! The workload while everything breaks: dozens of SIGKILLs of gateways, hub,
//! handhelds and broker, wiped brokers, links cut mid-frame and mid-part, silent
//! links, noise on the serial line, MQTT messages doubled, overtaken and lost.
//!
//! Every choice comes from one seed. Handhelds roam between the gateways, so that
//! changes are offered by several routes. Then everything heals, and the tables must
//! equal the model: nothing lost, nothing twice, sums exact.
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use wadi_harness::handheld::{Handheld, Link, TRY_LATER, UNAVAILABLE};
use wadi_harness::model::Model;
use wadi_harness::random::{Random, seed};
use wadi_harness::records::{self, Record, by_device};
use wadi_harness::relay::Relay;

use crate::ledger;
use crate::world::{PATIENCE, World};

const CHANGES: usize = 5_000;
/// Counters that every device adds to.
const TALLIES: usize = 6;
/// One in so many records is followed by an addition to some counter.
const TALLY_EVERY: usize = 12;
/// Records that a handheld takes in before it syncs.
const SLICE: usize = 90;
/// SIGKILLs of gateways, hub, broker and handhelds that must have happened.
const KILLS_MIN: u32 = 40;
/// After this long the links are mended, whoever still has records.
const TROUBLE_MAX: Duration = Duration::from_secs(100);
/// The device whose handheld stays on the serial line.
const SERIAL_DEVICE: &str = "agri-1";

/// The sample's schema and a table that everybody adds to.
const TALLY_TABLE: &str = "
[tables.tally]
scope = \"global\"
lane = \"urgent\"

[tables.tally.fields]
name = { type = \"text\" }
count = { type = \"integer\", merge = \"sum\" }
amount = { type = \"decimal\", scale = 2, merge = \"sum\" }
";

#[test]
fn five_thousand_changes_survive_kills_cuts_and_a_shuffling_broker() {
    let seed = seed("chaos");
    let mut random = Random::seeded(seed);
    let schema = records::sample_schema().unwrap() + TALLY_TABLE;
    let records = with_tallies(records::sample(CHANGES).unwrap(), &mut random);
    let mut world = World::start(&schema, 2, true, seed).unwrap();
    let lans: Vec<Relay> =
        (0..2).map(|at| Relay::tcp(world.gateways[at].port(), random.bits()).unwrap()).collect();
    let links = Links { lan: [lans[0].port(), lans[1].port()], serial: world.serial() };
    let devices: Vec<(Handheld, Vec<Record>)> = by_device(&records)
        .into_iter()
        .map(|(device, records)| (world.handheld(&device), records))
        .collect();
    // Deltas need a schema; the rest of the day may be as bad as it gets.
    world.until_schema().unwrap();
    for (handheld, _) in &devices {
        handheld.learn(&world.lan(0), PATIENCE).unwrap();
    }
    make_trouble(&world, &lans);

    let kills = AtomicU32::new(0);
    let breaking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let collectors: Vec<_> = devices
            .iter()
            .map(|(handheld, records)| {
                let mut random = random.fork();
                let (links, kills, breaking) = (&links, &kills, &breaking);
                scope.spawn(move || collect(handheld, records, links, &mut random, kills, breaking))
            })
            .collect();
        let busy = || collectors.iter().any(|thread| !thread.is_finished());
        let began = Instant::now();
        while kills.load(Ordering::Relaxed) < KILLS_MIN || (busy() && began.elapsed() < TROUBLE_MAX)
        {
            if let Err(error) = break_something(&mut world, &lans, &mut random, &kills) {
                breaking.store(false, Ordering::Relaxed);
                panic!("{error:#}");
            }
        }
        // Those who still sync do so on links that work again.
        breaking.store(false, Ordering::Relaxed);
        heal(&mut world, &lans).unwrap();
        for collector in collectors {
            collector.join().expect("a collector panicked").unwrap();
        }
    });

    let expected = Model::of(&world.plan, &records).unwrap().tables();
    world.until_all_equal(&expected, PATIENCE * 2).unwrap();
    let handhelds: Vec<(Handheld, Vec<Record>)> = devices;
    ledger::settled(&world, &handhelds, &Link::Tcp(links.lan[0]), records.len()).unwrap();
    tell(&world, &lans, kills.load(Ordering::Relaxed));
    world.stop().unwrap();
}

/// Where handhelds sync.
struct Links {
    lan: [u16; 2],
    serial: Link,
}

/// Counters first, then an addition after every so many records, by the same device at the same time.
fn with_tallies(records: Vec<Record>, random: &mut Random) -> Vec<Record> {
    let ids: Vec<String> = (0..TALLIES).map(|_| random.uuid()).collect();
    let start_ms = records[0].json["ts"].as_u64().expect("records have a ts");
    let mut all: Vec<Record> = ids
        .iter()
        .map(|id| {
            let fields = json!({"name": "tally", "count": 1000, "amount": 0.5});
            Record::of(json!({"op": "insert", "table": "tally", "id": id, "ts": start_ms, "device": records[0].device, "fields": fields}))
        })
        .collect();
    for (at, record) in records.into_iter().enumerate() {
        let (ts, device) = (record.json["ts"].clone(), record.device.clone());
        all.push(record);
        if at % TALLY_EVERY == 0 {
            let id = &ids[random.within(0..TALLIES as u64) as usize];
            let (count, hundredths) = (random.within(0..20) as i64 - 7, random.within(0..500));
            let fields =
                json!({"count": {"add": count}, "amount": {"add": hundredths as f64 / 100.0}});
            all.push(Record::of(json!({"op": "update", "table": "tally", "id": id, "ts": ts, "device": device, "fields": fields})));
        }
    }
    all
}

fn make_trouble(world: &World, lans: &[Relay]) {
    for relay in lans {
        relay.trouble().cut_after(Some(2_000..60_000));
    }
    for relay in world.uplinks.iter().chain([&world.hub_link]) {
        relay.trouble().cut_after(Some(8_000..200_000));
        relay.trouble().shuffle(120, 120, 120, 40);
    }
    let line = world.line.as_ref().expect("a line").trouble();
    line.cut_after(Some(12_000..80_000));
    line.make_noise(1);
}

/// One handheld's day: take in a slice, sync it over whatever link, be killed now and then.
fn collect(
    handheld: &Handheld,
    records: &[Record],
    links: &Links,
    random: &mut Random,
    kills: &AtomicU32,
    breaking: &AtomicBool,
) -> Result<()> {
    let serial = handheld.database().ends_with(format!("handheld-{SERIAL_DEVICE}.db"));
    let link = |random: &mut Random| match serial {
        true => links.serial.clone(),
        // It stays at its home mostly, and roams at times.
        false => Link::Tcp(links.lan[usize::from(random.chance(250))]),
    };
    // Whoever still has records when the trouble ends brings them over sound links.
    let home = if serial { links.serial.clone() } else { Link::Tcp(links.lan[0]) };
    for slice in records.chunks(SLICE) {
        handheld.import(slice)?;
        if !breaking.load(Ordering::Relaxed) {
            handheld.sync_well(&home, PATIENCE * 2)?;
        }
        while breaking.load(Ordering::Relaxed) {
            if random.chance(200) {
                let moment = Duration::from_millis(random.within(1..250));
                if !handheld.begin_sync(&link(random))?.kill_after(moment)? {
                    kills.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            let outcome = handheld.sync(&link(random))?;
            if outcome.code == Some(0) {
                break;
            }
            let again = matches!(outcome.code, Some(UNAVAILABLE | TRY_LATER));
            ensure!(again, "{outcome:?}");
        }
    }
    Ok(())
}

/// One fault, at a moment and of a kind that the seed chose.
fn break_something(
    world: &mut World,
    lans: &[Relay],
    random: &mut Random,
    kills: &AtomicU32,
) -> Result<()> {
    std::thread::sleep(Duration::from_millis(random.within(50..900)));
    let kind = random.within(0..12);
    let gateway = random.within(0..2) as usize;
    let down = Duration::from_millis(random.within(0..400));
    match kind {
        0..=3 => {
            world.gateways[gateway].kill();
            std::thread::sleep(down);
            world.gateways[gateway].start()?;
        }
        4..=6 => {
            world.hub.kill();
            std::thread::sleep(down);
            world.hub.start()?;
        }
        7 | 8 => {
            world.broker.kill();
            if kind == 8 {
                world.broker.wipe()?;
            }
            std::thread::sleep(down);
            world.broker.restart()?;
        }
        9 => {
            // Half-open for longer than anybody's deadline.
            world.uplinks[gateway].trouble().go_silent(true);
            std::thread::sleep(Duration::from_millis(2_500));
            world.uplinks[gateway].trouble().go_silent(false);
        }
        10 => lans[gateway].cut(),
        _ => world.uplinks[gateway].cut(),
    }
    if kind <= 8 {
        kills.fetch_add(1, Ordering::Relaxed);
    }
    world.check().context("a process ended by itself")
}

fn heal(world: &mut World, lans: &[Relay]) -> Result<()> {
    for relay in lans.iter().chain(&world.uplinks).chain([&world.hub_link]) {
        relay.trouble().heal();
        relay.cut();
    }
    world.line.as_ref().expect("a line").trouble().heal();
    world.check()
}

/// What was done to them, so that a log shows that it was something.
fn tell(world: &World, lans: &[Relay], kills: u32) {
    let sum = |counter: fn(&wadi_harness::trouble::Trouble) -> &std::sync::atomic::AtomicU64| {
        let relays = lans.iter().chain(&world.uplinks).chain([&world.hub_link]);
        relays.map(|relay| counter(relay.trouble()).load(Ordering::Relaxed)).sum::<u64>()
    };
    let line = world.line.as_ref().expect("a line").trouble();
    eprintln!(
        "chaos: {kills} kills; {} cuts, {} doubled, {} overtaken, {} lost; serial: {} cuts, {} noises",
        sum(|trouble| &trouble.cuts),
        sum(|trouble| &trouble.duplicates),
        sum(|trouble| &trouble.delays),
        sum(|trouble| &trouble.losses),
        line.cuts.load(Ordering::Relaxed),
        line.noises.load(Ordering::Relaxed),
    );
    assert!(sum(|trouble| &trouble.duplicates) > 0 && sum(|trouble| &trouble.delays) > 0);
    assert!(line.cuts.load(Ordering::Relaxed) > 0);
}
