//! A real mosquitto on a free loopback port.
//!
//! It keeps its port through kills, so that clients find it again. `wipe` throws
//! away what it had stored; with persistence it keeps (some of) it.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Process;
use crate::wait::{Look, until};
use crate::{ports, wait};

/// A broker must listen after this.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A mosquitto.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Broker {
    /// Start one with its files in `folder`/mosquitto.
    pub fn start(folder: &Path, persistence: bool) -> Result<Broker> {
        let folder = folder.join("mosquitto");
        std::fs::create_dir_all(&folder)?;
        let port = ports::free();
        // `user root`: as root it would change to a user who may not enter our folder.
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence {persistence}\n\
             persistence_location {}/\nautosave_interval 1\nset_tcp_nodelay true\n",
            folder.display()
        );
        std::fs::write(folder.join("mosquitto.conf"), text)?;
        let mut broker = Broker { folder, port, process: None };
        broker.restart()?;
        Ok(broker)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Throw away what it had stored; it must have been killed.
    pub fn wipe(&mut self) -> Result<()> {
        assert!(self.process.is_none(), "kill the broker before wiping it");
        match std::fs::remove_file(self.folder.join("mosquitto.db")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Start it (again) on its port.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let program = program()
            .context("mosquitto is not installed: run tests/run, or `apt-get install mosquitto`")?;
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        let mut process =
            Process::start("mosquitto", &mut command, &self.folder.join("mosquitto.log"))?;
        until("mosquitto to listen", START_DEADLINE, || {
            process.check()?;
            Ok(wait::Look::when(ports::answers(self.port), || "no listener".into()))
        })?;
        self.process = Some(process);
        Ok(())
    }
}

/// Debian keeps it in a folder that is not on everybody's path.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join("mosquitto")).find(|file| file.is_file())
}

/// Wait until somebody listens on the port.
pub fn listening(port: u16, what: &str, mut check: impl FnMut() -> Result<()>) -> Result<()> {
    until(&format!("{what} to listen on port {port}"), START_DEADLINE, || {
        check()?;
        Ok(Look::when(ports::answers(port), || "no listener".into()))
    })
}
