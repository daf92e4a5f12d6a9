//! One batch at work: the model, the coder, and what decoding may still cost.
use alloc::string::String;
use alloc::vec::Vec;

use super::coder::{Coder, DECISIONS_MAX};
use super::engine::{EXPERTS, Question, hash};
use super::model::{FAMILY_HEAD, Model};
use super::number::{self, SIDES, Site};
use super::spell;
use super::{ADAPTIVE_BYTES_MAX, BatchError};
use crate::limits::BATCH_MEMORY_BYTES_MAX;

/// What goes through the changes of a batch.
pub(super) struct Work<'a> {
    pub(super) model: &'a mut Model,
    pub(super) coder: Coder<'a>,
    pub(super) memory_left: usize,
    /// Bytes that may still be spelled.
    text_left: usize,
}

impl<'a> Work<'a> {
    pub(super) fn new(model: &'a mut Model, coder: Coder<'a>) -> Work<'a> {
        Work { model, coder, memory_left: BATCH_MEMORY_BYTES_MAX, text_left: ADAPTIVE_BYTES_MAX }
    }

    /// Announce that `bytes` of memory are about to be taken.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), BatchError> {
        let left = self.memory_left.checked_sub(bytes);
        self.memory_left =
            left.ok_or(BatchError::Limit { what: "bytes in memory", max: BATCH_MEMORY_BYTES_MAX })?;
        self.check()
    }

    /// Stop where the bytes have ended, or too much has been decided.
    pub(super) fn check(&self) -> Result<(), BatchError> {
        if self.coder.is_past() {
            return Err(BatchError::Malformed("it ends early"));
        }
        match self.coder.is_spent() {
            true => Err(BatchError::Limit { what: "decisions", max: DECISIONS_MAX }),
            false => Ok(()),
        }
    }

    /// A number of the frame around values. `tag` says which, `sides` what may tell of it.
    pub(super) fn head(&mut self, tag: u32, sides: &[u32], named: &[i64], given: i64) -> i64 {
        let mut site = Site { family: FAMILY_HEAD, field: hash(0x4ead, tag), ..Site::default() };
        for (at, side) in sides.iter().enumerate().take(SIDES) {
            site.sides[at] = hash(at as u32 + 1, *side);
        }
        for (at, named) in named.iter().enumerate().take(EXPERTS) {
            site.named[at] = Some(*named);
        }
        self.number(&site, given)
    }

    /// A number of the frame that is never negative and at most `max`.
    pub(super) fn count(
        &mut self,
        tag: u32,
        sides: &[u32],
        what: &'static str,
        max: usize,
        given: usize,
    ) -> Result<usize, BatchError> {
        let count = self.head(tag, sides, &[], given as i64);
        self.check()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= max)
            .ok_or(BatchError::Limit { what, max })
    }

    pub(super) fn number(&mut self, site: &Site, given: i64) -> i64 {
        number::code(self.model, &mut self.coder, site, given)
    }

    /// One decision of the frame.
    pub(super) fn flag(&mut self, tag: u32, side: u32, given: bool) -> bool {
        let node = hash(0xf1a6, tag);
        let contexts = [node, hash(node, side)];
        let ask = Question { family: FAMILY_HEAD, site: node, contexts: &contexts, experts: &[] };
        self.model.engine.decide(&mut self.coder, &ask, given)
    }

    /// Bits that nothing tells of.
    pub(super) fn raw(&mut self, bits: u32, given: u64) -> u64 {
        let mut built = 0;
        for at in (0..bits).rev() {
            let bit = self.coder.bit(1 << 15, given >> at & 1 != 0);
            built = built << 1 | u64::from(bit);
        }
        built
    }

    /// A text that is spelled.
    pub(super) fn spell(
        &mut self,
        field: u32,
        like: &[u8],
        given: &str,
    ) -> Result<String, BatchError> {
        let bytes =
            spell::code(self.model, &mut self.coder, field, like, given.as_bytes(), self.text_left);
        self.check()?;
        let limit = BatchError::Limit { what: "bytes of texts", max: ADAPTIVE_BYTES_MAX };
        let bytes: Vec<u8> = bytes.ok_or(limit)?;
        self.text_left -= bytes.len();
        self.charge(2 * (bytes.len() + size_of::<String>()))?;
        String::from_utf8(bytes).map_err(|_| BatchError::Malformed("text is not UTF-8"))
    }
}
