//! The section `[data]` of the configuration.
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Allowance;

/// A day's budget at least, in kilobytes: a round, and one for what is urgent, fit it.
const DAY_KB_MIN: u64 = 128;
/// The name of an interface is shorter than this, for the system.
const INTERFACE_BYTES_MAX: usize = 15;

/// What the link to the hub may cost. Kilobytes are of 1,000 bytes of IP, both ways
/// together, as carriers count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// The interface that the carrier bills; none = the connection's own bytes are counted.
    pub interface: Option<String>,
    /// In one day; none = no bound.
    pub day_kb: Option<u64>,
    /// In one month of the contract; none = no bound.
    pub month_mb: Option<u64>,
    /// The day of the month on which that begins, 1 to 28.
    pub month_begins: u8,
    /// Percent of each budget that only urgent tables may use.
    pub reserve_percent: u8,
    /// When all else may go, as "23:00-05:00" by the site's clock; none = at any time.
    pub cheap_hours: Option<String>,
    /// Bytes of those hours count for no budget.
    pub cheap_free: bool,
}

impl Default for Data {
    fn default() -> Data {
        Data {
            interface: None,
            day_kb: None,
            month_mb: None,
            month_begins: 1,
            reserve_percent: 20,
            cheap_hours: None,
            cheap_free: false,
        }
    }
}

impl Data {
    /// The same as numbers; the site is where the system's clock is.
    pub fn allowance(&self) -> Allowance {
        Allowance {
            day: self.day_kb.map(|kb| kb.saturating_mul(1_000)),
            month: self.month_mb.map(|mb| mb.saturating_mul(1_000_000)),
            begins: self.month_begins.cast_signed(),
            reserve_percent: self.reserve_percent,
            cheap: self.cheap_hours.as_deref().and_then(hours),
            cheap_free: self.cheap_free,
            zone: TimeZone::system(),
        }
    }

    /// The key that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let a_name = |name: &String| {
            let signs = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
            signs && !name.starts_with('.') && (1..=INTERFACE_BYTES_MAX).contains(&name.len())
        };
        if self.interface.as_ref().is_some_and(|name| !a_name(name)) {
            return Err(("data.interface", "the name of a network interface is needed, as wwan0"));
        }
        if self.day_kb.is_some_and(|kb| kb < DAY_KB_MIN) {
            return Err(("data.day_kb", "at least 128 are needed: a single round may take 48"));
        }
        if self.month_mb == Some(0) {
            return Err(("data.month_mb", "at least 1 is needed"));
        }
        if !(1..=28).contains(&self.month_begins) {
            return Err(("data.month_begins", "a day from 1 to 28 is needed"));
        }
        if self.reserve_percent > 90 {
            return Err((
                "data.reserve_percent",
                "at most 90 percent can be kept for urgent tables",
            ));
        }
        if self.cheap_hours.as_deref().is_some_and(|text| hours(text).is_none()) {
            return Err(("data.cheap_hours", "two different times are needed, as \"23:00-05:00\""));
        }
        if self.cheap_free && self.cheap_hours.is_none() {
            return Err(("data.cheap_free", "it is of no use without data.cheap_hours"));
        }
        Ok(())
    }
}

fn hours(text: &str) -> Option<(Time, Time)> {
    let (from, to) = text.split_once('-')?;
    let time = |text: &str| Time::strptime("%H:%M", text.trim()).ok();
    let (from, to) = (time(from)?, time(to)?);
    (from != to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_checked_and_says_what_it_needs() {
        assert_eq!(Data::default().check(), Ok(()));
        assert!(!Data::default().allowance().is_limited());
        let good = Data {
            interface: Some("wwan0".into()),
            day_kb: Some(128),
            month_mb: Some(30),
            cheap_hours: Some("23:00-05:30".into()),
            cheap_free: true,
            ..Data::default()
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(good.allowance().day, Some(128_000));
        assert_eq!(good.allowance().cheap.unwrap().1.minute(), 30);
        let bad = [
            ("data.interface", Data { interface: Some("../lo".into()), ..good.clone() }),
            ("data.interface", Data { interface: Some(String::new()), ..good.clone() }),
            ("data.day_kb", Data { day_kb: Some(127), ..good.clone() }),
            ("data.month_mb", Data { month_mb: Some(0), ..good.clone() }),
            ("data.month_begins", Data { month_begins: 29, ..good.clone() }),
            ("data.reserve_percent", Data { reserve_percent: 91, ..good.clone() }),
            ("data.cheap_hours", Data { cheap_hours: Some("23:00-24:00".into()), ..good.clone() }),
            ("data.cheap_hours", Data { cheap_hours: Some("5:00-5:00".into()), ..good.clone() }),
            ("data.cheap_free", Data { cheap_hours: None, ..good }),
        ];
        for (key, data) in bad {
            assert_eq!(data.check().map_err(|(key, _)| key), Err(key), "{data:?}");
        }
    }
}
