//! What the demo is asked for.
use std::path::PathBuf;

use clap::Parser;

/// Watch records travel: handhelds, two gateways, a hub, links that break.
///
/// Builds and runs everything on this machine, plays field records through it, and
/// compares every table on the hub and both gateways at the end.
#[derive(Clone, Debug, Parser)]
#[command(bin_name = "cargo demo --", version)]
pub struct Options {
    /// Folder with schema.toml and streams: trickle.jsonl[.gz], and base.jsonl[.gz] if there is one
    #[arg(long, value_name = "DIR", default_value_os_t = wadi_harness::records::sample_folder())]
    pub workload: PathBuf,
    /// How many changes of the trickle to play
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub changes: usize,
    /// Folder for the databases that are left behind [default: target/demo]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where the links are cut; the same seed cuts in the same places
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}
