//! What the kernel counts of a TCP connection: sock_diag(7), its `struct tcp_info`.
//!
//! It knows segments and what was sent again, which nobody above it does. One question,
//! answered before the kernel returns; where it is not to be had, the caller estimates.
use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as Port};

use super::Traffic;
use crate::netlink::{ALIGN_BYTES, HEADER_BYTES, u16_at, u32_at, u64_at};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// The attribute that holds `struct tcp_info`.
const INET_DIAG_INFO: u16 = 2;
/// `struct inet_diag_msg`: four bytes, the socket's id (48), five numbers (u32).
const ANSWER_BYTES: usize = 72;
/// Any cookie.
const NO_COOKIE: u32 = u32::MAX;
const TCPI_OPT_TIMESTAMPS: u8 = 1;
/// Header of TCP, its timestamps, and what the options of a SYN take beside those.
const TCP_BYTES: u64 = 20;
const TIMESTAMP_BYTES: u64 = 12;
const SYN_BYTES: u64 = 8;
const IPV4_BYTES: u64 = 20;
const IPV6_BYTES: u64 = 40;

/// Asks.
#[derive(Debug)]
pub struct Diag(Socket);

impl Diag {
    /// Where the system lets us.
    pub fn open() -> io::Result<Diag> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.set_non_blocking(true)?;
        socket.connect(&Port::new(0, 0))?;
        Ok(Diag(socket))
    }

    /// Bytes of IP that a connection has taken so far; none if the kernel does not tell.
    pub fn traffic(&self, local: SocketAddr, peer: SocketAddr) -> Option<Traffic> {
        self.0.send(&question(local, peer)?, 0).ok()?;
        let (answer, _) = self.0.recv_from_full().ok()?;
        let ip = if peer.is_ipv4() { IPV4_BYTES } else { IPV6_BYTES };
        read(&answer, ip)
    }
}

fn question(local: SocketAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let (family, source, target) = match (local.ip(), peer.ip()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            (AF_INET, padded(&source.octets()), padded(&target.octets()))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => (AF_INET6, source.octets(), target.octets()),
        _ => return None,
    };
    let mut body = vec![family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(peer.port().to_be_bytes());
    body.extend(source);
    body.extend(target);
    for number in [0, NO_COOKIE, NO_COOKIE] {
        body.extend(number.to_ne_bytes());
    }
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    Some(message)
}

fn padded(octets: &[u8; 4]) -> [u8; 16] {
    let mut all = [0; 16];
    all[..4].copy_from_slice(octets);
    all
}

/// Total: an error, or what makes no sense, gives nothing.
fn read(answer: &[u8], ip_bytes: u64) -> Option<Traffic> {
    let len = u32_at(answer, 0)? as usize;
    if u16_at(answer, 4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut rest = answer.get(HEADER_BYTES + ANSWER_BYTES..len.min(answer.len()))?;
    loop {
        // `struct nlattr`: length with this head (u16), type (u16); padded to four bytes.
        let (len, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..len)?;
        if kind == INET_DIAG_INFO {
            return count(value, ip_bytes);
        }
        rest = rest.get(len.next_multiple_of(ALIGN_BYTES)..)?;
    }
}

/// From `struct tcp_info` of linux/tcp.h.
fn count(info: &[u8], ip_bytes: u64) -> Option<Traffic> {
    let options = *info.get(5)?;
    let stamp = if options & TCPI_OPT_TIMESTAMPS == 0 { 0 } else { TIMESTAMP_BYTES };
    let head = ip_bytes + TCP_BYTES + stamp;
    let (segments_up, segments_down) = (u32_at(info, 136)?, u32_at(info, 140)?);
    // Repeated ones are in it.
    let (sent, received) = (u64_at(info, 200)?, u64_at(info, 128)?);
    let of =
        |segments: u32, bytes: u64| bytes.saturating_add(u64::from(segments) * head + SYN_BYTES);
    Some(Traffic { up: of(segments_up, sent), down: of(segments_down, received) })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_counts_segments_and_bytes_of_a_connection() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut there, _) = listener.accept().unwrap();
            let diag = Diag::open().unwrap();
            let (local, peer) = (here.local_addr().unwrap(), here.peer_addr().unwrap());
            let before = diag.traffic(local, peer).expect("this kernel tells");
            let head = if peer.is_ipv4() { 52 } else { 72 };
            // SYN and the acknowledgement behind it, against the other's SYN.
            assert_eq!(before, Traffic { up: 2 * head + 8, down: head + 8 });
            here.write_all(&[7; 1_000]).unwrap();
            there.read_exact(&mut [0; 1_000]).unwrap();
            there.write_all(&[7; 300]).unwrap();
            here.read_exact(&mut [0; 300]).unwrap();
            let spent = diag.traffic(local, peer).unwrap().since(before);
            assert!((1_000 + head..=1_000 + 3 * head).contains(&spent.up), "{spent:?}");
            assert!((300 + head..=300 + 3 * head).contains(&spent.down), "{spent:?}");
            drop((here, there));
            assert!(diag.traffic(local, "192.0.2.1:9".parse().unwrap()).is_none(), "no such one");
        }
    }

    #[test]
    fn an_answer_that_makes_no_sense_gives_nothing() {
        let mut whole = vec![0; HEADER_BYTES + ANSWER_BYTES];
        whole.extend([3, 0, 0, 0, 5]);
        whole[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        for len in [0, 16, 88, 93, u32::MAX] {
            whole[..4].copy_from_slice(&len.to_ne_bytes());
            for cut in 0..whole.len() {
                assert_eq!(read(&whole[..cut], IPV4_BYTES), None);
            }
        }
    }
}
