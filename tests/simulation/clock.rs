//! A machine's clock: true time, or anything else.

/// The simulation begins here, seconds since 1970.
pub const BEGIN_S: u64 = 1_800_000_000;

/// How a clock goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Skew {
    #[default]
    True,
    /// It began to count at 1970 when it was switched on, at this time.
    Seventy(u64),
    /// It goes ahead by so many seconds (2099, say), or behind.
    By(i64),
}

impl Skew {
    /// What the clock shows.
    pub fn now_s(self, true_s: u64) -> u64 {
        match self {
            Skew::True => true_s,
            Skew::Seventy(since_s) => true_s - since_s,
            Skew::By(ahead_s) => true_s.saturating_add_signed(ahead_s),
        }
    }
}
