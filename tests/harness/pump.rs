//! The threads of a relay: one for each direction of each connection.
//!
//! A pump reads what the link has room for, lets the [`crate::link::Lane`] say when it
//! arrives, and writes it then. How its connection may end is here too: orderly, cut,
//! or half-open, when nothing passes any more and nobody is told.
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::link::Passage;
use crate::mqtt::{Splitter, is_loose};
use crate::relay::{Framing, LOOK_INTERVAL, Shared};
use crate::trouble::Trouble;

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// Its place among all.
    pub(crate) number: usize,
    pub(crate) begun: Instant,
    pub(crate) budget: Option<AtomicI64>,
    pub(crate) epoch: u64,
    pub(crate) closed: AtomicBool,
}

/// One direction of one connection.
pub(crate) struct Pump {
    pub(crate) way: Way,
    pub(crate) from: TcpStream,
    pub(crate) to: TcpStream,
    pub(crate) framing: Framing,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Arc<Connection>,
}

/// Why a direction ended.
enum End {
    /// Its reader saw the end of the stream, or an error.
    Closed,
    /// By us.
    Cut,
    /// The client is cut off, and the other end hears nothing of it.
    Lingers,
    /// Nothing passes any more, and neither end hears of it.
    Swallowed,
}

/// What reading led to.
enum Taken<'a> {
    Bytes(&'a [u8]),
    Nothing,
    /// The end of the stream.
    End,
}

impl Pump {
    pub(crate) fn run(mut self) {
        let _ = self.to.set_nodelay(true);
        let _ = self.to.set_write_timeout(Some(Duration::from_secs(5)));
        // A socket inherits the listener's mode on some systems.
        let _ = self.from.set_nonblocking(false);
        let mut waiting = Waiting::default();
        let end = self.pass(&mut waiting);
        if !matches!(end, End::Closed) {
            self.trouble.cuts.fetch_add(1, Ordering::Relaxed);
        }
        match end {
            End::Closed | End::Cut => {
                self.lose(&waiting);
                self.connection.closed.store(true, Ordering::Relaxed);
                let _ = self.to.shutdown(Shutdown::Both);
            }
            End::Lingers if self.way == Way::Up => self.deliver_what_left(waiting),
            End::Lingers | End::Swallowed => {
                self.lose(&waiting);
                if matches!(end, End::Lingers) {
                    let _ = self.to.shutdown(Shutdown::Both);
                }
                self.swallow();
            }
        }
        let _ = self.from.shutdown(Shutdown::Both);
    }

    fn pass(&mut self, waiting: &mut Waiting) -> End {
        let mut splitter = Splitter::default();
        let mut buffer = [0; READ_BYTES];
        let mut is_over = false;
        // Nothing is said before the connection is there: that takes a round trip.
        let mut behind = self.connection.begun + self.shared.link().round_trip();
        let opens_at = if self.way == Way::Up { behind } else { self.connection.begun };
        loop {
            let now = Instant::now();
            for packet in waiting.due(now) {
                if let Err(end) = self.write(&packet.bytes) {
                    return end;
                }
            }
            if self.connection.closed.load(Ordering::Relaxed) || is_over && waiting.is_empty() {
                return End::Closed;
            }
            if let Some(end) = self.ended() {
                return end;
            }
            let full_for = self.shared.lane(self.way, |lane| lane.full_for(now));
            let rest = full_for.max(opens_at.saturating_duration_since(now));
            if is_over || self.trouble.is_silent() || !rest.is_zero() {
                let rest = if rest.is_zero() { LOOK_INTERVAL } else { rest };
                std::thread::sleep(rest.min(waiting.patience(now)));
                continue;
            }
            let _ = self.from.set_read_timeout(Some(waiting.patience(now)));
            match self.take(&mut buffer) {
                Err(end) => return end,
                Ok(Taken::Nothing) => {}
                Ok(Taken::End) => is_over = true,
                Ok(Taken::Bytes(bytes)) => match self.framing {
                    Framing::Stream => self.send(waiting, bytes.to_vec(), &mut behind),
                    Framing::Mqtt => {
                        let Ok(packets) = splitter.push(bytes) else {
                            return End::Closed;
                        };
                        for packet in packets {
                            self.send(waiting, packet, &mut behind);
                        }
                    }
                },
            }
        }
    }

    /// Whether the relay ends it.
    fn ended(&self) -> Option<End> {
        if self.shared.ended.load(Ordering::Relaxed) {
            return Some(End::Cut);
        }
        if self.shared.epoch.load(Ordering::Relaxed) != self.connection.epoch {
            return Some(if self.shared.link().lingers { End::Lingers } else { End::Cut });
        }
        self.trouble.is_swallowing().then_some(End::Swallowed)
    }

    fn take<'a>(&mut self, buffer: &'a mut [u8]) -> Result<Taken<'a>, End> {
        let len = self.shared.lane(self.way, |lane| lane.chunk_bytes(buffer.len()));
        match self.from.read(&mut buffer[..len]) {
            Ok(0) => Ok(Taken::End),
            Ok(len) => {
                self.trouble.bytes.fetch_add(len as u64, Ordering::Relaxed);
                Ok(Taken::Bytes(&buffer[..len]))
            }
            Err(error) if is_idle(error.kind()) => Ok(Taken::Nothing),
            Err(_) => Err(End::Closed),
        }
    }

    /// Bytes go on their way; an MQTT packet that may be lost, doubled and delayed is.
    fn send(&self, waiting: &mut Waiting, bytes: Vec<u8>, behind: &mut Instant) {
        let now = Instant::now();
        let passage = self.shared.lane(self.way, |lane| lane.pass(now, bytes.len(), behind));
        if self.framing == Framing::Stream || !is_loose(&bytes) {
            return waiting.put(passage, bytes);
        }
        for delay in self.trouble.draw_copies() {
            let mut copy = bytes.clone();
            self.trouble.maybe_forge(&mut copy);
            waiting.put(Passage { arrives: passage.arrives + delay, ..passage }, copy);
        }
    }

    /// Write within the connection's budget; what exceeds it is cut off mid-frame.
    fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut len = bytes.len();
        if let Some(budget) = &self.connection.budget {
            let left = budget.fetch_sub(len as i64, Ordering::Relaxed);
            len = len.min(left.max(0) as usize);
        }
        self.shared.count(self.connection.number, self.way, len, true);
        self.to.write_all(&bytes[..len]).map_err(|_| End::Closed)?;
        if len < bytes.len() { Err(End::Cut) } else { Ok(()) }
    }

    /// What has left will not arrive.
    fn lose(&self, waiting: &Waiting) {
        let now = Instant::now();
        for packet in waiting.packets.values().filter(|packet| packet.leaves <= now) {
            self.shared.count(self.connection.number, self.way, packet.bytes.len(), false);
        }
    }

    /// The client is gone; the other end hears what it had sent, and nothing else.
    fn deliver_what_left(&mut self, mut waiting: Waiting) {
        let now = Instant::now();
        waiting.packets.retain(|_, packet| packet.leaves <= now);
        while !waiting.is_empty() && !self.shared.ended.load(Ordering::Relaxed) {
            for packet in waiting.due(Instant::now()) {
                if self.write(&packet.bytes).is_err() {
                    return;
                }
            }
            std::thread::sleep(waiting.patience(Instant::now()));
        }
    }

    /// Whatever comes goes nowhere, until whoever sends it has had enough.
    fn swallow(&mut self) {
        let _ = self.from.set_read_timeout(Some(LOOK_INTERVAL));
        let mut buffer = [0; READ_BYTES];
        while !self.shared.ended.load(Ordering::Relaxed) {
            match self.take(&mut buffer) {
                Ok(Taken::Bytes(bytes)) => {
                    self.shared.count(self.connection.number, self.way, bytes.len(), false);
                }
                Ok(Taken::Nothing) => {}
                Ok(Taken::End) | Err(_) => return,
            }
        }
    }
}

fn is_idle(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Packets in the order in which they arrive.
#[derive(Default)]
struct Waiting {
    packets: BTreeMap<(Instant, u64), Packet>,
    count: u64,
}

struct Packet {
    leaves: Instant,
    bytes: Vec<u8>,
}

impl Waiting {
    fn put(&mut self, at: Passage, bytes: Vec<u8>) {
        self.count += 1;
        self.packets.insert((at.arrives, self.count), Packet { leaves: at.leaves, bytes });
    }

    fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    fn due(&mut self, now: Instant) -> Vec<Packet> {
        let later = self.packets.split_off(&(now + Duration::from_nanos(1), 0));
        std::mem::replace(&mut self.packets, later).into_values().collect()
    }

    /// How long to wait for more bytes before something is due.
    fn patience(&self, now: Instant) -> Duration {
        let next = self.packets.keys().next().map(|(due, _)| due.saturating_duration_since(now));
        next.unwrap_or(LOOK_INTERVAL).clamp(Duration::from_millis(1), LOOK_INTERVAL)
    }
}
