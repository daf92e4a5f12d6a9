//! What a session waits for, and how an attempt to connect is paced: times as
//! data, asked with the time of now. Must not do I/O or sleep.
use std::time::Duration;

use tokio::time::Instant;
use wadi_protocol::backoff;

use super::frugal::COUNT_EVERY;
use crate::patience::{GATHER, HALF_OPEN_MAX};

/// Attempts that links which come up may cause in a row, beside the timer's.
pub const LINK_ATTEMPTS_MAX: u32 = 5;
/// One more such attempt is allowed after each of these: a flapping interface
/// costs no more than that.
pub const LINK_ATTEMPT_EVERY: Duration = Duration::from_secs(20);
/// An attempt or a connection that fails so soon after a link came up is made anew
/// at once: it may have begun on the link that was there before.
const LINK_FRESH: Duration = HALF_OPEN_MAX;
/// Probes after changes of links are so far apart at least.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How long to stay behind a round with urgent changes, while nothing else may go: to come
/// back costs a connection, and to stay so long not even a ping.
const LINGER: Duration = Duration::from_secs(50);
/// The hub's news begin a round this often at most.
const NEWS_EVERY: Duration = Duration::from_secs(1);

/// What a session on one connection is waiting for.
pub struct Waits {
    /// When the question that is open is asked again.
    pub ask_again: Option<Instant>,
    /// Questions in a row without an answer.
    pub unanswered: u32,
    /// When a round that only asks for news begins.
    pub interval: Instant,
    /// When a round for gathered changes begins.
    pub gather: Option<Instant>,
    /// A round was wished for while one was open.
    pub again: bool,
    /// The request to sync that the round now open meets.
    pub meets: u64,
    /// Refusals in a row.
    pub refusals: u32,
    /// Nothing begins by itself before this time: somebody has to act first.
    pub calm_until: Option<Instant>,
    /// Messages in a row that were of no use.
    pub useless: u32,
    /// When to find out whether the connection is still alive.
    pub probe: Option<Instant>,
    /// When news may begin a round again.
    news_at: Instant,
    /// When a probe may be sent again.
    probe_at: Instant,
    /// The last round was about urgent changes only, for the budgets' sake.
    pub frugal: bool,
    /// When to leave the link after such a round.
    pub linger: Option<Instant>,
    /// When to look at the budgets.
    pub count: Instant,
}

impl Waits {
    /// At the beginning of a connection.
    pub fn new(interval: Duration, meets: u64) -> Waits {
        let now = Instant::now();
        Waits {
            ask_again: None,
            unanswered: 0,
            interval: now + interval,
            gather: None,
            again: false,
            meets,
            refusals: 0,
            calm_until: None,
            useless: 0,
            probe: None,
            news_at: now,
            probe_at: now,
            frugal: false,
            linger: None,
            count: now + COUNT_EVERY,
        }
    }

    /// Changes have come: gather a moment.
    pub fn changes_came(&mut self) {
        let soon = Instant::now() + GATHER;
        self.gather.get_or_insert(self.calm_until.map_or(soon, |calm| calm.max(soon)));
    }

    /// The hub has news.
    pub fn news_came(&mut self) {
        let at = Instant::now().max(self.news_at);
        self.news_at = at + NEWS_EVERY;
        self.gather.get_or_insert(at);
    }

    /// A person wants a sync. What the hub refused calmly waits for its next attempt;
    /// whoever asks is to hear at once what it says now.
    pub fn person_asks(&mut self) {
        let now = Instant::now();
        self.gather = Some(now);
        if self.refusals > 0 {
            self.ask_again = self.ask_again.map(|_| now);
        }
    }

    /// Only what is urgent may go, and nothing of that waits.
    pub fn lingers(&mut self) {
        self.linger.get_or_insert(Instant::now() + LINGER);
    }

    /// Links or routes have changed: the connection may be dead.
    pub fn links_changed(&mut self) {
        self.probe.get_or_insert(Instant::now().max(self.probe_at));
    }

    /// A probe is sent.
    pub fn probed(&mut self) {
        self.probe = None;
        self.probe_at = Instant::now() + PROBE_EVERY;
    }
}

/// When to try to connect: exponential, with jitter; at once when a link comes up,
/// but not for every twitch of it.
pub struct Pace {
    min_ms: u64,
    max_ms: u64,
    wait_ms: u64,
    /// Attempts that a link which comes up may still cause.
    allowance: u32,
    /// When the allowance grows next.
    grows_at: Instant,
    /// When a link came up last, unless it has proved itself since.
    came_up: Option<Instant>,
}

impl Pace {
    /// With the least and the greatest wait.
    pub fn new(min_ms: u64, max_ms: u64) -> Pace {
        let (allowance, grows_at) = (LINK_ATTEMPTS_MAX, Instant::now() + LINK_ATTEMPT_EVERY);
        Pace { min_ms, max_ms, wait_ms: 0, allowance, grows_at, came_up: None }
    }

    /// An attempt or a connection failed: when to try next. `progressed` if an
    /// answer of the hub had come: the wait starts small again.
    pub fn failed(&mut self, progressed: bool, random: u64, now: Instant) -> Instant {
        if progressed {
            self.wait_ms = 0;
        }
        self.wait_ms = backoff::next_ms(self.wait_ms, self.min_ms, self.max_ms, random);
        let timer = now + Duration::from_millis(self.wait_ms);
        // The link came up while the old connection was dying: that one has had
        // its attempt, the new one has not.
        match self.came_up.take() {
            Some(when) if now.duration_since(when) < LINK_FRESH => {
                timer.min(self.link_came_up(now))
            }
            _ => timer,
        }
    }

    /// A link came up while no connection was there: forget the waits and say when to
    /// try. To be asked once an attempt.
    pub fn link_came_up(&mut self, now: Instant) -> Instant {
        self.wait_ms = 0;
        while self.allowance < LINK_ATTEMPTS_MAX && self.grows_at <= now {
            self.allowance += 1;
            self.grows_at += LINK_ATTEMPT_EVERY;
        }
        if self.allowance == LINK_ATTEMPTS_MAX {
            self.grows_at = now + LINK_ATTEMPT_EVERY;
        }
        if self.allowance == 0 {
            // The next one is spoken for.
            let allowed = self.grows_at;
            self.grows_at += LINK_ATTEMPT_EVERY;
            return allowed;
        }
        self.allowance -= 1;
        now
    }

    /// A link came up while there is an attempt or a connection, which may be on
    /// another one.
    pub fn link_came_up_meanwhile(&mut self, now: Instant) {
        self.came_up = Some(now);
    }

    /// An answer of the hub came: whatever happened to the links, this one works.
    pub fn works(&mut self) {
        self.came_up = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn a_link_that_comes_up_ends_the_wait_and_a_flapping_one_is_held_back() {
        let mut pace = Pace::new(HOUR_MS, HOUR_MS);
        let start = Instant::now();
        assert_eq!(pace.failed(false, 0, start), start + Duration::from_millis(HOUR_MS));
        // Up and down twice a second, for an hour.
        let mut attempts = Vec::new();
        let mut next = None;
        for half_second in 0..7_200u32 {
            let now = start + Duration::from_millis(500) * half_second;
            if next.is_some_and(|next| next <= now) {
                attempts.push(now);
                next = None;
            }
            // While an attempt is due already no other is asked for.
            if next.is_none() {
                next = Some(pace.link_came_up(now));
            }
        }
        assert!(attempts[0] < start + Duration::from_secs(1), "at once");
        let most = LINK_ATTEMPTS_MAX as u64 + 3_600 / LINK_ATTEMPT_EVERY.as_secs() + 1;
        assert!(attempts.len() as u64 <= most, "{} attempts in an hour", attempts.len());
        assert!(attempts.len() as u64 > most / 2, "{} attempts in an hour", attempts.len());
    }

    #[test]
    fn a_calm_link_gets_its_allowance_back() {
        let mut pace = Pace::new(HOUR_MS, HOUR_MS);
        let now = Instant::now();
        for _ in 0..LINK_ATTEMPTS_MAX {
            assert_eq!(pace.link_came_up(now), now);
        }
        assert!(pace.link_came_up(now) > now);
        let later = now + LINK_ATTEMPT_EVERY * (LINK_ATTEMPTS_MAX + 1);
        for _ in 0..LINK_ATTEMPTS_MAX {
            assert_eq!(pace.link_came_up(later), later);
        }
        assert!(pace.link_came_up(later) > later);
    }

    #[test]
    fn waits_reset_only_after_an_answer() {
        let (mut pace, now) = (Pace::new(1_000, 64_000), Instant::now());
        // The longest wait each time.
        let mut wait = |progressed| (pace.failed(progressed, 0, now) - now).as_millis();
        assert!((0..20).all(|_| wait(false) >= 1_000));
        let mut pace = Pace::new(1_000, 64_000);
        let mut top = 3_000;
        for _ in 0..6 {
            let wait = (pace.failed(false, top - 1_000, now) - now).as_millis() as u64;
            assert_eq!(wait, top.min(64_000));
            top = wait * 3;
            top = top.min(64_000);
        }
        let after = (pace.failed(true, 0, now) - now).as_millis();
        assert_eq!(after, 1_000, "after an answer it starts small");
    }

    #[test]
    fn a_connection_that_dies_of_a_change_of_links_is_made_anew_at_once() {
        let (mut pace, now) = (Pace::new(HOUR_MS, HOUR_MS), Instant::now());
        pace.link_came_up_meanwhile(now);
        assert_eq!(pace.failed(true, 0, now), now);
        // Once: if that fails too, the timer counts.
        assert!(pace.failed(false, 0, now) > now);
        pace.link_came_up_meanwhile(now);
        pace.works();
        assert!(pace.failed(true, 0, now) > now, "it had proved itself since");
    }
}
