//! A script: input bytes that say how to spoil valid samples.
//!
//! The first byte chooses a sample, each four bytes that follow one thing done
//! to it. So a random input is a valid message with a few faults, and the same
//! input gives the same bytes again.

/// Reads an input as numbers; zeros when it is used up.
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        if end == 0 { 0 } else { number % end }
    }

    /// Small, near a power of two, or anything.
    pub fn number(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => u64::from(self.byte()),
            1 => (1u64 << (self.byte() % 64)).wrapping_sub(u64::from(self.byte() % 2)),
            2 => u64::MAX - u64::from(self.byte() % 3),
            _ => (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte())),
        }
    }

    /// True once in so many times; never when the input is used up.
    pub fn one_in(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    /// One of several.
    pub fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.below(from.len())]
    }

    /// A sample with up to eight faults.
    pub fn spoiled(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(samples).clone();
        for _ in 0..self.byte() % 9 {
            self.spoil(&mut bytes, samples);
        }
        bytes
    }

    /// The bytes with one to four faults.
    pub fn altered(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.byte() % 4 {
            let before = [bytes.clone()];
            self.spoil(&mut bytes, &before);
        }
        bytes
    }

    fn spoil(&mut self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let kind = self.byte() % 9;
        let place = self.below(bytes.len() + 1);
        let value = self.byte();
        let at = place.min(bytes.len().saturating_sub(1));
        match kind {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << (value % 8),
            1 if !bytes.is_empty() => bytes[at] = value,
            2 => bytes.insert(place, value),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.truncate(place),
            // The longest number there is.
            5 => {
                let longest = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
                bytes.splice(place..place, longest);
            }
            6 => {
                let end = bytes.len().min(place + usize::from(value));
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
            7 => {
                let other = self.pick(samples);
                let from = self.below(other.len() + 1);
                let end = other.len().min(from + usize::from(value));
                bytes.splice(place..place, other[from..end].iter().copied());
            }
            _ => {
                let many = vec![value; self.below(2_000)];
                bytes.splice(place..place, many);
            }
        }
    }
}
