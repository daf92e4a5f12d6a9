//! A handheld: one database, and the commands a field worker gives.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Outcome, Running, begin, run};
use crate::records::{Record, lines};
use crate::wait::{Look, until};
use crate::{binaries, tables};

/// A command must be done after this.
const COMMAND_DEADLINE: Duration = Duration::from_secs(300);
/// Exit code: no link.
pub const UNAVAILABLE: i32 = 69;
/// Exit code: the gateway is busy.
pub const TRY_LATER: i32 = 75;

/// A handheld.
#[derive(Clone, Debug)]
pub struct Handheld {
    database: PathBuf,
    name: String,
}

/// Where its gateway is.
#[derive(Clone, Debug)]
pub enum Link {
    /// A port on loopback: the gateway's own or a relay's.
    Tcp(u16),
    /// A serial port.
    Serial(PathBuf),
}

impl Handheld {
    /// The handheld `name`, with its database in `folder`; made at its first command.
    pub fn new(folder: &Path, name: &str) -> Handheld {
        Handheld { database: folder.join(format!("handheld-{name}.db")), name: name.into() }
    }

    /// Its database.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// A command, not run yet.
    pub fn compose(&self, words: &[&str]) -> Result<Command> {
        let mut command = binaries::command("wadi-handheld")?;
        command.arg("--db").arg(&self.database).args(["--device", &self.name]).args(words);
        Ok(command)
    }

    /// Run a command to its end.
    pub fn command(&self, words: &[&str], input: &str) -> Result<Outcome> {
        run(&mut self.compose(words)?, input, COMMAND_DEADLINE)
    }

    /// Import records; every one must be taken.
    pub fn import(&self, records: &[Record]) -> Result<()> {
        let outcome = self.import_text(&lines(records))?;
        outcome.ok()?;
        Ok(())
    }

    /// Import lines as they are.
    pub fn import_text(&self, text: &str) -> Result<Outcome> {
        let file = self.database.with_extension("jsonl");
        std::fs::write(&file, text)?;
        let outcome = self.command(&["import", file.to_str().context("a path in UTF-8")?], "")?;
        std::fs::remove_file(&file)?;
        Ok(outcome)
    }

    /// Put one record in.
    pub fn put(&self, record: &Value) -> Result<()> {
        self.command(&["put", &record.to_string()], "")?.ok()?;
        Ok(())
    }

    /// Learn the schema from a gateway that has it, and nothing else.
    pub fn learn(&self, link: &Link, deadline: Duration) -> Result<()> {
        self.until_synced(&["--schema-only"], link, deadline)
    }

    /// Begin to sync.
    pub fn begin_sync(&self, link: &Link) -> Result<Running> {
        begin(&mut self.sync_command(&[], link)?, "")
    }

    /// Sync once, whatever comes of it.
    pub fn sync(&self, link: &Link) -> Result<Outcome> {
        run(&mut self.sync_command(&[], link)?, "", COMMAND_DEADLINE)
    }

    /// Sync until it succeeds; a broken link is tried again, anything else is an error.
    pub fn sync_well(&self, link: &Link, deadline: Duration) -> Result<()> {
        self.until_synced(&[], link, deadline)
    }

    fn until_synced(&self, words: &[&str], link: &Link, deadline: Duration) -> Result<()> {
        until(&format!("{} to sync", self.name), deadline, || {
            let outcome = run(&mut self.sync_command(words, link)?, "", COMMAND_DEADLINE)?;
            let again = matches!(outcome.code, Some(UNAVAILABLE | TRY_LATER));
            ensure!(outcome.code == Some(0) || again, "{} did not sync: {outcome:?}", self.name);
            Ok(Look::when(!again, || outcome.text()))
        })
    }

    fn sync_command(&self, words: &[&str], link: &Link) -> Result<Command> {
        let mut command = self.compose(&[&["sync"], words].concat())?;
        match link {
            Link::Tcp(port) => command.args(["--tcp", &format!("127.0.0.1:{port}")]),
            Link::Serial(path) => command.arg("--serial").arg(path).args(["--baud", "115200"]),
        };
        Ok(command)
    }

    /// What its status says.
    pub fn status(&self) -> Result<Value> {
        let text = self.command(&["status", "--json"], "")?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("wadi-handheld status: {text}"))
    }

    /// A cell of its replica.
    pub fn value(&self, table: &str, id: &str, column: &str) -> Result<Option<crate::plan::Cell>> {
        tables::value(&self.database, table, id, column)
    }
}
