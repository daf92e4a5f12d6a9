//! The reference collector: see [`wadi_gateway::handheld`].
use std::process::ExitCode;

use clap::Parser;
use wadi_gateway::handheld::command::{Cli, run};

fn main() -> ExitCode {
    run(&Cli::parse())
}
