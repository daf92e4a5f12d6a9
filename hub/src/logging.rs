//! Where the log goes: to journald with structured fields when started by
//! systemd, to stderr otherwise. `WADI_LOG` sets the level (`info`, `debug`,
//! `wadi_hub=debug`).
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// What is logged unless told otherwise.
const DEFAULT: &str = "info,mqtt5=warn";

/// Start logging; called once, by a binary's `main`.
pub fn start() {
    let filter = EnvFilter::try_from_env("WADI_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let registry = tracing_subscriber::registry().with(filter);
    // systemd sets this for services whose output goes to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => registry.with(journal).init(),
        None => {
            let stderr = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false);
            registry.with(stderr).init();
        }
    }
}
