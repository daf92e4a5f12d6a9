//! The handheld's end of a link session, sans I/O.
//!
//! A session goes Hello -> Schema -> Offers -> Fates -> Pulls -> Done, one
//! question at a time: the next is asked when the answer to the last was stored.
//! [`Collector::turn`] says what to do; opened messages go into
//! [`Collector::hear`]; time is an argument. A question without an answer is
//! sent again under its number, and given up after [`Timing::tries_max`] tries.
//!
//! The store stays outside: what was heard is handed out to be made durable
//! before anything else is asked, and the next offer, stretch or cursor is asked
//! for, so that this machine holds nothing that a crash could lose.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{DeviceId, RunId};
use crate::limits::SCHEMA_BYTES_MAX;
use crate::link::envelope::MESSAGE_BYTES_MAX;
use crate::link::frame::{self, BODY_BYTES_MAX, STUFFED_BYTES_MAX, TooLarge};
use crate::link::message::{self, Answer, AnswerBody, Ask, AskBody, Fate, FeedCursor, FeedPage};

/// A busy gateway is asked again no sooner than this, in milliseconds.
const RETRY_MS_MIN: u64 = 50;
/// A busy gateway is asked again no later than this, in milliseconds.
const RETRY_MS_MAX: u64 = 30_000;

/// How long to wait for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// From a question's last byte to the first byte of its answer, in milliseconds.
    pub answer_ms: u64,
    /// What one byte takes on the line, in microseconds.
    pub byte_us: u64,
    /// How often a question is sent before it is given up.
    pub tries_max: u32,
    /// How long a busy gateway is borne in one question, in milliseconds.
    pub busy_ms_max: u64,
}

impl Timing {
    /// For a serial line of `baud` symbols a second, ten to a byte.
    pub fn serial(baud: u32) -> Timing {
        let byte_us = 10_000_000 / u64::from(baud.max(1));
        Timing { answer_ms: 1_500, byte_us, tries_max: 8, busy_ms_max: 20_000 }
    }

    /// For a local network.
    pub fn lan() -> Timing {
        Timing { answer_ms: 4_000, byte_us: 2, tries_max: 4, busy_ms_max: 20_000 }
    }
}

/// How a session begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// The handheld's own device.
    pub device: DeviceId,
    /// Its name for people.
    pub label: String,
    /// The schema version it holds; 0 = none.
    pub schema: u32,
    /// Where its replica of the feed stands.
    pub feed: FeedCursor,
}

/// What to do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Seal and send this message.
    Send {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether there is doubt about the line: end first what may be on it.
        doubtful: bool,
    },
    /// Nothing before this time, unless a message comes.
    Wait {
        /// Milliseconds on the clock that `now_ms` comes from.
        until_ms: u64,
    },
    /// Store this durably, then ask for the next turn.
    Heard(Heard),
    /// Call [`Collector::supply`] with the next question of this phase.
    Supply(Phase),
    /// Everything was offered and pulled.
    Done,
    /// The session is over, for this reason.
    Failed(Failure),
}

/// What a gateway answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// To the hello.
    Welcome(Welcome),
    /// The whole schema, newer than the one held.
    Schema(Vec<u8>),
    /// The offer is durable at the gateway.
    Taken,
    /// What became of own changes.
    Fates(Vec<(DeviceId, RunId, u64, u64, Fate)>),
    /// A page of the feed.
    Page(FeedPage),
}

/// Who answered the hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The site's name.
    pub site: String,
    /// The gateway's run now.
    pub run: RunId,
    /// The schema version it holds; 0 = none.
    pub schema: u32,
    /// Whether it continues our feed; if not, pull from the beginning and offer
    /// again all that is not durable.
    pub continues: bool,
    /// The gateway's clock, seconds since 1970.
    pub clock_s: u64,
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Greeting.
    Hello,
    /// Learning the schema.
    Schema,
    /// Offering own changes: supply offers, or nothing when there are no more.
    Offers,
    /// Asking what became of them: supply stretches, nothing when all were asked,
    /// or an offer if some are unknown there.
    Fates,
    /// Pulling the feed: supply the cursor.
    Pulls,
}

/// The next question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Supplied {
    /// An encoded batch.
    Offer(Vec<u8>),
    /// Stretches of own changes.
    Fates(Vec<(DeviceId, RunId, u64, u64)>),
    /// A place in the feed.
    Pull(FeedCursor),
    /// No more in this phase.
    Nothing,
}

/// Why a session ended early.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No answer.
    #[error("the gateway did not answer in {tries} tries")]
    Silent {
        /// In which phase.
        phase: Phase,
        /// How often it was asked.
        tries: u32,
    },
    /// It cannot just now.
    #[error("the gateway is busy: {reason}")]
    Busy {
        /// Why, in its words.
        reason: String,
    },
    /// It will not.
    #[error("the gateway refused: {reason}")]
    Refused {
        /// In which phase.
        phase: Phase,
        /// Why, in its words.
        reason: String,
    },
    /// It knows no hello of ours: begin again.
    #[error("the gateway was started anew in mid-session")]
    Forgotten,
    /// It answered what was not asked.
    #[error("the gateway breaks the link's rules: {0}")]
    Breach(String),
}

/// The machine.
#[derive(Debug)]
pub struct Collector {
    timing: Timing,
    held_schema: u32,
    number: u32,
    phase: Phase,
    waiting: Option<Waiting>,
    heard: Option<Heard>,
    over: Option<Result<(), Failure>>,
    schema: Vec<u8>,
    schema_bytes: usize,
    stale: u64,
}

/// The question that stands open.
#[derive(Debug)]
struct Waiting {
    body: AskBody,
    bytes: Vec<u8>,
    tries: u32,
    /// When to send (again).
    send_at_ms: u64,
    /// Bytes that keep coming put off the resend until then, no longer.
    patience_ms: u64,
    /// When a busy gateway has been busy for too long.
    busy_until_ms: Option<u64>,
}

impl Collector {
    /// A session whose questions count from `number`. It must be random: an answer
    /// to a session of a process that died may still be on the line.
    pub fn new(opening: Opening, timing: Timing, number: u32) -> Collector {
        let mut collector = Collector {
            timing,
            held_schema: opening.schema,
            number,
            phase: Phase::Hello,
            waiting: None,
            heard: None,
            over: None,
            schema: Vec::new(),
            schema_bytes: 0,
            stale: 0,
        };
        let Opening { device, label, schema, feed } = opening;
        collector
            .ask(AskBody::Hello { device, label, schema, feed })
            .expect("names are short, so a hello fits a frame");
        collector
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Answers that came to no open question: repeats, or of a session before.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// What to do now. Call it after everything else, until it says `Wait`.
    pub fn turn(&mut self, now_ms: u64) -> Turn {
        if let Some(heard) = self.heard.take() {
            return Turn::Heard(heard);
        }
        match &self.over {
            Some(Ok(())) => return Turn::Done,
            Some(Err(failure)) => return Turn::Failed(failure.clone()),
            None => {}
        }
        let Some(waiting) = &mut self.waiting else {
            return Turn::Supply(self.phase);
        };
        if now_ms < waiting.send_at_ms {
            return Turn::Wait { until_ms: waiting.send_at_ms };
        }
        if waiting.tries == self.timing.tries_max {
            return self.fail(Failure::Silent { phase: self.phase, tries: self.timing.tries_max });
        }
        waiting.tries += 1;
        let line_ms = |bytes: usize| (bytes as u64 * self.timing.byte_us).div_ceil(1000);
        let sent_bytes =
            frame::line_bytes(waiting.bytes.len() + BODY_BYTES_MAX - MESSAGE_BYTES_MAX);
        waiting.send_at_ms = now_ms + self.timing.answer_ms + line_ms(sent_bytes);
        waiting.patience_ms = waiting.send_at_ms + line_ms(STUFFED_BYTES_MAX);
        let doubtful = waiting.tries > 1 || self.phase == Phase::Hello;
        Turn::Send { bytes: waiting.bytes.clone(), doubtful }
    }

    /// Bytes came that are no whole frame yet: the answer may be on its way.
    pub fn stirred(&mut self, now_ms: u64) {
        let answer_ms = self.timing.answer_ms;
        if let Some(waiting) = &mut self.waiting {
            let put_off = (now_ms + answer_ms).min(waiting.patience_ms);
            waiting.send_at_ms = waiting.send_at_ms.max(put_off);
        }
    }

    /// An opened message came. One that is no answer to the open question is counted only.
    pub fn hear(&mut self, bytes: &[u8], now_ms: u64) {
        let Ok(answer) = message::decode::<Answer>(bytes) else {
            self.stale += 1;
            return;
        };
        if answer.number != self.number || self.heard.is_some() || self.over.is_some() {
            self.stale += 1;
            return;
        }
        let Some(waiting) = self.waiting.take() else {
            self.stale += 1;
            return;
        };
        match answer.body {
            AnswerBody::Busy { reason, retry_ms } => {
                self.wait_out(waiting, reason, retry_ms, now_ms)
            }
            AnswerBody::Refused { reason } => {
                self.fail(Failure::Refused { phase: self.phase, reason });
            }
            AnswerBody::NoHello if self.phase != Phase::Hello => {
                self.fail(Failure::Forgotten);
            }
            body => self.answered(waiting.body, body),
        }
    }

    /// The next question of the phase that [`Turn::Supply`] named.
    pub fn supply(&mut self, next: Supplied) -> Result<(), TooLarge> {
        assert!(self.waiting.is_none() && self.heard.is_none(), "one question at a time");
        match (self.phase, next) {
            (Phase::Offers | Phase::Fates, Supplied::Offer(batch)) => {
                self.phase = Phase::Offers;
                self.ask(AskBody::Offer { batch })?;
            }
            (Phase::Offers, Supplied::Nothing) => self.phase = Phase::Fates,
            (Phase::Fates, Supplied::Fates(spans)) => self.ask(AskBody::Fates { spans })?,
            (Phase::Fates, Supplied::Nothing) => self.phase = Phase::Pulls,
            (Phase::Pulls, Supplied::Pull(feed)) => self.ask(AskBody::Pull { feed })?,
            (phase, next) => unreachable!("{next:?} is not supplied in {phase:?}"),
        }
        Ok(())
    }

    fn ask(&mut self, body: AskBody) -> Result<(), TooLarge> {
        let number = self.number.wrapping_add(1);
        let ask = Ask { number, body };
        let bytes = message::encode(&ask);
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(TooLarge(bytes.len()));
        }
        self.number = number;
        self.waiting = Some(Waiting {
            body: ask.body,
            bytes,
            tries: 0,
            send_at_ms: 0,
            patience_ms: 0,
            busy_until_ms: None,
        });
        Ok(())
    }

    fn wait_out(&mut self, mut waiting: Waiting, reason: String, retry_ms: u32, now_ms: u64) {
        let give_up = waiting.busy_until_ms.get_or_insert(now_ms + self.timing.busy_ms_max);
        let again_ms = now_ms + u64::from(retry_ms).clamp(RETRY_MS_MIN, RETRY_MS_MAX);
        if again_ms > *give_up {
            self.fail(Failure::Busy { reason });
            return;
        }
        waiting.tries = 0;
        waiting.send_at_ms = again_ms;
        waiting.patience_ms = again_ms;
        self.waiting = Some(waiting);
    }

    /// The answer proper to the open question leads on; any other is a breach.
    fn answered(&mut self, asked: AskBody, answer: AnswerBody) {
        match (asked, answer) {
            (
                AskBody::Hello { .. },
                AnswerBody::Welcome { site, run, schema, schema_bytes, continues, clock_s },
            ) => {
                self.schema_bytes = schema_bytes as usize;
                if self.schema_bytes > SCHEMA_BYTES_MAX {
                    self.breach(format!("a schema of {schema_bytes} bytes"));
                    return;
                }
                // A gateway may be behind ours; numbers are never reused, so ours serves.
                let newer = schema > self.held_schema && schema_bytes > 0;
                self.phase = if newer { Phase::Schema } else { Phase::Offers };
                if newer {
                    self.ask(AskBody::Schema { offset: 0 }).expect("fits");
                }
                let welcome = Welcome { site, run, schema, continues, clock_s };
                self.heard = Some(Heard::Welcome(welcome));
            }
            (AskBody::Schema { .. }, AnswerBody::Schema { bytes }) => self.schema_piece(&bytes),
            (AskBody::Offer { .. }, AnswerBody::Taken) => self.heard = Some(Heard::Taken),
            (AskBody::Fates { .. }, AnswerBody::Fates { fates }) => {
                self.heard = Some(Heard::Fates(fates));
            }
            (AskBody::Pull { feed }, AnswerBody::Page(page)) => {
                if page.more && page.feed == feed {
                    self.breach(String::from("a page of the feed that leads nowhere"));
                    return;
                }
                if !page.more {
                    self.over = Some(Ok(()));
                }
                self.heard = Some(Heard::Page(page));
            }
            (asked, answer) => self.breach(format!("{} to {}", name(&answer), asked_name(&asked))),
        }
    }

    fn schema_piece(&mut self, bytes: &[u8]) {
        self.schema.extend_from_slice(bytes);
        if self.schema.len() > self.schema_bytes || bytes.is_empty() {
            self.breach(String::from("a schema of another length than it said"));
        } else if self.schema.len() == self.schema_bytes {
            self.phase = Phase::Offers;
            self.heard = Some(Heard::Schema(core::mem::take(&mut self.schema)));
        } else {
            let offset = u32::try_from(self.schema.len()).expect("SCHEMA_BYTES_MAX is below");
            self.ask(AskBody::Schema { offset }).expect("fits");
        }
    }

    fn breach(&mut self, what: String) {
        self.fail(Failure::Breach(what));
    }

    fn fail(&mut self, failure: Failure) -> Turn {
        self.waiting = None;
        self.over = Some(Err(failure.clone()));
        Turn::Failed(failure)
    }
}

fn name(answer: &AnswerBody) -> &'static str {
    match answer {
        AnswerBody::Welcome { .. } => "a welcome",
        AnswerBody::Schema { .. } => "a schema",
        AnswerBody::Taken => "a receipt",
        AnswerBody::Busy { .. } => "busy",
        AnswerBody::Refused { .. } => "a refusal",
        AnswerBody::Fates { .. } => "fates",
        AnswerBody::Page(_) => "a page",
        AnswerBody::NoHello => "no hello",
    }
}

fn asked_name(asked: &AskBody) -> &'static str {
    match asked {
        AskBody::Hello { .. } => "a hello",
        AskBody::Schema { .. } => "a question about the schema",
        AskBody::Offer { .. } => "an offer",
        AskBody::Fates { .. } => "a question about fates",
        AskBody::Pull { .. } => "a pull",
    }
}
