//! Changes for the bench: the records of tests/data, again and again under new ids.
//!
//! Every edition has its own stations and vehicles, and what references them
//! references those of the same edition: references hold, and a database of any
//! size has the proportions of the data.
use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use serde_json::Value as Json;
use wadi_harness::records::{self, Record};
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, GatewayId, RowId, RunId, RunInfo};
use wadi_protocol::schema::file::SchemaFile;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::{Kind, Schema};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;

/// The clock of everybody here, seconds since 1970.
pub const NOW_S: u64 = 1_800_000_000;

/// Enrol a gateway that is called directly: nobody asks for its certificate.
pub fn enrol(hub: &mut wadi_hub::store::Store, site: &str) -> Result<GatewayId> {
    let until_s = NOW_S + 366 * 24 * 3600;
    let certificate = hub.enrol(site, false, (NOW_S, until_s), |_| Ok(vec![1]))?;
    Ok(certificate.gateway)
}

/// The schema of tests/data, as the hub would publish it first.
pub fn schema() -> Result<Schema> {
    let file: SchemaFile = toml::from_str(&records::sample_schema()?)?;
    file.number(None).map_err(|problems| anyhow!(problems.join("\n")))
}

/// The records of one operation.
pub fn all(op: &str) -> Result<Vec<Record>> {
    let mut all = Vec::new();
    for stream in ["base", "trickle"] {
        let records = records::read(&records::sample_folder(), stream)?;
        all.extend(records.context("tests/data has both streams")?);
    }
    all.retain(|record| record.json["op"] == op);
    Ok(all)
}

/// A device that makes changes out of records.
pub struct Source {
    schema: Schema,
    device: DeviceId,
    run: RunId,
    seq: u64,
    rows: u64,
    inserts: Vec<Change>,
    updates: HashMap<u16, Vec<Change>>,
    next_insert: usize,
    next_update: usize,
    edition: HashMap<RowId, RowId>,
}

impl Source {
    /// The device of this number.
    pub fn new(device: u64) -> Result<Source> {
        let schema = schema()?;
        let inserts: Vec<Change> =
            all("insert")?.iter().map(|record| typed(&schema, record)).collect::<Result<_>>()?;
        let mut updates: HashMap<u16, Vec<Change>> = HashMap::new();
        for record in all("update")? {
            let change = typed(&schema, &record)?;
            updates.entry(table_of(&change)).or_default().push(change);
        }
        Ok(Source {
            schema,
            device: DeviceId(device),
            run: RunId(device + 1_000),
            seq: 0,
            rows: 0,
            inserts,
            updates,
            next_insert: 0,
            next_update: 0,
            edition: HashMap::new(),
        })
    }

    /// The number of a table.
    pub fn table(&self, name: &str) -> Option<u16> {
        self.schema.tables.iter().find(|table| table.name == name).map(|table| table.number)
    }

    /// The next inserts, in the order of the data.
    pub fn inserts(&mut self, count: usize) -> Vec<Change> {
        (0..count).map(|_| self.insert()).collect()
    }

    /// An update of each row that these changes inserted, where the data has updates of its table.
    pub fn updates(&mut self, of: &[Change]) -> Vec<Change> {
        let wanted = of.iter().filter(|change| self.updates.contains_key(&table_of(change)));
        let wanted: Vec<Change> = wanted.cloned().collect();
        wanted.iter().map(|change| self.update(change)).collect()
    }

    fn insert(&mut self) -> Change {
        if self.next_insert == self.inserts.len() {
            self.next_insert = 0;
            self.edition.clear();
        }
        let mut change = self.inserts[self.next_insert].clone();
        self.next_insert += 1;
        self.rows += 1;
        let row = RowId::derive(self.device, self.run, self.rows);
        self.edition.insert(change.row, row);
        change.row = row;
        let table = self.schema.table(table_of(&change)).expect("typed");
        for (at, delta) in &mut change.fields {
            if let (FieldRef::Number(number), Delta::Set(Value::Row(target))) = (&*at, delta)
                && let Some(field) = table.field(*number)
                && matches!(field.kind, Kind::Reference { .. })
            {
                *target = self.edition.get(target).copied().unwrap_or(*target);
            }
        }
        self.sign(change)
    }

    fn update(&mut self, of: &Change) -> Change {
        let updates = &self.updates[&table_of(of)];
        let change = Change { row: of.row, ..updates[self.next_update % updates.len()].clone() };
        self.next_update += 1;
        self.sign(change)
    }

    fn sign(&mut self, change: Change) -> Change {
        self.seq += 1;
        let dot = Dot { device: self.device, run: self.run, seq: self.seq };
        let stamp = Stamp { seconds: NOW_S - 1_000_000 + self.seq, counter: 0 };
        Change { dot, stamp, entered_s: stamp.seconds, ..change }
    }

    /// Changes as a batch of this device.
    pub fn batch(&self, changes: Vec<Change>) -> Batch {
        let (device, run) = (self.device, self.run);
        let label = format!("bench-{}", device.0);
        Batch { runs: vec![RunInfo { device, run, parent: None, label }], changes }
    }
}

/// The table's number.
pub fn table_of(change: &Change) -> u16 {
    change.table_number().expect("typed changes are numbered")
}

/// A record as a typed change of nobody.
pub fn typed(schema: &Schema, record: &Record) -> Result<Change> {
    let json = &record.json;
    let op = match json["op"].as_str() {
        Some("insert") => Op::Insert,
        Some("update") => Op::Update,
        _ => Op::Delete,
    };
    let mut fields = Vec::new();
    for (name, value) in json["fields"].as_object().into_iter().flatten() {
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => Value::Number(number.to_string()),
            Json::String(text) => Value::Text(text.clone()),
            other => return Err(anyhow!("{other} in the data")),
        };
        fields.push((FieldRef::Name(name.clone()), Delta::Set(value)));
    }
    let text = |key: &str| json[key].as_str().with_context(|| format!("no {key}: {}", record.line));
    let seconds = json["ts"].as_u64().unwrap_or(0) / 1000;
    let raw = Change {
        dot: Dot { device: DeviceId(1), run: RunId(1), seq: 0 },
        stamp: Stamp { seconds, counter: 0 },
        entered_s: seconds,
        contained: None,
        schema: schema.version,
        rights: 0,
        group: None,
        table: TableRef::Name(text("table")?.into()),
        row: text("id")?.parse().map_err(|_| anyhow!("an id that is none: {}", record.line))?,
        op,
        fields,
        seen: Seen::default(),
        closure: Vec::new(),
    };
    interpret(schema, &raw).map_err(|why| anyhow!(why))
}
