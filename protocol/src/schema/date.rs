//! Strict ISO 8601 dates and time stamps, as text.
//!
//! Texts are kept as they came; only their form is judged. Nothing here
//! reckons with time.

/// Whether the text is a date of the calendar: `2026-11-22`.
pub(super) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let [_, _, _, _, b'-', _, _, b'-', _, _] = bytes else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) =
        (digits(&bytes[..4]), digits(&bytes[5..7]), digits(&bytes[8..]))
    else {
        return false;
    };
    (1..=12).contains(&month) && (1..=days(year, month)).contains(&day)
}

/// Whether the text is a time stamp: a date, `T`, hours and minutes, perhaps
/// seconds and a fraction of them, then `Z` or an offset: `2026-11-22T10:00Z`,
/// `2026-11-22T10:00:30.5+01:00`.
pub(super) fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else {
        return false;
    };
    is_date(date) && is_time(time.as_bytes())
}

fn is_time(time: &[u8]) -> bool {
    let Some((clock, rest)) = time.split_at_checked(5) else {
        return false;
    };
    if !is_clock(clock, 23) {
        return false;
    }
    let rest = match rest {
        [b':', tens, ones, rest @ ..] => match digits(&[*tens, *ones]) {
            Some(0..=59) => fraction(rest),
            _ => return false,
        },
        rest => rest,
    };
    match rest {
        b"Z" => true,
        // The widest offset in use is +14:00.
        [b'+' | b'-', offset @ ..] => is_clock(offset, 14),
        _ => false,
    }
}

/// What follows a fraction of seconds, if there is one.
fn fraction(rest: &[u8]) -> &[u8] {
    match rest {
        [b'.', first, ..] if first.is_ascii_digit() => {
            let len = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            &rest[1 + len..]
        }
        rest => rest,
    }
}

/// `hh:mm`
fn is_clock(clock: &[u8], hours_max: u32) -> bool {
    let [h1, h2, b':', m1, m2] = clock else {
        return false;
    };
    digits(&[*h1, *h2]).is_some_and(|hours| hours <= hours_max)
        && digits(&[*m1, *m2]).is_some_and(|minutes| minutes <= 59)
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |sum, &byte| Some(sum * 10 + char::from(byte).to_digit(10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_calendar() {
        for good in ["2026-11-22", "2024-02-29", "2000-02-29", "0001-01-01", "2026-12-31"] {
            assert!(is_date(good), "{good}");
        }
        for bad in [
            "",
            "2026-11-2",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-02-29",
            "1900-02-29",
            "2026-01-00",
            "26-01-01",
            "2026/01/01",
            "2026-01-01T",
            "+026-01-01",
            "2026-1é-1",
        ] {
            assert!(!is_date(bad), "{bad}");
        }
    }

    #[test]
    fn time_stamps_name_their_zone() {
        for good in [
            "2026-11-22T10:00Z",
            "2026-11-22T23:59:59Z",
            "2026-11-22T10:00+05:30",
            "2026-11-22T10:00:00.125-03:00",
            "2026-11-22T00:00:00.1Z",
        ] {
            assert!(is_timestamp(good), "{good}");
        }
        for bad in [
            "2026-11-22",
            "2026-11-22T10:00",
            "2026-11-22 10:00Z",
            "2026-11-22T24:00Z",
            "2026-11-22T10:60Z",
            "2026-11-22T10:00:60Z",
            "2026-11-22T10Z",
            "2026-11-22T10:00z",
            "2026-11-22T10:00+0530",
            "2026-11-22T10:00+15:00",
            "2026-11-22T10:00:Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00.5Z",
            "2026-02-30T10:00Z",
            "2026-11-22T10:0é",
        ] {
            assert!(!is_timestamp(bad), "{bad}");
        }
    }
}
