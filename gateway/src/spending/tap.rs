//! A TCP connection whose bytes are counted, to its very end.
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Meter, Traffic};

/// Of a packet that carries bytes through a tunnel or two; and what carries them.
const SEGMENT_BYTES: u64 = 1_348;
const HEAD_BYTES: u64 = 52;

/// The connection.
#[derive(Debug)]
pub struct Tap {
    tcp: TcpStream,
    meter: Meter,
}

impl Tap {
    /// Count a connection that was just made.
    pub fn new(tcp: TcpStream, meter: &Meter) -> Tap {
        if let (Ok(local), Ok(peer)) = (tcp.local_addr(), tcp.peer_addr()) {
            meter.opened((local, peer));
        }
        Tap { tcp, meter: meter.clone() }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.meter.closing();
    }
}

/// Bytes in as many packets as they need, and an acknowledgement for them.
fn packets(bytes: usize) -> (u64, u64) {
    let bytes = bytes as u64;
    (bytes + bytes.div_ceil(SEGMENT_BYTES) * HEAD_BYTES, HEAD_BYTES)
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        let (down, up) = packets(buffer.filled().len() - before);
        self.meter.went(Traffic { up, down });
        Poll::Ready(Ok(()))
    }
}

impl Tap {
    fn wrote(&self, bytes: usize) -> io::Result<usize> {
        let (up, down) = packets(bytes);
        self.meter.went(Traffic { up, down });
        Ok(bytes)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(context, bytes))?;
        Poll::Ready(self.wrote(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(context, slices))?;
        Poll::Ready(self.wrote(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
