//! Every deadline of the link to the hub, in one place.
//!
//! All of them follow from one configured number, so that somebody with a slow
//! satellite link turns one knob. Its range is such that a half-open link (one
//! that swallows everything and closes nothing) is noticed within
//! [`HALF_OPEN_MAX`] whenever there is something to send.
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A link that answers nothing is given up within this, if something is to be sent.
pub const HALF_OPEN_MAX: Duration = Duration::from_secs(90);
/// Questions without an answer before the connection is given up.
pub const UNANSWERED_MAX: u32 = 3;
/// Changes that arrive together should travel together: a round begins this
/// long after the first of them.
pub const GATHER: Duration = Duration::from_millis(200);
/// `sync.deadline_ms` may be this at least: below it a busy broker looks dead.
pub const DEADLINE_MS_MIN: u64 = 100;
/// `sync.deadline_ms` may be this at most: above it a half-open link would be
/// noticed later than [`HALF_OPEN_MAX`].
pub const DEADLINE_MS_MAX: u64 = 12_000;
/// A probe after a change of links or routes waits this long at most.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// The wait for a ping's answer on an idle link is so many deadlines.
const PING_DEADLINES: u32 = 2;

/// How long each phase may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Finding the broker's address.
    pub resolve: Duration,
    /// Connecting by TCP, to all its addresses together.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// MQTT: until CONNACK.
    pub connack: Duration,
    /// MQTT: until SUBACK.
    pub suback: Duration,
    /// Handing over what is to be sent, and each stretch of bytes into the socket.
    pub send: Duration,
    /// The first answer to a question; each further one twice as long.
    pub answer: Duration,
    /// The answer to a ping on an idle link.
    pub ping: Duration,
    /// The answer to a probe, after links or routes have changed.
    pub probe: Duration,
}

impl Deadlines {
    /// All deadlines from the configured one.
    pub fn of(deadline_ms: u64) -> Deadlines {
        let one = Duration::from_millis(deadline_ms.clamp(DEADLINE_MS_MIN, DEADLINE_MS_MAX));
        Deadlines {
            resolve: one,
            connect: one,
            tls: one,
            connack: one,
            suback: one,
            send: one,
            answer: one,
            ping: one * PING_DEADLINES,
            probe: one.min(PROBE_MAX),
        }
    }

    /// How long the answer to a question may take that was asked so often before.
    pub fn answer_after(&self, unanswered: u32) -> Duration {
        self.answer * (1 << unanswered.min(UNANSWERED_MAX))
    }

    /// From a change to the end of a connection on which nothing comes back.
    /// What is handed over within `send` counts from the question, not on top.
    pub fn half_open_worst(&self) -> Duration {
        let questions: Duration = (0..UNANSWERED_MAX).map(|asked| self.answer_after(asked)).sum();
        GATHER + questions.max(self.send)
    }
}

/// Waits until then; for ever if there is no then.
pub async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_open_link_is_noticed_in_time_whatever_is_configured() {
        for deadline_ms in [0, DEADLINE_MS_MIN, 1_000, 10_000, DEADLINE_MS_MAX, u64::MAX] {
            let deadlines = Deadlines::of(deadline_ms);
            let worst = deadlines.half_open_worst();
            assert!(worst < HALF_OPEN_MAX, "{deadline_ms} ms: noticed after {worst:?}");
            // A socket that takes no bytes ends it as well, and not later.
            assert!(deadlines.send <= deadlines.answer, "{deadlines:?}");
            assert!(deadlines.ping < HALF_OPEN_MAX && deadlines.probe <= PROBE_MAX);
        }
        // The bound is tight: a second more would break the promise.
        let seven = Duration::from_millis(DEADLINE_MS_MAX + 1_000) * 7;
        assert!(seven > HALF_OPEN_MAX);
    }

    #[test]
    fn waits_double_and_stop_doubling() {
        let deadlines = Deadlines::of(1_000);
        let waits: Vec<u64> = (0..6).map(|asked| deadlines.answer_after(asked).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 8, 8]);
    }
}
