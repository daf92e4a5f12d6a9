//! The same set of changes by any order, batching and route gives the same bytes,
//! and every gateway's base ends equal to the hub. A failure names its seed.
use std::collections::BTreeMap;

use rusqlite::Connection;
use wadi_protocol::change::{Change, Delta, Op, Seen, SeenRow};
use wadi_protocol::id::Dot;
use wadi_protocol::schema::{Kind, OnDelete};
use wadi_protocol::value::Value;

use crate::model::{Device, Key, key_of};
use crate::world::{ALARM, HOUSE, LOCAL, PERSON, PHOTO, REMARK, VISIT, World, refer, row, text};

/// Rows that each table may come to have.
const ROWS: u64 = 6;
const STEPS: usize = 120;
const SEEDS: u64 = 24;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn row(&mut self, table: u16) -> Key {
        (table, row(u64::from(table) * 100 + self.below(ROWS as usize) as u64))
    }

    fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.below(at + 1));
        }
    }
}

fn fields(random: &mut Random, table: u16) -> Vec<(u16, Delta)> {
    let word = |random: &mut Random| text(&format!("w{}", random.below(40)));
    let reference = |random: &mut Random, table| {
        if random.below(6) == 0 { Delta::Set(Value::Null) } else { refer(random.row(table).1) }
    };
    let mut all = match table {
        HOUSE => vec![
            (1, word(random)),
            (2, word(random)),
            (3, Delta::Add(random.below(400) as i64 - 100)),
            (4, text(&format!("t{}", random.below(4)))),
        ],
        PERSON | PHOTO => vec![(1, reference(random, HOUSE)), (2, word(random))],
        VISIT => vec![(1, reference(random, PERSON)), (2, word(random))],
        ALARM | LOCAL => {
            let (words, house) = (1, 2);
            vec![(words, word(random)), (house, reference(random, HOUSE))]
        }
        _ => vec![(1, reference(random, LOCAL)), (2, word(random))],
    };
    all.retain(|_| random.below(3) > 0);
    all
}

/// What somebody at a site was shown of a row: its base, and what others did above it.
fn seen(world: &World, site: usize, device: &Device, key: Key) -> Seen {
    let site = &world.sites[site];
    let version = site.version(key);
    let mut above: Vec<Dot> = site
        .own
        .iter()
        .filter(|(change, seq)| {
            key_of(change) == Some(key) && seq.is_none_or(|seq| seq > version.seq)
        })
        .map(|(change, _)| change.dot)
        .filter(|dot| dot.device != device.id)
        .collect();
    above.sort();
    Seen { version, above }
}

/// The rows that go with a deleted one, as a site's base shows them.
fn closure(world: &World, site: usize, device: &Device, key: Key) -> Vec<SeenRow> {
    let schema = world.schema();
    let mut closure = Vec::new();
    for (child, base) in &world.sites[site].rows {
        let hangs = schema.table(child.0).unwrap().fields.iter().any(|field| {
            matches!(field.kind, Kind::Reference { table, on_delete: OnDelete::Cascade } if table == key.0)
                && base.fields.get(&field.number) == Some(&Value::Row(key.1))
        });
        if hangs {
            let seen = seen(world, site, device, *child);
            closure.push(SeenRow { table: child.0, row: child.1, seen });
        }
    }
    closure
}

fn step(world: &mut World, devices: &mut [Device], random: &mut Random) {
    let site = random.below(world.sites.len());
    if random.below(4) == 0 {
        world.sync(site);
        return;
    }
    if random.below(60) == 0 {
        world.crash();
        return;
    }
    // Handhelds keep to their site, but for one that roams.
    let at = if random.below(8) == 0 { 0 } else { site * 2 + 1 + random.below(2) };
    let table = [HOUSE, PERSON, VISIT, PHOTO, ALARM, LOCAL, REMARK][random.below(7)];
    let key = random.row(table);
    let op = match random.below(10) {
        0..4 => Op::Insert,
        4..9 => Op::Update,
        _ => Op::Delete,
    };
    let fields = if op == Op::Delete { Vec::new() } else { fields(random, table) };
    let device = &mut devices[at];
    let mut change = device.change(op, key, &fields, 1_000 + random.below(500) as u64);
    let device = device.clone();
    let shown = world.sites[site].rows.contains_key(&key);
    if shown || op != Op::Insert {
        change.seen = seen(world, site, &device, key);
    }
    if op == Op::Delete {
        change.closure = closure(world, site, &device, key);
    }
    world.sites[site].enter(&device, change);
}

/// Every change at the hub, what it had seen written out as dots: no versions, so
/// that it means the same at another hub.
fn set(world: &World) -> Vec<Change> {
    let db = Connection::open(world.folder.path().join("hub.db")).unwrap();
    let mut query =
        db.prepare("SELECT body, seen_seq, closure_seqs FROM wadi_change ORDER BY number").unwrap();
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.into_iter()
        .map(|(body, seen_seq, closure_seqs)| {
            let mut change: Change = postcard::from_bytes(&body).unwrap();
            let closure_seqs: Vec<u64> = postcard::from_bytes(&closure_seqs).unwrap();
            let key = key_of(&change).unwrap();
            write_out(&db, &mut change.seen, key, seen_seq);
            for (row, seq) in change.closure.iter_mut().zip(closure_seqs) {
                write_out(&db, &mut row.seen, (row.table, row.row), seq as i64);
            }
            change
        })
        .collect()
}

fn write_out(db: &Connection, seen: &mut Seen, key: Key, seq: i64) {
    let mut query = db
        .prepare("SELECT body FROM wadi_change WHERE tbl = ?1 AND row = ?2 AND hub_seq <= ?3")
        .unwrap();
    let bodies: Vec<Vec<u8>> = query
        .query_map(rusqlite::params![key.0, key.1.0.as_slice(), seq], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    seen.version = Default::default();
    for body in bodies {
        seen.above.push(postcard::from_bytes::<Change>(&body).unwrap().dot);
    }
    seen.above.sort();
    seen.above.dedup();
    assert!(seen.above.len() <= 64, "the test keeps within the limit");
}

/// The same changes at another hub, shuffled over its sites, some by two routes.
fn replay(changes: &[Change], devices: &[Device], random: &mut Random) -> String {
    let mut world = World::new(1 + random.below(3));
    let mut order: Vec<&Change> = changes.iter().collect();
    random.shuffle(&mut order);
    let by_id: BTreeMap<_, &Device> = devices.iter().map(|device| (device.id, device)).collect();
    for change in order {
        let device = by_id[&change.dot.device];
        for _ in 0..1 + usize::from(random.below(5) == 0) {
            let site = random.below(world.sites.len());
            if !world.sites[site].own.iter().any(|(own, _)| own.dot == change.dot) {
                world.sites[site].enter(device, change.clone());
            }
        }
        if random.below(6) == 0 {
            let site = random.below(world.sites.len());
            world.sync(site);
        }
    }
    world.settle();
    world.check();
    world.export()
}

fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new(3);
    let mut devices: Vec<Device> = (1..=7).map(Device::new).collect();
    for _ in 0..STEPS {
        step(&mut world, &mut devices, &mut random);
    }
    world.settle();
    world.check();
    let (export, changes) = (world.export(), set(&world));
    for _ in 0..2 {
        let again = replay(&changes, &devices, &mut random);
        for (one, other) in export.lines().zip(again.lines()) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(export, again, "seed {seed}");
    }
}

#[test]
fn any_order_and_route_gives_the_same_bytes() {
    let seeds = match std::env::var("WADI_SEED") {
        Ok(seeds) => {
            let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
            let number = |text: &str| text.parse().expect("WADI_SEED is a number or a range");
            (number(first)..=number(last)).collect()
        }
        Err(_) => (1..=SEEDS).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        println!("seed {seed}");
        run(seed);
    }
}
