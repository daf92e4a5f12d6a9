//! Where the log goes: to journald with structured fields (`WADI_TABLE`, `WADI_ROUND`,
//! ...) when systemd has connected stderr to it, to stderr otherwise. `WADI_LOG`
//! sets the level (`info`, `debug`, `wadi_gateway=debug`); it is never guessed at.
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use crate::layers::ConfigError;

/// The variable that sets the level.
pub const VARIABLE: &str = "WADI_LOG";
/// What is logged unless told otherwise.
const DEFAULT: &str = "info";
/// Before the names of our own fields, so that they meet none of journald's.
const FIELD_PREFIX: &str = "WADI";
/// What may stand in a filter without a target.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Start logging; called once, by a binary's `main`.
///
/// # Errors
/// `WADI_LOG` cannot be read; nothing is logged then.
pub fn start() -> Result<(), ConfigError> {
    let wanted = match std::env::var_os(VARIABLE) {
        None => DEFAULT.into(),
        Some(text) => text.into_string().map_err(|_| bad("it is not UTF-8 text"))?,
    };
    let registry = tracing_subscriber::registry().with(filter(&wanted)?);
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let journal = stream.filter(|stream| is_stderr(stream)).and_then(|_| {
        let layer = tracing_journald::layer().ok()?;
        Some(
            layer.with_field_prefix(Some(FIELD_PREFIX.into())).with_priority_mappings(priorities()),
        )
    });
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
    Ok(())
}

fn filter(wanted: &str) -> Result<EnvFilter, ConfigError> {
    let wanted = if wanted.trim().is_empty() { DEFAULT } else { wanted };
    for part in wanted.split(',').map(str::trim) {
        // The crate takes any other word for a target, and logs nothing.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if !LEVELS.contains(&level.to_lowercase().as_str()) {
            return Err(bad(&format!("{part:?} is no level; use one of {}", LEVELS.join(", "))));
        }
    }
    EnvFilter::try_new(wanted).map_err(|error| bad(&error.to_string()))
}

/// Whether stderr is what systemd named, as `device:inode`: it may have been
/// turned elsewhere since (systemd.exec(5), JOURNAL_STREAM).
fn is_stderr(stream: &str) -> bool {
    let file = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let Ok(metadata) = file.and_then(|file| file.metadata()) else {
        return false;
    };
    stream == format!("{}:{}", metadata.dev(), metadata.ino())
}

fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    }
}

fn bad(reason: &str) -> ConfigError {
    ConfigError { origin: VARIABLE.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_level_is_an_error() {
        for good in ["", "info", "warn,wadi=debug", "OFF", "rumqttc=off, info"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "infoo", "wadi=loud", "wadi=", "info,,debug", "[", "info,[x"] {
            let error = filter(bad).unwrap_err().to_string();
            assert!(error.contains(VARIABLE) && error.contains("level"), "{bad}: {error}");
        }
    }
}
