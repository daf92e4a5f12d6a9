//! How long a link may be silent before its carrier forgets it: learned by trying.
//!
//! Carriers drop idle connections without a word, some after five minutes and some after
//! an hour. Each silence that an answer ends says that so much is well; each that nothing
//! ends says that so much is too long. Between the two it is halved, and what was too long
//! once is tried again after a while: each time that fails the while gets longer.

/// Silences survived before what was too long is tried again, at first.
const PATIENCE: u32 = 32;
/// The same, at most: a month of pings 20 minutes apart is some 2,000.
const PATIENCE_MAX: u32 = 2_048;
/// Between what is well and what is too long, this part of it is not worth a lost link.
const NEAR_PART: u32 = 8;

/// What has been learned of one carrier. Times are seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    least_s: u32,
    greatest_s: u32,
    interval_s: u32,
    /// The longest silence that was survived, since one was not.
    well_s: u32,
    /// The shortest that was not.
    too_long_s: Option<u32>,
    /// Silences survived since then.
    survived: u32,
    patience: u32,
    /// Whether the last silence was too long though one like it was well before.
    doubted: bool,
}

impl KeepAlive {
    /// Of a carrier that nothing is known of: begins with the least interval. A greatest
    /// below the least counts as the least: nothing is tried.
    pub fn new(least_s: u32, greatest_s: u32) -> KeepAlive {
        let least_s = least_s.max(1);
        KeepAlive {
            least_s,
            greatest_s: greatest_s.max(least_s),
            interval_s: least_s,
            well_s: 0,
            too_long_s: None,
            survived: 0,
            patience: PATIENCE,
            doubted: false,
        }
    }

    /// How long to be silent before a ping.
    pub fn interval_s(&self) -> u32 {
        self.interval_s
    }

    /// Whether longer silences are known to end the connection: there is no more to learn
    /// for now.
    pub fn is_settled(&self) -> bool {
        self.interval_s == self.greatest_s || self.too_long_s.is_some_and(|long| self.is_near(long))
    }

    /// An answer came behind so long a silence.
    pub fn survived(&mut self, silent_s: u32) {
        self.well_s = self.well_s.max(silent_s.min(self.greatest_s));
        if silent_s < self.interval_s {
            return;
        }
        self.doubted = false;
        self.survived = self.survived.saturating_add(1);
        if self.too_long_s.is_some_and(|long| long <= self.well_s) || self.survived >= self.patience
        {
            self.too_long_s = None;
            self.survived = 0;
        }
        let next = match self.too_long_s {
            Some(long) if self.is_near(long) => self.interval_s,
            Some(long) => self.well_s + (long - self.well_s) / 2,
            None => self.well_s.saturating_mul(2),
        };
        self.interval_s = next.clamp(self.interval_s, self.greatest_s);
    }

    /// Nothing came any more behind so long a silence. A short one says nothing about the
    /// carrier's patience.
    pub fn died(&mut self, silent_s: u32) {
        if silent_s < self.least_s {
            return;
        }
        if silent_s <= self.well_s {
            // A link that was gone for another reason; or, twice in a row, another carrier.
            self.doubted = !self.doubted;
            if self.doubted {
                return;
            }
            self.well_s = (silent_s / 2).max(self.least_s);
        }
        if self.too_long_s.is_none() {
            self.patience = self.patience.saturating_mul(2).min(PATIENCE_MAX);
        }
        self.too_long_s = Some(self.too_long_s.map_or(silent_s, |long| long.min(silent_s)));
        self.survived = 0;
        self.interval_s = self.well_s.clamp(self.least_s, self.greatest_s);
    }

    fn is_near(&self, too_long_s: u32) -> bool {
        too_long_s.saturating_sub(self.well_s) <= self.well_s / NEAR_PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A carrier that forgets after so long; returns what was tried, and how often it forgot.
    fn play(keep: &mut KeepAlive, forgets_s: u32, pings: usize) -> usize {
        let mut deaths = 0;
        for _ in 0..pings {
            let silent = keep.interval_s();
            if silent < forgets_s {
                keep.survived(silent);
            } else {
                keep.died(silent);
                deaths += 1;
            }
        }
        deaths
    }

    #[test]
    fn it_finds_what_each_carrier_bears() {
        for forgets_s in [61, 100, 240, 300, 310, 600, 901, 1_100] {
            let mut keep = KeepAlive::new(60, 1_200);
            let deaths = play(&mut keep, forgets_s, 25);
            assert!(keep.is_settled(), "{forgets_s}: {keep:?}");
            let found = keep.interval_s();
            assert!(found < forgets_s && found * 5 >= forgets_s * 4 || found == 60, "{keep:?}");
            assert!(deaths <= 5, "{forgets_s}: {deaths} lost links");
            // And it is left alone after that, but for a try now and then.
            let deaths = play(&mut keep, forgets_s, 2_000);
            assert!(deaths <= 30, "{forgets_s}: {deaths} lost links in 2,000 pings");
        }
    }

    #[test]
    fn a_patient_carrier_is_pinged_seldom_from_the_first_hour_on() {
        let mut keep = KeepAlive::new(60, 1_200);
        let mut tried = [0; 6];
        for interval in &mut tried {
            *interval = keep.interval_s();
            keep.survived(*interval);
        }
        assert_eq!(tried, [60, 120, 240, 480, 960, 1_200]);
        assert!(keep.is_settled());
    }

    #[test]
    fn a_carrier_that_gets_impatient_is_followed_and_so_is_one_that_gets_patient() {
        let mut keep = KeepAlive::new(60, 1_200);
        play(&mut keep, 2_000, 10);
        assert_eq!(keep.interval_s(), 1_200);
        play(&mut keep, 250, 15);
        assert!((180..250).contains(&keep.interval_s()), "{keep:?}");
        play(&mut keep, 2_000, 200);
        assert_eq!(keep.interval_s(), 1_200, "{keep:?}");
    }

    #[test]
    fn links_that_are_lost_now_and_then_teach_nothing() {
        let mut keep = KeepAlive::new(60, 1_200);
        play(&mut keep, 2_000, 10);
        for _ in 0..100 {
            play(&mut keep, 0, 1);
            play(&mut keep, 2_000, 1);
        }
        assert_eq!(keep.interval_s(), 1_200, "{keep:?}");
    }

    #[test]
    fn what_ends_at_once_says_nothing_of_the_carrier() {
        let mut keep = KeepAlive::new(60, 1_200);
        play(&mut keep, 2_000, 3);
        let before = keep.clone();
        keep.died(5);
        keep.survived(5);
        assert_eq!(keep, before);
    }

    #[test]
    fn no_numbers_break_it() {
        for (least, greatest) in [(0, 0), (60, 10), (u32::MAX, u32::MAX), (1, u32::MAX)] {
            let mut keep = KeepAlive::new(least, greatest);
            for silent in [0, 1, 59, 60, u32::MAX, 7, u32::MAX - 1, 60] {
                keep.survived(silent);
                keep.died(silent);
                keep.died(silent);
                assert!(keep.interval_s() >= least.max(1));
                assert!(keep.interval_s() <= greatest.max(least).max(1));
            }
        }
    }
}
