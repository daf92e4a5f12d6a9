//! The texts that the model remembers, each under its field.
//!
//! A text has a place among those of its field, which is what travels when it
//! comes again. The bytes stand in a ring; at its end the oldest give way, but
//! those that were used since they were written there are written anew.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::engine::{hash, place};

/// Bytes of all texts.
const ARENA_BYTES: usize = 16 * 1024;
/// Texts.
const TEXTS_MAX: usize = 1280;
/// Longer texts have no place: only their letters are remembered, in pieces.
pub(super) const TEXT_BYTES_MAX: usize = 160;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Text {
    /// Hash of the field; fields that share it share places.
    field: u16,
    at: u16,
    /// Its place among those of its field.
    place: u16,
    len: u8,
    used: bool,
}

/// All texts, the oldest first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Texts {
    /// The texts, from `first` on, around.
    ring: Vec<Text>,
    first: u16,
    count: u16,
    arena: Vec<u8>,
    head: u16,
    /// Where three bytes, and six, were written last, by their hash.
    trails: [Vec<u16>; 2],
}

/// Bytes that must be alike for a repetition to be followed.
const ALIKE_BYTES: [usize; 2] = [3, 6];
const TRAILS: usize = 1024;

/// Instead of a place.
const NOWHERE: u16 = u16::MAX;
const EMPTY: Text = Text { field: 0, at: 0, place: 0, len: 0, used: false };

impl Texts {
    pub(super) fn new() -> Texts {
        Texts {
            ring: vec![EMPTY; TEXTS_MAX],
            first: 0,
            count: 0,
            arena: vec![0; ARENA_BYTES],
            head: 0,
            trails: [vec![0; TRAILS], vec![0; TRAILS]],
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Text>() * self.ring.capacity()
            + self.arena.capacity()
            + 2 * self.trails.iter().map(Vec::capacity).sum::<usize>()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.ring.len() == TEXTS_MAX
            && self.trails.iter().all(|trail| trail.len() == TRAILS)
            && self.trails.iter().flatten().all(|at| usize::from(*at) < ARENA_BYTES)
            && self.arena.len() == ARENA_BYTES
            && usize::from(self.head) < ARENA_BYTES
            && usize::from(self.first) < TEXTS_MAX
            && usize::from(self.count) <= TEXTS_MAX
    }

    /// The byte at a place of the ring, around.
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.arena[at % ARENA_BYTES]
    }

    /// Behind the newest place where the last bytes of a text were written.
    pub(super) fn repetition(&self, text: &[u8]) -> Option<usize> {
        let mut both = self.trails.iter().zip(ALIKE_BYTES).rev();
        both.find_map(|(places, alike)| {
            let last = &text[text.len().checked_sub(alike)?..];
            let at = usize::from(places[trail(last)]);
            let there = (0..alike).map(|step| self.byte(at + step));
            there.eq(last.iter().copied()).then_some(at + alike)
        })
    }

    /// The place of a text among those of its field.
    pub(super) fn find(&self, field: u32, text: &[u8]) -> Option<u16> {
        let field = short(field);
        let found = self.all().find(|known| {
            known.field == field && usize::from(known.len) == text.len() && self.is(known, text)
        });
        found.map(|known| known.place)
    }

    /// The text of a place.
    pub(super) fn get(&self, field: u32, place: u16) -> Option<Vec<u8>> {
        let field = short(field);
        let known = self.all().find(|known| known.field == field && known.place == place)?;
        Some(self.bytes(known).collect())
    }

    /// Say that a text came again.
    pub(super) fn touch(&mut self, field: u32, place: u16) {
        let field = short(field);
        let known = self
            .ring
            .iter_mut()
            .find(|known| known.field == field && known.place == place && known.len != 0);
        if let Some(known) = known {
            known.used = true;
        }
    }

    /// Remember a text: its place is the first that is free in its field.
    pub(super) fn add(&mut self, field: u32, text: &[u8]) -> Option<u16> {
        let field = short(field);
        if text.len() > TEXT_BYTES_MAX {
            text.chunks(TEXT_BYTES_MAX).for_each(|piece| self.write(field, NOWHERE, piece));
        }
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut taken = [0u64; TEXTS_MAX / 64 + 1];
        for known in self.all().filter(|known| known.field == field) {
            let place = usize::from(known.place);
            taken[place / 64] |= 1 << (place % 64);
        }
        let place = (0..).find(|place| taken[place / 64] >> (place % 64) & 1 == 0)? as u16;
        self.write(field, place, text);
        Some(place)
    }

    fn write(&mut self, field: u16, place: u16, text: &[u8]) {
        let mut again = Vec::new();
        while usize::from(self.count) == TEXTS_MAX || self.free() < text.len() {
            let oldest = self.ring[usize::from(self.first)];
            if oldest.used && again.len() < 8 {
                again.push((oldest, self.bytes(&oldest).collect::<Vec<u8>>()));
            }
            self.ring[usize::from(self.first)] = EMPTY;
            self.first = (self.first + 1) % TEXTS_MAX as u16;
            self.count -= 1;
        }
        self.append(field, place, text);
        for (known, bytes) in again {
            while usize::from(self.count) == TEXTS_MAX || self.free() < bytes.len() {
                self.ring[usize::from(self.first)] = EMPTY;
                self.first = (self.first + 1) % TEXTS_MAX as u16;
                self.count -= 1;
            }
            self.append(known.field, known.place, &bytes);
        }
    }

    fn append(&mut self, field: u16, place: u16, text: &[u8]) {
        let at = self.head;
        for byte in text {
            self.arena[usize::from(self.head)] = *byte;
            self.head = (self.head + 1) % ARENA_BYTES as u16;
        }
        for (places, alike) in self.trails.iter_mut().zip(ALIKE_BYTES) {
            for (step, bytes) in text.windows(alike).enumerate() {
                places[trail(bytes)] = ((usize::from(at) + step) % ARENA_BYTES) as u16;
            }
        }
        let last = (usize::from(self.first) + usize::from(self.count)) % TEXTS_MAX;
        self.ring[last] = Text { field, at, place, len: text.len() as u8, used: false };
        self.count += 1;
    }

    /// Bytes between the newest text and the oldest.
    fn free(&self) -> usize {
        if self.count == 0 {
            return ARENA_BYTES - 1;
        }
        let tail = usize::from(self.ring[usize::from(self.first)].at);
        (tail + ARENA_BYTES - 1 - usize::from(self.head)) % ARENA_BYTES
    }

    fn all(&self) -> impl Iterator<Item = &Text> {
        self.ring.iter().filter(|known| known.len != 0 && known.place != NOWHERE)
    }

    fn bytes<'a>(&'a self, text: &Text) -> impl Iterator<Item = u8> + 'a {
        let at = usize::from(text.at);
        (at..at + usize::from(text.len)).map(|at| self.arena[at % ARENA_BYTES])
    }

    fn is(&self, known: &Text, text: &[u8]) -> bool {
        self.bytes(known).eq(text.iter().copied())
    }
}

fn short(field: u32) -> u16 {
    (field >> 16) as u16
}

fn trail(bytes: &[u8]) -> usize {
    place(bytes.iter().fold(0, |key, byte| hash(key, (*byte).into())), TRAILS)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn texts_come_back_and_those_in_use_outlive_the_others() {
        let mut texts = Texts::new();
        let field = 5 << 16;
        assert_eq!(texts.add(field, b"often"), Some(0));
        for number in 0..5_000 {
            let text = format!("seldom {number}");
            let place = texts.add(field, text.as_bytes()).unwrap();
            assert_eq!(texts.get(field, place).as_deref(), Some(text.as_bytes()));
            texts.touch(field, 0);
        }
        assert_eq!(texts.get(field, 0).as_deref(), Some(&b"often"[..]));
        assert_eq!(texts.find(field, b"often"), Some(0));
        assert_eq!((texts.find(field, b"seldom 0"), texts.find(6 << 16, b"often")), (None, None));
        let after = texts.repetition(b"xseldom").unwrap();
        assert_eq!(texts.byte(after), b' ');
        assert_eq!(texts.add(field, &[b'x'; TEXT_BYTES_MAX + 1]), None);
    }
}
