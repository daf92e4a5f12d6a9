//! A hub: its configuration, its process, and the commands an operator gives.
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Outcome, Process, run};
use crate::{binaries, broker};

/// A command of an operator must be done after this.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// Which broker a hub uses.
#[derive(Clone, Copy, Debug)]
pub enum BrokerAt {
    /// One that runs already.
    Port(u16),
    /// Its own, on this port.
    Embedded(u16),
}

/// A hub.
#[derive(Debug)]
pub struct Hub {
    /// The person who gives it commands.
    pub operator: Operator,
    database: PathBuf,
    log: PathBuf,
    broker: BrokerAt,
    process: Option<Process>,
}

impl Hub {
    /// Lay one out in `folder`; `schema` is published. It does not serve yet.
    pub fn lay_out(folder: &Path, broker: BrokerAt, schema: &str) -> Result<Hub> {
        std::fs::create_dir_all(folder)?;
        let broker_lines = match broker {
            BrokerAt::Port(port) => format!("[broker]\nhost = \"127.0.0.1\"\nport = {port}\n"),
            BrokerAt::Embedded(port) => format!("[embedded]\nlisten = \"127.0.0.1:{port}\"\n"),
        };
        let config = folder.join("hub.toml");
        std::fs::write(&config, format!("database = \"hub.db\"\n{broker_lines}"))?;
        let hub = Hub {
            operator: Operator { config },
            database: folder.join("hub.db"),
            log: folder.join("hub.log"),
            broker,
            process: None,
        };
        hub.publish(schema)?;
        Ok(hub)
    }

    /// Its database.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Publish a schema.
    pub fn publish(&self, schema: &str) -> Result<()> {
        let file = self.operator.config.with_file_name("hub.schema.toml");
        std::fs::write(&file, schema)?;
        let file = file.to_str().context("a path in UTF-8")?;
        self.operator.command(&["schema", "publish", file])?.ok()?;
        Ok(())
    }

    /// Enrol a gateway of a site; its enrolment file.
    pub fn add_gateway(&self, site: &str) -> Result<PathBuf> {
        self.enrol("add", site)
    }

    /// Enrol the gateway of a site anew; its enrolment file.
    pub fn enrol_again(&self, site: &str) -> Result<PathBuf> {
        self.enrol("enrol", site)
    }

    fn enrol(&self, word: &str, site: &str) -> Result<PathBuf> {
        let file = self.operator.config.with_file_name(format!("{word}-{site}.enrolment.toml"));
        let out = file.to_str().context("a path in UTF-8")?;
        self.operator.command(&["gateway", word, site, "--out", out])?.ok()?;
        Ok(file)
    }

    /// Serve.
    pub fn start(&mut self) -> Result<()> {
        let mut command = binaries::command("wadi-hub")?;
        command.arg("--config").arg(&self.operator.config).arg("serve");
        let mut process = Process::start("wadi-hub", &mut command, &self.log)?;
        if let BrokerAt::Embedded(port) = self.broker {
            broker::listening(port, "the hub's broker", || process.check())?;
        }
        self.process = Some(process);
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM: it must end by itself, with success.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            let tail = process.tail();
            let status = process.stop()?;
            anyhow::ensure!(status.success(), "wadi-hub stopped with {status}\n{tail}");
        }
        Ok(())
    }

    /// An error if it ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        crate::process::tail(&self.log)
    }
}

/// The enrolment file of a gateway whose hub does not matter: one is made in
/// `folder`/enroller and never serves.
pub fn enrolment(folder: &Path, site: &str) -> Result<PathBuf> {
    let folder = folder.join("enroller");
    std::fs::create_dir_all(&folder)?;
    let config = folder.join("hub.toml");
    std::fs::write(&config, "address = \"127.0.0.1:1883\"\n")?;
    let file = folder.join("enrolment.toml");
    let _ = std::fs::remove_file(&file);
    let out = file.to_str().context("a path in UTF-8")?;
    let operator = Operator { config };
    let known = operator.command(&["gateway", "add", site, "--out", out])?;
    if known.code != Some(0) {
        operator.command(&["gateway", "enrol", site, "--out", out])?.ok()?;
    }
    Ok(file)
}

/// A person who gives a hub commands; whether it serves or not.
#[derive(Clone, Debug)]
pub struct Operator {
    config: PathBuf,
}

impl Operator {
    /// Run a command of an operator to its end.
    pub fn command(&self, words: &[&str]) -> Result<Outcome> {
        let mut command = binaries::command("wadi-hub")?;
        command.arg("--config").arg(&self.config).args(words);
        run(&mut command, "", COMMAND_DEADLINE)
    }

    /// What a command with `--json` says.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.command(&[words, &["--json"]].concat())?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("wadi-hub {words:?}: {text}"))
    }

    /// The lines of a list, without the header; columns are tab-separated.
    pub fn list(&self, words: &[&str]) -> Result<Vec<Vec<String>>> {
        let text = self.command(words)?.ok()?;
        let columns = |line: &str| line.split('\t').map(|cell| cell.trim().to_string()).collect();
        Ok(text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(columns).collect())
    }
}
