//! How much may be sent: a plain function of what was spent and of the time.
//!
//! A budget has a part that is reserved for what is urgent. Once the rest is spent only
//! urgent tables go, and once all of it is spent nothing goes, until the day or the month
//! of the contract begins anew. Outside of cheap hours, where there are such, only what is
//! urgent goes either.
use std::fmt;
use std::ops::Range;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::words;

/// A round that begins may take this, both ways and with what carries it: none begins where
/// that would pass the cap.
const ROUND_BYTES: u64 = 48 * 1024;
/// The same of one with urgent changes only, and of a connection made for it.
const URGENT_ROUND_BYTES: u64 = 12 * 1024;

/// What a site may spend. Bytes of IP both ways together.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// In one day.
    pub day: Option<u64>,
    /// From one such day of the month to the next.
    pub month: Option<u64>,
    /// The day of the month, 1 to 28, on which the contract's month begins.
    pub begins: i8,
    /// Of each budget, percent that only urgent tables may use.
    pub reserve_percent: u8,
    /// From when to when what is not urgent may go, by the site's clock.
    pub cheap: Option<(Time, Time)>,
    /// Bytes of cheap hours count for no budget.
    pub cheap_free: bool,
    /// Where the site is.
    pub zone: TimeZone,
}

impl Default for Allowance {
    /// Everything may be sent.
    fn default() -> Allowance {
        Allowance {
            day: None,
            month: None,
            begins: 1,
            reserve_percent: 0,
            cheap: None,
            cheap_free: false,
            zone: TimeZone::UTC,
        }
    }
}

/// A stretch of time, and the days that it is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// Days since 1970-01-01, by the site's calendar.
    pub days: Range<i64>,
    /// When the next one begins, seconds since 1970.
    pub ends_s: u64,
}

/// What the calendar says of a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Today.
    pub day: Window,
    /// The month of the contract.
    pub month: Window,
    /// Whether it is a cheap hour.
    pub cheap: bool,
    /// When the next cheap hours begin; 0 = there are none.
    pub cheap_at_s: u64,
}

/// What was spent, as far as it counts for a budget.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    /// Today.
    pub day: u64,
    /// In the month of the contract.
    pub month: u64,
}

/// What holds changes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The day's budget is spent.
    Day,
    /// The month's budget is spent.
    Month,
    /// Cheap hours are awaited.
    CheapHours,
}

/// What may be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Gate {
    /// Everything.
    #[default]
    Open,
    /// What is urgent; the rest from that time on, seconds since 1970.
    Urgent(Why, u64),
    /// Nothing, until then.
    Shut(Why, u64),
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, until_s, what) = match *self {
            Gate::Open => return f.write_str("everything may be sent"),
            Gate::Urgent(why, until_s) => (why, until_s, "what is not urgent waits"),
            Gate::Shut(why, until_s) => (why, until_s, "everything waits"),
        };
        let why = match why {
            Why::Day => "the day's budget of data is spent",
            Why::Month => "the month's budget of data is spent",
            Why::CheapHours => "it is no cheap hour",
        };
        write!(f, "{why}: {what} until {}", words::time(until_s))
    }
}

impl Allowance {
    /// Whether anything is ever held back.
    pub fn is_limited(&self) -> bool {
        self.day.is_some() || self.month.is_some() || self.cheap.is_some()
    }

    /// What the calendar says of a time, seconds since 1970.
    pub fn moment(&self, now_s: u64) -> Moment {
        let now = self.zoned(now_s);
        let today = now.date();
        let month = self.month_of(today);
        let day =
            Window { days: number(today)..number(next(today)), ends_s: self.begin(next(today)) };
        let after = add(month, Span::new().months(1));
        let month = Window { days: number(month)..number(after), ends_s: self.begin(after) };
        let (cheap, cheap_at_s) = match self.cheap {
            None => (false, 0),
            Some((from, to)) => {
                let time = now.time();
                let within =
                    if from <= to { from <= time && time < to } else { time >= from || time < to };
                let date = if time < from { today } else { next(today) };
                (within, self.second(date, from))
            }
        };
        Moment { day, month, cheap, cheap_at_s }
    }

    /// What may be sent at a time when so much was spent.
    pub fn gate(&self, at: &Moment, spent: Sums) -> Gate {
        if at.cheap && self.cheap_free {
            return Gate::Open;
        }
        let budgets = [
            (Why::Month, self.month, spent.month, at.month.ends_s),
            (Why::Day, self.day, spent.day, at.day.ends_s),
        ];
        let (mut urgent, mut shut) = (None, None);
        for (why, budget, spent, ends_s) in budgets {
            let Some(budget) = budget else { continue };
            // Hours that cost nothing end the wait for a new day.
            let ends_s = match self.cheap {
                Some(_) if self.cheap_free => ends_s.min(at.cheap_at_s),
                _ => ends_s,
            };
            let free = budget - budget / 100 * u64::from(self.reserve_percent);
            if spent.saturating_add(URGENT_ROUND_BYTES) > budget {
                shut = later(shut, (why, ends_s));
            }
            if spent >= free || spent.saturating_add(ROUND_BYTES) > budget {
                urgent = later(urgent, (why, ends_s));
            }
        }
        if self.cheap.is_some() && !at.cheap {
            urgent = later(urgent, (Why::CheapHours, at.cheap_at_s));
        }
        match (shut, urgent) {
            (Some((why, until_s)), _) => Gate::Shut(why, until_s),
            (None, Some((why, until_s))) => Gate::Urgent(why, until_s),
            (None, None) => Gate::Open,
        }
    }

    fn zoned(&self, now_s: u64) -> Zoned {
        let at = i64::try_from(now_s).ok().and_then(|s| Timestamp::from_second(s).ok());
        at.unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone())
    }

    /// The first day of the contract's month.
    fn month_of(&self, today: Date) -> Date {
        let first = today.with().day(self.begins.clamp(1, 28)).build().unwrap_or(today);
        if first <= today { first } else { add(first, Span::new().months(-1)) }
    }

    fn begin(&self, date: Date) -> u64 {
        self.second(date, Time::midnight())
    }

    /// A time of the site's clock in seconds since 1970.
    fn second(&self, date: Date, time: Time) -> u64 {
        let at = date.to_datetime(time).to_zoned(self.zone.clone());
        at.map_or(u64::MAX, |at| at.timestamp().as_second().max(0).cast_unsigned())
    }
}

/// Of two that hold back, the one that does so longer.
fn later(held: Option<(Why, u64)>, other: (Why, u64)) -> Option<(Why, u64)> {
    match held {
        Some(held) if held.1 >= other.1 => Some(held),
        _ => Some(other),
    }
}

/// The calendar ends in the year 9999.
fn add(date: Date, span: Span) -> Date {
    date.checked_add(span).unwrap_or(Date::MAX)
}

fn next(date: Date) -> Date {
    add(date, Span::new().days(1))
}

/// Days since 1970-01-01.
fn number(date: Date) -> i64 {
    let at = date.to_zoned(TimeZone::UTC);
    at.map_or(i64::MAX, |at| at.timestamp().as_second().div_euclid(86_400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    const DAY_S: u64 = 86_400;
    /// 2026-11-23 00:00 UTC.
    const MONDAY_S: u64 = 1_795_392_000;
    const MB: u64 = 1_000_000;

    fn gate(allowance: &Allowance, now_s: u64, day: u64, month: u64) -> Gate {
        allowance.gate(&allowance.moment(now_s), Sums { day, month })
    }

    #[test]
    fn the_calendar_of_the_contract() {
        let allowance = Allowance { begins: 15, ..Allowance::default() };
        let at = allowance.moment(MONDAY_S + 3_600);
        assert_eq!(at.day.ends_s, MONDAY_S + DAY_S);
        assert_eq!(at.day.days, (MONDAY_S / DAY_S) as i64..(MONDAY_S / DAY_S) as i64 + 1);
        assert_eq!(at.month.days.end - at.month.days.start, 30, "from the 15th to the 15th");
        assert_eq!(at.month.ends_s, MONDAY_S + 22 * DAY_S);
        let before = allowance.moment(MONDAY_S - 9 * DAY_S);
        assert_eq!(before.month.ends_s, MONDAY_S - 8 * DAY_S, "the 14th is of the month before");
        // Kathmandu's midnight is at 18:15 UTC.
        let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(20_700).unwrap());
        let east = Allowance { zone, ..Allowance::default() };
        assert_eq!(east.moment(MONDAY_S).day.ends_s, MONDAY_S + DAY_S - 20_700);
        assert_eq!(east.moment(MONDAY_S + DAY_S - 20_700).day.days.start, at.day.days.start + 1);
        // Clocks that are wrong give a calendar as well.
        for now_s in [0, 1, u64::MAX, i64::MAX as u64, 253_402_300_799] {
            allowance.moment(now_s);
            east.moment(now_s);
        }
    }

    #[test]
    fn a_reserve_is_for_what_is_urgent_and_the_cap_is_hard() {
        let limited = Allowance {
            day: Some(2 * MB),
            month: Some(30 * MB),
            reserve_percent: 20,
            ..Allowance::default()
        };
        let next_s = MONDAY_S + DAY_S;
        let month_s = MONDAY_S + 8 * DAY_S;
        let cases = [
            (0, 0, Gate::Open),
            (2 * MB * 8 / 10 - 1, 0, Gate::Open),
            (2 * MB * 8 / 10, 0, Gate::Urgent(Why::Day, next_s)),
            (2 * MB - URGENT_ROUND_BYTES, 0, Gate::Urgent(Why::Day, next_s)),
            (2 * MB - URGENT_ROUND_BYTES + 1, 0, Gate::Shut(Why::Day, next_s)),
            (5 * MB, 29 * MB, Gate::Shut(Why::Day, next_s)),
            (0, 24 * MB, Gate::Urgent(Why::Month, month_s)),
            (2 * MB, 30 * MB, Gate::Shut(Why::Month, month_s)),
            (u64::MAX, u64::MAX, Gate::Shut(Why::Month, month_s)),
        ];
        for (day, month, expected) in cases {
            assert_eq!(gate(&limited, MONDAY_S, day, month), expected, "{day} {month}");
        }
        // Without a reserve no round begins that may pass the cap.
        let bare = Allowance { day: Some(MB), ..Allowance::default() };
        assert_eq!(gate(&bare, MONDAY_S, MB - ROUND_BYTES, 0), Gate::Open);
        assert_eq!(gate(&bare, MONDAY_S, MB - ROUND_BYTES + 1, 0), Gate::Urgent(Why::Day, next_s));
        assert_eq!(gate(&Allowance::default(), MONDAY_S, u64::MAX, u64::MAX), Gate::Open);
    }

    #[test]
    fn what_is_not_urgent_waits_for_cheap_hours() {
        let night = Allowance {
            cheap: Some((time(23, 0, 0, 0), time(5, 0, 0, 0))),
            ..Allowance::default()
        };
        let hour = |hour: u64| MONDAY_S + hour * 3_600;
        assert_eq!(gate(&night, hour(4), 0, 0), Gate::Open);
        assert_eq!(gate(&night, hour(5), 0, 0), Gate::Urgent(Why::CheapHours, hour(23)));
        assert_eq!(gate(&night, hour(23), 0, 0), Gate::Open);
        let noon = Allowance {
            cheap: Some((time(12, 0, 0, 0), time(13, 0, 0, 0))),
            ..Allowance::default()
        };
        assert_eq!(gate(&noon, hour(11), 0, 0), Gate::Urgent(Why::CheapHours, hour(12)));
        assert_eq!(gate(&noon, hour(14), 0, 0), Gate::Urgent(Why::CheapHours, hour(36)));
        // A night that costs nothing ends the wait for a new day.
        let free = Allowance { cheap_free: true, day: Some(MB), ..night };
        assert_eq!(gate(&free, hour(6), MB, 0), Gate::Shut(Why::Day, hour(23)));
        assert_eq!(gate(&free, hour(23), MB, 0), Gate::Open);
    }
}
