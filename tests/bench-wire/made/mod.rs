//! Records of other kinds than those in the repository, made from a seed: what the
//! codec does with tables, fields and data that it was not measured on before.
//!
//! Each source is a village of its own with other tables, other noise and other habits
//! of its people. Its inserts come first, then updates of some of the rows.
mod clinic;
mod dice;
mod field;
mod ledger;
mod reports;
mod survey;

use std::collections::HashMap;

use anyhow::Result;
use serde_json::Value as Json;
use wadi_protocol::change::Op;

use self::dice::Dice;
pub use self::dice::day;
use crate::pattern::Pattern;
use crate::records::{Fields, Record, Rows, schema_of};

/// Of the inserts and of the updates of a source, those that are measured.
const MEASURED: usize = 600;

/// A source: its name, its schema, and what its people record.
struct Source {
    name: &'static str,
    schema: &'static str,
    make: fn(&mut Desk),
}

const SOURCES: [Source; 8] = [
    Source { name: "clinic", schema: clinic::SCHEMA, make: clinic::make },
    Source { name: "stock", schema: ledger::STOCK, make: ledger::stock },
    Source { name: "meters", schema: ledger::METERS, make: ledger::meters },
    Source { name: "sensors", schema: field::SENSORS, make: field::sensors },
    Source { name: "tracks", schema: field::TRACKS, make: field::tracks },
    Source { name: "survey", schema: survey::SURVEY, make: survey::survey },
    Source { name: "school", schema: survey::SCHOOL, make: survey::school },
    Source { name: "reports", schema: reports::SCHEMA, make: reports::make },
];

/// The patterns of all sources: inserts after inserts, then updates after both.
pub fn patterns(is_short: bool) -> Result<Vec<Pattern>> {
    let mut patterns = Vec::new();
    for (at, source) in SOURCES.iter().enumerate() {
        let mut desk = Desk {
            dice: Dice::new(at as u64 + 1),
            now_ms: 1_790_000_000_000 + 86_400_000 * at as u64,
            records: Vec::new(),
            tables: HashMap::new(),
        };
        (source.make)(&mut desk);
        let schema = schema_of(source.schema)?;
        let mut all = desk.records;
        all.iter_mut().for_each(|record| sort(&schema, record));
        Rows::default().follow(&schema, &mut all);
        let first = all.iter().position(|record| record.op == Op::Update).unwrap_or(all.len());
        let updates = all.split_off(first);
        for (word, before, of) in [("insert", &[][..], &all), ("update", &all[..], &updates)] {
            let cut = of.len().saturating_sub(MEASURED);
            let mut history = before.to_vec();
            history.extend_from_slice(&of[..cut]);
            let mut measured = of[cut..].to_vec();
            if is_short {
                history.truncate(100);
                measured = history.split_off(history.len().min(60));
            }
            patterns.push(Pattern {
                name: format!("{} {word}", source.name),
                schema: schema.clone(),
                history,
                measured,
                sizes: vec![1, 10, 100],
            });
        }
    }
    Ok(patterns)
}

/// Fields in the order of the schema.
fn sort(schema: &wadi_protocol::schema::Schema, record: &mut Record) {
    let table = schema.tables.iter().find(|table| table.name == record.table);
    let place = |name: &str| {
        table.and_then(|table| table.fields.iter().position(|field| field.name == name))
    };
    record.fields.sort_by_key(|(name, _)| place(name));
}

/// Where the people of a source write.
pub struct Desk {
    pub dice: Dice,
    now_ms: u64,
    records: Vec<Record>,
    /// The table of each row.
    tables: HashMap<String, &'static str>,
}

impl Desk {
    /// Let so many seconds pass, and a part of one.
    pub fn wait(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000 + self.dice.below(1000);
    }

    /// Let so many seconds pass, but one time in `sides` so many others.
    pub fn wait_or(&mut self, seconds: u64, sides: u64, others: u64) {
        let seconds = if self.dice.one_in(sides) { others } else { seconds };
        self.wait(seconds);
    }

    /// Seconds since 1970.
    pub fn now_s(&self) -> u64 {
        self.now_ms / 1000
    }

    /// The day, as text.
    pub fn today(&self) -> String {
        dice::day(self.now_s() / 86_400)
    }

    /// Put down a new row; null fields are left out.
    pub fn insert(&mut self, device: &str, table: &'static str, fields: Json) -> String {
        let id = self.dice.uuid();
        self.tables.insert(id.clone(), table);
        self.put(Op::Insert, device, &id, fields);
        id
    }

    /// Change a row.
    pub fn update(&mut self, device: &str, id: &str, fields: Json) {
        self.put(Op::Update, device, id, fields);
    }

    fn put(&mut self, op: Op, device: &str, id: &str, fields: Json) {
        let fields: Fields = match fields {
            Json::Object(map) => map.into_iter().collect(),
            _ => Fields::new(),
        };
        let fields = fields.into_iter().filter(|(_, value)| op == Op::Update || !value.is_null());
        self.records.push(Record {
            op,
            table: self.tables[id].into(),
            id: id.into(),
            ts_ms: self.now_ms,
            device: device.into(),
            fields: fields.collect(),
            row: Fields::new(),
        });
    }
}
