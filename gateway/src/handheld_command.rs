//! `wadi-gateway handheld`: which handhelds may come in.
//!
//! Works on the file beside a running gateway, which looks at each hello and
//! every second in between.
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use crate::noise::file::{self, KeyFileError};
use crate::noise::key::{PublicKey, Typed};
use crate::store::StoreError;
use crate::store::handhelds::{Handheld, Key, State};
use crate::store::roster::{self, Outcome, Whom};
use crate::words::span;
use wadi_protocol::limits;

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Every handheld that knocked or was named, those that wait first.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a handheld in. One that was never here is named by its whole key.
    Allow(Named),
    /// Let it in no more; ends its session within seconds.
    Revoke(Named),
}

/// A handheld, as it is named.
#[derive(Clone, Debug, clap::Args)]
pub struct Named {
    /// Its name.
    #[arg(value_parser = limits::name)]
    name: String,
    /// Its key, as `wadi-handheld key` shows it: the 16 digits, or all 64.
    #[arg(long, value_name = "DIGITS")]
    key: Option<Typed>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum HandheldError {
    /// At the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// At this gateway's own key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// At the output.
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
}

/// Run a command on a gateway's database.
pub fn run(
    command: &Command,
    database: &Path,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<ExitCode, HandheldError> {
    match command {
        Command::List { json } => {
            let own = file::read(database)?.map(|keys| keys.public());
            let held = roster::list(database)?;
            if *json {
                let held: Vec<_> = held.iter().map(to_json).collect();
                let whole = own.map(|key| key.whole());
                writeln!(out, "{:#}", json!({ "gateway_key": whole, "handhelds": held }))?;
            } else {
                list(own, &held, now_s, out)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Allow(named) => set(named, State::Allowed, database, now_s, out),
        Command::Revoke(named) => set(named, State::Revoked, database, now_s, out),
    }
}

fn set(
    named: &Named,
    state: State,
    database: &Path,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<ExitCode, HandheldError> {
    let is_it = |key: &Key| named.key.is_none_or(|typed| typed.names(&PublicKey(*key)));
    let whole = match named.key {
        Some(Typed::Whole(key)) => Some(key.0),
        Some(Typed::Fingerprint(_)) | None => None,
    };
    let key = named.key.is_some().then_some(&is_it as &dyn Fn(&Key) -> bool);
    let whom = Whom { name: &named.name, key, whole };
    let shown = |held: &Handheld| format!("{:?} (key {})", held.name, PublicKey(held.key));
    let (what, known) = match roster::set(database, &whom, state, now_s)? {
        Outcome::Done(held) => {
            writeln!(out, "handheld {} is {} now", shown(&held), state.name())?;
            return Ok(ExitCode::SUCCESS);
        }
        Outcome::Already(held) => {
            writeln!(out, "handheld {} was {} already", shown(&held), state.name())?;
            return Ok(ExitCode::SUCCESS);
        }
        Outcome::Several(meant) => (
            format!("several handhelds go by the name {:?}: say which with --key", named.name),
            meant,
        ),
        Outcome::Nobody(known) => (
            format!(
                "no handheld {:?}{} is known here; let it sync once, or give all 64 digits of \
                 `wadi-handheld key` with --key",
                named.name,
                if named.key.is_some() { " of this key" } else { "" }
            ),
            known,
        ),
    };
    eprintln!("wadi-gateway: {what}");
    for held in known {
        eprintln!("  {:<8} {}", held.state.name(), shown(&held));
    }
    Ok(ExitCode::FAILURE)
}

fn list(
    own: Option<PublicKey>,
    held: &[Handheld],
    now_s: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    match own {
        Some(key) => writeln!(out, "this gateway's key is {key}")?,
        None => writeln!(out, "this gateway has no key yet: `wadi-gateway run` makes it")?,
    }
    if held.is_empty() {
        return writeln!(out, "no handheld has knocked yet");
    }
    for held in held {
        let last = match held.last_s {
            Some(last_s) => format!("last here {} ago", span(now_s.saturating_sub(last_s))),
            None => "never here".into(),
        };
        let key = PublicKey(held.key);
        write!(out, "{:<8} {key}  {:?}, {last}", held.state.name(), held.name)?;
        match held.refused {
            0 => writeln!(out)?,
            refused => writeln!(out, ", sent away {refused} times")?,
        }
    }
    Ok(())
}

fn to_json(held: &Handheld) -> serde_json::Value {
    let key = PublicKey(held.key);
    json!({
        "name": held.name,
        "state": held.state,
        "fingerprint": key.to_string(),
        "key": key.whole(),
        "first_s": held.first_s,
        "last_s": held.last_s,
        "refused": held.refused,
    })
}
