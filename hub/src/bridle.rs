//! How often one kind of line may go to the log: a flood of equal lines would
//! wear the card and hide the others.
//!
//! Each place that a peer, or a fault that lasts, can make speak again and again
//! has a bridle of its own. The next line that may go tells in `unlogged` how
//! many were spared before it. The same at gateway and hub, word for word.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind in one window, at most.
pub const LINES_MAX: u32 = 20;
/// How long a window lasts.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The bridle of one kind of line.
#[derive(Debug, Default)]
pub struct Bridle(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    /// When the window began; none before the first line.
    since: Option<Instant>,
    lines: u32,
    unlogged: u64,
}

impl Bridle {
    /// Whether a line may go now; how many were spared before it.
    pub fn may_log(&self) -> Option<u64> {
        self.may_log_at(Instant::now())
    }

    fn may_log_at(&self, now: Instant) -> Option<u64> {
        // A thread that panicked in mid-count leaves counts that are still counts.
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            spent.since = Some(now);
            spent.lines = 0;
        }
        if spent.lines == LINES_MAX {
            spent.unlogged += 1;
            return None;
        }
        spent.lines += 1;
        Some(std::mem::take(&mut spent.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_few_lines_and_the_next_one_counts_the_rest() {
        let (bridle, now) = (Bridle::default(), Instant::now());
        let lines = (0..10_000).filter(|_| bridle.may_log_at(now) == Some(0)).count();
        assert_eq!(lines, LINES_MAX as usize);
        assert_eq!(bridle.may_log_at(now + WINDOW / 2), None);
        assert_eq!(bridle.may_log_at(now + WINDOW), Some(10_001 - u64::from(LINES_MAX)));
        assert_eq!(bridle.may_log_at(now + WINDOW), Some(0));
    }
}
