//! Records as other programs have them: streams of JSON lines, gzipped, and what the
//! rows hold after each.
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use flate2::read::MultiGzDecoder;
use serde_json::Value as Json;
use wadi_protocol::change::Op;
use wadi_protocol::schema::Schema;
use wadi_protocol::schema::file::SchemaFile;

/// What one change carries, or a row holds: names and values in the order of the schema.
pub type Fields = Vec<(String, Json)>;

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    pub op: Op,
    pub table: String,
    /// A UUID.
    pub id: String,
    /// Milliseconds since 1970.
    pub ts_ms: u64,
    pub device: String,
    /// What it carries; an insert leaves out what is null.
    pub fields: Fields,
    /// All fields of the row after it; none of a row that was deleted.
    pub row: Fields,
}

impl Record {
    /// The word of its operation.
    pub fn word(&self) -> &'static str {
        match self.op {
            Op::Insert => "insert",
            Op::Update => "update",
            _ => "delete",
        }
    }

    /// The record as JSON with the whole row.
    pub fn whole(&self) -> String {
        self.json(&self.row)
    }

    /// The record as JSON with what it carries.
    pub fn changed(&self) -> String {
        self.json(&self.fields)
    }

    fn json(&self, fields: &Fields) -> String {
        let text = |text: &str| Json::from(text).to_string();
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
        format!(
            r#"{{"op":"{}","table":{},"id":"{}","ts":{},"device":{},"fields":{{{}}}}}"#,
            self.word(),
            text(&self.table),
            self.id,
            self.ts_ms,
            text(&self.device),
            fields.join(",")
        )
    }
}

/// The schema of a text.
pub fn schema_of(text: &str) -> Result<Schema> {
    let file: SchemaFile = toml::from_str(text)?;
    file.number(None).map_err(|problems| anyhow!(problems.join("\n")))
}

/// The schema of a folder.
pub fn schema(folder: &Path) -> Result<Schema> {
    let path = folder.join("schema.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    schema_of(&text)
}

/// The stream `name` of a folder.
pub fn read(schema: &Schema, folder: &Path, name: &str) -> Result<Vec<Record>> {
    let path = folder.join(format!("{name}.jsonl.gz"));
    let file = File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let lines = BufReader::new(MultiGzDecoder::new(file)).lines().enumerate();
    lines
        .map(|(at, line)| {
            let line = line?;
            record(schema, &line).with_context(|| format!("{}: line {}", path.display(), at + 1))
        })
        .collect()
}

fn record(schema: &Schema, line: &str) -> Result<Record> {
    let json: Json = serde_json::from_str(line)?;
    let text = |key: &str| {
        Ok::<String, anyhow::Error>(json[key].as_str().with_context(|| format!("no {key}"))?.into())
    };
    let op = match json["op"].as_str() {
        Some("insert") => Op::Insert,
        Some("update") => Op::Update,
        Some("delete") => Op::Delete,
        _ => return Err(anyhow!("no operation")),
    };
    let table = text("table")?;
    let known = schema.tables.iter().find(|known| known.name == table);
    let known = known.with_context(|| format!("no table {table} in the schema"))?;
    let given = json["fields"].as_object();
    let fields = known.fields.iter().filter_map(|field| {
        let value = given?.get(&field.name)?;
        Some((field.name.clone(), value.clone()))
    });
    Ok(Record {
        op,
        fields: fields.collect(),
        table,
        id: text("id")?,
        ts_ms: json["ts"].as_u64().context("no ts")?,
        device: text("device")?,
        row: Fields::new(),
    })
}

/// What the rows hold so far.
#[derive(Default)]
pub struct Rows(HashMap<String, Fields>);

impl Rows {
    /// Say of each record what its row holds after it.
    pub fn follow(&mut self, schema: &Schema, records: &mut [Record]) {
        for record in records {
            if record.op == Op::Delete {
                self.0.remove(&record.id);
                continue;
            }
            let row = self.0.entry(record.id.clone()).or_insert_with(|| {
                let table = schema.tables.iter().find(|table| table.name == record.table);
                let fields = table.into_iter().flat_map(|table| &table.fields);
                fields.map(|field| (field.name.clone(), Json::Null)).collect()
            });
            for (name, value) in &record.fields {
                if let Some((_, held)) = row.iter_mut().find(|(known, _)| known == name) {
                    *held = value.clone();
                }
            }
            record.row = row.clone();
        }
    }
}
