//! How long to wait before the next attempt: exponential with decorrelated
//! jitter, so that a hundred sites do not come back in step after an outage.
//!
//! Each wait is random between the least wait and three times the wait before
//! (the least wait, at first), never above the greatest. (The "decorrelated
//! jitter" of AWS' architecture blog, 2015.)

/// Milliseconds to wait, given the wait before (0 at first) and a random number.
/// A greatest wait below the least one counts as the least one.
pub fn next_ms(before_ms: u64, min_ms: u64, max_ms: u64, random: u64) -> u64 {
    let max_ms = max_ms.max(min_ms);
    let top = before_ms.max(min_ms).saturating_mul(3).min(max_ms);
    match (top - min_ms).checked_add(1) {
        Some(span) => min_ms + random % span,
        // Every number of 64 bits is a possible wait.
        None => random,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wait_is_random_already() {
        // Else all sites would come back together after the broker restarts.
        assert_eq!(next_ms(0, 1_000, 60_000, 0), 1_000);
        assert_eq!(next_ms(0, 1_000, 60_000, 2_000), 3_000);
        assert_eq!(next_ms(0, 1_000, 60_000, 2_001), 1_000);
    }

    #[test]
    fn each_wait_is_between_the_least_and_three_times_the_one_before() {
        let mut wait = 0;
        let mut greatest = 0;
        for random in 0..2_000u64 {
            let before = wait.max(1_000);
            wait = next_ms(wait, 1_000, 60_000, random.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert!((1_000..=(before * 3).min(60_000)).contains(&wait), "{before} then {wait}");
            greatest = greatest.max(wait);
        }
        assert!(greatest > 50_000, "the waits do not grow: {greatest}");
        assert_eq!(next_ms(60_000, 1_000, 60_000, 59_000), 60_000);
    }

    #[test]
    fn no_numbers_break_it() {
        for min in [0, 1, 1_000, u64::MAX] {
            for max in [0, 1, 999, 60_000, u64::MAX] {
                for before in [0, 1, 60_000, u64::MAX] {
                    for random in [0, 1, 12_345, u64::MAX] {
                        let wait = next_ms(before, min, max, random);
                        assert!((min..=max.max(min)).contains(&wait), "{min} {max} {before}");
                    }
                }
            }
        }
    }
}
