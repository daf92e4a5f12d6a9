//! Stamps: a hybrid logical clock in whole seconds and a counter.
//!
//! Stamps order concurrent changes only; what had been *seen* always comes
//! first (see [`crate::resolve`]), so no clock can win against an edit that
//! had seen it. There is no clock here: the time is an argument.
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{CLOCK_S_MAX, CLOCK_S_MIN, CLOCK_STEP_S, DRIFT_SECONDS_MAX};

/// When a change was made, as far as its device knew. Ties break by dot.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Seconds since 1970.
    pub seconds: u64,
    /// The how-manyth within the second; overflow carries into the seconds.
    pub counter: u16,
}

impl Stamp {
    /// The least stamp after this one.
    pub fn next(self) -> Stamp {
        match self.counter.checked_add(1) {
            Some(counter) => Stamp { counter, ..self },
            None => Stamp { seconds: self.seconds.saturating_add(1), counter: 0 },
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.seconds, self.counter)
    }
}

/// The clock of one device: what it issued last and what it learnt of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Clock {
    /// The greatest stamp issued; stamps of a device only grow.
    pub issued: Stamp,
    /// The latest time known, from peers and as it passed here: a floor for a clock that
    /// lost its time.
    pub learnt_s: u64,
}

impl Clock {
    /// The stamp of a change made now, by a system clock of `now_s` seconds since 1970.
    pub fn issue(&mut self, now_s: u64) -> Stamp {
        self.issue_at(now_s.max(self.learnt_s))
    }

    /// The stamp of a change whose time of entry, in seconds, is stated by its source.
    pub fn issue_at(&mut self, entered_s: u64) -> Stamp {
        let wanted = Stamp { seconds: entered_s, counter: 0 };
        self.issued = if wanted > self.issued { wanted } else { self.issued.next() };
        self.issued
    }

    /// Learn a peer's time, unless it lies beyond the drift bound of our own clock
    /// (then ours or theirs is wrong, and adopting could only spread it).
    pub fn learn(&mut self, peer_s: u64, now_s: u64) {
        if peer_s <= now_s.saturating_add(DRIFT_SECONDS_MAX) {
            self.learnt_s = self.learnt_s.max(peer_s);
        }
    }

    /// Learn the hub's time, also where our own clock is no bound for it: one of 1970, or
    /// one that lies before what is known, by more than the bound, has lost its time.
    pub fn learn_from_hub(&mut self, hub_s: u64, now_s: u64) {
        let behind = now_s.saturating_add(DRIFT_SECONDS_MAX) < self.learnt_s;
        if (is_lost(now_s) || behind) && (CLOCK_S_MIN..=CLOCK_S_MAX).contains(&hub_s) {
            self.learnt_s = self.learnt_s.max(hub_s);
        } else {
            self.learn(hub_s, now_s);
        }
    }

    /// Time passes by our own clock. One that jumps by more than the bound is not followed:
    /// what is known never goes back.
    pub fn pass(&mut self, now_s: u64) {
        let step_s = now_s.saturating_sub(self.learnt_s);
        if (CLOCK_STEP_S..=DRIFT_SECONDS_MAX).contains(&step_s) {
            self.learnt_s = now_s;
        }
    }
}

/// Whether a clock cannot be right: a box without a battery starts in 1970.
pub fn is_lost(now_s: u64) -> bool {
    now_s < CLOCK_S_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_a_device_only_grow() {
        let mut clock = Clock::default();
        let first = clock.issue_at(100);
        let second = clock.issue_at(50);
        let third = clock.issue_at(101);
        assert!(first < second && second < third);
        assert_eq!(third, Stamp { seconds: 101, counter: 0 });
    }

    #[test]
    fn the_counter_carries() {
        let full = Stamp { seconds: 5, counter: u16::MAX };
        assert_eq!(full.next(), Stamp { seconds: 6, counter: 0 });
    }

    #[test]
    fn a_peer_of_2099_is_not_believed() {
        let mut clock = Clock::default();
        clock.learn(4_070_908_800, 1_800_000_000);
        assert_eq!(clock.issue(1_800_000_000).seconds, 1_800_000_000);
    }

    #[test]
    fn a_clock_of_1970_is_lifted_by_what_was_learnt() {
        let mut clock = Clock { learnt_s: 1_800_000_000, ..Clock::default() };
        assert_eq!(clock.issue(12).seconds, 1_800_000_000);
    }

    /// What is known, our clock, what the hub says, what is known then.
    #[test]
    fn what_the_hub_tells_is_learnt_where_our_clock_is_no_bound() {
        const NOW_S: u64 = 1_800_000_000;
        const DAY_S: u64 = 86_400;
        for (learnt_s, now_s, hub_s, then_s) in [
            (0, 12, NOW_S, NOW_S),
            (NOW_S, 12, NOW_S + 90 * DAY_S, NOW_S + 90 * DAY_S),
            (NOW_S, NOW_S - 2 * DAY_S, NOW_S + 5 * DAY_S, NOW_S + 5 * DAY_S),
            (NOW_S, NOW_S, NOW_S + 60, NOW_S + 60),
            (NOW_S, NOW_S, NOW_S + 2 * DAY_S, NOW_S),
            (NOW_S, NOW_S + DAY_S, NOW_S - 5 * DAY_S, NOW_S),
            (0, 12, 4_070_908_800, 0),
            (0, 12, 60, 60),
            (NOW_S, 12, 60, NOW_S),
        ] {
            let mut clock = Clock { learnt_s, ..Clock::default() };
            clock.learn_from_hub(hub_s, now_s);
            assert_eq!(clock.learnt_s, then_s, "{learnt_s} {now_s} {hub_s}");
        }
    }

    #[test]
    fn time_passes_in_steps_and_does_not_jump() {
        let mut clock = Clock { learnt_s: 1_800_000_000, ..Clock::default() };
        for (now_s, then_s) in [
            (1_800_000_599, 1_800_000_000),
            (1_800_000_600, 1_800_000_600),
            (1_800_000_600 + DRIFT_SECONDS_MAX, 1_800_000_600 + DRIFT_SECONDS_MAX),
            (4_070_908_800, 1_800_000_600 + DRIFT_SECONDS_MAX),
            (12, 1_800_000_600 + DRIFT_SECONDS_MAX),
        ] {
            clock.pass(now_s);
            assert_eq!(clock.learnt_s, then_s, "{now_s}");
        }
    }
}
