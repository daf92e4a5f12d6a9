//! Binary arithmetic coding, both directions through one function.
//!
//! The interval is 32 bits wide and split by probabilities of 16 bits; bytes leave
//! as soon as both ends agree on them, so nothing is ever carried back. The last
//! bytes are as few as name a point of the interval; past the end a reader sees zeros.
use alloc::vec::Vec;

/// Bytes that a reader is ahead of what has been decided.
const AHEAD_BYTES: usize = 4;
/// Decisions in one batch: some ten seconds of a small computer.
pub(super) const DECISIONS_MAX: usize = 16 * 1024 * 1024;

/// Where decisions go to, or come from.
enum Side<'a> {
    Write(Vec<u8>),
    Read { bytes: &'a [u8], at: usize, point: u32 },
}

/// One batch's decisions.
pub(super) struct Coder<'a> {
    low: u32,
    high: u32,
    decisions: usize,
    side: Side<'a>,
}

impl<'a> Coder<'a> {
    /// For writing.
    pub(super) fn writer() -> Coder<'a> {
        Coder { low: 0, high: u32::MAX, decisions: 0, side: Side::Write(Vec::new()) }
    }

    /// For reading.
    pub(super) fn reader(bytes: &'a [u8]) -> Coder<'a> {
        let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
        let point = (0..AHEAD_BYTES).fold(0, |point, at| point << 8 | byte(at));
        let side = Side::Read { bytes, at: AHEAD_BYTES, point };
        Coder { low: 0, high: u32::MAX, decisions: 0, side }
    }

    /// One decision, of which `one` / 65536 is how likely it is true (1 to 65535). A
    /// reader ignores what is given.
    pub(super) fn bit(&mut self, one: u32, given: bool) -> bool {
        self.decisions += 1;
        let width = u64::from(self.high - self.low);
        let split = self.low + u32::try_from((width * u64::from(one)) >> 16).expect("16 bits");
        let bit = match &self.side {
            Side::Write(_) => given,
            Side::Read { point, .. } => *point <= split,
        };
        match bit {
            true => self.high = split,
            false => self.low = split + 1,
        }
        while (self.low ^ self.high) >> 24 == 0 {
            match &mut self.side {
                Side::Write(out) => out.push((self.low >> 24) as u8),
                Side::Read { bytes, at, point } => {
                    *point = *point << 8 | u32::from(bytes.get(*at).copied().unwrap_or(0));
                    *at += 1;
                }
            }
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        bit
    }

    /// Whether more has been decided than the bytes can say.
    pub(super) fn is_past(&self) -> bool {
        match &self.side {
            Side::Write(_) => false,
            Side::Read { bytes, at, .. } => *at > bytes.len() + AHEAD_BYTES,
        }
    }

    /// Whether more has been decided than is allowed.
    pub(super) fn is_spent(&self) -> bool {
        self.decisions > DECISIONS_MAX
    }

    /// Whether the rest of the bytes is what a writer would have ended with: so
    /// there is one form of each batch.
    pub(super) fn is_at_end(&self) -> bool {
        match &self.side {
            Side::Write(_) => true,
            Side::Read { bytes, at, .. } => {
                let (end, len) = end(self.low, self.high);
                bytes.get(at - AHEAD_BYTES..) == Some(&end[..len])
            }
        }
    }

    /// What was written.
    pub(super) fn finish(self) -> Vec<u8> {
        let Side::Write(mut out) = self.side else { return Vec::new() };
        let (end, len) = end(self.low, self.high);
        out.extend_from_slice(&end[..len]);
        out
    }
}

/// The fewest bytes, and how many, that name a point of an interval if zeros follow.
fn end(low: u32, high: u32) -> ([u8; 4], usize) {
    for len in 0..4 {
        // The least multiple of this step in the interval.
        let step = 1u64 << (32 - 8 * len);
        let point = u64::from(low).div_ceil(step) * step;
        if point <= u64::from(high) {
            return ((point as u32).to_be_bytes(), len);
        }
    }
    (low.to_be_bytes(), 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_come_back_and_cost_what_they_should() {
        let odds = [1, 300, 32_768, 65_000, 65_535];
        let bits: Vec<bool> = (0..2_000u32).map(|at| at % 7 < at % 5).collect();
        let mut writer = Coder::writer();
        for (at, bit) in bits.iter().enumerate() {
            writer.bit(odds[at % 5], *bit);
        }
        let bytes = writer.finish();
        let mut reader = Coder::reader(&bytes);
        for (at, bit) in bits.iter().enumerate() {
            assert_eq!(reader.bit(odds[at % 5], false), *bit);
        }
        assert!(reader.is_at_end() && !reader.is_past());
        let mut writer = Coder::writer();
        for _ in 0..10_000 {
            writer.bit(65_000, true);
        }
        assert!(writer.finish().len() <= 16);
        assert!(Coder::writer().finish().is_empty());
    }
}
