//! The gateway's real store between hostile handhelds, a hostile hub and a hostile
//! program that writes SQL.
//!
//! Every input begins with a store that has the schema and some rows. Whatever is
//! offered, answered or written: no error of the store, which would end the process,
//! and end it again at each start; the books balance; and what was acknowledged is
//! there, as it was offered.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rusqlite::Connection;
use tempfile::TempDir;
use wadi_gateway::store::compact::Keep;
use wadi_gateway::store::{IntakeError, Opening, RoundInput, Store};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, GatewayId, RunId};
use wadi_protocol::link::message::{Fate, FeedCursor};
use wadi_protocol::schema::Schema;
use wadi_protocol::wire::batch::{self, Batch};
use wadi_protocol::wire::brief;
use wadi_protocol::wire::message::{self, Down, DownBody, Up};

use crate::hostile::Cast;
use crate::model::NOW_S;
use crate::paper::Paper;
use crate::script::Script;
use crate::world::{SCHEMA, row};
use crate::{folder, fuzz, memory};

/// What one input may do, at most.
const STEPS_MAX: usize = 40;
const LOOK_STEPS: usize = 10;
/// Messages of the hub that one step may lead to.
const ANSWERS_MAX: usize = 8;

/// The schema that a gateway is first given.
pub static VILLAGE: LazyLock<Schema> = LazyLock::new(|| {
    let file: wadi_protocol::schema::file::SchemaFile = toml::from_str(SCHEMA).expect("a schema");
    file.number(None).expect("a good schema")
});

/// A gateway's database with the schema, as every input finds it.
static BEGINNING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = folder::new();
    let mut hub = wadi_hub::store::Store::open(&folder.path().join("hub.db")).unwrap();
    hub.begin_run(NOW_S).unwrap();
    hub.publish_schema(SCHEMA, NOW_S).unwrap();
    let gateway = crate::world::enrol(&mut hub, "north");
    let mut store = open(&folder.path().join("gateway.db"), gateway, 1);
    let mut ups =
        store.round(RoundInput::Begin { delegate: false, urgent: false }, NOW_S).unwrap().messages;
    while !ups.is_empty() {
        let mut downs = Vec::new();
        for up in &ups {
            downs.extend(hub.hear(gateway, &message::decode(up).unwrap(), NOW_S).unwrap());
        }
        ups.clear();
        for down in downs {
            ups.extend(store.round(RoundInput::Heard(down), NOW_S).unwrap().messages);
        }
    }
    assert_eq!(store.schema().as_deref(), Some(&*VILLAGE));
    drop(store);
    fs::read(folder.path().join("gateway.db")).unwrap()
});

/// A store of its own, in this folder, as every input begins with it.
pub fn begin(folder: &Path) -> Store {
    let path = folder.join("gateway.db");
    fs::write(&path, &*BEGINNING).expect("there is room");
    open(&path, GatewayId(1), 2)
}

fn open(path: &Path, gateway: GatewayId, start: u64) -> Store {
    let random = [0x6a7e, start << 20];
    let opening =
        Opening { path: path.into(), site: "north".into(), gateway, now_s: NOW_S, random };
    Store::open(&opening).unwrap_or_else(|error| panic!("a start fails: {error}"))
}

/// Everything that the changelog of a gateway's file holds, by dot.
pub fn changelog(path: &Path) -> BTreeMap<Dot, Change> {
    let db = Connection::open(path).expect("a database");
    let mut query = db.prepare("SELECT body FROM wadi_change").expect("a gateway's database");
    let bodies = query.query_map((), |row| row.get::<_, Vec<u8>>(0)).expect("bodies");
    let change = |body: rusqlite::Result<Vec<u8>>| {
        let change: Change = postcard::from_bytes(&body.expect("a body")).expect("a change");
        (change.dot, change)
    };
    bodies.map(change).collect()
}

/// The cast around a village: two phones, the gateway's own device, others.
pub fn cast(own: DeviceId) -> Cast {
    let device = |id, run, label: &str| (DeviceId(id), RunId(run), label.to_owned());
    let mut rows = Vec::new();
    for number in 1..6 {
        rows.extend((1..=8).map(|table| (table, row(u64::from(table) * 10 + number))));
    }
    Cast {
        runs: vec![
            device(9, 1009, "anna"),
            device(8, 1008, "bert"),
            device(9, 2, "anna"),
            (own, RunId(77), "gateway".into()),
        ],
        seqs: BTreeMap::new(),
        rows,
        schema: VILLAGE.clone(),
        hubs: vec![RunId(0x4b), RunId::NONE, RunId(77)],
        head: 50,
        now_s: NOW_S,
    }
}

struct Play {
    folder: TempDir,
    path: PathBuf,
    store: Option<Store>,
    starts: u64,
    cast: Cast,
    paper: Paper,
    acknowledged: BTreeMap<Dot, Change>,
}

#[test]
fn the_gateways_store_takes_any_hub_handheld_and_program() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let mut play = Play::begin();
        for step in 1..=STEPS_MAX {
            if script.is_over() {
                break;
            }
            play.step(&mut script);
            if step % LOOK_STEPS == 0 {
                play.look();
            }
        }
        play.restart();
        play.look();
    });
}

impl Play {
    fn begin() -> Play {
        let folder = folder::new();
        let path = folder.path().join("gateway.db");
        let store = begin(folder.path());
        let mut cast = cast(store.device());
        // The true hub's run is known from the first round.
        let hub = Connection::open(&path).and_then(|db| {
            db.query_row("SELECT run FROM wadi_hub", (), |row| row.get::<_, i64>(0))
        });
        cast.hubs[0] = RunId(hub.expect("a hub was heard") as u64);
        Play {
            folder,
            path,
            store: Some(store),
            starts: 2,
            cast,
            paper: Paper::default(),
            acknowledged: BTreeMap::new(),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("open")
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => self.ask(script),
            1 if script.one_in(2) => self.restart(),
            2..=3 => self.program(script),
            4..=7 => self.take(script),
            8 => self.compact(),
            _ => self.round(script),
        }
    }

    /// Handhelds offer something, altered on the way or not, several at once.
    fn take(&mut self, script: &mut Script<'_>) {
        let mut batches = Vec::new();
        for _ in 0..=script.byte() % 3 {
            let batch = self.cast.batch(script);
            if script.one_in(4) {
                batches.extend(batch::decode(&script.altered(batch::encode(&batch))));
            }
            batches.push(batch);
        }
        let (store, mut answers) = (self.store(), None);
        memory::stores(|| answers = Some(store.intake(&batches, NOW_S)));
        let answers = answers.expect("asked").expect("taken or refused");
        for (batch, answer) in batches.iter().zip(answers) {
            match answer {
                Ok(()) => self.acknowledge(batch),
                Err(IntakeError::Refused { reason }) => assert!(!reason.is_empty()),
                Err(busy) => panic!("nobody holds the store: {busy}"),
            }
        }
    }

    fn acknowledge(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.acknowledged.entry(change.dot).or_insert_with(|| change.clone());
        }
    }

    /// The round goes on: something is begun or asked again, and the hub says anything.
    fn round(&mut self, script: &mut Script<'_>) {
        let begin = RoundInput::Begin { delegate: !script.one_in(3), urgent: script.one_in(8) };
        let input = if script.one_in(4) { RoundInput::Retry } else { begin };
        self.input(input);
        for _ in 0..=script.byte() % 3 {
            let downs = self.paper.answers(script, &self.cast);
            for down in downs.into_iter().take(ANSWERS_MAX) {
                let bytes = message::encode(&down);
                let down = if script.one_in(16) {
                    message::decode(&script.altered(bytes)).unwrap_or(down)
                } else {
                    down
                };
                match brief::down(&down).filter(|_| script.one_in(2)) {
                    Some(bytes) if script.one_in(4) => {
                        self.input(RoundInput::Brief(script.altered(bytes)));
                    }
                    Some(bytes) => self.input(RoundInput::Brief(bytes)),
                    None => self.input(RoundInput::Heard(down)),
                }
            }
        }
    }

    fn input(&mut self, input: RoundInput) {
        let said = input.clone();
        let (store, mut answer) = (self.store(), None);
        memory::stores(|| answer = Some(store.round(input, NOW_S)));
        let answer = answer.expect("asked");
        let answer = answer.unwrap_or_else(|error| panic!("{error}, after {said:?}"));
        for bytes in answer.messages {
            if let Ok(brief) = brief::read_up(&bytes) {
                // No hub of paper knows what is left out.
                let (hub, round) = (RunId::NONE, brief.round);
                let down = Down { hub, known: hub, round, body: DownBody::Unclear };
                self.input(RoundInput::Heard(down));
                continue;
            }
            let up: Up = message::decode(&bytes).expect("our own messages are sound");
            self.paper.hear(&up);
        }
    }

    /// Handhelds ask what only reads.
    fn ask(&mut self, script: &mut Script<'_>) {
        let dot = self.cast.any_dot(script);
        let feed = FeedCursor { run: dot.run, seq: script.number() };
        let store = self.store();
        store.feed(dot.device, feed).expect("a page");
        store.welcome(feed, NOW_S).expect("a welcome");
        let span = (dot.device, dot.run, script.number(), script.number());
        store.fates(&[span]).expect("fates");
        store.status().expect("a status");
    }

    /// Another program writes. What a trigger refuses is its own trouble.
    fn program(&mut self, script: &mut Script<'_>) {
        let db = Connection::open(&self.path).expect("a database");
        let _ = db.execute_batch(&statements(script, &self.cast));
        self.store().drain(NOW_S).expect("drained");
    }

    /// Of what the hub says to be safe, only numbers stay.
    fn compact(&mut self) {
        let keep = Keep { age_s: 0, bytes: 0 };
        while self.store().compact(keep, false, NOW_S).expect("compacted").more {}
    }

    /// As after a power cut.
    fn restart(&mut self) {
        self.store = None;
        self.starts += 1;
        self.store = Some(open(&self.path, GatewayId(1), self.starts));
    }

    /// The books balance, and what was acknowledged is there, or was let go for good.
    fn look(&mut self) {
        let ledger = self.store().ledger().expect("a ledger");
        assert_eq!(ledger.faults, Vec::<String>::new());
        self.store().status().expect("a status");
        let mut held = changelog(&self.path);
        let store = self.store.as_ref().expect("open");
        for (dot, change) in &self.acknowledged {
            let Some(held) = held.remove(dot) else {
                let span = (dot.device, dot.run, dot.seq, dot.seq);
                let told = store.fates(&[span]).expect("fates");
                let durable = matches!(told[..], [(.., Fate::Durable)]);
                assert!(durable, "{dot} was acknowledged: {told:?}");
                continue;
            };
            assert_eq!(Change { contained: change.contained, ..held }, *change);
        }
        assert!(self.folder.path().is_dir());
    }
}

/// SQL that some program may run.
fn statements(script: &mut Script<'_>, cast: &Cast) -> String {
    let mut sql = String::from("BEGIN;");
    for _ in 0..=script.byte() % 6 {
        let (number, id) = *script.pick(&cast.rows);
        let table = cast.schema.table(number).expect("a table of the schema");
        let field = &script.pick(&table.fields).name;
        let (table, value) = (&table.name, literal(script, cast));
        sql += &match script.byte() % 12 {
            0 => "INSERT INTO wadi_group (name) VALUES ('visit');".to_owned(),
            1 => "DELETE FROM wadi_group;".to_owned(),
            2 => format!("DELETE FROM {table} WHERE id = '{id}';"),
            3 | 4 => format!("UPDATE {table} SET {field} = {value} WHERE id = '{id}';"),
            5 => format!("UPDATE {table} SET {field} = {value};"),
            6 => format!("INSERT OR REPLACE INTO {table} (id, {field}) VALUES ('{id}', {value});"),
            7 | 8 => captured(script, cast, number),
            _ => format!("INSERT OR IGNORE INTO {table} (id, {field}) VALUES ('{id}', {value});"),
        };
    }
    sql + "COMMIT;"
}

/// A line in the place of what triggers write down. Of rows that are nowhere else: one that
/// lies about a row there would take that row away, as the program could by itself.
fn captured(script: &mut Script<'_>, cast: &Cast, number: u16) -> String {
    let id = row(9_000 + u64::from(script.byte() % 8));
    let list = |script: &mut Script<'_>| {
        if script.one_in(4) {
            return "NULL".to_owned();
        }
        let fields = cast.schema.table(number).map_or(0, |table| table.fields.len());
        let list: Vec<String> = (0..fields).map(|_| literal(script, cast)).collect();
        let mut list = list.join(",").into_bytes();
        if script.one_in(2) {
            list = script.altered(list);
        }
        format!("'{}'", String::from_utf8_lossy(&list).replace(['\0'], "").replace('\'', "''"))
    };
    let (old, new) = (list(script), list(script));
    let number = if script.one_in(8) { script.number() as i64 } else { number.into() };
    let group = if script.one_in(4) { script.number() as i64 } else { 1 };
    let id = if script.one_in(8) { "CAST(X'ff' AS TEXT)".into() } else { format!("'{id}'") };
    format!(
        "INSERT INTO wadi_capture (tbl, id, op, grp, old, new)
         VALUES ({number}, {id}, 'U', {group}, {old}, {new});"
    )
}

/// A literal as SQLite's `quote()` writes it.
fn literal(script: &mut Script<'_>, cast: &Cast) -> String {
    match script.byte() % 8 {
        0 => "NULL".into(),
        1 => (script.number() as i64).to_string(),
        2 => "1.5e300".into(),
        3 => "X'6162ff00'".into(),
        4 => format!("'{}'", script.pick(&cast.rows).1),
        5 => "'[\"a\",\"b\"]'".into(),
        6 => "''".into(),
        _ => "'it''s'".into(),
    }
}
