//! Words in blocks, chained: the memory of ids and cells.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

const BLOCKS: usize = 3890;
pub(super) const BLOCK_WORDS: usize = 6;
/// No block.
pub(super) const NONE: u16 = u16::MAX;
/// What fills a block behind its words; nothing that is stored begins so.
pub(super) const FILL: u16 = u16::MAX;

/// All blocks; those that are free are chained too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blocks {
    words: Vec<u16>,
    /// The block after each, in its chain.
    next: Vec<u16>,
    free: u16,
}

impl Blocks {
    pub(super) fn new() -> Blocks {
        let next = (1..=BLOCKS as u16).map(|at| if at == BLOCKS as u16 { NONE } else { at });
        Blocks { words: vec![FILL; BLOCKS * BLOCK_WORDS], next: next.collect(), free: 0 }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        2 * (self.words.capacity() + self.next.capacity())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.words.len() == BLOCKS * BLOCK_WORDS && self.next.len() == BLOCKS
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// The words of a block.
    pub(super) fn words(&self, block: u16) -> &[u16] {
        &self.words[usize::from(block) * BLOCK_WORDS..][..BLOCK_WORDS]
    }

    /// A block and those after it.
    pub(super) fn chain(&self, first: u16) -> impl Iterator<Item = u16> + '_ {
        let there = |block: u16| (block != NONE).then_some(block);
        core::iter::successors(there(first), move |block| there(self.next(*block)))
    }

    pub(super) fn next(&self, block: u16) -> u16 {
        if block == NONE { NONE } else { self.next[usize::from(block)] }
    }

    /// Put words, a block at most, behind a block, if there is one. One must be free.
    pub(super) fn put(&mut self, behind: u16, words: &[u16]) -> u16 {
        let block = self.free;
        let place = usize::from(block);
        self.free = core::mem::replace(&mut self.next[place], NONE);
        let to = &mut self.words[place * BLOCK_WORDS..][..BLOCK_WORDS];
        to.fill(FILL);
        to[..words.len()].copy_from_slice(words);
        if behind != NONE {
            self.next[usize::from(behind)] = block;
        }
        block
    }

    /// Free a block and those after it.
    pub(super) fn release(&mut self, mut block: u16) {
        while block != NONE {
            let next = core::mem::replace(&mut self.next[usize::from(block)], self.free);
            self.free = block;
            block = next;
        }
    }

    /// Free those after a block.
    pub(super) fn release_after(&mut self, block: u16) {
        if block != NONE {
            let rest = core::mem::replace(&mut self.next[usize::from(block)], NONE);
            self.release(rest);
        }
    }
}
