//! One link session: a handheld's questions from any stream, answered by the store.
//!
//! The same for a serial line and for TCP. One frame is held at a time, one
//! answer is written at a time, and nothing is queued: whoever asks faster waits,
//! so that the store, which serves who waits in turn, is shared fairly.
//! What the line garbles is counted and asked for again by the handheld. An
//! answer leaves only after the store has made durable what it says. Everything but
//! the handshake is sealed, and only those whom the [`Reception`] lets in are heard.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span, debug, error_span, info, warn};
use wadi_protocol::limits::SCHEMA_PIECE_BYTES_MAX;
use wadi_protocol::link::frame::{self, Accumulator, TERMINATOR};
use wadi_protocol::link::message::{Answer, AnswerBody};
use wadi_protocol::link::station::{Question, Reaction, Station, bytes_of};

use crate::links::Sitting;
use crate::noise::answerer::{Answerer, Heard};
use crate::noise::key::PublicKey;
use crate::reception::{Reception, speaks_for};

/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// Noise on a line is logged this often at most.
const NOISE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A handheld that was let in is looked up again after this: it may be revoked.
const STAY_INTERVAL: Duration = Duration::from_secs(1);
/// A part of a handshake costs the processor what so many bytes of garbage may.
const HANDSHAKE_BYTES: usize = 1024;

/// How long a peer may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For its next question; none = for ever. Bytes alone do not count, nor do
    /// frames that are no question, so a peer that trickles them gains nothing.
    pub frame: Option<Duration>,
    /// For taking an answer off our hands.
    pub write: Duration,
    /// Whether the session outlives an answer that was not taken in time: on a
    /// serial line there may be nobody just now.
    pub outlives_write: bool,
}

/// Why a session ended.
#[derive(Debug)]
pub enum Closed {
    /// The other end closed, or the port vanished.
    Ended,
    /// No question came, or an answer was not taken, in time.
    TooSlow,
    /// The stream failed.
    Failed(io::Error),
}

/// What a session did.
#[derive(Debug)]
pub struct Report {
    /// Why it ended.
    pub closed: Closed,
    /// Questions answered.
    pub answered: u64,
    /// Changes taken.
    pub changes: u64,
    /// Whose questions were the last, for the log.
    pub who: Span,
}

/// Serve a stream until it ends. `sitting` names the peer, counts, and sets the pace;
/// what is logged meanwhile goes with [`Sitting::span`].
pub async fn serve(
    mut link: impl AsyncRead + AsyncWrite + Unpin,
    reception: &Reception,
    patience: Patience,
    sitting: Sitting,
) -> Report {
    let mut session = Session {
        reception,
        sitting,
        answerer: Answerer::new(Arc::clone(&reception.keys)),
        guest: None,
        place: Span::current(),
        who: Span::none(),
        station: Station::new(),
        accumulator: Accumulator::new(),
        noise_logged: None,
        noise_known: 0,
        torn: false,
        answered: 0,
        changes: 0,
    };
    let closed = session.run(&mut link, patience).await;
    session.count_noise(true);
    if matches!(closed, Closed::TooSlow) {
        session.sitting.too_slow();
    }
    let Session { answered, changes, who, .. } = session;
    Report { closed, answered, changes, who }
}

/// Who opened the session.
#[derive(Clone, Copy)]
struct Guest {
    key: PublicKey,
    looked_up: Instant,
}

/// What goes back for a body.
enum Said {
    /// The answer to a question, sealed.
    Answer(Vec<u8>),
    /// A part of the handshake, or a plain word: asking for it is no question.
    Plain(Vec<u8>),
}

struct Session<'a> {
    reception: &'a Reception,
    sitting: Sitting,
    answerer: Answerer,
    /// Who is at the other end, and when the reception was last asked about it.
    guest: Option<Guest>,
    /// The session, for the log.
    place: Span,
    /// Whose questions these are, for the log; nobody's before a hello.
    who: Span,
    station: Station,
    accumulator: Accumulator,
    noise_logged: Option<Instant>,
    /// Garbled frames that were logged.
    noise_known: u64,
    /// Our last answer was cut off: what follows needs a fresh start.
    torn: bool,
    answered: u64,
    changes: u64,
}

impl Session<'_> {
    async fn run(
        &mut self,
        link: &mut (impl AsyncRead + AsyncWrite + Unpin),
        patience: Patience,
    ) -> Closed {
        let mut buffer = vec![0; READ_BYTES];
        let mut framed = Instant::now();
        loop {
            let read = match patience.frame {
                Some(limit) => match timeout_at(framed + limit, link.read(&mut buffer)).await {
                    Ok(read) => read,
                    Err(_) => return Closed::TooSlow,
                },
                None => link.read(&mut buffer).await,
            };
            let length = match read {
                Ok(0) => return Closed::Ended,
                Ok(length) => length,
                Err(error) => return Closed::Failed(error),
            };
            self.sitting.read(length);
            let mut input = &buffer[..length];
            while let Some(body) = self.accumulator.next_body(&mut input) {
                let who = self.who.clone();
                let (said, is_answer) = match self.hear(&body).instrument(who).await {
                    Some(Said::Answer(said)) => (said, true),
                    Some(Said::Plain(said)) => (said, false),
                    None => continue,
                };
                if is_answer {
                    framed = Instant::now();
                    self.sitting.question(body.len());
                } else {
                    self.sitting.read(HANDSHAKE_BYTES);
                }
                let frame = frame::encode(&said).expect("measured before it was sealed");
                match self.write(link, &frame, patience).await {
                    Ok(true) if is_answer => {
                        self.answered += 1;
                        self.sitting.answered();
                    }
                    Ok(true) => {}
                    Ok(false) if patience.outlives_write => {}
                    Ok(false) => return Closed::TooSlow,
                    Err(error) => return Closed::Failed(error),
                }
            }
            self.count_noise(false);
            self.sitting.rest().await;
        }
    }

    /// What goes back for a body, if anything.
    async fn hear(&mut self, body: &[u8]) -> Option<Said> {
        match self.answerer.hear(body) {
            Heard::Message(message) => self.answer(&message).await.map(Said::Answer),
            Heard::Reply(body) => Some(Said::Plain(body)),
            Heard::Opened(key) => {
                // Whoever was here before has to say hello again.
                self.station = Station::new();
                self.guest = Some(Guest { key, looked_up: Instant::now() });
                self.who = Span::none();
                None
            }
            Heard::Nothing(why) => {
                debug!(phase = "link", "{why}");
                None
            }
            Heard::Unreadable(error) => {
                if let Some(unlogged) = self.sitting.may_log() {
                    warn!(phase = "link", bytes = body.len(), unlogged, "{error}");
                }
                None
            }
        }
    }

    /// The body that answers a message of the open session, sealed.
    async fn answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let key = self.look_up().await?;
        let answer = match self.station.hear(message) {
            Reaction::Answer(answer) => answer,
            Reaction::Store(number, question) => {
                Answer { number, body: self.ask_store(key, question, message.len()).await }
            }
            Reaction::Stale(number) => {
                debug!(phase = "link", number, "a stale question");
                return None;
            }
            Reaction::Unreadable(error) => {
                if let Some(unlogged) = self.sitting.may_log() {
                    warn!(phase = "link", bytes = message.len(), unlogged, "{error}");
                }
                return None;
            }
        };
        if let AnswerBody::Refused { reason } = &answer.body {
            self.sitting.refused();
            if let Some(unlogged) = self.sitting.may_log() {
                warn!(phase = "intake", reason, unlogged, "refused");
            }
        }
        self.answerer.seal(&bytes_of(answer))
    }

    /// Whose session it is. One that may not stay is asked for a new hello, which
    /// then says why.
    async fn look_up(&mut self) -> Option<PublicKey> {
        let guest = self.guest.as_mut()?;
        let key = guest.key;
        if guest.looked_up.elapsed() >= STAY_INTERVAL && self.station.handheld().is_some() {
            guest.looked_up = Instant::now();
            if !self.reception.may_stay(key).await {
                warn!(phase = "intake", %key, "may not stay any more: it was revoked");
                self.station = Station::new();
                self.who = Span::none();
            }
        }
        Some(key)
    }

    async fn ask_store(&mut self, key: PublicKey, question: Question, bytes: usize) -> AnswerBody {
        match question {
            Question::Welcome { device, label, feed } => {
                if let Err(reason) = self.reception.enter(key, device, &label).await {
                    self.station = Station::new();
                    return AnswerBody::Refused { reason };
                }
                let welcome = self.reception.handle.welcome(device, feed).await;
                if let Some(unlogged) = self.sitting.may_log() {
                    let (handheld, continues) = (&label, welcome.continues);
                    info!(phase = "intake", %device, handheld, %key, continues, unlogged, "hello");
                }
                self.who = error_span!(parent: &self.place, "handheld", %device, handheld = label);
                welcome.into()
            }
            Question::Schema { offset } => {
                let schema = self.reception.handle.schema_bytes().await;
                let from = (offset as usize).min(schema.len());
                let to = (from + SCHEMA_PIECE_BYTES_MAX).min(schema.len());
                AnswerBody::Schema { bytes: schema[from..to].to_vec() }
            }
            Question::Intake(batch) => {
                if let Err(reason) = speaks_for(key, &batch) {
                    return AnswerBody::Refused { reason };
                }
                let changes = batch.changes.len();
                if let Err(error) = self.reception.handle.intake(batch).await {
                    return error.into();
                }
                self.changes += changes as u64;
                debug!(phase = "intake", changes, bytes, "taken");
                AnswerBody::Taken
            }
            Question::Fates(spans) => {
                AnswerBody::Fates { fates: self.reception.handle.fates(spans).await }
            }
            Question::Feed { device, feed } => {
                AnswerBody::Page(self.reception.handle.feed(device, feed).await)
            }
        }
    }

    /// Write a frame; whether it was taken whole in time.
    async fn write(
        &mut self,
        link: &mut (impl AsyncWrite + Unpin),
        frame: &[u8],
        patience: Patience,
    ) -> io::Result<bool> {
        let lead: &[u8] = if self.torn { &[TERMINATOR] } else { &[] };
        let written = timeout(patience.write, async {
            link.write_all(lead).await?;
            link.write_all(frame).await?;
            link.flush().await
        });
        match written.await {
            Ok(outcome) => {
                self.torn = false;
                outcome.map(|()| true)
            }
            Err(_) => {
                self.torn = true;
                Ok(false)
            }
        }
    }

    fn count_noise(&mut self, last: bool) {
        let noise = self.accumulator.noise();
        self.sitting.noise(noise);
        let due = last || self.noise_logged.is_none_or(|at| at.elapsed() >= NOISE_LOG_INTERVAL);
        if noise.frames > self.noise_known && due {
            let _who = self.who.enter();
            warn!(
                phase = "link",
                frames = noise.frames,
                bytes = noise.bytes,
                "noise on the line; garbled frames are asked for again"
            );
            self.noise_known = noise.frames;
            self.noise_logged = Some(Instant::now());
        }
    }
}
