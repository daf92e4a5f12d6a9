//! Situations of a handheld's file. The gateway is what the test says.
mod file;
mod outbox;
mod shown;

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{Dot, RowVersion, RunId};
use wadi_protocol::link::collector::Welcome;
use wadi_protocol::link::message::{Fate, FeedCursor, FeedPage, FeedRow};
use wadi_protocol::schema::{
    DeletePolicy, Field, History, Kind, Lane, Merge, Mode, OnDelete, Schema, Scope, Table,
};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch;

use super::super::entry::{Entered, enter};
use super::super::record::parse;
use super::*;
use crate::noise::key::PublicKey;

const NOW_S: u64 = 1_800_000_000;
const GATEWAY: RunId = RunId(0x6a);
const ROW: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";

fn field(number: u16, name: &str, kind: Kind, merge: Merge) -> Field {
    let name = name.into();
    Field {
        number,
        name,
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

fn schema(version: u32) -> Schema {
    let reference = Kind::Reference { table: 1, on_delete: OnDelete::Cascade };
    let mut places = vec![
        field(1, "name", Kind::Text, Merge::LastWrite),
        field(2, "stock", Kind::Integer, Merge::Sum),
        field(3, "height", Kind::Decimal { scale: 2 }, Merge::LastWrite),
        field(4, "tags", Kind::Set { values: vec![] }, Merge::Set),
        field(5, "notes", Kind::Text, Merge::Append),
    ];
    if version > 1 {
        places.push(field(6, "open", Kind::Boolean, Merge::LastWrite));
    }
    let tables =
        [(1, "place", places), (2, "visit", vec![field(1, "place", reference, Merge::LastWrite)])];
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
    Schema { name: "test".into(), version, tables: tables.to_vec() }
}

struct Phone {
    folder: TempDir,
    store: Store,
}

impl Phone {
    fn bare() -> Phone {
        let folder = tempfile::tempdir().unwrap();
        let store = open_as(&folder, "boot-1").unwrap();
        Phone { folder, store }
    }

    fn new() -> Phone {
        let mut phone = Phone::bare();
        phone.learn(1);
        phone
    }

    fn learn(&mut self, version: u32) {
        let bytes = encode(&schema(version));
        self.store.write(NOW_S, |work| work.install_schema(&bytes)).unwrap();
    }

    /// Close, and open after this boot.
    fn reopen(self, boot: &str) -> Phone {
        let Phone { folder, store } = self;
        drop(store);
        let store = open_as(&folder, boot).unwrap();
        Phone { folder, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("phone.db")
    }

    fn try_put(&mut self, line: &str) -> Result<Entered, String> {
        let records = parse(line)?;
        self.store.write(NOW_S, |work| enter(work, &records, "phone")).unwrap()
    }

    fn put(&mut self, line: &str) -> Entered {
        self.try_put(line).expect(line)
    }

    fn update(&mut self, fields: &str) -> Change {
        self.put(&format!(r#"{{"op":"update","table":"place","id":"{ROW}","fields":{fields}}}"#));
        self.changes().pop().unwrap()
    }

    fn changes(&self) -> Vec<Change> {
        let bodies =
            all(&self.store.db, "SELECT body FROM wadi_change ORDER BY place", (), |row| {
                row.get::<_, Vec<u8>>(0)
            });
        bodies.unwrap().iter().map(|body| decode(body, "a change").unwrap()).collect()
    }

    fn text(&self, sql: &str) -> String {
        let rows = all(&self.store.db, sql, (), |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.into_iter().map(|text| text.unwrap_or("null".into())).collect::<Vec<_>>().join("|")
    }

    fn custody(&self) -> String {
        self.text("SELECT custody FROM wadi_change ORDER BY place")
    }

    fn hello(&mut self, continues: bool) {
        let welcome =
            Welcome { site: "north".into(), run: GATEWAY, schema: 1, continues, clock_s: NOW_S };
        self.store.write(NOW_S, |work| work.welcome(&welcome)).unwrap();
    }

    /// Offer everything; the changes in their order.
    fn offer(&mut self) -> Vec<Change> {
        let mut offered = Vec::new();
        while let Some(offer) = self.store.offer(usize::MAX, &BTreeSet::new()).unwrap() {
            offered.extend(batch::decode(&offer.batch).unwrap().changes);
            self.store.write(NOW_S, |work| work.taken(&offer.places)).unwrap();
        }
        offered
    }

    fn page(&mut self, seq: u64, rows: Vec<FeedRow>) {
        let page = FeedPage { rows, feed: FeedCursor { run: GATEWAY, seq }, ..FeedPage::default() };
        self.store.write(NOW_S, |work| work.page(&page)).unwrap();
    }

    fn fate(&mut self, dot: Dot, fate: Fate) -> (u64, u64) {
        let fates = [(dot.device, dot.run, dot.seq, dot.seq, fate)];
        self.store.write(NOW_S, |work| work.fates(&fates)).unwrap()
    }
}

fn open_as(folder: &TempDir, boot: &str) -> Result<Store, StoreError> {
    let opening = Opening {
        path: folder.path().join("phone.db"),
        label: Some("phone".into()),
        create: true,
        origin: Origin { machine: "m".into(), boot: boot.into() },
        draw: Draw::default(),
    };
    Store::open(&opening).map(|(store, _)| store)
}

fn fed(name: &str, stock: i64, version: u64, above: Vec<Dot>) -> FeedRow {
    FeedRow {
        table: 1,
        row: ROW.parse().unwrap(),
        live: true,
        fields: vec![(1, Value::Text(name.into())), (2, Value::Int(stock))],
        seen: Seen { version: RowVersion { hub: RunId(0x4b), seq: version }, above },
        review: vec![],
        marked: vec![],
    }
}

fn foreign(seq: u64) -> Dot {
    Dot { device: DeviceId(0xf0), run: RunId(0xf1), seq }
}

const PLACE: &str = "SELECT name || ' ' || stock FROM place";
