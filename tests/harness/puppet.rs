//! A broker that behaves in one bad manner, and counts who connects. No hub is
//! behind it. (The real one is in `broker`.)
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::mqtt::Splitter;

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
const SUBACK: &[u8] = &[0x90, 4, 0, 1, 0, 0];
const PONG: &[u8] = &[0xd0, 0];
/// A thread looks up at least this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How a puppet behaves on each connection.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Accepts and says nothing.
    Silent,
    /// Lets clients in and answers pings, but nothing else ever comes.
    Empty,
    /// Refuses clients by this reason code.
    Refusing(u8),
    /// Refuses subscriptions by this reason code.
    Forbidding(u8),
    /// Lets clients in, then ends the connection by this reason code.
    Ending(u8),
    /// Closes at once.
    Closing,
    /// Lets clients in, then sends these bytes without end.
    Flooding(Vec<u8>),
}

/// A broker that behaves in one manner.
#[derive(Debug)]
pub struct Puppet {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    connects: AtomicU64,
    pings: AtomicU64,
}

impl Puppet {
    /// One on a free loopback port.
    pub fn start(manner: Manner) -> Result<Puppet> {
        Puppet::at("127.0.0.1", manner)
    }

    /// One on a free port of an address of this machine.
    pub fn at(host: &str, manner: Manner) -> Result<Puppet> {
        let listener = TcpListener::bind((host, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        std::thread::spawn(move || listen(&listener, &manner, &theirs));
        Ok(Puppet { address, shared })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections so far.
    pub fn connects(&self) -> u64 {
        self.shared.connects.load(Ordering::Relaxed)
    }

    /// Pings so far.
    pub fn pings(&self) -> u64 {
        self.shared.pings.load(Ordering::Relaxed)
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

fn listen(listener: &TcpListener, manner: &Manner, shared: &Arc<Shared>) {
    while !shared.ended.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(LOOK_INTERVAL);
            continue;
        };
        shared.connects.fetch_add(1, Ordering::Relaxed);
        let (manner, shared) = (manner.clone(), shared.clone());
        // The client may end it at any time; that ends the thread.
        std::thread::spawn(move || serve(stream, &manner, &shared));
    }
}

fn serve(mut stream: TcpStream, manner: &Manner, shared: &Shared) -> std::io::Result<()> {
    if matches!(manner, Manner::Closing) {
        return Ok(());
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LOOK_INTERVAL))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut splitter = Splitter::default();
    let mut bytes = [0; 4096];
    while !shared.ended.load(Ordering::Relaxed) {
        let len = match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let Ok(packets) = splitter.push(&bytes[..len]) else { return Ok(()) };
        for packet in packets {
            answer(&mut stream, packet[0] >> 4, manner, shared)?;
        }
    }
    Ok(())
}

fn answer(
    stream: &mut TcpStream,
    kind: u8,
    manner: &Manner,
    shared: &Shared,
) -> std::io::Result<()> {
    match (kind, manner) {
        (_, Manner::Silent) => Ok(()),
        (1, Manner::Refusing(code)) => stream.write_all(&[0x20, 3, 0, *code, 0]),
        (1, _) => stream.write_all(CONNACK),
        (8, Manner::Forbidding(code)) => stream.write_all(&[0x90, 4, 0, 1, 0, *code]),
        (8, Manner::Ending(code)) => {
            stream.write_all(SUBACK)?;
            // With the reason and no properties, as mosquitto does.
            stream.write_all(&[0xe0, 1, *code])
        }
        (8, Manner::Flooding(bytes)) => {
            stream.write_all(SUBACK)?;
            while !shared.ended.load(Ordering::Relaxed) {
                stream.write_all(bytes)?;
            }
            Ok(())
        }
        (8, _) => stream.write_all(SUBACK),
        (12, _) => {
            shared.pings.fetch_add(1, Ordering::Relaxed);
            stream.write_all(PONG)
        }
        _ => Ok(()),
    }
}
