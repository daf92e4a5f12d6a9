//! Texts that are dates or times in UTC, as numbers and back.
//!
//! Only a text that is written in just this way becomes a number, so that the
//! number always gives the same text.
use alloc::format;
use alloc::string::String;

use super::cell::Kind;

const DAY_S: i64 = 86_400;

/// The number of a text that is a date (`2026-11-22`) or a time (`2026-11-22T10:00Z`,
/// `2026-11-22T10:00:00Z`).
pub(super) fn parse(text: &str) -> Option<(Kind, i64)> {
    let kind = match text.len() {
        10 => Kind::Day,
        17 => Kind::Minute,
        20 => Kind::Second,
        _ => return None,
    };
    let part = |from: usize, len: usize| {
        let digits = text.as_bytes().get(from..from + len)?;
        let all = digits.iter().all(u8::is_ascii_digit);
        all.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let days = days(part(0, 4)?, part(5, 2)?, part(8, 2)?)?;
    let number = match kind {
        Kind::Day => days,
        Kind::Minute => days * 1440 + part(11, 2)? * 60 + part(14, 2)?,
        _ => days * DAY_S + part(11, 2)? * 3600 + part(14, 2)? * 60 + part(17, 2)?,
    };
    (text_of(kind, number)? == text).then_some((kind, number))
}

/// The text of a number; none if there is no such day.
pub(super) fn text_of(kind: Kind, number: i64) -> Option<String> {
    let seconds = match kind {
        Kind::Day => number.checked_mul(DAY_S)?,
        Kind::Minute => number.checked_mul(60)?,
        _ => number,
    };
    let (year, month, day) = date(seconds.div_euclid(DAY_S))?;
    let (minutes, second) = (seconds.rem_euclid(DAY_S) / 60, seconds.rem_euclid(60));
    let (hour, minute) = (minutes / 60, minutes % 60);
    Some(match kind {
        Kind::Day => format!("{year:04}-{month:02}-{day:02}"),
        Kind::Minute => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z"),
        _ => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
    })
}

/// Days since 1970, of the years 0 to 9999.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn date(days: i64) -> Option<(i64, i64, i64)> {
    let days = days.checked_add(719_468)?;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    (0..=9999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_come_back() {
        for (text, kind) in [
            ("1970-01-01", Kind::Day),
            ("2024-02-29", Kind::Day),
            ("0000-01-01", Kind::Day),
            ("9999-12-31", Kind::Day),
            ("2026-11-22T10:00Z", Kind::Minute),
            ("1969-12-31T23:59:59Z", Kind::Second),
        ] {
            let (found, number) = parse(text).unwrap();
            assert_eq!((found, text_of(kind, number).as_deref()), (kind, Some(text)));
        }
        assert_eq!(parse("1970-01-02"), Some((Kind::Day, 1)));
    }

    #[test]
    fn what_is_written_otherwise_stays_a_text() {
        for text in [
            "2026-02-30",
            "2026-13-01",
            "2026/01/01",
            "2026-01-01T24:00Z",
            "+026-01-01",
            "é026-01-0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(text_of(Kind::Day, i64::MAX), None);
        assert_eq!(text_of(Kind::Second, i64::MIN), None);
    }
}
