//! A TCP relay between a client and a port: it counts, cuts mid-frame, goes silent,
//! limits the rate; in its MQTT form it also doubles, delays and loses publishes.
//!
//! One listener for its whole life, so its port stays; one thread for each
//! direction of each connection.
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::mqtt::{Splitter, is_loose};
use crate::ports;
use crate::trouble::{Meter, Pace, Trouble};

/// A thread looks up at least this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;

/// A relay.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    trouble: Arc<Trouble>,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    /// Connections of an older epoch are cut.
    epoch: AtomicU64,
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Stream,
    Mqtt,
}

impl Relay {
    /// A relay of plain bytes to a loopback port.
    pub fn tcp(target: u16, seed: u64) -> Result<Relay> {
        Relay::start("127.0.0.1", target, Framing::Stream, seed)
    }

    /// A relay that knows MQTT packets and can therefore double and reorder them.
    pub fn mqtt(target: u16, seed: u64) -> Result<Relay> {
        Relay::start("127.0.0.1", target, Framing::Mqtt, seed)
    }

    /// The same, for clients that come to another address of this machine.
    pub fn mqtt_at(host: &str, target: u16, seed: u64) -> Result<Relay> {
        Relay::start(host, target, Framing::Mqtt, seed)
    }

    fn start(host: &str, target: u16, framing: Framing, seed: u64) -> Result<Relay> {
        let socket = ports::listen(host)?;
        let port = socket.local_addr()?.port();
        socket.set_nonblocking(true)?;
        let trouble = Arc::new(Trouble::none(seed));
        let shared = Arc::new(Shared::default());
        let (their_trouble, their_shared) = (trouble.clone(), shared.clone());
        let listener = std::thread::spawn(move || {
            listen(&socket, target, framing, &their_trouble, &their_shared);
        });
        Ok(Relay { port, trouble, shared, listener: Some(listener) })
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its faults and counters.
    pub fn trouble(&self) -> &Trouble {
        &self.trouble
    }

    /// A counter that may be read from another thread.
    pub fn meter(&self) -> Meter {
        Meter::of(&self.trouble)
    }

    /// Cut every connection now, wherever it is.
    pub fn cut(&self) {
        self.shared.epoch.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn listen(
    socket: &TcpListener,
    target: u16,
    framing: Framing,
    trouble: &Arc<Trouble>,
    shared: &Arc<Shared>,
) {
    while !shared.ended.load(Ordering::Relaxed) {
        let client = match socket.accept() {
            Ok((client, _)) => client,
            Err(_) => {
                std::thread::sleep(LOOK_INTERVAL);
                continue;
            }
        };
        trouble.connects.fetch_add(1, Ordering::Relaxed);
        if trouble.is_refusing() {
            continue;
        }
        // A target that is down: the client's connection closes at once, as behind a NAT.
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            continue;
        };
        let connection = Arc::new(Connection {
            budget: trouble.draw_budget().map(|bytes| AtomicI64::new(bytes as i64)),
            epoch: shared.epoch.load(Ordering::Relaxed),
            closed: AtomicBool::new(false),
        });
        let (Ok(client2), Ok(server2)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        for (from, to) in [(client, server), (server2, client2)] {
            let pump = Pump {
                from,
                to,
                framing,
                trouble: trouble.clone(),
                shared: shared.clone(),
                connection: connection.clone(),
            };
            std::thread::spawn(move || pump.run());
        }
    }
}

#[derive(Debug)]
struct Connection {
    budget: Option<AtomicI64>,
    epoch: u64,
    closed: AtomicBool,
}

/// One direction of one connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    framing: Framing,
    trouble: Arc<Trouble>,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

/// Why a direction ended.
enum End {
    /// Its reader saw the end of the stream, or an error.
    Closed,
    /// By us.
    Cut,
}

impl Pump {
    fn run(mut self) {
        let _ = self.to.set_nodelay(true);
        let _ = self.to.set_write_timeout(Some(Duration::from_secs(5)));
        // A socket inherits the listener's mode on some systems.
        let _ = self.from.set_nonblocking(false);
        if let End::Cut = self.pass() {
            self.trouble.cuts.fetch_add(1, Ordering::Relaxed);
        }
        self.connection.closed.store(true, Ordering::Relaxed);
        let _ = self.to.shutdown(Shutdown::Both);
        let _ = self.from.shutdown(Shutdown::Both);
    }

    fn pass(&mut self) -> End {
        let mut pace = Pace::new();
        let mut splitter = Splitter::default();
        let mut waiting = Waiting::default();
        let mut buffer = [0; READ_BYTES];
        loop {
            for packet in waiting.due(Instant::now()) {
                if let Err(end) = self.write(&packet) {
                    return end;
                }
            }
            if self.connection.closed.load(Ordering::Relaxed) {
                return End::Closed;
            }
            if self.shared.ended.load(Ordering::Relaxed)
                || self.shared.epoch.load(Ordering::Relaxed) != self.connection.epoch
            {
                return End::Cut;
            }
            if self.trouble.is_silent() {
                std::thread::sleep(LOOK_INTERVAL);
                continue;
            }
            let _ = self.from.set_read_timeout(Some(waiting.patience(Instant::now())));
            let take = self.trouble.chunk_bytes(READ_BYTES);
            let bytes = match self.from.read(&mut buffer[..take]) {
                Ok(0) => return End::Closed,
                Ok(len) => &buffer[..len],
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(_) => return End::Closed,
            };
            pace.spend(&self.trouble, bytes.len());
            match self.framing {
                Framing::Stream => waiting.put(Instant::now(), bytes.to_vec()),
                Framing::Mqtt => {
                    let Ok(packets) = splitter.push(bytes) else {
                        return End::Closed;
                    };
                    packets.into_iter().for_each(|packet| self.schedule(&mut waiting, packet));
                }
            }
        }
    }

    fn schedule(&self, waiting: &mut Waiting, packet: Vec<u8>) {
        let now = Instant::now();
        if is_loose(&packet) {
            for delay in self.trouble.draw_copies() {
                let mut packet = packet.clone();
                self.trouble.maybe_forge(&mut packet);
                waiting.put(now + delay, packet);
            }
        } else {
            waiting.put(now, packet);
        }
    }

    /// Write within the connection's budget; what exceeds it is cut off mid-frame.
    fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut len = bytes.len();
        if let Some(budget) = &self.connection.budget {
            let left = budget.fetch_sub(len as i64, Ordering::Relaxed);
            len = len.min(left.max(0) as usize);
        }
        self.to.write_all(&bytes[..len]).map_err(|_| End::Closed)?;
        if len < bytes.len() { Err(End::Cut) } else { Ok(()) }
    }
}

/// Packets in the order in which they are due.
#[derive(Default)]
struct Waiting {
    packets: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
}

impl Waiting {
    fn put(&mut self, due: Instant, packet: Vec<u8>) {
        self.count += 1;
        self.packets.insert((due, self.count), packet);
    }

    fn due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let later = self.packets.split_off(&(now + Duration::from_nanos(1), 0));
        std::mem::replace(&mut self.packets, later).into_values().collect()
    }

    /// How long to wait for more bytes before something is due.
    fn patience(&self, now: Instant) -> Duration {
        let next = self.packets.keys().next().map(|(due, _)| due.saturating_duration_since(now));
        next.unwrap_or(LOOK_INTERVAL).clamp(Duration::from_millis(1), LOOK_INTERVAL)
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
