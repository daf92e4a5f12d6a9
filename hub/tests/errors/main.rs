//! What `wadi-hub` says when something is wrong, read as an operator reads it: each
//! error is caused for real, by the built program, and must say what was wrong, where,
//! and what to do, with the exit code that fits.
mod asked;
mod configuration;
mod database;
mod serving;
#[path = "../../../gateway/tests/errors/stranger.rs"]
mod stranger;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Exit code: it failed.
pub const FAILED: i32 = 1;
/// Exit code: wrong usage.
pub const USAGE: i32 = 2;
/// Exit code: it may work later.
pub const LATER: i32 = 75;
/// Exit code: trying again changes nothing.
pub const CONFIG: i32 = 78;

/// Words that only a programmer reads.
const JARGON: [&str; 5] = ["panicked", "RUST_BACKTRACE", "Error {", "Some(", "unwrap"];

/// How a command ended, and what it said.
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    /// What it said on standard error.
    pub errors: String,
    /// What it was asked.
    pub words: String,
}

impl Said {
    /// It ended with this code, and its errors hold all of these.
    pub fn told(&self, code: i32, parts: &[&str]) {
        let Said { errors, words, .. } = self;
        for part in parts {
            assert!(errors.contains(part), "{words}: no {part:?} in: {errors}");
        }
        assert_eq!(self.code, Some(code), "{words}: {errors}");
        let jargon = JARGON.iter().find(|jargon| errors.contains(**jargon));
        assert_eq!(jargon, None, "{words}: {errors}");
    }
}

/// `wadi-hub` with the folder's `hub.toml`, without the configuration of our own environment.
pub fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wadi-hub"));
    command.current_dir(folder).args(["--config", "hub.toml"]).args(words);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("WADI_") {
            command.env_remove(variable);
        }
    }
    command
}

/// Run it to its end.
pub fn hub(folder: &Path, words: &[&str]) -> Said {
    ended(&mut command(folder, words))
}

/// Run a command to its end.
pub fn ended(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    Said { code: output.status.code(), errors, words: format!("{:?}", command.get_args()) }
}

/// A folder with this configuration.
pub fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.toml"), text).unwrap();
    folder
}

/// A hub that serves, until it is killed: its lock is held.
pub fn serving(folder: &Path) -> Child {
    let mut command = command(folder, &["serve"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while wadi_hub::live::look(&folder.join("hub.db")).serving != Some(true) {
        assert!(Instant::now() < deadline, "it does not serve");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
