//! One link to a gateway: a stream, its frames, the seal.
//!
//! Whatever stream it is: bytes that are not taken in time count as lost, since
//! the collector and the caller ask again. What is asked is not known here.
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use wadi_protocol::link::collector::{Failure, Timing};
use wadi_protocol::link::frame::Accumulator;

use crate::noise::caller::{Caller, Step};
use crate::noise::key::{KeyPair, PublicKey};

/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// Why a link is of no use any more.
#[derive(Debug)]
pub enum Broken {
    /// The stream.
    Cut(io::Error),
    /// The gateway at its other end.
    Failed(Failure),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Cut(error)
    }
}

/// A link.
pub struct Link<S> {
    stream: S,
    timing: Timing,
    accumulator: Accumulator,
    caller: Caller,
    began: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link on which nothing was said yet.
    pub fn new(stream: S, keys: &KeyPair, timing: Timing) -> io::Result<Link<S>> {
        let session = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))?;
        let caller = Caller::new(keys, session, timing);
        let began = Instant::now();
        Ok(Link { stream, timing, accumulator: Accumulator::new(), caller, began })
    }

    /// Milliseconds since the link was made.
    pub fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Frames that the line garbled.
    pub fn noise(&self) -> u64 {
        self.accumulator.noise().frames
    }

    /// Whether a frame has begun to come and not ended.
    pub fn is_amid(&self) -> bool {
        self.accumulator.is_amid()
    }

    /// Open the session; the key of the gateway.
    pub async fn open(&mut self) -> Result<PublicKey, Broken> {
        loop {
            match self.caller.step(self.now_ms()) {
                Step::Open(gateway) => return Ok(gateway),
                Step::Failed(failure) => return Err(Broken::Failed(failure)),
                Step::Send(bytes) => self.write(&bytes).await?,
                // Nothing can be sealed before the session is open.
                Step::Wait { until_ms } => drop(self.hear(until_ms).await?),
            }
        }
    }

    /// Say a message; `doubtful` ends first what may be on the line.
    pub async fn say(&mut self, message: &[u8], doubtful: bool) -> Result<(), Broken> {
        let sealed = self.caller.seal(message, doubtful);
        let bytes = sealed.ok_or(Broken::Failed(Failure::Forgotten))?;
        Ok(self.write(&bytes).await?)
    }

    /// Messages that come until a time, as soon as any bytes have come.
    pub async fn hear(&mut self, until_ms: u64) -> Result<Vec<Vec<u8>>, Broken> {
        let mut buffer = [0; READ_BYTES];
        let until = self.began + Duration::from_millis(until_ms);
        let length = match timeout_at(until, self.stream.read(&mut buffer)).await {
            Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(length) => length?,
            Err(_) => return Ok(Vec::new()),
        };
        let (mut input, now_ms) = (&buffer[..length], self.now_ms());
        let mut messages = Vec::new();
        while let Some(body) = self.accumulator.next_body(&mut input) {
            messages.extend(self.caller.hear(&body, now_ms));
        }
        match self.caller.failed() {
            Some(failure) => Err(Broken::Failed(failure.clone())),
            None => Ok(messages),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let patience = Duration::from_millis(self.timing.answer_ms)
            + Duration::from_micros(bytes.len() as u64 * self.timing.byte_us * 2);
        // A line that takes no bytes is like one that gives none: it is said again.
        timeout(patience, self.stream.write_all(bytes)).await.unwrap_or(Ok(()))
    }
}
