//! Bytes a change on the wire: the adaptive codec, primed with what was committed
//! before on the link, against the plain batch.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
mod workload;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Parser;
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::wire::adaptive::{self, Model};
use wadi_protocol::wire::batch::{self, Batch};
use workload::{Stream, Village};

/// Bytes of a model's name and the version that travel with each batch.
const FRAMING_BYTES: usize = 5;
const HUB: RunId = RunId(0x7777_1234_5678);

#[derive(Parser, Debug)]
struct Options {
    /// Folder of the workload.
    folder: PathBuf,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Do not decode, and only the middle size: faster.
    #[arg(long)]
    quick: bool,
}

/// One link: batches go through it, and both ends keep their models.
struct Link {
    writer: Model,
    /// The other end, where it is measured.
    reader: Option<Model>,
    runs: HashMap<(DeviceId, RunId), RunInfo>,
    versions: HashMap<RowId, u64>,
    committed: u64,
    encode_s: f64,
    decode_s: f64,
    plain: usize,
    /// Whether the row's own version is claimed, instead of the cursor.
    own: bool,
}

impl Link {
    fn send(&mut self, changes: &[Change]) -> Result<usize> {
        let mut changes = changes.to_vec();
        let cursor = self.committed;
        for change in &mut changes {
            if let Some(version) = self.versions.get(&change.row) {
                let seq = if self.own { *version } else { cursor };
                change.seen.version = RowVersion { hub: HUB, seq };
            }
        }
        for change in &changes {
            self.committed += 1;
            self.versions.insert(change.row, self.committed);
        }
        let names: BTreeSet<_> = changes.iter().map(|c| (c.dot.device, c.dot.run)).collect();
        let runs = names.iter().map(|name| self.runs[name].clone()).collect();
        let batch = Batch { runs, changes };
        self.plain += batch::encode(&batch).len();
        let start = Instant::now();
        let bytes = adaptive::encode(&mut self.writer, &batch)?;
        self.encode_s += start.elapsed().as_secs_f64();
        if let Some(reader) = &mut self.reader {
            let start = Instant::now();
            let back = adaptive::decode(reader, &bytes)?;
            self.decode_s += start.elapsed().as_secs_f64();
            ensure!(back == batch, "a batch came back otherwise");
        }
        Ok(bytes.len() + FRAMING_BYTES)
    }
}

fn case(
    folder: &Path,
    name: &str,
    derived: bool,
    own: bool,
    sizes: &[usize],
    check: bool,
) -> Result<()> {
    let mut village = Village::new(workload::schema(folder)?, derived);
    let mut history = Stream::default();
    let mut measured = Stream::default();
    let split = |stream: Stream, last: usize, history: &mut Stream, measured: &mut Stream| {
        let at = stream.changes.len() - last;
        history.changes.extend_from_slice(&stream.changes[..at]);
        measured.changes.extend_from_slice(&stream.changes[at..]);
        measured.json.extend_from_slice(&stream.json[at..]);
    };
    match name {
        "insert" => split(village.read(folder, "insert")?, 3000, &mut history, &mut measured),
        "start" => {
            let mut stream = village.read(folder, "insert")?;
            stream.changes.truncate(1000);
            stream.json.truncate(1000);
            measured = stream;
        }
        "update" => {
            history = village.read(folder, "base")?;
            split(village.read(folder, "update")?, 2000, &mut history, &mut measured);
        }
        _ => {
            history = village.read(folder, "base")?;
            split(village.read(folder, "trickle")?, 500, &mut history, &mut measured);
        }
    }
    let mut link = Link {
        writer: Model::new(),
        reader: None,
        runs: village.runs(),
        versions: HashMap::new(),
        committed: 0,
        encode_s: 0.0,
        decode_s: 0.0,
        plain: 0,
        own,
    };
    for changes in history.changes.chunks(100) {
        link.send(changes)?;
    }
    for size in sizes {
        let mut link = Link {
            writer: link.writer.clone(),
            reader: check.then(|| link.writer.clone()),
            runs: link.runs.clone(),
            versions: link.versions.clone(),
            encode_s: 0.0,
            decode_s: 0.0,
            plain: 0,
            ..link
        };
        let mut bytes = 0;
        for changes in measured.changes.chunks(*size) {
            bytes += link.send(changes)?;
        }
        ensure!(!check || link.reader.as_ref() == Some(&link.writer), "the models differ");
        let start = Instant::now();
        let copy = link.writer.clone();
        let clone_us = start.elapsed().as_secs_f64() * 1e6;
        let start = Instant::now();
        let checkpoint = copy.checkpoint();
        let checkpoint_us = start.elapsed().as_secs_f64() * 1e6;
        ensure!(Model::restore(&checkpoint).as_ref() == Some(&copy), "a checkpoint differs");
        let count = measured.changes.len() as f64;
        let json = measured.json.iter().sum::<usize>() as f64;
        println!(
            "{name:8} {size:5} {:9} {:6} {:7.2} B  plain {:7.2} B  encode {:5.2} MB/s  decode {:5.2} MB/s  \
             model {} B  clone {clone_us:.0} µs  checkpoint {} B {checkpoint_us:.0} µs",
            if derived { "derived" } else { "foreign" },
            if own { "own" } else { "cursor" },
            bytes as f64 / count,
            link.plain as f64 / count,
            json / link.encode_s / 1e6,
            json / link.decode_s / 1e6,
            link.writer.memory_bytes(),
            checkpoint.len(),
        );
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    for (name, sizes) in [
        ("start", &[100][..]),
        ("insert", &[1, 10, 100, 1000]),
        ("update", &[1, 10, 100, 1000]),
        ("trickle", &[1]),
    ] {
        if !name.contains(&options.only) {
            continue;
        }
        if options.quick {
            for derived in [true, false] {
                case(
                    &options.folder,
                    name,
                    derived,
                    false,
                    &sizes[sizes.len().min(3) - 1..][..1],
                    false,
                )?;
            }
            continue;
        }
        for derived in [true, false] {
            case(&options.folder, name, derived, false, sizes, !options.quick)?;
        }
        case(&options.folder, name, true, true, &sizes[..1], !options.quick)?;
    }
    Ok(())
}
