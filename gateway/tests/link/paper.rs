//! A village of paper and glass: a gateway whose hub always agrees, and handhelds.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::watch;
use wadi_gateway::handheld::entry::enter;
use wadi_gateway::handheld::record::parse;
use wadi_gateway::handheld::store::{Draw, Opening, Origin, Store};
use wadi_gateway::handheld::sync::{Place, Sync};
use wadi_gateway::handheld::synced::{SyncError, Synced};
use wadi_gateway::links::Links;
use wadi_gateway::noise::key::KeyPair;
use wadi_gateway::reception::Reception;
use wadi_gateway::store::handhelds::Admit;
use wadi_gateway::store::thread::{Handle, OwnedInput, start};
use wadi_gateway::{lan, store as village};
use wadi_protocol::id::{GatewayId, Hash, RunId};
use wadi_protocol::round::hub::page_head;
use wadi_protocol::schema::{
    DeletePolicy, Field, History, Kind, Lane, Merge, Mode, OnDelete, Schema, Scope, Table,
};
use wadi_protocol::wire::batch;
use wadi_protocol::wire::downlink::{self, Page};
use wadi_protocol::wire::message::{
    self, Committed, Down, DownBody, Outcome, Prepared, Up, UpBody, chain, part,
};
pub const NOW_S: u64 = 1_800_000_000;
pub const HUB: RunId = RunId(0x4b);

pub fn now_s() -> u64 {
    NOW_S
}

pub fn field(number: u16, name: &str, kind: Kind, merge: Merge) -> Field {
    Field {
        number,
        name: name.into(),
        kind,
        merge,
        required: false,
        min: None,
        max: None,
        unique: false,
        label: None,
        unit: None,
    }
}

pub fn schema() -> Schema {
    let place = Kind::Reference { table: 1, on_delete: OnDelete::Cascade };
    let places = vec![
        field(1, "name", Kind::Text, Merge::LastWrite),
        field(2, "stock", Kind::Integer, Merge::Sum),
        field(3, "height", Kind::Decimal { scale: 2 }, Merge::LastWrite),
    ];
    let visits = vec![
        field(1, "place", place, Merge::LastWrite),
        field(2, "what", Kind::Text, Merge::LastWrite),
    ];
    let tables = [(1, "place", places), (2, "visit", visits)];
    let tables = tables.map(|(number, name, fields)| Table {
        number,
        name: name.into(),
        fields,
        mode: Mode::Field,
        delete: DeletePolicy::DeleteWins,
        scope: Scope::Global,
        site: None,
        lane: Lane::Routine,
        history: History::Full,
        retention_days: None,
    });
    Schema { name: "test".into(), version: 1, tables: tables.to_vec() }
}

/// A village: the gateway's store on its thread, and who listens for handhelds.
pub struct Village {
    pub folder: TempDir,
    pub handle: Handle,
    pub keys: Arc<KeyPair>,
    pub chain: Hash,
    pub seq: u64,
}

impl Village {
    pub fn new() -> Village {
        let folder = tempfile::tempdir().unwrap();
        drop(village::Store::open(&opening(folder.path(), 1)).unwrap());
        // As a round would have brought it.
        let db = Connection::open(folder.path().join("gateway.db")).unwrap();
        let body = postcard::to_allocvec(&schema()).unwrap();
        db.execute("INSERT INTO wadi_schema (version, body) VALUES (1, ?)", (body,)).unwrap();
        drop(db);
        let handle = launch(folder.path(), 2);
        let keys = Arc::new(KeyPair::draw().unwrap());
        Village { folder, handle, keys, chain: Hash::default(), seq: 0 }
    }

    pub fn reception(&self, admit: Admit) -> Reception {
        Reception { handle: self.handle.clone(), keys: Arc::clone(&self.keys), admit }
    }

    pub fn count(&self, sql: &str) -> i64 {
        let db = Connection::open(self.folder.path().join("gateway.db")).unwrap();
        db.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    /// Rounds in which the hub applies everything that is pending.
    pub async fn commit(&mut self) {
        while self.count("SELECT count(*) FROM wadi_change WHERE custody = 0") > 0 {
            self.round().await;
        }
    }

    pub async fn round(&mut self) {
        let answer = self.handle.round(OwnedInput::Begin { delegate: false, urgent: false }).await;
        let ups: Vec<Up> =
            answer.messages.iter().map(|bytes| message::decode(bytes).unwrap()).collect();
        let UpBody::Prepare(head) = &ups[0].body else { panic!("{ups:?}") };
        let mut body = head.first.clone();
        for up in &ups[1..] {
            let UpBody::Part(part) = &up.body else { panic!("{up:?}") };
            body.extend(&part.bytes);
        }
        let count = batch::decode(&body).unwrap().changes.len() as u64;
        let first = self.seq + 1;
        self.seq += count;
        let page = downlink::encode(&Page { to: [0, self.seq], clock_s: NOW_S, ..Page::default() });
        let described = page_head(head.stand(), &page, &page);
        let prepared = Prepared {
            content: head.content,
            page: described.hash,
            bytes: described.bytes,
            parts: described.parts,
            first: part(&page, 0).to_vec(),
        };
        let (known, round) = (ups[0].hub, ups[0].round);
        let say = |body| OwnedInput::Heard(Down { hub: HUB, known, round, body });
        self.handle.round(say(DownBody::Prepared(prepared))).await;
        let outcomes = vec![(count as u32, Outcome::Applied { seq: first })];
        self.chain = chain(self.chain, head.content, &outcomes);
        let chain = self.chain;
        let committed = Committed { outcomes, chain, paged: true, more: false, page: None };
        let answer = self.handle.round(say(DownBody::Committed(committed))).await;
        assert!(answer.idle, "{answer:?}");
    }
}

pub fn opening(folder: &Path, start: u64) -> village::Opening {
    // Each gateway has a device and runs of its own.
    let hash = Hash::of(&[folder.as_os_str().as_encoded_bytes()]);
    let bits = u64::from_le_bytes(hash.0[..8].try_into().unwrap());
    village::Opening {
        path: folder.join("gateway.db"),
        site: "north".into(),
        gateway: GatewayId(1),
        now_s: NOW_S,
        random: [bits, bits.rotate_left(start as u32 * 8)],
    }
}

pub fn launch(folder: &Path, start_number: u64) -> Handle {
    let store = village::Store::open(&opening(folder, start_number)).unwrap();
    let (handle, failure) = start(store, Box::new(now_s), None);
    std::mem::forget(failure);
    handle
}

/// A handheld: its file, and how it syncs.
pub struct Handheld {
    pub folder: TempDir,
    pub store: Store,
}

impl Handheld {
    pub fn new(label: &str) -> Handheld {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("handheld.db"), label);
        Handheld { folder, store }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("handheld.db")
    }

    pub fn put(&mut self, line: &str) -> String {
        let records = parse(line).expect(line);
        let device = self.store.device().label.clone();
        let entered = self.store.write(NOW_S, |work| enter(work, &records, &device)).unwrap();
        let entered = entered.expect(line);
        entered.rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    pub fn put_many(&mut self, count: usize) {
        let device = self.store.device().label.clone();
        let mut work = self.store.begin(NOW_S).unwrap();
        for at in 0..count {
            enter(&mut work, &parse(&insert(at)).unwrap(), &device).unwrap().unwrap();
        }
        work.commit().unwrap();
    }

    pub fn custody(&self, custody: &str) -> u64 {
        self.store.status().unwrap().changes[custody]
    }

    pub fn text(&self, sql: &str) -> String {
        let db = Connection::open(self.path()).unwrap();
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| row.get::<_, Option<String>>(0)).unwrap();
        let texts: Vec<String> = rows.map(|row| row.unwrap().unwrap_or("null".into())).collect();
        texts.join("|")
    }

    pub async fn try_sync(&mut self, place: Place) -> (Synced, Result<(), SyncError>) {
        let mut quiet = |_: &Synced| {};
        Sync::new(&mut self.store, place, false, now_s, &mut quiet).run().await
    }

    pub async fn sync(&mut self, place: Place) -> Synced {
        let (synced, outcome) = self.try_sync(place).await;
        outcome.unwrap_or_else(|error| panic!("{error} {synced:?}"));
        synced
    }
}

pub fn open(path: &Path, label: &str) -> Store {
    let origin = Origin { machine: "machine".into(), boot: "boot".into() };
    let opening = Opening {
        path: path.to_owned(),
        label: Some(label.into()),
        create: true,
        origin,
        draw: Draw::default(),
    };
    Store::open(&opening).unwrap().0
}

/// Serve a village on loopback, to whoever comes; where, and what stops it.
pub async fn listen(village: &Village) -> (Place, watch::Sender<bool>) {
    listen_behind(village.reception(Admit::Anyone)).await
}

pub async fn listen_behind(reception: Reception) -> (Place, watch::Sender<bool>) {
    let listener = lan::listen("127.0.0.1:0").await.unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap().to_string());
    let (stop, stopping) = watch::channel(false);
    let link = Links::new().lan("test");
    tokio::spawn(lan::serve_lan(listener, reception, link, stopping));
    (place, stop)
}

pub fn insert(at: usize) -> String {
    let ts_ms = (NOW_S - 5_000 + at as u64) * 1000;
    format!(
        r#"{{"op":"insert","table":"place","ts":{ts_ms},"fields":{{"name":"place {at}","stock":{at},"height":{at}.25}}}}"#
    )
}

pub fn update(row: &str, fields: &str) -> String {
    format!(r#"{{"op":"update","table":"place","id":"{row}","fields":{fields}}}"#)
}
