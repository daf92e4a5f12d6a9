//! A gateway: its configuration, its process, and its commands.
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Outcome, Process, run};
use crate::wait::{Look, until};
use crate::{binaries, broker, ports};

/// A command must be done after this.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// In its configuration: handhelds need not be allowed by name.
const ANYONE: &str = "admit = \"anyone\"";

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    config: PathBuf,
    database: PathBuf,
    log: PathBuf,
    port: u16,
    process: Option<Process>,
}

/// What a gateway is laid out with.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Its number at the hub; also the name of its files.
    pub number: u32,
    /// The enrolment file that the hub wrote for it.
    pub enrolment: &'a Path,
    /// The port of its broker, or of a relay before it.
    pub broker_port: u16,
    /// Its serial ports.
    pub serial: Vec<&'a Path>,
    /// Seconds between rounds that only ask for news.
    pub interval_s: u64,
}

impl Gateway {
    /// Lay one out in `folder`; it does not run yet. Times are short, since tests are.
    pub fn lay_out(folder: &Path, settings: &Settings<'_>) -> Result<Gateway> {
        std::fs::create_dir_all(folder)?;
        let name = format!("gateway-{}", settings.number);
        let port = ports::free();
        let mut text = format!(
            "database = \"{name}.db\"\nidentity = \"{name}.identity.toml\"\n\n[broker]\nhost = \"127.0.0.1\"\nport = {}\n\n\
             [lan]\nlisten = \"127.0.0.1:{port}\"\n\n\
             [handhelds]\n{ANYONE}\n\n\
             [sync]\ninterval_s = {}\nretry_min_ms = 50\nretry_max_ms = 500\ndeadline_ms = 1000\n\n\
             [changelog]\nkeep_days = 0\n\n[disk]\nreserve_mb = 4\n",
            settings.broker_port, settings.interval_s
        );
        for path in &settings.serial {
            text += &format!("\n[[serial]]\npath = \"{}\"\nbaud = 115200\n", path.display());
        }
        let config = folder.join(format!("{name}.toml"));
        std::fs::write(&config, text)?;
        let database = folder.join(format!("{name}.db"));
        let log = folder.join(format!("{name}.log"));
        let gateway = Gateway { config, database, log, port, process: None };
        gateway.enrol(settings.enrolment)?;
        Ok(gateway)
    }

    /// Install an enrolment file.
    pub fn enrol(&self, file: &Path) -> Result<()> {
        self.command(&["enrol", file.to_str().context("a path in UTF-8")?])?.ok().map(drop)
    }

    /// From its next start on, let in only the handhelds that were allowed by name.
    pub fn admit_allowed_only(&mut self) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        Ok(std::fs::write(&self.config, text.replace(ANYONE, "admit = \"allowed\""))?)
    }

    /// Move its database to another folder, with all that lies beside it. It must not run.
    pub fn move_to(&mut self, folder: &Path) -> Result<()> {
        let name = self.database.file_name().context("a file")?.to_string_lossy().into_owned();
        for file in std::fs::read_dir(self.database.parent().context("a folder")?)? {
            let file = file?;
            let moved = file.file_name().to_string_lossy().starts_with(&name);
            if moved {
                let copy = folder.join(file.file_name());
                std::fs::copy(file.path(), &copy)?;
                std::fs::File::open(&copy)?.sync_all()?;
                std::fs::remove_file(file.path())?;
            }
        }
        std::fs::File::open(folder)?.sync_all()?;
        let moved = folder.join(&name);
        let text = std::fs::read_to_string(&self.config)?;
        let text = text.replace(&format!("\"{name}\""), &format!("\"{}\"", moved.display()));
        std::fs::write(&self.config, text)?;
        self.database = moved;
        Ok(())
    }

    /// Its database.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The port that handhelds connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Run, and wait until handhelds can connect.
    pub fn start(&mut self) -> Result<()> {
        self.launch()?;
        let port = self.port;
        broker::listening(port, "the gateway", || self.check()).inspect_err(|_| self.kill())
    }

    /// Run, and wait for nothing.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = binaries::command("wadi-gateway")?;
        command.arg("--config").arg(&self.config).arg("run");
        self.process = Some(Process::start("wadi-gateway", &mut command, &self.log)?);
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
            anyhow::ensure!(status.success(), "wadi-gateway stopped with {status}\n{tail}");
        }
        Ok(())
    }

    /// How it ended by itself.
    pub fn ended(&mut self, deadline: Duration) -> Result<Option<i32>> {
        let process = self.process.as_mut().context("it does not run")?;
        let code = until("the gateway to end", deadline, || {
            Ok(process.ended()?.map_or_else(|| Look::NotYet("it runs".into()), Look::Found))
        })?;
        self.process = None;
        Ok(code.code())
    }

    /// An error if it ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Run a command to its end.
    pub fn command(&self, words: &[&str]) -> Result<Outcome> {
        let mut command = binaries::command("wadi-gateway")?;
        command.arg("--config").arg(&self.config).args(words);
        run(&mut command, "", COMMAND_DEADLINE)
    }

    /// What a command with `--json` says.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let text = self.command(&[words, &["--json"]].concat())?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("wadi-gateway {words:?}: {text}"))
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        crate::process::tail(&self.log)
    }
}
