//! How fast a peer may go: rates with a burst, and the rest a peer must take.
//!
//! Time is an argument and nothing here sleeps or counts for people; the session
//! does. A rate is kept as one instant, the one at which everything that was
//! spent will have been earned (the generic cell rate algorithm), so that a
//! bucket costs no timer and no memory.
use std::time::Duration;

use tokio::time::Instant;

/// Bytes that were no answered question, read at once from a line that was good
/// before: a few frames of the largest size, torn.
pub const GARBAGE_BURST_BYTES: u64 = 256 * 1024;
/// Such bytes a second, for good: twice what 115200 baud can carry.
pub const GARBAGE_BYTES_S: u64 = 24 * 1024;
/// A babbling peer is not read for so long; the kernel's buffer bounds what waits.
/// Short, because nobody hears that the port is unplugged meanwhile.
pub const BABBLE_REST: Duration = Duration::from_secs(1);
/// Questions of one session at once, and a second.
pub const QUESTIONS_BURST: u64 = 400;
/// See [`QUESTIONS_BURST`].
pub const QUESTIONS_S: u64 = 200;
/// Bytes of one session at once, and a second.
pub const BYTES_BURST: u64 = 4 * 1024 * 1024;
/// See [`BYTES_BURST`].
pub const BYTES_S: u64 = 2 * 1024 * 1024;
/// A peer that is slowed rests so long at once, at most.
pub const SLOW_REST_MAX: Duration = Duration::from_secs(1);
/// Beyond its body a frame has a checksum, a terminator or two, and one byte of
/// stuffing for each so many.
const FRAME_EXTRA_BYTES: u64 = 8;
const STUFFING_INTERVAL_BYTES: u64 = 254;

/// A rate with a burst.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    burst: u64,
    per_s: u64,
    /// When all that was spent will have been earned.
    even_at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(burst: u64, per_s: u64, now: Instant) -> Bucket {
        Bucket { burst, per_s: per_s.max(1), even_at: now }
    }

    /// Spend so much, whether it is there or not.
    pub fn spend(&mut self, amount: u64, now: Instant) {
        self.even_at = self.even_at.max(now) + self.time(amount);
    }

    /// Give so much back.
    pub fn refund(&mut self, amount: u64, now: Instant) {
        self.even_at = self.even_at.checked_sub(self.time(amount)).map_or(now, |at| at.max(now));
    }

    /// How long until it owes nothing.
    pub fn debt(&self, now: Instant) -> Duration {
        let ahead = self.even_at.saturating_duration_since(now);
        ahead.saturating_sub(self.time(self.burst))
    }

    /// Spend one if that leaves no debt.
    pub fn take(&mut self, now: Instant) -> bool {
        let mut after = *self;
        after.spend(1, now);
        let taken = after.debt(now).is_zero();
        if taken {
            *self = after;
        }
        taken
    }

    /// Whether nothing is missing from it.
    pub fn is_full(&self, now: Instant) -> bool {
        self.even_at <= now
    }

    fn time(&self, amount: u64) -> Duration {
        Duration::from_nanos(amount.saturating_mul(1_000_000_000) / self.per_s)
    }
}

/// A rest that a peer must take before it is read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// It sends mostly what is no question.
    Babbling(Duration),
    /// It asks faster than its share.
    Slowed(Duration),
}

/// The pace of one session.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Every byte, until a question pays back its own.
    garbage: Bucket,
    bytes: Bucket,
    questions: Bucket,
}

impl Pace {
    /// Of a session that begins.
    pub fn new(now: Instant) -> Pace {
        Pace {
            garbage: Bucket::new(GARBAGE_BURST_BYTES, GARBAGE_BYTES_S, now),
            bytes: Bucket::new(BYTES_BURST, BYTES_S, now),
            questions: Bucket::new(QUESTIONS_BURST, QUESTIONS_S, now),
        }
    }

    /// Bytes came.
    pub fn read(&mut self, bytes: usize, now: Instant) {
        self.garbage.spend(bytes as u64, now);
        self.bytes.spend(bytes as u64, now);
    }

    /// A body of so many bytes was a question that gets an answer.
    pub fn question(&mut self, body_bytes: usize, now: Instant) {
        let body_bytes = body_bytes as u64;
        let extra = FRAME_EXTRA_BYTES + body_bytes / STUFFING_INTERVAL_BYTES;
        self.garbage.refund(body_bytes + extra, now);
        self.questions.spend(1, now);
    }

    /// The rest that is due before the next read.
    pub fn rest(&self, now: Instant) -> Option<Rest> {
        if !self.garbage.debt(now).is_zero() {
            return Some(Rest::Babbling(BABBLE_REST));
        }
        let debt = self.bytes.debt(now).max(self.questions.debt(now));
        (!debt.is_zero()).then(|| Rest::Slowed(debt.min(SLOW_REST_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 2, start);
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 10);
        let later = start + Duration::from_secs(3);
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 6);
        assert!(!bucket.is_full(later));
        let much_later = start + Duration::from_secs(600);
        assert!(bucket.is_full(much_later));
        assert_eq!((0..50).filter(|_| bucket.take(much_later)).count(), 10, "no more than a burst");
    }

    #[test]
    fn debt_is_what_was_overspent_and_a_refund_pays_it() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 2, start);
        bucket.spend(14, start);
        assert_eq!(bucket.debt(start), Duration::from_secs(2));
        bucket.refund(4, start);
        assert_eq!(bucket.debt(start), Duration::ZERO);
        bucket.refund(u64::MAX, start);
        assert!(bucket.is_full(start));
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 10, "a refund adds no burst");
        bucket.spend(u64::MAX / 2, start);
        assert!(bucket.debt(start) > Duration::ZERO);
    }

    #[test]
    fn a_diligent_handheld_never_rests_and_others_do() {
        let start = Instant::now();
        let mut diligent = Pace::new(start);
        for at in 0..60_000 {
            // A hundred offers a second of nine kilobytes each.
            let now = start + Duration::from_millis(10 * at);
            diligent.read(9_000, now);
            diligent.question(8_950, now);
            assert_eq!(diligent.rest(now), None);
        }
        let mut babbling = Pace::new(start);
        babbling.read(GARBAGE_BURST_BYTES as usize, start);
        assert_eq!(babbling.rest(start), None);
        babbling.read(100, start);
        assert_eq!(babbling.rest(start), Some(Rest::Babbling(BABBLE_REST)));
        let mut greedy = Pace::new(start);
        for _ in 0..=QUESTIONS_BURST {
            greedy.read(60, start);
            greedy.question(52, start);
        }
        assert_eq!(greedy.rest(start), Some(Rest::Slowed(Duration::from_millis(5))));
    }
}
