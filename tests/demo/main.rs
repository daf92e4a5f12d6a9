//! `cargo demo`: the whole path on one machine, from field records to three equal
//! databases, over links that are cut now and then.
//!
//! Exit code 0 if every table is equal on the hub and both gateways, else 1.
mod compare;
mod options;
mod play;
mod progress;
mod stage;
mod summary;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use wadi_harness::binaries;

use crate::options::Options;
use crate::progress::Progress;
use crate::stage::Stage;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\nwadi-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything is equal in the end.
fn run(options: &Options) -> Result<bool> {
    println!(
        "Building wadi-hub, wadi-gateway and wadi-handheld (the first time takes some minutes) ..."
    );
    let binaries = binaries::build()?;
    let out = match &options.out {
        Some(out) => out.clone(),
        None => binaries.parent().context("a target folder")?.join("demo"),
    };
    let began = Instant::now();
    let mut stage = Stage::set(options, &out)?;
    println!(
        "{} handhelds ({} on a serial line of 115200 baud, the others on TCP), 2 gateways, a hub with its own broker.",
        stage.crews.len(),
        stage.crews.iter().filter(|crew| crew.serial).count(),
    );
    let progress = Progress::begin(&stage);
    let played = play::all(&mut stage, &progress);
    let figures = progress.end();
    played?;
    let verdict = compare::all(&stage)?;
    stage.stop()?;
    summary::print(&stage, &figures, &verdict, began.elapsed(), &out);
    Ok(verdict.equal())
}
