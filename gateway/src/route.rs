//! Hears from the kernel when network links, addresses and routes come and go
//! (rtnetlink, see rtnetlink(7)), so that a link which comes up for a minute is used
//! in its first second and not when a timer says.
//!
//! Only the fixed heads of the kernel's messages are read, since only *that*
//! something changed counts, never what to; the connection itself is asked
//! afterwards. Without netlink the gateway works by its timers and says so once.
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::netlink::{ALIGN_BYTES, HEADER_BYTES, u16_at, u32_at};
use crate::patience::at;

/// Changes within this after a first one are told as one: an interface that comes
/// up is followed by its addresses and routes.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// Bytes of one datagram of the kernel; it cuts what is longer.
const DATAGRAM_BYTES_MAX: usize = 32 * 1024;
/// Interfaces whose state is remembered; beyond that all are forgotten and each
/// counts as new once.
const INTERFACES_MAX: usize = 256;
/// Errors of the socket in a row before it is given up.
const ERRORS_MAX: u32 = 8;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// What has changed, several changes taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A link, an address or a route came.
    pub up: bool,
    /// One went.
    pub down: bool,
}

/// The worker's end: tells of changes since it was asked last.
pub struct Route {
    told: watch::Receiver<Counts>,
    seen: Counts,
}

/// Changes so far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    ups: u64,
    downs: u64,
}

impl Route {
    /// One that never tells anything, for a worker that lives a moment only.
    pub fn deaf() -> Route {
        Route { told: watch::channel(Counts::default()).1, seen: Counts::default() }
    }

    /// Wait for a change; for ever if nothing tells of any.
    pub async fn changed(&mut self) -> Change {
        if self.told.changed().await.is_err() {
            return std::future::pending().await;
        }
        let now = *self.told.borrow_and_update();
        let change = Change { up: now.ups != self.seen.ups, down: now.downs != self.seen.downs };
        self.seen = now;
        change
    }
}

/// Begin to listen, in a task of its own. Without netlink says so and tells nothing.
pub fn listen() -> Route {
    let (tell, told) = watch::channel(Counts::default());
    match socket() {
        Ok(socket) => {
            tokio::spawn(hear(socket, tell));
        }
        Err(error) => warn!(
            phase = "route",
            "cannot hear of links that come and go (netlink: {error}): connects by timers only"
        ),
    }
    Route { told, seen: Counts::default() }
}

fn socket() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// Reads until the worker is gone or the socket is of no use any more.
async fn hear(socket: TokioSocket, tell: watch::Sender<Counts>) {
    let mut interfaces = Interfaces::default();
    let mut change = Change::default();
    let mut tell_at: Option<Instant> = None;
    let mut errors = 0;
    let mut buffer = BytesMut::with_capacity(DATAGRAM_BYTES_MAX);
    loop {
        buffer.clear();
        buffer.reserve(DATAGRAM_BYTES_MAX);
        tokio::select! {
            read = socket.recv_from(&mut buffer) => match read {
                // Only the kernel's port is 0.
                Ok(sender) if sender.port_number() == 0 => {
                    errors = 0;
                    interfaces.read(&buffer, &mut change);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel had more to say than fits its queue: anything may have changed.
                Err(error) => {
                    errors += 1;
                    if errors > ERRORS_MAX {
                        warn!(phase = "route", "netlink: {error}; connects by timers only from now on");
                        return;
                    }
                    change = Change { up: true, down: true };
                }
            },
            () = at(tell_at) => {
                tell_at = None;
                let told = std::mem::take(&mut change);
                tell.send_modify(|counts| {
                    counts.ups += u64::from(told.up);
                    counts.downs += u64::from(told.down);
                });
            }
            () = tell.closed() => return debug!(phase = "route", "nobody listens any more"),
        }
        if change != Change::default() {
            tell_at.get_or_insert(Instant::now() + DEBOUNCE);
        }
    }
}

/// Message types of rtnetlink.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// Flags of `struct ifinfomsg`.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;
/// Addresses of this scope and above reach no farther than the wire.
const RT_SCOPE_LINK: u8 = 253;
/// Routes of this type lead to other machines.
const RTN_UNICAST: u8 = 1;

/// Which interfaces run; the kernel tells of many things that change nothing.
#[derive(Default)]
pub struct Interfaces(BTreeMap<u32, bool>);

impl Interfaces {
    /// Read a datagram; total: what makes no sense is passed over.
    pub fn read(&mut self, datagram: &[u8], change: &mut Change) {
        let mut rest = datagram;
        while rest.len() >= HEADER_BYTES {
            let len = u32_at(rest, 0).unwrap_or(0) as usize;
            let kind = u16_at(rest, 4).unwrap_or(0);
            if len < HEADER_BYTES {
                return;
            }
            // A message that the kernel cut still has its head.
            let body = &rest[HEADER_BYTES..len.min(rest.len())];
            self.message(kind, body, change);
            let Some(padded) = len.checked_next_multiple_of(ALIGN_BYTES) else { return };
            rest = rest.get(padded..).unwrap_or_default();
        }
    }

    fn message(&mut self, kind: u16, body: &[u8], change: &mut Change) {
        match kind {
            RTM_NEWLINK | RTM_DELLINK => {
                // `struct ifinfomsg`: family, pad (u8), type (u16), index, flags, change (u32).
                let (Some(index), Some(flags)) = (u32_at(body, 4), u32_at(body, 8)) else {
                    return;
                };
                if flags & IFF_LOOPBACK == 0 {
                    let runs = IFF_UP | IFF_RUNNING;
                    self.link(index, kind == RTM_NEWLINK && flags & runs == runs, kind, change);
                }
            }
            // `struct ifaddrmsg`: family, prefix length, flags, scope (u8), index (u32).
            RTM_NEWADDR | RTM_DELADDR if body.len() >= 8 && body[3] < RT_SCOPE_LINK => {
                tell(kind == RTM_NEWADDR, change);
            }
            // `struct rtmsg`: family, two lengths, tos, table, protocol, scope, type (u8), flags (u32).
            RTM_NEWROUTE | RTM_DELROUTE if body.len() >= 12 && body[7] == RTN_UNICAST => {
                tell(kind == RTM_NEWROUTE, change);
            }
            _ => {}
        }
    }

    fn link(&mut self, index: u32, runs: bool, kind: u16, change: &mut Change) {
        if self.0.len() >= INTERFACES_MAX && !self.0.contains_key(&index) {
            self.0.clear();
        }
        let before = match kind {
            RTM_DELLINK => self.0.remove(&index),
            _ => self.0.insert(index, runs),
        };
        if before != Some(runs) {
            tell(runs, change);
        }
    }
}

fn tell(up: bool, change: &mut Change) {
    *(if up { &mut change.up } else { &mut change.down }) = true;
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
