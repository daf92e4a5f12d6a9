//! The command line of `wadi-gateway`: words only, nothing is done here.
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use wadi_gateway::control::{SYNC_PATIENCE_S, SYNC_PATIENCE_S_MAX};
use wadi_gateway::{command, config, handheld_command};

/// The village end of Wadi: keeps what handhelds and programs record, and syncs
/// it with the hub whenever the link flows.
#[derive(Parser)]
#[command(version, after_help = "WADI_LOG=debug in the environment says more.")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = config::FILE)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What a person at the gateway can ask for.
#[derive(Subcommand)]
pub enum Command {
    /// Serve handhelds and sync, until stopped.
    Run,
    /// A page about this gateway; problems first.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Exit with code 1 if there is a problem, for monitoring.
        #[arg(long)]
        check: bool,
    },
    /// Install the enrolment file that the hub wrote for this gateway.
    Enrol {
        /// The file; delete it afterwards.
        file: PathBuf,
    },
    /// Sync now; ends when everything is exchanged.
    Sync {
        /// Give up after so many seconds; what got through stays.
        #[arg(long, value_name = "SECONDS", default_value_t = SYNC_PATIENCE_S, value_parser = clap::value_parser!(u32).range(1..=i64::from(SYNC_PATIENCE_S_MAX)))]
        within: u32,
    },
    /// What the backlog will cost on a link, and how long it will take.
    Plan {
        /// What the link carries, in bits a second: 9600, 30k, 1.5M.
        #[arg(long, value_name = "BITS", value_parser = command::rate)]
        rate: u64,
        /// From here to the broker and back.
        #[arg(long, value_name = "MILLISECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(..=600_000))]
        round_trip: u64,
        /// The link is up for so long at a time; 0: it stays.
        #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10_000_000))]
        window: u64,
        /// What a megabyte costs, in whatever money.
        #[arg(long, value_name = "MONEY")]
        price: Option<f64>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The schema that this gateway holds.
    Schema,
    /// Which handhelds may come in; works beside the running gateway.
    Handheld {
        /// What to do.
        #[command(subcommand)]
        command: handheld_command::Command,
    },
    /// Every change by custody; exit code 1 if the books do not balance.
    Ledger {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copy the database, whole, beside the running gateway.
    Backup {
        /// The copy; it must not exist.
        file: PathBuf,
        /// Replace the copy if it exists.
        #[arg(long)]
        force: bool,
        /// Copy the secrets as well that make this gateway what it is.
        #[arg(long)]
        with_identity: bool,
    },
    /// Put a backup in the place of the database; the gateway must not run.
    Restore {
        /// The backup.
        file: PathBuf,
    },
    /// The configuration as it takes effect, and where each value comes from.
    Config {
        /// A commented file to begin with, instead.
        #[arg(long)]
        template: bool,
    },
}
