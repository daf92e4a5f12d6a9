//! Streams of records: JSON lines, plain or gzipped, with the text of each kept.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

/// One record, as it stood in its file.
#[derive(Clone, Debug)]
pub struct Record {
    /// Parsed.
    pub json: Value,
    /// The line.
    pub line: String,
    /// The device that made it.
    pub device: String,
}

impl Record {
    /// A record from its line.
    pub fn parse(line: &str) -> Result<Record> {
        let json: Value = serde_json::from_str(line)?;
        let device = json.get("device").and_then(Value::as_str).unwrap_or("device").to_string();
        Ok(Record { json, line: line.to_string(), device })
    }

    /// A record from JSON.
    pub fn of(json: Value) -> Record {
        let device = json.get("device").and_then(Value::as_str).unwrap_or("device").to_string();
        Record { line: json.to_string(), json, device }
    }
}

/// The folder of the records in the repository.
pub fn sample_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The stream `name` in `folder`: `name`.jsonl or `name`.jsonl.gz; none if neither is there.
pub fn read(folder: &Path, name: &str) -> Result<Option<Vec<Record>>> {
    let plain = folder.join(format!("{name}.jsonl"));
    let zipped = folder.join(format!("{name}.jsonl.gz"));
    let (path, reader): (PathBuf, Box<dyn Read>) = if plain.is_file() {
        (plain.clone(), Box::new(File::open(plain)?))
    } else if zipped.is_file() {
        (zipped.clone(), Box::new(flate2::read::MultiGzDecoder::new(File::open(zipped)?)))
    } else {
        return Ok(None);
    };
    let mut records = Vec::new();
    for (at, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.with_context(|| format!("{}: line {}", path.display(), at + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        let record = Record::parse(&line);
        records.push(record.with_context(|| format!("{}: line {}", path.display(), at + 1))?);
    }
    Ok(Some(records))
}

/// The first `count` records of the repository's `base` and `trickle`, in order.
pub fn sample(count: usize) -> Result<Vec<Record>> {
    let folder = sample_folder();
    let mut records = read(&folder, "base")?.context("tests/data has a base")?;
    records.extend(read(&folder, "trickle")?.context("tests/data has a trickle")?);
    assert!(records.len() >= count, "only {} records in tests/data", records.len());
    records.truncate(count);
    Ok(records)
}

/// The repository's schema, as text.
pub fn sample_schema() -> Result<String> {
    Ok(std::fs::read_to_string(sample_folder().join("schema.toml"))?)
}

/// Records by device, each in the order of the stream.
pub fn by_device(records: &[Record]) -> BTreeMap<String, Vec<Record>> {
    let mut devices: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in records {
        devices.entry(record.device.clone()).or_default().push(record.clone());
    }
    devices
}

/// JSON lines.
pub fn lines(records: &[Record]) -> String {
    records.iter().map(|record| format!("{}\n", record.line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_what_the_tests_need() {
        let records = sample(5_000).unwrap();
        assert_eq!(by_device(&records).values().map(Vec::len).sum::<usize>(), 5_000);
        assert_eq!(lines(&records).lines().count(), 5_000);
        crate::plan::Plan::read(&sample_schema().unwrap()).unwrap();
    }
}
