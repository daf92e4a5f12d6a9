//! Frames: how a noisy stream of bytes is cut into checked bodies.
//!
//! ```text
//! frame = COBS( body | CRC-32C of body, little endian ) | 0x00
//! ```
//! A zero byte stands between frames and nowhere else, so whatever noise, loss
//! or torn frame came before, the next zero is a fresh start. An empty frame (a
//! zero after a zero) means nothing; a sender that doubts the line puts one in
//! front. Nothing here does I/O or knows what a body holds.
use alloc::vec::Vec;

use crc::{CRC_32_ISCSI, Crc};

use crate::limits::FRAME_BYTES_MAX;

/// What stands between frames.
pub const TERMINATOR: u8 = 0;
/// Bytes of a body: a frame before byte stuffing, without its checksum.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - CRC_BYTES;
/// Bytes of a frame on the line, terminator not counted.
pub const STUFFED_BYTES_MAX: usize = cobs::max_encoding_length(FRAME_BYTES_MAX);

const CRC_BYTES: usize = 4;
const CRC_32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A body that does not fit a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} bytes do not fit a frame of the link")]
pub struct TooLarge(pub usize);

/// Bytes on the line that the frame of a body takes, at most.
pub fn line_bytes(body_bytes: usize) -> usize {
    cobs::max_encoding_length(body_bytes + CRC_BYTES) + 1
}

/// The frame of a body, its terminator included.
pub fn encode(body: &[u8]) -> Result<Vec<u8>, TooLarge> {
    if body.len() > BODY_BYTES_MAX {
        return Err(TooLarge(body.len()));
    }
    let mut plain = Vec::with_capacity(body.len() + CRC_BYTES);
    plain.extend_from_slice(body);
    plain.extend_from_slice(&CRC_32C.checksum(body).to_le_bytes());
    let mut frame = cobs::encode_vec(&plain);
    frame.push(TERMINATOR);
    Ok(frame)
}

/// What a line gave that was no frame, for counters and logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Noise {
    /// Bytes dropped, terminators not counted.
    pub bytes: u64,
    /// Stretches between terminators that were no frame: torn, overlong, corrupted.
    pub frames: u64,
}

/// Takes bytes in, gives bodies out; holds one frame at most.
#[derive(Debug, Default)]
pub struct Accumulator {
    held: Vec<u8>,
    /// Bytes of the current stretch beyond what may be held; they are not kept.
    excess: u64,
    noise: Noise,
}

impl Accumulator {
    /// An empty one; memory is taken as bytes come.
    pub fn new() -> Accumulator {
        Accumulator::default()
    }

    /// Take bytes off the front of `input` until a frame is whole. `None`: all were taken.
    pub fn next_body(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        while let Some(end) = input.iter().position(|&byte| byte == TERMINATOR) {
            self.hold(&input[..end]);
            *input = &input[end + 1..];
            if let Some(body) = self.close() {
                return Some(body);
            }
        }
        self.hold(input);
        *input = &[];
        None
    }

    /// What was dropped so far. A stretch that is too long to be a frame counts
    /// while it still goes on: it may never end.
    pub fn noise(&self) -> Noise {
        let Noise { bytes, frames } = self.noise;
        match self.excess {
            0 => self.noise,
            excess => Noise { bytes: bytes + self.held.len() as u64 + excess, frames: frames + 1 },
        }
    }

    /// Whether a frame (or noise) has begun and not ended.
    pub fn is_amid(&self) -> bool {
        !self.held.is_empty() || self.excess > 0
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = STUFFED_BYTES_MAX - self.held.len();
        let kept = bytes.len().min(room);
        self.held.extend_from_slice(&bytes[..kept]);
        self.excess += (bytes.len() - kept) as u64;
    }

    /// A terminator came: what is held is a frame, nothing, or noise.
    fn close(&mut self) -> Option<Vec<u8>> {
        let mut held = core::mem::take(&mut self.held);
        let excess = core::mem::take(&mut self.excess);
        let length = held.len() as u64 + excess;
        if length == 0 {
            return None;
        }
        if excess == 0
            && let Some(body_bytes) = check(&mut held)
        {
            held.truncate(body_bytes);
            return Some(held);
        }
        self.noise.bytes += length;
        self.noise.frames += 1;
        None
    }
}

/// Unstuff in place; the length of the body if the checksum is right.
fn check(held: &mut [u8]) -> Option<usize> {
    let length = cobs::decode_in_place(held).ok()?;
    let body_bytes = length.checked_sub(CRC_BYTES)?;
    let (body, checksum) = held[..length].split_at(body_bytes);
    (CRC_32C.checksum(body).to_le_bytes() == checksum).then_some(body_bytes)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn bodies(accumulator: &mut Accumulator, mut input: &[u8]) -> Vec<Vec<u8>> {
        core::iter::from_fn(|| accumulator.next_body(&mut input)).collect()
    }

    #[test]
    fn golden_bytes_of_a_frame() {
        // CRC-32C of "123456789" is e3069283, the check value of the catalogue.
        assert_eq!(encode(b"123456789").unwrap(), b"\x0e123456789\x83\x92\x06\xe3\x00");
        assert_eq!(encode(b"a\0b").unwrap(), b"\x02a\x06b\x5c\xa9\xf9\x63\x00");
        assert_eq!(encode(b"").unwrap(), [1, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_frame_survives_byte_by_byte() {
        let mut accumulator = Accumulator::new();
        let frame = encode(b"hello").unwrap();
        let (last, first) = frame.split_last().unwrap();
        for byte in first {
            assert!(bodies(&mut accumulator, &[*byte]).is_empty());
        }
        assert!(accumulator.is_amid());
        assert_eq!(bodies(&mut accumulator, &[*last]), vec![b"hello".to_vec()]);
        assert_eq!(accumulator.noise(), Noise::default());
    }

    #[test]
    fn a_torn_frame_costs_the_next_one_unless_a_terminator_leads() {
        let frame = encode(b"hello").unwrap();
        let mut torn = frame[..4].to_vec();
        torn.extend_from_slice(&frame);
        torn.extend_from_slice(&frame);
        let mut accumulator = Accumulator::new();
        assert_eq!(bodies(&mut accumulator, &torn).len(), 1);
        assert_eq!(accumulator.noise(), Noise { bytes: 4 + frame.len() as u64 - 1, frames: 1 });

        let mut led = frame[..4].to_vec();
        led.push(TERMINATOR);
        led.extend_from_slice(&frame);
        let mut accumulator = Accumulator::new();
        assert_eq!(bodies(&mut accumulator, &led).len(), 1);
        assert_eq!(accumulator.noise(), Noise { bytes: 4, frames: 1 });
    }

    #[test]
    fn an_endless_stretch_without_terminator_is_not_kept() {
        let mut accumulator = Accumulator::new();
        let stretch = vec![7u8; 10_000];
        for _ in 0..100 {
            assert!(bodies(&mut accumulator, &stretch).is_empty());
            assert!(accumulator.held.capacity() <= 2 * STUFFED_BYTES_MAX);
        }
        assert_eq!(accumulator.noise(), Noise { bytes: 1_000_000, frames: 1 }, "live");
        assert!(bodies(&mut accumulator, &[0]).is_empty());
        assert_eq!(accumulator.noise(), Noise { bytes: 1_000_000, frames: 1 });
        assert_eq!(bodies(&mut accumulator, &encode(b"x").unwrap()).len(), 1);
    }

    #[test]
    fn the_longest_body_fits_and_one_more_byte_is_refused() {
        let body = vec![1u8; BODY_BYTES_MAX];
        let frame = encode(&body).unwrap();
        assert!(frame.len() <= STUFFED_BYTES_MAX + 1);
        assert_eq!(bodies(&mut Accumulator::new(), &frame), vec![body]);
        assert_eq!(encode(&vec![1; BODY_BYTES_MAX + 1]), Err(TooLarge(BODY_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn bodies_survive_any_cut_and_noise_between(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..600),
                prop::collection::vec(1u8.., 0..20)), 1..6),
            cut in 1usize..50,
        ) {
            let mut line = Vec::new();
            for (body, noise) in &parts {
                // Noise that happens to be a valid frame needs a matching CRC of its own: not here.
                line.extend_from_slice(noise);
                line.push(TERMINATOR);
                line.extend_from_slice(&encode(body).unwrap());
            }
            let mut accumulator = Accumulator::new();
            let mut heard = Vec::new();
            for chunk in line.chunks(cut) {
                heard.extend(bodies(&mut accumulator, chunk));
            }
            let sent: Vec<_> = parts.iter().map(|(body, _)| body.clone()).collect();
            prop_assert_eq!(heard, sent);
        }

        #[test]
        fn hostile_bytes_never_panic_and_are_all_accounted_for(
            line in prop::collection::vec(any::<u8>(), 0..4000),
        ) {
            let mut accumulator = Accumulator::new();
            let heard = bodies(&mut accumulator, &line);
            prop_assert!(heard.iter().all(|body| body.len() <= BODY_BYTES_MAX));
            let _ = bodies(&mut accumulator, &[0]);
            let zeros = line.iter().filter(|&&byte| byte == 0).count() as u64;
            prop_assert!(accumulator.noise().bytes + zeros <= line.len() as u64);
        }

        #[test]
        fn one_flipped_bit_is_never_a_frame(
            body in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let mut frame = encode(&body).unwrap();
            let place = place.index(frame.len());
            frame[place] ^= 1 << bit;
            frame.push(TERMINATOR);
            for heard in bodies(&mut Accumulator::new(), &frame) {
                // The checksum bytes alone may not decide: a frame cut short by a flip to zero must fail too.
                prop_assert_ne!(&heard, &body);
                prop_assert!(false, "a corrupted frame was believed");
            }
        }
    }
}
