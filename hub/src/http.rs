//! The page of figures for Prometheus, on loopback: `GET /metrics`, `GET /healthz`.
//!
//! Bounded against whoever connects: so many connections (more wait in the
//! listener's queue), one request each, so many bytes of it, a deadline for all
//! of it, and one gathering at a time. It knows no figure: it is given a
//! function that gathers them.
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use crate::bridle::Bridle;

/// Connections served at the same time.
const CONNECTIONS_MAX: usize = 8;
/// From a connection's begin to its end.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request, headers and all; no request of ours has a body.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// How long gathering the figures may take.
const GATHER_TIMEOUT: Duration = Duration::from_secs(8);
/// After an accept that failed (out of file handles, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// What the figures are written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listen on an address; an error names it.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let what = format!(
            "[metrics] listen {address}: {error}; give another port, or end the program that has it"
        );
        io::Error::new(error.kind(), what)
    })
}

/// Serve what `gather` says, until dropped.
pub async fn serve<G, F>(listener: TcpListener, gather: G)
where
    G: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<String, String>> + Send + 'static,
{
    let figures = Arc::new(Figures { gather, turn: Mutex::new(()) });
    let health = Arc::clone(&figures);
    let router = Router::new()
        .route("/metrics", get(async move || figures.metrics().await))
        .route("/healthz", get(async move || health.health().await))
        .fallback(async || said(StatusCode::NOT_FOUND, "try /metrics or /healthz\n".into()));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let bounded = Bounded { listener, places, bridle: Bridle::default() };
    if let Err(error) = axum::serve(bounded, router).await {
        tracing::warn!(phase = "figures", %error, "the page of figures ended");
    }
}

struct Figures<G> {
    gather: G,
    turn: Mutex<()>,
}

impl<G, F> Figures<G>
where
    G: Fn() -> F,
    F: Future<Output = Result<String, String>>,
{
    async fn gather(&self) -> Result<String, String> {
        let gathered = timeout(GATHER_TIMEOUT, async {
            let _turn = self.turn.lock().await;
            (self.gather)().await
        });
        gathered.await.unwrap_or_else(|_| Err("the store does not answer in time".into()))
    }

    async fn metrics(&self) -> Response {
        match self.gather().await {
            Ok(text) => {
                ([(CONTENT_TYPE, OPEN_METRICS), (CONNECTION, "close")], text).into_response()
            }
            Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        }
    }

    async fn health(&self) -> Response {
        match self.gather().await {
            Ok(_) => said(StatusCode::OK, "ok\n".into()),
            Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        }
    }
}

fn said(status: StatusCode, text: String) -> Response {
    (status, [(CONNECTION, "close")], text).into_response()
}

/// A listener that gives out so many places and no more.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
    bridle: Bridle,
}

impl axum::serve::Listener for Bounded {
    type Io = Seat;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Seat, SocketAddr) {
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let deadline = Box::pin(sleep(CONNECTION_TIMEOUT));
                    let seat = Seat { stream, deadline, left: REQUEST_BYTES_MAX, _place: place };
                    return (seat, peer);
                }
                Err(error) => {
                    if let Some(unlogged) = self.bridle.may_log() {
                        tracing::warn!(
                            phase = "figures",
                            %error,
                            unlogged,
                            "a connection for figures could not be accepted"
                        );
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with a place, a deadline and an allowance of bytes.
struct Seat {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    left: usize,
    _place: OwnedSemaphorePermit,
}

impl Seat {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Seat {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if read > self.left {
            return Poll::Ready(Err(io::Error::other("the request is too large")));
        }
        self.left -= read;
        polled
    }
}

impl AsyncWrite for Seat {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
