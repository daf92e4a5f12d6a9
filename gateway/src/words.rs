//! Times, spans, sizes and errors of the system as people say them.
use std::fmt::Display;

/// So many seconds.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long before `now_s`.
pub fn ago(now_s: u64, then_s: u64) -> String {
    match now_s.checked_sub(then_s) {
        Some(seconds) => format!("{} ago", span(seconds)),
        None => format!("{}, ahead of this clock", time(then_s)),
    }
}

/// A time, to the minute.
pub fn time(seconds: u64) -> String {
    written(seconds, "%Y-%m-%d %H:%M UTC")
}

/// A day.
pub fn day(seconds: u64) -> String {
    written(seconds, "%Y-%m-%d")
}

fn written(seconds: u64, form: &str) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    at.map_or_else(|| format!("{seconds} s after 1970"), |at| at.strftime(form).to_string())
}

/// So many bytes.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// One thing or several.
pub fn count(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// An error of the system in words: without its number.
pub fn plain(error: &(impl Display + ?Sized)) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_times_and_sizes() {
        for (seconds, says) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(span(seconds), says);
        }
        assert_eq!(time(0), "1970-01-01 00:00 UTC");
        assert_eq!(day(1_735_689_600), "2025-01-01");
        assert_eq!(day(3_313_526_400), "2075-01-01");
        assert_eq!(time(u64::MAX), "18446744073709551615 s after 1970");
        assert_eq!(ago(100, 40), "60 s ago");
        assert_eq!(ago(0, 60), "1970-01-01 00:01 UTC, ahead of this clock");
        assert_eq!((bytes(9_999), bytes(10_000)), ("9999 bytes".into(), "10 kB".into()));
        assert_eq!(bytes(u64::MAX), "18446744073 GB");
        assert_eq!(
            (count(1, "change", "changes"), count(0, "a", "b")),
            ("1 change".into(), "0 b".into())
        );
    }
}
