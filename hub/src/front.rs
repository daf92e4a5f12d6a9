//! The TLS listener before the embedded broker.
//!
//! A peer has so long for its handshake and its first bytes, in a task of its
//! own, so that one who stalls keeps nobody waiting. Whoever shows a
//! certificate of the hub's authority is led on to the broker on loopback; the
//! door learns whose certificate it was by the port from which that goes.
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::bridle::Bridle;
use crate::door::Door;

/// Connections at the same time, whatever their state.
const CONNECTIONS_MAX: usize = 4_096;
/// For the handshake, and then again for the first bytes. Slow links need
/// several round trips of some seconds.
const FIRST_DEADLINE: Duration = Duration::from_secs(20);
/// After an accept that failed (out of file handles, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Bytes read before the broker is called: MQTT begins with a short packet.
const FIRST_BYTES_MAX: usize = 2_048;

/// A running front; it ends when this is dropped, and its connections with it.
pub struct Front {
    task: JoinHandle<()>,
    address: SocketAddr,
}

impl Front {
    /// Bind and serve.
    pub async fn start(
        listen: SocketAddr,
        tls: Arc<ServerConfig>,
        broker: SocketAddr,
        door: Arc<Door>,
    ) -> io::Result<Front> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(tls), broker, door));
        Ok(Front { task, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, broker: SocketAddr, door: Arc<Door>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    let bridle = Bridle::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(unlogged) = bridle.may_log() {
                    warn!(phase = "tls", unlogged, "a connection could not be accepted: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if let Some(unlogged) = bridle.may_log() {
                warn!(phase = "tls", %peer, unlogged, "{CONNECTIONS_MAX} connections are open: hung up");
            }
            continue;
        };
        let (tls, door) = (tls.clone(), door.clone());
        connections.spawn(async move {
            if let Err(error) = lead(stream, tls, broker, &door).await {
                debug!(phase = "tls", %peer, "{error}");
            }
            drop(place);
        });
    }
}

/// One connection, from its handshake to its end.
async fn lead(
    stream: TcpStream,
    tls: TlsAcceptor,
    broker: SocketAddr,
    door: &Door,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = timeout(FIRST_DEADLINE, tls.accept(stream)).await??;
    let certificate = certificate_of(&stream)?;
    let mut first = vec![0; FIRST_BYTES_MAX];
    let length = timeout(FIRST_DEADLINE, stream.read(&mut first)).await??;
    if length == 0 {
        return Ok(());
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let port = socket.local_addr()?.port();
    // Before the broker can ask.
    door.enter(port, certificate);
    let _guard = Guard { door, port };
    let mut inner = socket.connect(broker).await?;
    inner.set_nodelay(true)?;
    inner.write_all(&first[..length]).await?;
    copy_bidirectional(&mut stream, &mut inner).await?;
    Ok(())
}

/// Known even where the session was resumed.
fn certificate_of(stream: &TlsStream<TcpStream>) -> io::Result<CertificateDer<'static>> {
    let certificates = stream.get_ref().1.peer_certificates();
    let first = certificates.and_then(<[_]>::first).cloned();
    first.ok_or_else(|| io::Error::other("no certificate was shown"))
}

/// Forgets the port, however the connection ends.
struct Guard<'a> {
    door: &'a Door,
    port: u16,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.door.leave(self.port);
    }
}
