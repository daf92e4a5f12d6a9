//! A journal of our own for a process: the socket that its log goes to, and the
//! records that came, read as journald reads them.
//!
//! journald's socket has one fixed path, so the process gets a `/run` of its own in
//! a mount namespace; only root may make one. See systemd's JOURNAL_NATIVE_PROTOCOL.
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};

use crate::process::Process;

/// Longer records would come by another way, which nothing of ours needs.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// What gives the process its own `/run`, with the folder of the socket in it.
const MOUNTS: &str = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
                      && mount --bind \"$1\" /run/systemd/journal && shift && exec \"$@\"";

/// One record: its fields, each with its values in the order they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(BTreeMap<String, Vec<String>>);

/// A socket, and what has come by it.
pub struct Journal {
    folder: PathBuf,
    heard: Arc<Mutex<Result<Vec<Record>>>>,
}

impl Journal {
    /// Whether this user may have one at all.
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root()
    }

    /// Listen in a folder of its own below `folder`.
    pub fn listen(folder: &Path, name: &str) -> Result<Journal> {
        let folder = folder.join(format!("{name}.journal"));
        std::fs::create_dir(&folder)?;
        let socket = UnixDatagram::bind(folder.join("socket"))?;
        let heard = Arc::new(Mutex::new(Ok(Vec::new())));
        let told = Arc::downgrade(&heard);
        // Its sender waits while the socket's short queue is full: it is emptied at
        // once, until nobody asks any more.
        socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; RECORD_BYTES_MAX];
            while let Some(heard) = told.upgrade() {
                let record = match socket.recv(&mut buffer) {
                    // Whoever begins to log first finds out whether anybody listens.
                    Ok(0) => continue,
                    Ok(length) => Record::read(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => Err(error.into()),
                };
                let mut heard = heard.lock().expect("nothing panics with it");
                match (record, &mut *heard) {
                    (Ok(record), Ok(records)) => records.push(record),
                    (Err(error), Ok(_)) => *heard = Err(error),
                    (_, Err(_)) => return,
                }
            }
        });
        Ok(Journal { folder, heard })
    }

    /// Start a process that logs here, as systemd would.
    pub fn start(&self, name: &str, command: &Command, log: &Path) -> Result<Process> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let metadata = file.metadata()?;
        let mut outer = Command::new("unshare");
        outer.args(["-m", "sh", "-c", MOUNTS, "sh"]).arg(&self.folder);
        outer.arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(variable, value),
                None => outer.env_remove(variable),
            };
        }
        outer.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
        Process::start(name, &mut outer, log)
    }

    /// Everything that has come; an error if something was no record.
    pub fn records(&self) -> Result<Vec<Record>> {
        match &*self.heard.lock().expect("nothing panics with it") {
            Ok(records) => Ok(records.clone()),
            Err(error) => bail!("{error:#}"),
        }
    }
}

impl Record {
    /// A datagram: `NAME=value\n`, or `NAME\n`, eight bytes of length, the value, `\n`.
    pub fn read(mut bytes: &[u8]) -> Result<Record> {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').context("a line has no end")?;
            let line = std::str::from_utf8(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let (name, value) = match line.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => {
                    let (length, rest) = bytes.split_first_chunk().context("no length")?;
                    let length = usize::try_from(u64::from_le_bytes(*length))?;
                    let value = rest.get(..length).context("the value is cut off")?;
                    ensure!(rest.get(length) == Some(&b'\n'), "no end after the value of {line}");
                    bytes = &rest[length + 1..];
                    (line, String::from_utf8(value.to_vec())?)
                }
            };
            let good = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit();
            ensure!(
                name.starts_with(|letter: char| letter.is_ascii_uppercase())
                    && name.len() <= 64
                    && name.chars().all(|letter| good(letter) || letter == '_'),
                "journald would drop a field {name:?}"
            );
            fields.entry(name.into()).or_default().push(value);
        }
        Ok(Record(fields))
    }

    /// A field that has one value; none if it is not there or has several.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.0.get(name).map(Vec::as_slice) {
            Some([value]) => Some(value),
            _ => None,
        }
    }

    /// Such a field as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.one(name)?.parse().ok()
    }

    /// Its fields and their values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }
}
