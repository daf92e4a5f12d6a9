//! Probabilities as 16-bit numbers and as log odds in 256ths, and back.
//!
//! All of it is integer arithmetic, done by the compiler: the same on every machine.

/// The greatest log odds, in 256ths.
pub(super) const ODDS_MAX: i32 = 11 * 256;
/// Steps of the table are an eighth, in between it is straight.
const STEP: i32 = 32;
const STEPS: usize = (ODDS_MAX / STEP) as usize;
/// e^(-1/8) in 2^-32.
const DECAY: u64 = 3_790_295_326;

/// 65536 / (1 + e^-x) for x = 0, 1/8, 2/8 and so on.
const RISE: [i32; STEPS + 2] = {
    let mut rise = [0; STEPS + 2];
    let mut fall: u64 = 1 << 32;
    let mut at = 0;
    while at < STEPS + 2 {
        rise[at] = ((1u64 << 48) / ((1 << 32) + fall)) as i32;
        fall = ((fall as u128 * DECAY as u128) >> 32) as u64;
        at += 1;
    }
    rise
};

/// Log odds of (2 n + 1) / 8192.
const ODDS: [i16; 4096] = {
    let mut odds = [0; 4096];
    let mut x = -ODDS_MAX;
    let mut at = 0;
    while at < 4096 {
        let p = 16 * at as i32 + 8;
        while x < ODDS_MAX && squash(x) < p {
            x += 1;
        }
        odds[at] = x as i16;
        at += 1;
    }
    odds
};

/// The probability of these log odds, in 65536ths, 1 to 65535.
pub(super) const fn squash(odds: i32) -> i32 {
    let size = if odds < 0 { -odds } else { odds };
    let size = if size > ODDS_MAX { ODDS_MAX } else { size };
    let (at, rest) = ((size / STEP) as usize, size % STEP);
    let p = RISE[at] + (RISE[at + 1] - RISE[at]) * rest / STEP;
    let p = if p > 65535 { 65535 } else { p };
    if odds < 0 { 65536 - p } else { p }
}

/// The log odds of a probability in 65536ths.
pub(super) fn stretch(p: u16) -> i32 {
    i32::from(ODDS[usize::from(p >> 4)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_rises_and_comes_back() {
        assert_eq!(squash(0), 32768);
        assert!((-ODDS_MAX..ODDS_MAX).all(|x| squash(x) <= squash(x + 1)));
        assert!((1..=65535).contains(&squash(-ODDS_MAX)) && squash(ODDS_MAX) <= 65535);
        for p in (64..=65472).step_by(64) {
            let back = squash(stretch(p));
            assert!((back - i32::from(p)).abs() <= 96, "{p} came back as {back}");
        }
    }
}
