//! Processes: started, killed at any instruction, stopped, or run to their end.
//!
//! What a process says goes to a log beside its data; when something fails the
//! tail of it is part of the error.
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A stopped process must be gone after this.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks whether a process has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);
/// How much of a log an error shows.
const TAIL_BYTES: usize = 2_000;

/// A long-lived process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Start it; its output is appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process> {
        let out = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{name} does not start: {command:?}"))?;
        Ok(Process { name: name.into(), child, log: log.into() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it ends between two instructions of its own.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and wait for its end.
    pub fn stop(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let Some(status) = wait(&mut self.child, STOP_DEADLINE)? else {
            bail!("{} did not end on SIGTERM\n{}", self.name, self.tail());
        };
        Ok(status)
    }

    /// An error if it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself, {status}\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// How it ended by itself, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The last lines it wrote.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none = killed by a signal.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    command: String,
}

impl Outcome {
    /// Its standard output, or an error that tells everything if it failed.
    pub fn ok(self) -> Result<String> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        bail!("{} exited with {:?}\n{}{}", self.command, self.code, self.stdout, self.stderr)
    }

    /// Everything it wrote.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Run a command to its end, with `input` on its standard input; killed at the deadline.
pub fn run(command: &mut Command, input: &str, deadline: Duration) -> Result<Outcome> {
    let child = begin(command, input)?;
    child.finish(deadline)
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: File,
    err: File,
    command: String,
}

/// Begin to run a command.
pub fn begin(command: &mut Command, input: &str) -> Result<Running> {
    // Files, not pipes: nobody need read while it runs, and a kill loses nothing.
    let mut stdin = tempfile::tempfile()?;
    std::io::Write::write_all(&mut stdin, input.as_bytes())?;
    stdin.rewind()?;
    let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let child = command
        .stdin(stdin)
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    Ok(Running { child, out, err, command: shown(command) })
}

impl Running {
    /// Wait for its end; past the deadline it is killed, and that is an error.
    pub fn finish(mut self, deadline: Duration) -> Result<Outcome> {
        let status = wait(&mut self.child, deadline)?;
        if status.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        let outcome = Outcome {
            code: status.and_then(|status| status.code()),
            stdout: slurp(&mut self.out)?,
            stderr: slurp(&mut self.err)?,
            command: self.command.clone(),
        };
        if status.is_none() {
            bail!(
                "{} still ran after {} s\n{}",
                outcome.command,
                deadline.as_secs(),
                outcome.text()
            );
        }
        Ok(outcome)
    }

    /// Wait a moment for its end, then SIGKILL it; whether it had ended by itself.
    pub fn kill_after(mut self, moment: Duration) -> Result<bool> {
        let ended = wait(&mut self.child, moment)?.is_some();
        if !ended {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > deadline {
            return Ok(None);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn slurp(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?"));
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(TAIL_BYTES);
    format!("[{}]\n{}", log.display(), String::from_utf8_lossy(&bytes[from..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_code_of_a_command() {
        let mut command = Command::new("sh");
        let outcome =
            run(command.args(["-c", "cat; echo no >&2; exit 3"]), "in", STOP_DEADLINE).unwrap();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (Some(3), "in", "no\n")
        );
        assert!(outcome.ok().unwrap_err().to_string().contains("sh -c"));
    }

    #[test]
    fn a_command_past_its_deadline_is_killed() {
        let error =
            run(Command::new("sleep").arg("60"), "", Duration::from_millis(20)).unwrap_err();
        assert!(error.to_string().contains("still ran"));
    }

    #[test]
    fn stop_tells_of_a_process_that_ended_before() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process =
            Process::start("short", Command::new("sh").args(["-c", "echo gone"]), &log).unwrap();
        let _ = process.child.wait();
        assert!(process.check().unwrap_err().to_string().contains("gone"));
    }
}
