//! Bytes a change: the wire format against the JSON lines of the same changes.
//!
//! Exact, not timed: the same data always gives the same figures.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use wadi_harness::records::Record;
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, RunId, RunInfo};
use wadi_protocol::wire::batch::{self, Batch};

use crate::Scale;
use crate::figures::{Pairs, Table};
use crate::samples;

/// Fill the lines of the payload.
pub fn measure(_folder: &Path, _scale: Scale, table: &mut Table) -> Result<()> {
    let schema = samples::schema()?;
    for op in ["insert", "update"] {
        let records = samples::all(op)?;
        let typed: Vec<Change> =
            records.iter().map(|record| samples::typed(&schema, record)).collect::<Result<_>>()?;
        let changes = signed(&records, typed);
        for size in [1, 100, 1_000] {
            let mut pairs = Pairs::default();
            for (records, changes) in records.chunks(size).zip(changes.chunks(size)) {
                // What is left over is not a batch of this size.
                if records.len() == size {
                    let json: usize = records.iter().map(|record| record.line.len() + 1).sum();
                    let bytes = batch::encode(&of(changes)).len();
                    pairs.push_exact(bytes as f64 / size as f64, json as f64 / size as f64);
                }
            }
            let what = match size {
                1 => format!("payload of an {op}, alone"),
                _ => format!("payload of an {op}, {size} together"),
            };
            table.pairs(&what, &pairs, |bytes| format!("{bytes:.1} B"), "");
        }
    }
    Ok(())
}

/// Every device of the data signs its own changes.
fn signed(records: &[Record], changes: Vec<Change>) -> Vec<Change> {
    let mut devices: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let sign = |(record, change): (_, Change)| {
        let record: &Record = record;
        let next = devices.len() as u64 + 1;
        // Ids are random bits, as real ones are: they do not pack.
        let (device, seq) = devices.entry(record.device.as_str()).or_insert((next, 0));
        *seq += 1;
        let bits = device.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let dot = Dot { device: DeviceId(bits), run: RunId(bits >> 16), seq: *seq };
        Change { dot, ..change }
    };
    records.iter().zip(changes).map(sign).collect()
}

fn of(changes: &[Change]) -> Batch {
    let mut runs: Vec<(DeviceId, RunId)> =
        changes.iter().map(|change| (change.dot.device, change.dot.run)).collect();
    runs.sort_unstable();
    runs.dedup();
    let info = |(device, run)| RunInfo { device, run, parent: None, label: "tab-1".into() };
    Batch { runs: runs.into_iter().map(info).collect(), changes: changes.to_vec() }
}
