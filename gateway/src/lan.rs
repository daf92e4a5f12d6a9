//! Handhelds on the local network: the same frames as on a serial line, over TCP.
//!
//! So many sessions are served and no more; whoever comes beyond that is told
//! so, and a silent or slow peer loses its place. There is no authentication
//! yet: the listener belongs on the village's own network.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wadi_protocol::link::frame::Accumulator;
use wadi_protocol::link::message::{self, Answer, AnswerBody, Ask};
use wadi_protocol::link::station::frame_of;

use crate::session::{self, Patience};
use crate::store::thread::Handle;

/// Sessions served at the same time.
pub const SESSIONS_MAX: usize = 32;
/// Peers beyond that who are being told so; more are hung up on.
const TURNED_AWAY_MAX: usize = 32;
/// When a peer that was told so shall ask again.
const RETRY_MS: u32 = 2_000;
/// For hearing the question of a peer that is turned away.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(5);
/// After an accept that failed (out of file handles, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Patience = Patience {
    frame: Some(Duration::from_secs(60)),
    write: Duration::from_secs(20),
    outlives_write: false,
};

/// Listen on an address; an error names it.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("[lan] listen {address}: {error}")))
}

/// Serve the handhelds that connect, for ever; ends when `shutdown` turns true.
pub async fn serve_lan(listener: TcpListener, handle: Handle, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = accept_for_ever(&listener, &handle) => {}
        // A sender that is gone means the same.
        _ = shutdown.wait_for(|over| *over) => {}
    }
}

async fn accept_for_ever(listener: &TcpListener, handle: &Handle) {
    let served = Arc::new(Semaphore::new(SESSIONS_MAX));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    // Dropped with this future, and the sessions with it.
    let mut sessions = JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while sessions.try_join_next().is_some() {}
        if let Ok(place) = Arc::clone(&served).try_acquire_owned() {
            sessions.spawn(session(stream, peer, handle.clone(), place));
        } else if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
            tracing::warn!(%peer, "{SESSIONS_MAX} sessions are open already: turned away");
            sessions.spawn(turn_away(stream, place));
        }
    }
}

async fn session(
    stream: TcpStream,
    peer: SocketAddr,
    handle: Handle,
    _place: OwnedSemaphorePermit,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "nodelay");
    }
    let report = session::serve(stream, &handle, PATIENCE, &peer.to_string()).await;
    tracing::info!(%peer, answered = report.answered, closed = ?report.closed, "session over");
}

/// Answer the first question with Busy, then hang up.
async fn turn_away(mut stream: TcpStream, _place: OwnedSemaphorePermit) {
    let polite = async {
        let mut accumulator = Accumulator::new();
        let mut buffer = [0; 512];
        loop {
            let length = stream.read(&mut buffer).await?;
            let mut input = &buffer[..length];
            if let Some(body) = accumulator.next_body(&mut input) {
                let Ok(ask) = message::decode::<Ask>(&body) else {
                    return Ok(());
                };
                let reason = format!("{SESSIONS_MAX} handhelds are being served");
                let body = AnswerBody::Busy { reason, retry_ms: RETRY_MS };
                return stream.write_all(&frame_of(Answer { number: ask.number, body })).await;
            }
            if length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    // Whether it heard us is its own concern.
    let _ = timeout(TURN_AWAY_TIMEOUT, polite).await;
}
