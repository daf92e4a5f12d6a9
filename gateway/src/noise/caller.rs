//! The handheld's end of the seal: it calls, and begins again when told to.
use snow::HandshakeState;
use wadi_protocol::link::collector::{Failure, Phase, Timing};
use wadi_protocol::link::envelope::{self, Content, Envelope};
use wadi_protocol::link::frame::{self, TERMINATOR};

use super::key::{KeyPair, PublicKey};
use super::seal::Seal;
use super::{FIRST_BYTES, SECOND_BYTES, THIRD_BYTES, handshake, remote, say};

/// A gateway that serves others is asked again no sooner and no later than this,
/// in milliseconds.
const RETRY_MS: std::ops::RangeInclusive<u64> = 50..=30_000;

/// What to do until the session is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Put these bytes on the line.
    Send(Vec<u8>),
    /// Nothing before this time, unless a body comes.
    Wait {
        /// Milliseconds on the clock that `now_ms` comes from.
        until_ms: u64,
    },
    /// The gateway of this key is there: messages may be sealed.
    Open(PublicKey),
    /// It is over.
    Failed(Failure),
}

/// One call.
pub struct Caller {
    timing: Timing,
    session: u32,
    state: State,
    failed: Option<Failure>,
    ignored: u64,
}

enum State {
    Calling(Calling),
    /// third: until the gateway has shown that it heard it.
    Open {
        seal: Box<Seal>,
        gateway: PublicKey,
        third: Option<Vec<u8>>,
    },
}

/// The first message was or is to be sent.
struct Calling {
    /// Until the gateway's part has come.
    handshake: Option<Box<HandshakeState>>,
    first: Vec<u8>,
    tries: u32,
    /// When to send (again).
    send_at_ms: u64,
    /// When a busy gateway has been busy for too long.
    busy_until_ms: Option<u64>,
}

impl Caller {
    /// A call under a session number, which must be random.
    pub fn new(keys: &KeyPair, session: u32, timing: Timing) -> Caller {
        let mut handshake = Box::new(handshake(keys, session, true));
        let message = say(&mut handshake, FIRST_BYTES);
        let first = envelope::encode(&Envelope { session, content: Content::First(&message) });
        let handshake = Some(handshake);
        let calling = Calling { handshake, first, tries: 0, send_at_ms: 0, busy_until_ms: None };
        Caller { timing, session, state: State::Calling(calling), failed: None, ignored: 0 }
    }

    /// What to do now.
    pub fn step(&mut self, now_ms: u64) -> Step {
        if let Some(failure) = &self.failed {
            return Step::Failed(failure.clone());
        }
        let call = match &mut self.state {
            State::Open { gateway, .. } => return Step::Open(*gateway),
            State::Calling(call) => call,
        };
        if now_ms < call.send_at_ms {
            return Step::Wait { until_ms: call.send_at_ms };
        }
        if call.tries == self.timing.tries_max {
            let silent = Failure::Silent { phase: Phase::Hello, tries: call.tries };
            self.failed = Some(silent.clone());
            return Step::Failed(silent);
        }
        call.tries += 1;
        let bytes = framed(&call.first, true);
        let line_us = 2 * bytes.len() as u64 * self.timing.byte_us;
        call.send_at_ms = now_ms + self.timing.answer_ms + line_us.div_ceil(1000);
        Step::Send(bytes)
    }

    /// A checked body came; the message that was sealed in it, if there is one.
    pub fn hear(&mut self, body: &[u8], now_ms: u64) -> Option<Vec<u8>> {
        let heard = envelope::decode(body).ok();
        let Some(envelope) = heard.filter(|envelope| envelope.session == self.session) else {
            self.ignored += 1;
            return None;
        };
        match envelope.content {
            Content::Sealed { counter, bytes } => {
                if let State::Open { seal, third, .. } = &mut self.state
                    && let Some(message) = seal.open(counter, bytes)
                {
                    *third = None;
                    return Some(message);
                }
            }
            Content::Second(message) if self.second(message).is_some() => return None,
            Content::StartOver => {
                self.failed.get_or_insert(Failure::Forgotten);
                return None;
            }
            Content::Busy { retry_ms, reason } if self.busy(retry_ms, reason, now_ms) => {
                return None;
            }
            Content::First(_) | Content::Second(_) | Content::Third(_) | Content::Busy { .. } => {}
        }
        self.ignored += 1;
        None
    }

    /// Why the session is over, if the gateway said so.
    pub fn failed(&self) -> Option<&Failure> {
        self.failed.as_ref()
    }

    /// Bodies that meant nothing: repeats, of another session, altered.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The bytes to put on the line for a message; none if the session is not open or
    /// has used up its counters. `doubtful` ends first what may be on the line.
    pub fn seal(&mut self, message: &[u8], doubtful: bool) -> Option<Vec<u8>> {
        let State::Open { seal, third, .. } = &mut self.state else {
            return None;
        };
        let (counter, bytes) = seal.close(message)?;
        let content = Content::Sealed { counter, bytes: &bytes };
        let body = envelope::encode(&Envelope { session: self.session, content });
        let mut line = third.as_ref().map(|third| framed(third, doubtful)).unwrap_or_default();
        let doubtful = doubtful && line.is_empty();
        line.extend(framed(&body, doubtful));
        Some(line)
    }

    /// The gateway's part of the handshake, if it is.
    fn second(&mut self, message: &[u8]) -> Option<()> {
        let State::Calling(Calling { handshake: held, .. }) = &mut self.state else {
            return None;
        };
        let handshake = held.as_mut().filter(|_| message.len() == SECOND_BYTES)?;
        // One that fails leaves the handshake as it was: the true one may yet come.
        handshake.read_message(message, &mut [0; SECOND_BYTES]).ok()?;
        let gateway = remote(handshake)?;
        let third = say(handshake, THIRD_BYTES);
        let content = Content::Third(&third);
        let third = envelope::encode(&Envelope { session: self.session, content });
        let seal = Box::new(Seal::new(*held.take()?)?);
        self.state = State::Open { seal, gateway, third: Some(third) };
        Some(())
    }

    /// The gateway serves others: call again when it said, but not for ever.
    fn busy(&mut self, retry_ms: u32, reason: &str, now_ms: u64) -> bool {
        let State::Calling(call) = &mut self.state else {
            return false;
        };
        let give_up_ms = *call.busy_until_ms.get_or_insert(now_ms + self.timing.busy_ms_max);
        let again_ms = now_ms + u64::from(retry_ms).clamp(*RETRY_MS.start(), *RETRY_MS.end());
        if again_ms > give_up_ms {
            self.failed = Some(Failure::Busy { reason: reason.to_owned() });
        } else {
            (call.tries, call.send_at_ms) = (0, again_ms);
        }
        true
    }
}

fn framed(body: &[u8], doubtful: bool) -> Vec<u8> {
    let mut line = Vec::from_iter(doubtful.then_some(TERMINATOR));
    line.extend(frame::encode(body).expect("a sealed message fits a frame"));
    line
}
