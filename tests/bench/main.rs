//! What Wadi costs: one table of figures, each against a baseline of the same run.
//!
//! Machines are noisy, so ours and the baseline take turns in short blocks;
//! a figure is the median of the blocks, with the least and the greatest beside
//! it. Nothing is asserted here about time: the tests judge what is right, this
//! says only what it costs.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
mod capture;
mod centre;
mod drain;
mod figures;
mod growth;
mod intake;
mod payload;
mod plain;
mod samples;
mod start;
mod storage;
mod village;

use anyhow::Result;
use clap::Parser;

use figures::Table;

/// Print the table of what Wadi costs, against plain SQLite in the same run.
#[derive(Parser, Debug)]
#[command(name = "wadi-bench")]
pub struct Options {
    /// Few repetitions and small databases: proves that the bench works.
    #[arg(long)]
    short: bool,
    /// Only the sections whose name contains this: intake, capture, hub, memory, start, storage, payload, growth.
    #[arg(long, default_value = "")]
    only: String,
    /// Rows of the large data set of `growth`.
    #[arg(long, default_value_t = 100_000)]
    grown: usize,
    /// Where databases are made; a folder in memory leaves out what fsync costs.
    #[arg(long)]
    folder: Option<std::path::PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Pairs of blocks, ours and the baseline's.
    pub blocks: usize,
    /// Commits in a block of one record each.
    pub commits: usize,
    /// Changesets in a block at the hub.
    pub changesets: usize,
    /// Rows in a database that has grown, and changes that are drained.
    pub rows: usize,
    /// Rows of a data set that is large.
    pub grown: usize,
}

type Section = fn(&std::path::Path, Scale, &mut Table) -> Result<()>;

const SECTIONS: [(&str, Section); 8] = [
    ("intake", intake::measure),
    ("capture", capture::measure),
    ("hub", centre::measure),
    ("memory", drain::measure),
    ("start", start::measure),
    ("storage", storage::measure),
    ("payload", payload::measure),
    ("growth", growth::measure),
];

fn main() -> Result<()> {
    let options = Options::parse();
    let scale = match options.short {
        true => Scale { blocks: 2, commits: 5, changesets: 1, rows: 1_000, grown: 10_000 },
        false => {
            Scale { blocks: 15, commits: 50, changesets: 3, rows: 100_000, grown: options.grown }
        }
    };
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let mut table = Table::default();
    for (name, section) in SECTIONS {
        if name.contains(&options.only) {
            eprintln!("measuring: {name}");
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder)?;
            section(&folder, scale, &mut table)?;
            std::fs::remove_dir_all(&folder)?;
        }
    }
    print!("{table}");
    Ok(())
}
