//! What is remembered of a field, or of a field at a device: its last number,
//! how far that lay from the one before, and how far its numbers spread.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::engine::place;

/// Fields, and fields at devices, that are remembered.
const NOTES: usize = 400;
/// Neighbouring places that one may stand in.
const WAYS: usize = 4;

/// What is remembered of one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Note {
    key: u32,
    /// When it was last used, in uses cut to 16 bits; 0 = never.
    used: u16,
    /// The numbers agree in all bits from this one.
    pub(super) spread: u8,
    pub(super) last: i64,
    pub(super) step: i64,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memo {
    notes: Vec<Note>,
    uses: u16,
}

impl Memo {
    pub(super) fn new() -> Memo {
        Memo { notes: vec![Note::default(); NOTES], uses: 0 }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Note>() * self.notes.capacity()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.notes.len() == NOTES
    }

    pub(super) fn get(&self, key: u32) -> Option<&Note> {
        self.ways(key).iter().find(|note| note.key == key && note.used != 0)
    }

    /// The note of a key; the one that was longest unused gives way.
    pub(super) fn note(&mut self, key: u32) -> &mut Note {
        self.uses = self.uses.wrapping_add(1).max(1);
        let uses = self.uses;
        let first = place(key, NOTES / WAYS) * WAYS;
        let ways = &mut self.notes[first..][..WAYS];
        let known = ways.iter().position(|note| note.key == key && note.used != 0);
        let at = known.unwrap_or_else(|| {
            let oldest = (0..WAYS)
                .max_by_key(|at| match ways[*at].used {
                    0 => u16::MAX,
                    used => uses.wrapping_sub(used),
                })
                .expect("ways");
            ways[oldest] = Note { key, ..Note::default() };
            oldest
        });
        ways[at].used = uses;
        &mut ways[at]
    }

    /// Remember the last number.
    pub(super) fn keep(&mut self, key: u32, number: i64) {
        let note = self.note(key);
        note.step = number.wrapping_sub(note.last);
        note.last = number;
    }

    fn ways(&self, key: u32) -> &[Note] {
        &self.notes[place(key, NOTES / WAYS) * WAYS..][..WAYS]
    }
}
