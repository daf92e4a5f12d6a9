//! Counts the bytes of the link, for what they are.
//!
//! Shared by the driver of each connection, which says what comes next, and the sync worker,
//! which carries the bill to the store. Whatever has gone since the last look is of the
//! purpose that was said then.
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::debug;

use super::diag::Diag;
use super::{Bill, Purpose, Traffic};

/// To end a connection: our FIN and last acknowledgement, against the other's FIN.
const CLOSING: Traffic = Traffic { up: 104, down: 52 };
/// Where the kernel tells what it knows of an interface.
const INTERFACES: &str = "/sys/class/net";

/// Counts.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Mutex<Facts>>);

#[derive(Debug)]
struct Facts {
    /// The folder of an interface's counters.
    interface: Option<PathBuf>,
    /// What they said last.
    counted: Option<Traffic>,
    diag: Option<Diag>,
    /// The open connection.
    socket: Option<Socket>,
    purpose: Purpose,
    bill: Bill,
}

/// A connection that is open.
#[derive(Clone, Copy, Debug)]
struct Socket {
    ends: (SocketAddr, SocketAddr),
    /// What it had taken at the last look.
    before: Traffic,
    /// What went through it, as packets may have carried it.
    estimate: Traffic,
}

impl Meter {
    /// By an interface's counters, or by what each connection takes.
    pub fn new(interface: Option<&str>) -> Meter {
        let interface = interface.map(|name| Path::new(INTERFACES).join(name).join("statistics"));
        let diag = Diag::open().inspect_err(|error| {
            debug!(phase = "link", "bytes of connections are estimated: sock_diag: {error}");
        });
        let counted = interface.as_deref().and_then(counters);
        Meter(Arc::new(Mutex::new(Facts {
            interface,
            counted,
            diag: diag.ok(),
            socket: None,
            purpose: Purpose::Others,
            bill: Bill::default(),
        })))
    }

    /// What comes from now on is for this.
    pub fn turn(&self, purpose: Purpose) {
        let mut facts = self.facts();
        if facts.purpose != purpose {
            facts.look();
            facts.purpose = purpose;
        }
    }

    /// What no counter of a connection sees; an interface's do.
    pub fn guess(&self, purpose: Purpose, traffic: Traffic) {
        let mut facts = self.facts();
        if facts.interface.is_none() {
            facts.bill.add(purpose, traffic);
        }
    }

    /// All that was counted since this was asked last.
    pub fn take(&self) -> Bill {
        let mut facts = self.facts();
        facts.look();
        std::mem::take(&mut facts.bill)
    }

    pub(super) fn opened(&self, ends: (SocketAddr, SocketAddr)) {
        let (before, estimate) = (Traffic::default(), Traffic::default());
        self.facts().socket = Some(Socket { ends, before, estimate });
    }

    pub(super) fn went(&self, packets: Traffic) {
        if let Some(socket) = &mut self.facts().socket {
            socket.estimate += packets;
        }
    }

    /// The connection is about to end.
    pub(super) fn closing(&self) {
        let mut facts = self.facts();
        facts.look();
        facts.socket = None;
        if facts.interface.is_none() {
            let purpose = facts.purpose;
            facts.bill.add(purpose, CLOSING);
        }
        facts.purpose = Purpose::Others;
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// Write down what has gone since the last look.
    fn look(&mut self) {
        let by_socket = self.socket.as_mut().map(|socket| {
            let (local, peer) = socket.ends;
            let told = self.diag.as_ref().and_then(|diag| diag.traffic(local, peer));
            let now = told.unwrap_or(socket.estimate);
            // Never back, where the kernel tells no longer.
            let gone = now.less(socket.before);
            socket.before += gone;
            gone
        });
        let now = self.interface.as_deref().and_then(counters);
        let by_interface = now.zip(self.counted).map(|(now, before)| now.since(before));
        self.counted = now.or(self.counted);
        let gone = by_interface.or(by_socket).unwrap_or_default();
        self.bill.add(self.purpose, gone);
    }
}

/// The counters of an interface; none while it is not there.
fn counters(folder: &Path) -> Option<Traffic> {
    let number = |name| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
    Some(Traffic { up: number("tx_bytes")?, down: number("rx_bytes")? })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (here, listener.accept().unwrap().0)
    }

    #[test]
    fn each_byte_is_of_the_purpose_that_was_said_before_it() {
        let meter = Meter::new(None);
        meter.turn(Purpose::Connect);
        let (mut here, _there) = pair();
        meter.opened((here.local_addr().unwrap(), here.peer_addr().unwrap()));
        meter.turn(Purpose::Protocol);
        here.write_all(&[1; 700]).unwrap();
        meter.turn(Purpose::Idle);
        here.write_all(&[1; 2]).unwrap();
        let bill = meter.take();
        assert!((100..200).contains(&bill.of(Purpose::Connect).up), "{bill:?}");
        assert!((752..900).contains(&bill.of(Purpose::Protocol).up), "{bill:?}");
        assert!((54..60).contains(&bill.of(Purpose::Idle).up), "{bill:?}");
        assert_eq!(meter.take().of(Purpose::Connect), Traffic::default(), "told once");
        meter.closing();
        drop(here);
        assert_eq!(meter.take().of(Purpose::Idle).up, CLOSING.up);
        assert_eq!(meter.take(), Bill::default());
    }

    #[test]
    fn without_the_kernel_what_went_through_is_taken() {
        let meter = Meter::new(None);
        meter.facts().diag = None;
        let (here, _there) = pair();
        meter.opened((here.local_addr().unwrap(), here.peer_addr().unwrap()));
        meter.turn(Purpose::Protocol);
        meter.went(Traffic { up: 500, down: 60 });
        assert_eq!(meter.take().of(Purpose::Protocol), Traffic { up: 500, down: 60 });
        assert_eq!(meter.take().total(), 0);
    }

    #[test]
    fn an_interface_is_counted_whole() {
        // Nobody else's traffic can be told from ours on loopback, so it is at least ours.
        let meter = Meter::new(Some("lo"));
        meter.guess(Purpose::Connect, Traffic { up: 1 << 40, down: 0 });
        meter.turn(Purpose::Protocol);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[0; 5_000], socket.local_addr().unwrap()).unwrap();
        let bill = meter.take();
        assert!(bill.of(Purpose::Protocol).up >= 5_028, "{bill:?}");
        assert!(bill.total() < 1 << 40, "what its counters see is not guessed beside them");
        // One that comes and goes counts from its beginning, and never back.
        assert_eq!(Meter::new(Some("none such")).take(), Bill::default());
        let (now, before) = (Traffic { up: 10, down: 90 }, Traffic { up: 500, down: 50 });
        assert_eq!(now.since(before), Traffic { up: 10, down: 40 });
    }
}
