//! Serial ports: opening them, and serving the handhelds on one.
//!
//! Each port has a task of its own. A port that is not there is looked for, by
//! its path alone and for ever, whenever the kernel says that something changed on the
//! way to it, and opened when it appears; the path is followed anew each time, since
//! names below `/dev/serial/by-id` stay the same whichever socket the adapter is
//! plugged into. A port that opens and fails again and again rests, longer and longer
//! up to a bound, until its device node is another one. Nothing here spins. The only
//! file that knows the serial crate.
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{SerialPortBuilderExt, SerialStream};
use tracing::Instrument;
use wadi_protocol::limits::FRAME_BYTES_MAX;

use crate::links::{Link, Links};
use crate::plugs::Plugs;
use crate::reception::Reception;
use crate::session::{self, Closed, Patience};

/// What the serial crate says of ENOTTY.
const NO_TERMINAL: &str = "Not a typewriter";
/// What it says where another program has the lock on the port.
const LOCKED: &str = "Unable to acquire exclusive lock on serial port";
/// What it says of EBUSY: all but root meet another's claim (TIOCEXCL) first.
const BUSY: &str = "Device or resource busy";
/// Ports of one gateway.
pub const PORTS_MAX: usize = 64;
/// How long between two looks at a path at least, however much changes there.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// And at most: where changes are heard, and where they are not.
const LOOK_MAX_HEARING: Duration = Duration::from_secs(30);
const LOOK_MAX_DEAF: Duration = Duration::from_millis(500);
/// A device node that failed rests so long, doubling each time.
const REST_MIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(15);
/// A port that was open for so long is a good one, though nobody asked anything.
const STEADY: Duration = Duration::from_secs(30);

/// Open a port: 8 data bits, no parity, one stop bit, no flow control.
pub fn open(path: &Path, baud: u32) -> io::Result<SerialStream> {
    let opened = tokio_serial::new(path.to_string_lossy(), baud).open_native_async();
    opened.map_err(|error| {
        let error = io::Error::from(error);
        match error.to_string().as_str() {
            NO_TERMINAL => io::Error::new(error.kind(), "this is no serial port"),
            LOCKED | BUSY => io::Error::new(error.kind(), "another program has this port open"),
            _ => error,
        }
    })
}

/// Serve the handhelds on a port, for ever; ends when `shutdown` turns true.
pub async fn serve_serial(
    path: PathBuf,
    baud: u32,
    reception: Reception,
    links: Arc<Links>,
    mut shutdown: watch::Receiver<bool>,
) {
    let port = Port { link: links.serial(&path), path, baud, reception };
    tokio::select! {
        () = port.serve_for_ever() => {}
        // A sender that is gone means the same.
        _ = shutdown.wait_for(|over| *over) => {}
    }
}

/// What tells one device node from another at the same path: its file system,
/// inode, device numbers and time of change.
type Node = (u64, u64, u64, i64, i64);

fn node(path: &Path) -> io::Result<Node> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino(), found.rdev(), found.ctime(), found.ctime_nsec()))
}

struct Port {
    path: PathBuf,
    baud: u32,
    reception: Reception,
    link: Arc<Link>,
}

impl Port {
    async fn serve_for_ever(&self) {
        let plugs = Plugs::listen();
        let mut failing = Failing::default();
        loop {
            // Before the look, so that nothing changes unheard behind it.
            let mut pause = self.heed(&plugs);
            match node(&self.path) {
                Ok(node) => match failing.rest(node, Instant::now()) {
                    Some(rest) => pause = pause.min(rest),
                    None => {
                        let good = self.serve_once(node, &plugs).await;
                        failing.tried(node, good, Instant::now());
                        pause = LOOK_MIN;
                    }
                },
                Err(error) => {
                    failing = Failing::default();
                    self.away(&absence(&error));
                }
            }
            change(&plugs, pause).await;
        }
    }

    /// Hear of what changes on the way to the port; how long to wait for that.
    fn heed(&self, plugs: &Plugs) -> Duration {
        if plugs.watch(&self.path) { LOOK_MAX_HEARING } else { LOOK_MAX_DEAF }
    }

    /// Open the port and serve it until it is lost; whether it was any good.
    async fn serve_once(&self, opened: Node, plugs: &Plugs) -> bool {
        let port = match open(&self.path, self.baud) {
            Ok(port) => port,
            Err(error) => {
                self.away(&error.to_string());
                return false;
            }
        };
        let name = self.link.name();
        self.link.opened();
        if let Some(unlogged) = self.link.may_log() {
            tracing::info!(
                phase = "link",
                port = name,
                baud = self.baud,
                unlogged,
                "serial port open"
            );
        }
        let since = Instant::now();
        let sitting = self.link.sit(name);
        let span = sitting.span();
        let served = session::serve(port, &self.reception, patience(self.baud), sitting);
        let (good, why) = tokio::select! {
            report = served.instrument(span) => {
                let why = match report.closed {
                    Closed::Failed(error) => format!("lost: {error}"),
                    Closed::Ended | Closed::TooSlow => "lost: it hung up".into(),
                };
                (report.answered > 0, why)
            }
            () = self.replaced(opened, plugs) => (true, "lost: another device is at its path".into()),
        };
        self.away(&why);
        good || since.elapsed() >= STEADY
    }

    /// Not open, for a reason that is told once: an adapter may stay away for weeks.
    fn away(&self, why: &str) {
        if self.link.closed(why)
            && let Some(unlogged) = self.link.may_log()
        {
            let port = self.link.name();
            tracing::warn!(phase = "link", port, why, unlogged, "serial port away; looking on");
        }
    }

    /// Resolves when the path leads to another device: not every driver hangs up.
    async fn replaced(&self, opened: Node, plugs: &Plugs) {
        loop {
            let pause = self.heed(plugs);
            if node(&self.path).is_ok_and(|found| found != opened) {
                return;
            }
            change(plugs, pause).await;
        }
    }
}

/// Wait until something changes on the way to a port, so long at most.
async fn change(plugs: &Plugs, at_most: Duration) {
    // One thing that is plugged in is several changes, and a folder may have many others.
    sleep(LOOK_MIN).await;
    let _ = timeout(at_most.saturating_sub(LOOK_MIN), plugs.changed()).await;
}

/// Why a path leads to no device.
fn absence(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not there: is the adapter plugged in?".into(),
        _ => error.to_string(),
    }
}

/// A device node that failed, and until when it rests.
#[derive(Clone, Copy, Debug, Default)]
struct Failing(Option<(Node, Duration, Instant)>);

impl Failing {
    /// How long a node still rests; one that may be opened does not.
    fn rest(&self, node: Node, now: Instant) -> Option<Duration> {
        let (failed, _, until) = self.0?;
        (failed == node && now < until).then(|| until - now)
    }

    fn tried(&mut self, node: Node, good: bool, now: Instant) {
        let rest = match self.0 {
            _ if good => {
                // It worked; if it is the same node still, give it one short rest.
                self.0 = Some((node, Duration::ZERO, now));
                return;
            }
            Some((failed, rest, _)) if failed == node => (rest * 2).clamp(REST_MIN, REST_MAX),
            _ => REST_MIN,
        };
        self.0 = Some((node, rest, now + rest));
    }
}

/// A line has no idle limit: nobody may be there for days.
fn patience(baud: u32) -> Patience {
    let longest_us = 2 * 10_000_000 * FRAME_BYTES_MAX as u64 / u64::from(baud.max(1));
    let write = Duration::from_secs(2) + Duration::from_micros(longest_us);
    Patience { frame: None, write, outlives_write: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Node = (1, 2, 3, 4, 5);
    const NEW: Node = (1, 2, 3, 4, 6);

    #[test]
    fn a_node_that_fails_again_and_again_rests_and_a_fresh_one_does_not() {
        let mut failing = Failing::default();
        let (mut now, mut opened) = (Instant::now(), 0);
        let start = now;
        while now < start + Duration::from_secs(3600) {
            if failing.rest(OLD, now).is_none() {
                failing.tried(OLD, false, now);
                opened += 1;
            }
            assert!(failing.rest(NEW, now).is_none(), "a fresh one is opened at once");
            now += LOOK_MIN;
        }
        assert!((240..260).contains(&opened), "{opened}: every 15 s in the end");
        failing.tried(NEW, true, now);
        assert!(failing.rest(NEW, now).is_none(), "one that worked does not rest");
        failing.tried(NEW, false, now);
        assert!(failing.rest(NEW, now) == Some(REST_MIN));
        assert!(failing.rest(NEW, now + REST_MIN).is_none(), "and begins with the shortest rest");
    }

    #[test]
    fn a_slow_line_has_time_for_the_longest_answer() {
        assert!(patience(300).write > Duration::from_secs(4_000));
        assert!(patience(115_200).write < Duration::from_secs(20));
        assert!(patience(0).write > Duration::from_secs(60), "no division by zero");
    }
}
