//! A serial line: two ptys and a relay between them, at a serial port's pace.
//!
//! The ports keep their names (links in a folder) when the line is replaced. A
//! cut loses bytes in mid-frame, noise turns or adds some. The harness holds both
//! port ends open, so that a killed process leaves the line as a UART would: alive.
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};

use crate::trouble::{Meter, Pace, Trouble};

/// Bytes a second at 115200 baud, 8N1: ten bits a byte.
pub const BYTES_S_AT_115200: u64 = 11_520;
/// A thread looks up at least this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A port that nobody reads overruns after this, and loses bytes as a UART does.
const OVERRUN_AFTER: Duration = Duration::from_millis(200);
/// A cut loses as many bytes: a piece of a frame or a few small ones.
const LOSS_BYTES: std::ops::Range<u64> = 10..300;
/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// A line with a port at each end.
#[derive(Debug)]
pub struct Line {
    trouble: Arc<Trouble>,
    ended: Arc<AtomicBool>,
    pumps: Vec<JoinHandle<()>>,
    ports: [PathBuf; 2],
}

impl Line {
    /// A line whose ports are `folder`/`name`-gateway and `folder`/`name`-handheld.
    pub fn lay(folder: &Path, name: &str, seed: u64) -> Result<Line> {
        let ports =
            [folder.join(format!("{name}-gateway")), folder.join(format!("{name}-handheld"))];
        let trouble = Arc::new(Trouble::none(seed));
        trouble.limit_rate(BYTES_S_AT_115200);
        let mut line = Line { trouble, ended: Arc::default(), pumps: Vec::new(), ports };
        line.connect()?;
        Ok(line)
    }

    /// The gateway's port.
    pub fn gateway_port(&self) -> &Path {
        &self.ports[0]
    }

    /// The handheld's port.
    pub fn handheld_port(&self) -> &Path {
        &self.ports[1]
    }

    /// Its faults and counters.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// A counter that may be read from another thread.
    pub fn meter(&self) -> Meter {
        Meter::of(&self.trouble)
    }

    /// Pull the cable out: both ports hang up, and new ones appear under the same names.
    pub fn replug(&mut self) -> Result<()> {
        self.disconnect();
        self.connect()
    }

    fn connect(&mut self) -> Result<()> {
        self.ended = Arc::default();
        let one = Arc::new(Port::open(&self.ports[0])?);
        let two = Arc::new(Port::open(&self.ports[1])?);
        for (from, to) in [(one.clone(), two.clone()), (two, one)] {
            let (trouble, ended) = (self.trouble.clone(), self.ended.clone());
            self.pumps.push(std::thread::spawn(move || pump(&from, &to, &trouble, &ended)));
        }
        Ok(())
    }

    fn disconnect(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for pump in self.pumps.drain(..) {
            let _ = pump.join();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// Our side of a pty, and its other side held open.
#[derive(Debug)]
struct Port {
    ours: OwnedFd,
    theirs: OwnedFd,
    link: PathBuf,
}

impl Drop for Port {
    /// The name goes first, as a device node does: the system gives its number to the
    /// next pty, and who still looks for this port would open that of somebody else.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.link);
    }
}

impl Port {
    fn open(link: &Path) -> Result<Port> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pty")?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, Mode::empty())?;
        // Raw from the start, or the line would echo before somebody opens it.
        let mut settings = tcgetattr(&theirs)?;
        settings.make_raw();
        tcsetattr(&theirs, OptionalActions::Now, &settings)?;
        let own_flags = rustix::fs::fcntl_getfl(&ours)?;
        rustix::fs::fcntl_setfl(&ours, own_flags | OFlags::NONBLOCK)?;
        rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC)?;
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(Path::new(name.to_str()?), link)?;
        Ok(Port { ours, theirs, link: link.to_path_buf() })
    }

    /// Wait until it can be read (or written); false = not within the interval.
    fn ready(&self, flags: PollFlags) -> bool {
        let mut fds = [PollFd::new(&self.ours, flags)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_INTERVAL.subsec_nanos().into() };
        matches!(poll(&mut fds, Some(&timeout)), Ok(1..)) && fds[0].revents().intersects(flags)
    }

    /// Write it all, or lose the rest when nobody reads.
    fn write(&self, mut bytes: &[u8]) {
        let start = Instant::now();
        while !bytes.is_empty() && start.elapsed() < OVERRUN_AFTER {
            match rustix::io::write(&self.ours, bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(Errno::AGAIN) => _ = self.ready(PollFlags::OUT),
                Err(_) => return,
            }
        }
    }
}

fn pump(from: &Port, to: &Port, trouble: &Trouble, ended: &AtomicBool) {
    let mut pace = Pace::new();
    let mut buffer = [0; READ_BYTES];
    let mut stretch = Stretch::default();
    while !ended.load(Ordering::Relaxed) {
        if !from.ready(PollFlags::IN) {
            // A port opened exclusively by a process that was killed stays exclusive
            // while we hold it open; the next one must get in.
            let _ = ioctl_tiocnxcl(&from.theirs);
            continue;
        }
        let take = trouble.chunk_bytes(READ_BYTES);
        let Ok(len) = rustix::io::read(&from.ours, &mut buffer[..take]) else {
            continue;
        };
        pace.spend(trouble, len);
        if trouble.is_silent() {
            continue;
        }
        let mut bytes = stretch.pass(trouble, &buffer[..len]);
        if let Some((at, bits)) = trouble.draw_noise(bytes.len()) {
            // Half of the noise turns bits, the other half adds a byte.
            if bits & 1 == 0 { bytes[at] ^= bits | 1 } else { bytes.insert(at, bits) }
        }
        to.write(&bytes);
    }
}

/// How far the line still carries, or how much it still loses.
#[derive(Default)]
struct Stretch {
    /// None: for ever.
    left: Option<u64>,
    losing: bool,
}

impl Stretch {
    fn pass(&mut self, trouble: &Trouble, bytes: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match &mut self.left {
                Some(0) if self.losing => (self.left, self.losing) = (trouble.draw_budget(), false),
                Some(0) => {
                    trouble.cuts.fetch_add(1, Ordering::Relaxed);
                    (self.left, self.losing) = (Some(trouble.draw_loss(LOSS_BYTES)), true);
                }
                Some(left) => *left -= 1,
                // Trouble may begin at any time.
                None => self.left = trouble.draw_budget(),
            }
            if !self.losing {
                passed.push(byte);
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};

    use super::*;

    fn open(port: &Path) -> File {
        OpenOptions::new().read(true).write(true).open(port).unwrap()
    }

    #[test]
    fn bytes_pass_raw_at_115200_baud() {
        let folder = tempfile::tempdir().unwrap();
        let line = Line::lay(folder.path(), "line", 1).unwrap();
        let (mut gateway, mut handheld) = (open(line.gateway_port()), open(line.handheld_port()));
        let bytes: Vec<u8> = (0..6_000u32).map(|at| at as u8).collect();
        let start = Instant::now();
        let sent = bytes.clone();
        let writer = std::thread::spawn(move || handheld.write_all(&sent));
        let mut got = vec![0; bytes.len()];
        gateway.read_exact(&mut got).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(got, bytes);
        assert!(start.elapsed() > Duration::from_millis(450), "{:?}", start.elapsed());
    }

    #[test]
    fn cuts_lose_bytes_and_noise_turns_them() {
        let folder = tempfile::tempdir().unwrap();
        let line = Line::lay(folder.path(), "line", 2).unwrap();
        line.trouble().limit_rate(0);
        line.trouble().cut_after(Some(400..500));
        line.trouble().make_noise(1000);
        let (mut gateway, mut handheld) = (open(line.gateway_port()), open(line.handheld_port()));
        let deadline = Duration::from_secs(20);
        crate::wait::until("cuts and noise", deadline, || {
            handheld.write_all(&[0; 250]).unwrap();
            let (cuts, noises) = (&line.trouble().cuts, &line.trouble().noises);
            let done = cuts.load(Ordering::Relaxed) > 2 && noises.load(Ordering::Relaxed) > 2;
            Ok(crate::wait::Look::when(done, || format!("{cuts:?} cuts, {noises:?} noises")))
        })
        .unwrap();
        let mut buffer = [0; 4000];
        let len = gateway.read(&mut buffer).unwrap();
        assert!(len > 0 && buffer[..len].iter().any(|&byte| byte != 0));
    }

    #[test]
    fn the_ports_keep_their_names_when_replugged() {
        let folder = tempfile::tempdir().unwrap();
        let mut line = Line::lay(folder.path(), "line", 3).unwrap();
        let mut old = open(line.gateway_port());
        let name = line.gateway_port().to_path_buf();
        line.disconnect();
        assert!(name.symlink_metadata().is_err(), "no name leads to what may be another's");
        line.connect().unwrap();
        assert!(matches!(old.read(&mut [0; 8]), Ok(0) | Err(_)), "the old port hangs up");
        let (mut gateway, mut handheld) = (open(line.gateway_port()), open(line.handheld_port()));
        handheld.write_all(b"again").unwrap();
        let mut got = [0; 5];
        gateway.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"again");
    }
}
