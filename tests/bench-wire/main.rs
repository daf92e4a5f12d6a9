//! Bytes a change on the wire: the adaptive codec, primed with what was committed
//! before on the link, against what others would send, from the same records.
mod baselines;
mod columns;
mod disguise;
mod figures;
mod link;
mod made;
mod pattern;
mod records;
mod sessions;
mod village;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use baselines::packed;
use clap::Parser;
use figures::Figure;
use link::Link;
use pattern::Pattern;
use records::Record;
use sessions::Session;
use village::Village;
use wadi_protocol::wire::batch;

/// Changes of the history that were committed together.
const HISTORY_BATCH: usize = 100;

#[derive(Parser, Debug)]
struct Options {
    /// Folder of schema.toml, base, insert, update and trickle (.jsonl.gz); the records
    /// in the repository unless said.
    #[arg(long)]
    workload: Option<PathBuf>,
    /// Write all figures to this file: a list of encoding, pattern, size, bytes, changes.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A twentieth of the records: proves that it works, the figures mean little.
    #[arg(long)]
    short: bool,
    /// Only patterns whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// Records made from a seed instead, of kinds that are not in the repository.
    #[arg(long)]
    made: bool,
    /// Also the same records under other names, numbers, devices and dates: the adaptive
    /// codec must not differ by more than 5 %.
    #[arg(long)]
    disguised: bool,
    /// Only the adaptive codec.
    #[arg(long)]
    adaptive: bool,
    /// What whole sessions cost, as the end-to-end test of them measured it just before.
    #[arg(long)]
    sessions: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let folder = options
        .workload
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../data"));
    let mut figures = Vec::new();
    let mut speeds = Vec::new();
    let patterns = match options.made {
        true => made::patterns(options.short)?,
        false => pattern::of_folder(&folder, options.short)?,
    };
    for pattern in &patterns {
        if pattern.name.contains(&options.only) {
            if !options.adaptive {
                figures.extend(others(pattern)?);
            }
            figures.extend(ours(pattern, &mut speeds)?);
        }
    }
    figures::print("bytes a change, mean (p50)", &figures);
    println!("{}", speeds.join("\n"));
    if options.disguised {
        disguised(&options, &folder, &figures)?;
    }
    let sessions = options.sessions.as_deref().map(sessions::read).transpose()?;
    let sessions: Vec<Session> = sessions.unwrap_or_default();
    sessions::print(&sessions);
    match &options.json {
        Some(path) => figures::save(path, &figures, &sessions),
        None => Ok(()),
    }
}

/// Compare with the same records under other names.
fn disguised(options: &Options, folder: &Path, figures: &[Figure]) -> Result<()> {
    let mut patterns = pattern::of_folder(folder, options.short)?;
    disguise::disguise(folder, &mut patterns)?;
    let mut others = Vec::new();
    for pattern in patterns.iter().filter(|pattern| pattern.name.contains(&options.only)) {
        others.extend(ours(pattern, &mut Vec::new())?);
    }
    figures::print("the same under other names", &others);
    let ours = figures.iter().filter(|figure| figure.encoding.contains("adaptive"));
    for (figure, other) in ours.zip(&others) {
        let apart = other.bytes as f64 / figure.bytes as f64 - 1.0;
        let (pattern, size) = (&figure.pattern, figure.size);
        println!("{}, {pattern} × {size}: {:+.1} %", figure.encoding, 100.0 * apart);
        ensure!(options.short || apart.abs() < 0.05, "too far apart");
    }
    Ok(())
}

/// What an encoding makes of a batch: bytes.
type Encoding = (&'static str, fn(&[Record]) -> Result<usize>);

const OTHERS: [Encoding; 4] = [
    ("full JSON", |records| Ok(baselines::json(records).len())),
    ("full JSON + zstd -19", |records| Ok(packed(&baselines::json(records))?.len())),
    ("changed fields, MessagePack + zstd -19", |records| {
        Ok(packed(&baselines::message_pack(records)?)?.len())
    }),
    ("SQLite patchset + zstd -19", |records| Ok(packed(&baselines::patchset(records))?.len())),
];

/// All that remember nothing from batch to batch.
fn others(pattern: &Pattern) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for size in &pattern.sizes {
        for (name, encode) in OTHERS {
            let each = pattern.measured.chunks(*size);
            let batches = each.map(|records| Ok((encode(records)?, records.len())));
            let batches = batches.collect::<Result<Vec<_>>>()?;
            figures.push(Figure::of(name, &pattern.name, *size, &batches));
        }
        let mut village = Village::new(&pattern.schema, true);
        for records in pattern.history.chunks(HISTORY_BATCH) {
            village.batch(records)?;
        }
        let (mut columnar, mut plain) = (Vec::new(), Vec::new());
        for records in pattern.measured.chunks(*size) {
            let made = village.batch(records)?;
            let columns = packed(&columns::write(&made, &village.runs()))?;
            columnar.push((columns.len(), records.len()));
            plain.push((batch::encode(&made).len(), records.len()));
        }
        figures.push(Figure::of("columns + zstd -19", &pattern.name, *size, &columnar));
        figures.push(Figure::of("Wadi, plain", &pattern.name, *size, &plain));
    }
    Ok(figures)
}

/// The adaptive codec, with ids of our own writers and with others.
fn ours(pattern: &Pattern, speeds: &mut Vec<String>) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, own_ids) in [("Wadi, adaptive", true), ("Wadi, adaptive, foreign ids", false)] {
        let mut village = Village::new(&pattern.schema, own_ids);
        let mut before = Link::default();
        for records in pattern.history.chunks(HISTORY_BATCH) {
            before.send(&village.batch(records)?)?;
        }
        for size in &pattern.sizes {
            let mut village = village.clone();
            let mut link = before.rested();
            let mut batches = Vec::new();
            for records in pattern.measured.chunks(*size) {
                batches.push((link.send(&village.batch(records)?)?, records.len()));
            }
            let (clone_s, checkpoint_s, checkpoint_bytes) = link.inspect()?;
            let json: usize = pattern.measured.iter().map(|record| record.changed().len()).sum();
            let megabytes = json as f64 / 1e6;
            speeds.push(format!(
                "{name}, {} × {size}: encodes {:.2}, decodes {:.2} MB/s of JSON of the changed fields; clone {:.0} µs, \
                 checkpoint {:.0} µs, {checkpoint_bytes} bytes",
                pattern.name,
                megabytes / link.encode_s,
                megabytes / link.decode_s,
                clone_s * 1e6,
                checkpoint_s * 1e6,
            ));
            figures.push(Figure::of(name, &pattern.name, *size, &batches));
        }
    }
    Ok(figures)
}
