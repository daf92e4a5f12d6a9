//! The primitives of a batch, and the bounds on what hostile bytes may cost.
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::BatchError;
use crate::limits::BATCH_MEMORY_BYTES_MAX;

/// Bytes that grow.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
}

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.put(&number);
    }

    pub(super) fn count(&mut self, count: usize) {
        self.put(&(count as u64));
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.put(&number);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn put(&mut self, what: &impl Serialize) {
        let out = core::mem::take(&mut self.out);
        self.out = postcard::to_extend(what, out).expect("numbers always encode");
    }
}

/// Bytes that are read, and how much memory what they say may still take.
///
/// A dictionary makes much of few bytes: so all that is made of a batch is
/// counted, before it is made.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    memory_left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, memory_left: BATCH_MEMORY_BYTES_MAX }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Announce that `bytes` of memory are about to be taken.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), BatchError> {
        let left = self.memory_left.checked_sub(bytes);
        self.memory_left =
            left.ok_or(BatchError::Limit { what: "bytes in memory", max: BATCH_MEMORY_BYTES_MAX })?;
        Ok(())
    }

    pub(super) fn number(&mut self) -> Result<u64, BatchError> {
        self.take("number")
    }

    pub(super) fn signed(&mut self) -> Result<i64, BatchError> {
        self.take("signed number")
    }

    /// A number of a smaller type.
    pub(super) fn small<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, BatchError> {
        narrow(self.number()?, what)
    }

    /// How many of `what` follow, at most `max`.
    pub(super) fn count(&mut self, what: &'static str, max: usize) -> Result<usize, BatchError> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count <= max);
        count.ok_or(BatchError::Limit { what, max })
    }

    /// How many of `what` follow: each takes a byte at least, so never more than are left.
    pub(super) fn many(&mut self, what: &'static str) -> Result<usize, BatchError> {
        self.count(what, self.rest.len())
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let cut = self.rest.split_at_checked(len).ok_or(BatchError::Malformed("it ends early"))?;
        self.rest = cut.1;
        Ok(cut.0)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn take<T: DeserializeOwned>(&mut self, what: &'static str) -> Result<T, BatchError> {
        let taken = postcard::take_from_bytes(self.rest);
        let (value, rest) = taken.map_err(|_| BatchError::Malformed(what))?;
        self.rest = rest;
        Ok(value)
    }
}

/// A number as one of a smaller type.
pub(super) fn narrow<T: TryFrom<u64>>(number: u64, what: &'static str) -> Result<T, BatchError> {
    T::try_from(number).map_err(|_| BatchError::Malformed(what))
}

/// How far `number` lies from what was foreseen, small either way.
pub(super) fn apart(number: u64, foreseen: u64) -> u64 {
    let apart = number.wrapping_sub(foreseen).cast_signed();
    ((apart << 1) ^ (apart >> 63)).cast_unsigned()
}

/// The number that lies `apart` from what was foreseen.
pub(super) fn together(apart: u64, foreseen: u64) -> u64 {
    let apart = (apart >> 1) ^ (apart & 1).wrapping_neg();
    foreseen.wrapping_add(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_bring_back_their_number() {
        for (number, foreseen) in
            [(0, 0), (1, 0), (0, 1), (u64::MAX, 0), (0, u64::MAX), (1 << 63, 0)]
        {
            assert_eq!(together(apart(number, foreseen), foreseen), number);
        }
        assert_eq!((apart(7, 7), apart(8, 7), apart(6, 7)), (0, 2, 1));
    }
}
