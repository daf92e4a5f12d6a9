//! How long to wait before the next attempt: exponential with decorrelated
//! jitter, so that a hundred sites do not come back in step after an outage.
//! (The variant is the "decorrelated jitter" of AWS' architecture blog, 2015.)

/// Milliseconds to wait, given the wait before (0 at first) and a random number.
pub fn next_ms(before_ms: u64, min_ms: u64, max_ms: u64, random: u64) -> u64 {
    let top = before_ms.saturating_mul(3).clamp(min_ms.max(1), max_ms.max(1));
    let span = top.saturating_sub(min_ms) + 1;
    (min_ms + random % span).min(max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_pass_it() {
        let mut wait = 0;
        for random in 0..50 {
            wait = next_ms(wait, 1_000, 60_000, random * 7_919);
            assert!((1_000..=60_000).contains(&wait), "{wait}");
        }
        assert_eq!(next_ms(60_000, 1_000, 60_000, 59_000), 60_000);
        assert_eq!(next_ms(0, 1_000, 60_000, 12_345), 1_000);
    }
}
