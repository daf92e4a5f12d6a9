//! A TCP relay between a client and a port: a link as bad as a test wants it.
//!
//! It keeps to the rate and the latency of a [`Link`], counts, cuts, goes silent, swallows,
//! opens for a while only; in its MQTT form it also doubles, delays and loses publishes.
//! One listener for its whole life, so its port stays; the bytes are moved in `pump`.
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::link::{HEADER_BYTES, Lane, Link, packets};
use crate::ports;
use crate::pump::{Connection, Pump, Way};
use crate::trouble::{Meter, Trouble};

/// A thread looks up at least this often.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Of a connection over a bad link, each socket buffers so many bytes: what waits, waits at
/// whoever sends it.
const SOCKET_BUFFER_BYTES: usize = 16 * 1024;

/// A relay.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    trouble: Arc<Trouble>,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// What its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ended: AtomicBool,
    /// Connections of an older epoch are cut.
    pub(crate) epoch: AtomicU64,
    seed: u64,
    road: Mutex<Road>,
    /// When it is open; none = always.
    windows: Mutex<Option<Windows>>,
    /// Connection by connection.
    carried: Mutex<Vec<Carried>>,
}

/// The link as it is now.
#[derive(Debug)]
struct Road {
    link: Link,
    lanes: [Lane; 2],
}

/// Open for a while, shut for a while, and so on.
#[derive(Clone, Copy, Debug)]
struct Windows {
    open: Duration,
    shut: Duration,
    since: Instant,
}

/// A stretch of time for which the link is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// From 0.
    pub number: u64,
    /// Since its beginning.
    pub at: Duration,
    /// Whether it is over, and the next one has not begun.
    pub over: bool,
}

/// What went over the link, of one connection or in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// From the client.
    pub up: Load,
    /// To the client.
    pub down: Load,
}

/// What went one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Bytes of connections that have left, whether they arrived or not.
    pub bytes: u64,
    /// The same, with the headers of their packets; acknowledgements do not count.
    pub ip_bytes: u64,
    /// Bytes that have left and never arrived.
    pub lost_bytes: u64,
}

impl Carried {
    /// Both together.
    pub fn plus(self, other: Carried) -> Carried {
        Carried { up: self.up.plus(other.up), down: self.down.plus(other.down) }
    }
}

impl Load {
    fn plus(self, other: Load) -> Load {
        Load {
            bytes: self.bytes + other.bytes,
            ip_bytes: self.ip_bytes + other.ip_bytes,
            lost_bytes: self.lost_bytes + other.lost_bytes,
        }
    }
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
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
        let road = Road { link: Link::OPEN, lanes: Link::OPEN.lanes(seed, Instant::now()) };
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            seed,
            road: Mutex::new(road),
            windows: Mutex::new(None),
            carried: Mutex::new(Vec::new()),
        });
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

    /// From now on the link is this one. Its buffers are those of connections that come.
    pub fn lay(&self, link: Link) {
        let lanes = link.lanes(self.shared.seed, Instant::now());
        *lock(&self.shared.road) = Road { link, lanes };
    }

    /// From now on the link is open so long, then shut so long, and so on. When it shuts,
    /// every connection is cut.
    pub fn open_for(&self, open: Duration, shut: Duration) {
        *lock(&self.shared.windows) = Some(Windows { open, shut, since: Instant::now() });
    }

    /// The window that is open, or was last; none unless [`Relay::open_for`] was said.
    pub fn window(&self) -> Option<Window> {
        self.shared.window(Instant::now())
    }

    /// Cut every connection now, wherever it is.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// What went over the link so far.
    pub fn carried(&self) -> Carried {
        let all = self.connections();
        all.into_iter().fold(Carried::default(), Carried::plus)
    }

    /// The same of each connection, in the order in which they came.
    pub fn connections(&self) -> Vec<Carried> {
        lock(&self.shared.carried).clone()
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

impl Shared {
    fn cut(&self) {
        let now = Instant::now();
        lock(&self.road).lanes.iter_mut().for_each(|lane| lane.clear(now));
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn link(&self) -> Link {
        lock(&self.road).link
    }

    pub(crate) fn lane<T>(&self, way: Way, ask: impl FnOnce(&mut Lane) -> T) -> T {
        ask(&mut lock(&self.road).lanes[way as usize])
    }

    /// Bytes of a connection have left; whether they arrived.
    pub(crate) fn count(&self, connection: usize, way: Way, bytes: usize, arrived: bool) {
        let carried = &mut lock(&self.carried)[connection];
        let load = match way {
            Way::Up => &mut carried.up,
            Way::Down => &mut carried.down,
        };
        load.bytes += bytes as u64;
        load.ip_bytes += (bytes + packets(bytes) * HEADER_BYTES) as u64;
        load.lost_bytes += if arrived { 0 } else { bytes as u64 };
    }

    fn window(&self, now: Instant) -> Option<Window> {
        let Windows { open, shut, since } = (*lock(&self.windows))?;
        let (passed, period) = (now - since, open + shut);
        let number = (passed.as_nanos() / period.as_nanos()) as u64;
        let at = passed - period * number as u32;
        Some(Window { number, at, over: at >= open })
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

fn listen(
    socket: &TcpListener,
    target: u16,
    framing: Framing,
    trouble: &Arc<Trouble>,
    shared: &Arc<Shared>,
) {
    let mut before = None;
    while !shared.ended.load(Ordering::Relaxed) {
        let window =
            shared.window(Instant::now()).map(|Window { number, over, .. }| (number, over));
        if before.replace(window).is_some_and(|before| before != window && before.is_some()) {
            shared.cut();
        }
        let client = match socket.accept() {
            Ok((client, _)) => client,
            Err(_) => {
                std::thread::sleep(LOOK_INTERVAL);
                continue;
            }
        };
        trouble.connects.fetch_add(1, Ordering::Relaxed);
        if trouble.is_refusing() || window.is_some_and(|(_, over)| over) {
            continue;
        }
        // A target that is down: the client's connection closes at once, as behind a NAT.
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
            continue;
        };
        let _ = join(client, server, framing, trouble, shared);
    }
}

/// Two pumps for a new connection.
fn join(
    client: TcpStream,
    server: TcpStream,
    framing: Framing,
    trouble: &Arc<Trouble>,
    shared: &Arc<Shared>,
) -> Result<()> {
    let link = shared.link();
    if link != Link::OPEN {
        for socket in [&client, &server] {
            rustix::net::sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER_BYTES)?;
        }
    }
    let number = {
        let mut carried = lock(&shared.carried);
        carried.push(Carried::default());
        carried.len() - 1
    };
    let connection = Arc::new(Connection {
        number,
        begun: Instant::now(),
        budget: trouble.draw_budget().map(|bytes| AtomicI64::new(bytes as i64)),
        epoch: shared.epoch.load(Ordering::Relaxed),
        closed: AtomicBool::new(false),
    });
    let (client2, server2) = (client.try_clone()?, server.try_clone()?);
    for (way, from, to) in [(Way::Up, client, server), (Way::Down, server2, client2)] {
        let pump = Pump {
            way,
            from,
            to,
            framing,
            trouble: trouble.clone(),
            shared: shared.clone(),
            connection: connection.clone(),
        };
        std::thread::spawn(move || pump.run());
    }
    Ok(())
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
