//! What `wadi-gateway` and `wadi-handheld` say when something is wrong, read as a
//! person reads it: each error is caused for real, by the built program, and must
//! say what was wrong, where, and what to do, with the exit code that fits.
mod configuration;
mod database;
mod enrolment;
mod handheld;
mod local;
mod stranger;

use std::path::Path;
use std::process::Command;

/// Exit code: it failed.
pub const FAILED: i32 = 1;
/// Exit code: wrong usage.
pub const USAGE: i32 = 2;
/// Exit code: no link.
pub const UNAVAILABLE: i32 = 69;
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

/// Where a program of ours lies.
pub fn path(program: &str) -> &'static str {
    match program {
        "wadi-gateway" => env!("CARGO_BIN_EXE_wadi-gateway"),
        _ => env!("CARGO_BIN_EXE_wadi-handheld"),
    }
}

/// A program of ours in a folder, without the configuration of our own environment.
pub fn command(program: &str, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(path(program));
    command.current_dir(folder).args(words);
    without_ours(command)
}

fn without_ours(mut command: Command) -> Command {
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("WADI_") {
            command.env_remove(variable);
        }
    }
    command
}

/// Run it to its end.
pub fn ended(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    Said { code: output.status.code(), errors, words: format!("{:?}", command.get_args()) }
}

/// `wadi-gateway` with the folder's `gateway.toml`.
pub fn gateway(folder: &Path, words: &[&str]) -> Said {
    let words = [&["--config", "gateway.toml"], words].concat();
    ended(&mut command("wadi-gateway", folder, &words))
}

/// The same, asked by somebody who owns nothing in the folder.
pub fn gateway_of_stranger(folder: &Path, words: &[&str]) -> Said {
    let mut command = stranger::stranger(path("wadi-gateway"), folder);
    command.args(["--config", "gateway.toml"]).args(words);
    ended(&mut without_ours(command))
}

/// `wadi-handheld` with the folder's `my.db`.
pub fn handheld(folder: &Path, words: &[&str]) -> Said {
    ended(&mut command("wadi-handheld", folder, &[&["--db", "my.db"], words].concat()))
}

/// A folder with a configuration that is good, and more of it.
pub fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("site = \"north\"\ngateway = 1\n{more}");
    std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
    folder
}
