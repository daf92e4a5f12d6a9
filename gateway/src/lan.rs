//! Handhelds on the local network: the same frames as on a serial line, over TCP.
//!
//! So many sessions are served and no more, in all and for each address;
//! whoever comes beyond that is told so, a flood is hung up on, and a silent or
//! slow peer loses its place. An address that cannot be listened on (the Wi-Fi
//! is not up yet) is tried again; nothing else waits for it.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument;
use wadi_protocol::link::envelope::{self, Content, Envelope};
use wadi_protocol::link::frame::{self, Accumulator};

use crate::door::{Door, Knock, Place};
use crate::links::{Link, Links};
use crate::pace::Bucket;
use crate::reception::Reception;
use crate::session::{self, Patience, Report};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 128;
/// The kernel's buffers of one session, each way: a slow reader holds no more.
const SOCKET_BUFFER_BYTES: u32 = 256 * 1024;
/// Connections accepted at once, and a second; those beyond wait in the backlog.
const ACCEPTS_BURST: u64 = 400;
const ACCEPTS_S: u64 = 200;
/// Peers beyond the sessions who are being told so; more are hung up on.
const TURNED_AWAY_MAX: usize = 32;
/// When a peer that was told so shall ask again.
const RETRY_MS: u32 = 2_000;
/// For hearing the question of a peer that is turned away.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(5);
/// After an accept that failed (out of file handles, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Before an address that cannot be listened on is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Patience = Patience {
    frame: Some(Duration::from_secs(60)),
    write: Duration::from_secs(20),
    outlives_write: false,
};

/// Listen on an address; an error names it.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("[lan] listen {address}: {error}"));
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host(address).await.map_err(named)? {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(named(failed))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // What is accepted has these too.
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listen on an address as soon as that can be done; then `ready` hears where.
pub async fn run(
    address: String,
    reception: Reception,
    links: Arc<Links>,
    ready: watch::Sender<Option<SocketAddr>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let link = links.lan(&address);
    let listener = tokio::select! {
        listener = listen_patiently(&address, &link) => listener,
        _ = shutdown.wait_for(|over| *over) => return,
    };
    ready.send_replace(listener.local_addr().ok());
    serve_lan(listener, reception, link, shutdown).await;
}

async fn listen_patiently(address: &str, link: &Link) -> TcpListener {
    loop {
        match listen(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                if link.closed(&error.to_string()) {
                    tracing::warn!(
                        phase = "link",
                        listen = address,
                        "{error}; trying on: is another program there, or the network not up?"
                    );
                }
            }
        }
        sleep(LISTEN_PAUSE).await;
    }
}

/// Serve the handhelds that connect, for ever; ends when `shutdown` turns true.
pub async fn serve_lan(
    listener: TcpListener,
    reception: Reception,
    link: Arc<Link>,
    mut shutdown: watch::Receiver<bool>,
) {
    link.opened();
    tokio::select! {
        () = accept_for_ever(&listener, &reception, &link) => {}
        // A sender that is gone means the same.
        _ = shutdown.wait_for(|over| *over) => {}
    }
}

async fn accept_for_ever(listener: &TcpListener, reception: &Reception, link: &Arc<Link>) {
    let door = Door::default();
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let mut accepts = Bucket::new(ACCEPTS_BURST, ACCEPTS_S, Instant::now());
    // Dropped with this future, and the sessions with it.
    let mut sessions = JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unlogged) = link.may_log() {
                    tracing::warn!(phase = "link", %error, unlogged, "a connection could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while sessions.try_join_next().is_some() {}
        match door.knock(peer.ip(), Instant::now()) {
            Knock::In(place) => {
                let (reception, link) = (reception.clone(), Arc::clone(link));
                sessions.spawn(session(stream, peer, reception, link, place));
            }
            Knock::Later(reason) => {
                link.turned_away();
                if let Some(unlogged) = link.may_log() {
                    tracing::warn!(phase = "link", %peer, reason, unlogged, "turned away");
                }
                if let Ok(chair) = Arc::clone(&turned_away).try_acquire_owned() {
                    sessions.spawn(turn_away(stream, reason, chair));
                }
            }
            Knock::TooOften => {
                link.turned_away();
                if let Some(unlogged) = link.may_log() {
                    tracing::warn!(phase = "link", %peer, unlogged, "connects too often: hung up on");
                }
            }
        }
        accepts.spend(1, Instant::now());
        let debt = accepts.debt(Instant::now());
        if !debt.is_zero() {
            sleep(debt).await;
        }
    }
}

async fn session(
    stream: TcpStream,
    peer: SocketAddr,
    reception: Reception,
    link: Arc<Link>,
    _place: Place,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(phase = "link", %peer, %error, "nodelay");
    }
    let sitting = link.sit(&peer.to_string());
    let span = sitting.span();
    let served = session::serve(stream, &reception, PATIENCE, sitting);
    let report = served.instrument(span.clone()).await;
    if let Some(unlogged) = link.may_log() {
        let Report { closed, answered, changes, who } = report;
        let (_session, _who) = (span.enter(), who.enter());
        tracing::info!(phase = "intake", answered, changes, ?closed, unlogged, "session over");
    }
}

/// Answer the first body with a plain Busy, then hang up.
async fn turn_away(mut stream: TcpStream, reason: String, _chair: OwnedSemaphorePermit) {
    let polite = async {
        let mut accumulator = Accumulator::new();
        let mut buffer = [0; 512];
        loop {
            let length = stream.read(&mut buffer).await?;
            let mut input = &buffer[..length];
            if let Some(body) = accumulator.next_body(&mut input) {
                let Ok(Envelope { session, .. }) = envelope::decode(&body) else {
                    return Ok(());
                };
                let content = Content::Busy { retry_ms: RETRY_MS, reason: &reason };
                let body = envelope::encode(&Envelope { session, content });
                return stream.write_all(&frame::encode(&body).expect("it is short")).await;
            }
            if length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    // Whether it heard us is its own concern.
    let _ = timeout(TURN_AWAY_TIMEOUT, polite).await;
}
