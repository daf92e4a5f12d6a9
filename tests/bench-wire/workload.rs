//! The streams of a workload as changes: typed, signed by their devices, with ids
//! that our own writers would make, or foreign ones.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use flate2::read::MultiGzDecoder;
use serde_json::Value as Json;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId, RunInfo};
use wadi_protocol::schema::Schema;
use wadi_protocol::schema::file::SchemaFile;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::stamp::{Clock, Stamp};
use wadi_protocol::value::Value;

/// Changes in the order in which they were made.
#[derive(Default)]
pub struct Stream {
    pub changes: Vec<Change>,
    /// Bytes of the JSON line of each, its end included.
    pub json: Vec<usize>,
}

/// Who made what so far.
pub struct Village {
    schema: Schema,
    derived: bool,
    devices: HashMap<String, Device>,
    rows: HashMap<RowId, RowId>,
}

struct Device {
    info: RunInfo,
    seq: u64,
    made: u64,
    clock: Clock,
}

pub fn schema(folder: &Path) -> Result<Schema> {
    let text = std::fs::read_to_string(folder.join("schema.toml"))?;
    let file: SchemaFile = toml::from_str(&text)?;
    file.number(None).map_err(|problems| anyhow!(problems.join("\n")))
}

impl Village {
    /// Nobody yet; row ids as our own writers derive them, or as they stand in the data.
    pub fn new(schema: Schema, derived: bool) -> Village {
        Village { schema, derived, devices: HashMap::new(), rows: HashMap::new() }
    }

    /// What is known of each run.
    pub fn runs(&self) -> HashMap<(DeviceId, RunId), RunInfo> {
        let infos = self.devices.values().map(|device| device.info.clone());
        infos.map(|info| ((info.device, info.run), info)).collect()
    }

    /// The changes of a stream, made after those read before.
    pub fn read(&mut self, folder: &Path, name: &str) -> Result<Stream> {
        let path = folder.join(format!("{name}.jsonl.gz"));
        let file =
            File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
        let mut stream = Stream::default();
        for line in BufReader::new(MultiGzDecoder::new(file)).lines() {
            let line = line?;
            let json: Json = serde_json::from_str(&line)?;
            stream.changes.push(self.change(&json)?);
            stream.json.push(line.len() + 1);
        }
        Ok(stream)
    }

    fn change(&mut self, json: &Json) -> Result<Change> {
        let mut change = typed(&self.schema, json)?;
        let label = json["device"].as_str().context("a record without a device")?;
        let count = self.devices.len() as u64 + 1;
        // Ids are random bits, as real ones are: they do not pack.
        let bits = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let device = self.devices.entry(label.into()).or_insert_with(|| {
            let run = RunId::from_random(bits.rotate_left(29));
            let info = RunInfo { device: DeviceId(bits), run, parent: None, label: label.into() };
            Device { info, seq: 0, made: 0, clock: Clock::default() }
        });
        device.seq += 1;
        change.dot = Dot { device: device.info.device, run: device.info.run, seq: device.seq };
        change.stamp = device.clock.issue_at(change.entered_s);
        if self.derived {
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
fn typed(schema: &Schema, json: &Json) -> Result<Change> {
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
    let text = |key: &str| json[key].as_str().with_context(|| format!("a record without {key}"));
    let seconds = json["ts"].as_u64().context("a record without ts")? / 1000;
    let raw = Change {
        dot: Dot { device: DeviceId(1), run: RunId(1), seq: 0 },
        stamp: Stamp { seconds, counter: 0 },
        entered_s: seconds,
        contained: None,
        schema: schema.version,
        rights: 0,
        group: None,
        table: TableRef::Name(text("table")?.into()),
        row: text("id")?.parse().map_err(|_| anyhow!("an id that is none: {json}"))?,
        op,
        fields,
        seen: Seen::default(),
        closure: Vec::new(),
    };
    interpret(schema, &raw).map_err(|why| anyhow!(why))
}
