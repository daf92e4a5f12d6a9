//! A hub on a real file, with sites of the model around it.
use std::collections::BTreeMap;

use serde_json::Value as Json;
use tempfile::TempDir;
use wadi_hub::store::Store;
use wadi_protocol::change::{Change, Delta, Op, Seen};
use wadi_protocol::id::{GatewayId, RowId};
use wadi_protocol::schema::{Schema, Table};
use wadi_protocol::value::Value;

use crate::model::{Base, Device, Key, NOW_S, Site};

/// A schema with one of everything.
pub const SCHEMA: &str = r#"
name = "test"
[tables.house.fields]
name = { type = "text" }
note = { type = "text", merge = "review" }
count = { type = "integer", merge = "sum", min = 0, max = 1000 }
tag = { type = "text", unique = true }
height = { type = "decimal", scale = 2 }
[tables.person]
delete = "update-wins"
[tables.person.fields]
house = { type = "reference", table = "house", on_delete = "cascade" }
name = { type = "text" }
[tables.visit.fields]
person = { type = "reference", table = "person", on_delete = "restrict" }
text = { type = "text" }
[tables.photo.fields]
house = { type = "reference", table = "house", on_delete = "set-null" }
caption = { type = "text" }
[tables.alarm]
lane = "urgent"
[tables.alarm.fields]
text = { type = "text" }
house = { type = "reference", table = "house", on_delete = "cascade" }
[tables.local]
scope = "site"
[tables.local.fields]
name = { type = "text" }
house = { type = "reference", table = "house", on_delete = "cascade" }
[tables.report]
scope = "upload"
[tables.report.fields]
text = { type = "text" }
[tables.remark.fields]
local = { type = "reference", table = "local", on_delete = "set-null" }
text = { type = "text" }
[tables.link]
scope = "site"
[tables.link.fields]
next = { type = "reference", table = "link", on_delete = "set-null" }
text = { type = "text" }
[tables.knot.fields]
link = { type = "reference", table = "link", on_delete = "set-null" }
[tables.patient]
scope = "site"
site = "village"
[tables.patient.fields]
name = { type = "text" }
village = { type = "text" }
link = { type = "reference", table = "link", on_delete = "set-null" }
"#;

/// Table numbers, in the schema's order.
pub const HOUSE: u16 = 1;
pub const PERSON: u16 = 2;
pub const VISIT: u16 = 3;
pub const PHOTO: u16 = 4;
pub const ALARM: u16 = 5;
pub const LOCAL: u16 = 6;
pub const REPORT: u16 = 7;
pub const REMARK: u16 = 8;
pub const LINK: u16 = 9;
pub const KNOT: u16 = 10;
pub const PATIENT: u16 = 11;

pub struct World {
    pub folder: TempDir,
    pub hub: Store,
    pub sites: Vec<Site>,
}

impl World {
    pub fn new(sites: usize) -> World {
        World::with(sites, SCHEMA)
    }

    pub fn with(sites: usize, schema: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut hub = Store::open(&folder.path().join("hub.db")).unwrap();
        hub.begin_run(NOW_S).unwrap();
        hub.publish_schema(schema, NOW_S).unwrap();
        let mut all = Vec::new();
        for number in 0..sites {
            let mut site = Site::new(enrol(&mut hub, &format!("site-{number}")));
            site.settle(&mut hub);
            all.push(site);
        }
        World { folder, hub, sites: all }
    }

    /// Drop the store as a crash would, and open it again.
    pub fn crash(&mut self) {
        let elsewhere = tempfile::tempdir().unwrap();
        let open = Store::open(&elsewhere.path().join("none.db")).unwrap();
        drop(std::mem::replace(&mut self.hub, open));
        self.hub = Store::open(&self.folder.path().join("hub.db")).unwrap();
        self.hub.begin_run(NOW_S + 1).unwrap();
    }

    pub fn sync(&mut self, site: usize) {
        self.sites[site].sync(&mut self.hub);
    }

    /// Every site comes until nothing moves.
    pub fn settle(&mut self) {
        for _ in 0..3 {
            for site in &mut self.sites {
                site.settle(&mut self.hub);
            }
        }
    }

    pub fn export(&self) -> String {
        let mut out = Vec::new();
        self.hub.export(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// A live row as the hub exports it.
    pub fn row(&self, key: Key) -> Option<Json> {
        let id = key.1.to_string();
        let lines: Vec<Json> =
            self.export().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
            .iter()
            .find(|line| line["id"] == *id && line.get("fields").is_some())
            .map(|line| line["fields"].clone())
    }

    pub fn schema(&self) -> Schema {
        self.hub.schema().unwrap().unwrap()
    }

    /// Nothing is wrong, and every site's base is what the hub has for it.
    pub fn check(&self) {
        let ledger = self.hub.ledger().unwrap();
        assert_eq!(ledger.wrong, Vec::<String>::new());
        for site in 0..self.sites.len() {
            self.check_site(site);
        }
    }

    /// The site's base is what the hub has for it.
    pub fn check_site(&self, site: usize) {
        let schema = self.schema();
        let site = &self.sites[site];
        let hub = self.live();
        let live: BTreeMap<Key, &Base> = site
            .rows
            .iter()
            .filter(|(_, base)| base.live)
            .map(|(key, base)| (*key, base))
            .collect();
        for (key, base) in &live {
            let table = schema.table(key.0).unwrap();
            let there = hub
                .get(key)
                .unwrap_or_else(|| panic!("site {} shows {key:?}, the hub does not", site.number));
            assert_eq!(
                as_json(table, base),
                *there,
                "{} {key:?} at site {}",
                table.name,
                site.number
            );
        }
        for key in hub.keys() {
            let table = schema.table(key.0).unwrap();
            if table.scope == wadi_protocol::schema::Scope::Global {
                assert!(
                    live.contains_key(key),
                    "site {} lacks {} {key:?}",
                    site.number,
                    table.name
                );
            }
        }
    }

    fn live(&self) -> BTreeMap<Key, Json> {
        let schema = self.schema();
        let lines: Vec<Json> =
            self.export().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
            .into_iter()
            .filter(|line| line.get("fields").is_some())
            .map(|line| {
                let table = schema.table_named(line["table"].as_str().unwrap()).unwrap();
                let row: RowId = line["id"].as_str().unwrap().parse().unwrap();
                ((table.number, row), line["fields"].clone())
            })
            .collect()
    }

    /// A change at a site by somebody who was shown its base.
    pub fn enter(
        &mut self,
        site: usize,
        device: &mut Device,
        op: Op,
        key: Key,
        fields: &[(u16, Delta)],
        second: u64,
    ) -> Change {
        let mut change = device.change(op, key, fields, second);
        if op != Op::Insert {
            change.seen = Seen { version: self.sites[site].version(key), above: Vec::new() };
        }
        self.sites[site].enter(device, change.clone());
        change
    }
}

fn as_json(table: &Table, base: &Base) -> Json {
    let fields = base.fields.iter().map(|(number, value)| {
        let field = table.field(*number).unwrap();
        (field.name.clone(), wadi_hub::store::text::json(value))
    });
    Json::Object(fields.collect())
}

/// A row id.
pub fn row(number: u64) -> RowId {
    RowId((u128::from(number) + (8 << 76) + (2 << 62)).to_be_bytes())
}

pub fn text(text: &str) -> Delta {
    Delta::Set(Value::Text(text.into()))
}

pub fn refer(row: RowId) -> Delta {
    Delta::Set(Value::Row(row))
}

/// Enrol a gateway; its certificate is of no concern here.
pub fn enrol(hub: &mut Store, site: &str) -> GatewayId {
    hub.enrol(site, false, (NOW_S, NOW_S + 1_000), |_| Ok(Vec::new())).unwrap().gateway
}
