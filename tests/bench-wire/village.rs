//! Records as changes: typed, signed by their devices, with ids that our own writers
//! would make, or foreign ones.
use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, anyhow};
use serde_json::Value as Json;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::schema::Schema;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::stamp::{Clock, Stamp};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;

use crate::records::Record;

const HUB: RunId = RunId(0x7777_1234_5678);

/// Who made what so far.
#[derive(Clone)]
pub struct Village {
    schema: Schema,
    /// Whether our own writers make the ids.
    own_ids: bool,
    devices: HashMap<String, Device>,
    rows: HashMap<RowId, RowId>,
    /// Rows that are at the hub.
    committed: BTreeSet<RowId>,
    /// Changes that are at the hub.
    head: u64,
}

#[derive(Clone)]
struct Device {
    info: RunInfo,
    seq: u64,
    made: u64,
    clock: Clock,
}

impl Village {
    /// Nobody yet; row ids as our own writers derive them, or as they stand in the data.
    pub fn new(schema: &Schema, own_ids: bool) -> Village {
        Village {
            schema: schema.clone(),
            own_ids,
            devices: HashMap::new(),
            rows: HashMap::new(),
            committed: BTreeSet::new(),
            head: 0,
        }
    }

    /// Everybody so far.
    pub fn runs(&self) -> Vec<RunInfo> {
        self.devices.values().map(|device| device.info.clone()).collect()
    }

    /// The records as one batch, made after those before and committed then.
    ///
    /// Who changed a row had been shown the hub's picture as of the batch before.
    pub fn batch(&mut self, records: &[Record]) -> Result<Batch> {
        let mut changes = Vec::new();
        for record in records {
            let mut change = self.change(record)?;
            if self.committed.contains(&change.row) {
                change.seen.version = RowVersion { hub: HUB, seq: self.head };
            }
            changes.push(change);
        }
        self.committed.extend(changes.iter().map(|change| change.row));
        self.head += changes.len() as u64;
        let names: BTreeSet<_> = changes.iter().map(|c| (c.dot.device, c.dot.run)).collect();
        let infos = self.devices.values().map(|device| &device.info);
        let mut runs: Vec<RunInfo> =
            infos.filter(|info| names.contains(&(info.device, info.run))).cloned().collect();
        runs.sort_unstable_by_key(|info| (info.device, info.run));
        Ok(Batch { runs, changes })
    }

    fn change(&mut self, record: &Record) -> Result<Change> {
        let mut change = typed(&self.schema, record)?;
        let label = &record.device;
        let count = self.devices.len() as u64 + 1;
        // Ids are random bits, as real ones are: they do not pack.
        let bits = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let device = self.devices.entry(label.clone()).or_insert_with(|| {
            let run = RunId::from_random(bits.rotate_left(29));
            let info = RunInfo { device: DeviceId(bits), run, parent: None, label: label.clone() };
            Device { info, seq: 0, made: 0, clock: Clock::default() }
        });
        device.seq += 1;
        change.dot = Dot { device: device.info.device, run: device.info.run, seq: device.seq };
        change.stamp = device.clock.issue_at(change.entered_s);
        if self.own_ids {
            if change.op == Op::Insert {
                device.made += 1;
                let row = RowId::derive(change.dot.device, change.dot.run, device.made);
                self.rows.insert(change.row, row);
            }
            let known = |row: RowId| self.rows.get(&row).copied().unwrap_or(row);
            change.row = known(change.row);
            for (_, delta) in &mut change.fields {
                if let Delta::Set(Value::Row(row)) = delta {
                    *row = known(*row);
                }
            }
        }
        Ok(change)
    }
}

/// A record as a typed change of nobody.
fn typed(schema: &Schema, record: &Record) -> Result<Change> {
    let mut fields = Vec::new();
    for (name, value) in &record.fields {
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => Value::Number(number.to_string()),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(list) => {
                let texts = list.iter().map(|entry| entry.as_str().map(Into::into));
                Value::List(texts.collect::<Option<_>>().ok_or_else(|| anyhow!("{value}"))?)
            }
            other => return Err(anyhow!("{other} in the data")),
        };
        fields.push((FieldRef::Name(name.clone()), Delta::Set(value)));
    }
    let seconds = record.ts_ms / 1000;
    let raw = Change {
        dot: Dot { device: DeviceId(1), run: RunId(1), seq: 0 },
        stamp: Stamp { seconds, counter: 0 },
        entered_s: seconds,
        contained: None,
        schema: schema.version,
        rights: 0,
        group: None,
        table: TableRef::Name(record.table.clone()),
        row: record.id.parse().map_err(|_| anyhow!("{} is no id", record.id))?,
        op: record.op,
        fields,
        seen: Seen::default(),
        closure: Vec::new(),
    };
    interpret(schema, &raw).map_err(|why| anyhow!(why))
}
