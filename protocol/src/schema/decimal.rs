//! Decimal notation to scaled integers and back: exact text arithmetic.
//!
//! No floats anywhere: 0.1 has no float, and two ends that round differently
//! would not agree.
use alloc::format;
use alloc::string::{String, ToString};

/// Why a text is not a scaled integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// Not decimal notation.
    NotANumber,
    /// More digits behind the point than the scale has.
    TooFine,
    /// Beyond 64 bits.
    TooLarge,
}

/// Decimal digits of any 64-bit integer.
const DIGITS_MAX: i64 = 19;

/// `text` times 10^`scale`. An optional sign, digits, an optional fraction, an
/// optional exponent: `-12`, `0.50`, `1e3`.
pub(super) fn scaled(text: &str, scale: u8) -> Result<i64, Unfit> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, power(exponent)?),
        None => (text, 0),
    };
    let (negative, mantissa) = unsigned(mantissa);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
        Some(_) => return Err(Unfit::NotANumber),
        None => (mantissa, ""),
    };
    if !is_digits(whole) {
        return Err(Unfit::NotANumber);
    }
    let digits = whole.to_string() + fraction;
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let zeros =
        exponent - length(fraction) + length(digits) - length(significant) + i64::from(scale);
    if zeros < 0 {
        return Err(Unfit::TooFine);
    }
    if length(significant) + zeros > DIGITS_MAX {
        return Err(Unfit::TooLarge);
    }
    let digits = significant.bytes().map(|digit| i128::from(digit - b'0'));
    let value = digits.chain((0..zeros).map(|_| 0)).fold(0, |sum, digit| sum * 10 + digit);
    i64::try_from(if negative { -value } else { value }).map_err(|_| Unfit::TooLarge)
}

/// A scaled integer in decimal notation, with all digits of the scale.
pub(super) fn unscaled(number: i64, scale: u8) -> String {
    if scale == 0 {
        return number.to_string();
    }
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if number < 0 { "-" } else { "" })
}

/// An exponent; one beyond any use is cut, so that nothing overflows.
fn power(text: &str) -> Result<i64, Unfit> {
    const FAR: i64 = i64::MAX / 4;
    let (negative, digits) = unsigned(text);
    if !is_digits(digits) {
        return Err(Unfit::NotANumber);
    }
    let power = digits.parse().unwrap_or(FAR).min(FAR);
    Ok(if negative { -power } else { power })
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).expect("texts are shorter than i64::MAX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_exactly() {
        for (text, scale, want) in [
            ("0", 0, Ok(0)),
            ("-0.00", 1, Ok(0)),
            ("12", 2, Ok(1200)),
            ("0.1", 1, Ok(1)),
            ("-0.1", 3, Ok(-100)),
            ("8.20", 1, Ok(82)),
            ("1e3", 0, Ok(1000)),
            ("1.5E+2", 0, Ok(150)),
            ("25e-1", 1, Ok(25)),
            ("100e-2", 0, Ok(1)),
            ("0e999999999999999999999", 0, Ok(0)),
            ("+7", 0, Ok(7)),
            ("9223372036854775807", 0, Ok(i64::MAX)),
            ("-9223372036854775808", 0, Ok(i64::MIN)),
            ("9223372036854775808", 0, Err(Unfit::TooLarge)),
            ("1e999999999999999999999", 0, Err(Unfit::TooLarge)),
            ("1e-999999999999999999999", 12, Err(Unfit::TooFine)),
            ("8.25", 1, Err(Unfit::TooFine)),
            ("1.5", 0, Err(Unfit::TooFine)),
            ("", 0, Err(Unfit::NotANumber)),
            ("-", 0, Err(Unfit::NotANumber)),
            (".5", 1, Err(Unfit::NotANumber)),
            ("5.", 1, Err(Unfit::NotANumber)),
            ("1,5", 1, Err(Unfit::NotANumber)),
            ("1e", 0, Err(Unfit::NotANumber)),
            ("0x10", 0, Err(Unfit::NotANumber)),
            ("--1", 0, Err(Unfit::NotANumber)),
            (" 1", 0, Err(Unfit::NotANumber)),
            ("nan", 0, Err(Unfit::NotANumber)),
        ] {
            assert_eq!(scaled(text, scale), want, "{text} at scale {scale}");
        }
    }

    #[test]
    fn scaled_integers_are_written_with_their_point() {
        for (number, scale, want) in
            [(5, 0, "5"), (5, 2, "0.05"), (-5, 1, "-0.5"), (-1234, 2, "-12.34"), (0, 3, "0.000")]
        {
            assert_eq!(unscaled(number, scale), want);
        }
        assert_eq!(scaled(&unscaled(i64::MIN, 12), 12), Ok(i64::MIN));
    }
}
