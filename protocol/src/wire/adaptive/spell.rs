//! Texts that are spelled: byte by byte, each expected by the bytes before it.
use alloc::vec::Vec;

use super::coder::Coder;
use super::engine::{Claim, Question, hash};
use super::model::{FAMILY_SPELL, Model};

/// The byte that ends a text; where it stands in one, another decision says so.
const END: u8 = 0;

/// What is known of the text so far.
struct Spelling {
    field: u32,
    text: Vec<u8>,
    /// Where in the ring of texts the bytes before this one stand too, and for how long.
    follows: Option<(usize, u32)>,
    word: u32,
}

/// Code a text of at most `max` bytes; none if it is longer.
///
/// `like` is a text that this one may resemble.
pub(super) fn code(
    model: &mut Model,
    coder: &mut Coder<'_>,
    field: u32,
    like: &[u8],
    given: &[u8],
    max: usize,
) -> Option<Vec<u8>> {
    let mut spelling = Spelling { field, text: Vec::new(), follows: None, word: 0 };
    loop {
        let wanted = given.get(spelling.text.len()).copied();
        let byte = spelling.byte(model, coder, like, wanted.unwrap_or(END));
        if byte == END {
            let node = hash(0xe9d, field);
            let ends = flag(model, coder, node, wanted.is_none());
            if ends {
                return Some(spelling.text);
            }
        }
        if spelling.text.len() == max || coder.is_past() || coder.is_spent() {
            return None;
        }
        spelling.push(model, byte);
    }
}

fn flag(model: &mut Model, coder: &mut Coder<'_>, node: u32, given: bool) -> bool {
    let ask = Question { family: FAMILY_SPELL + 1, site: node, contexts: &[node], experts: &[] };
    model.engine.decide(coder, &ask, given)
}

impl Spelling {
    fn byte(&mut self, model: &mut Model, coder: &mut Coder<'_>, like: &[u8], given: u8) -> u8 {
        let len = self.text.len();
        let back = |n: usize| if n <= len { u32::from(self.text[len - n]) } else { 256 };
        let orders = [
            hash(1, self.field),
            hash(2, back(1)),
            hash(hash(3, back(1)), self.field),
            hash(hash(4, back(1)), back(2)),
            hash(hash(hash(5, back(1)), back(2)), self.field),
            hash(hash(hash(6, back(1)), back(2)), back(3)),
            hash(hash(hash(hash(7, back(1)), back(2)), back(3)), back(4)),
            hash(hash(8, self.field), len.min(12) as u32),
            hash(hash(9, self.word), back(1)),
            hash(hash(10, like.get(len).copied().unwrap_or(0).into()), back(1)),
        ];
        let repeated = self.follows.map(|(at, long)| (model.texts.byte(at), long));
        let alike = like.get(len).copied().unwrap_or(END);
        let same = like.len() >= len && like[..len] == self.text;
        let tail = like.len() >= len && len > 0 && like[len - 1] == self.text[len - 1];
        let mut built = 1u32;
        for at in (0..8).rev() {
            let contexts = orders.map(|order| hash(order, built));
            let claim = |byte: u8, case: u32| {
                let common = hash(hash(0x5e, case), 8 - at);
                let heard = (256 | u32::from(byte)) >> (at + 1) == built;
                let own = hash(common, self.field);
                heard.then_some(Claim { bit: byte >> at & 1 != 0, own, common })
            };
            let experts = [
                repeated.and_then(|(byte, long)| claim(byte, long.min(15))),
                claim(alike, 16 + 2 * u32::from(same) + u32::from(tail)),
            ];
            let ask = Question {
                family: FAMILY_SPELL,
                site: hash(0x5e11, built.min(1 << 3)),
                contexts: &contexts,
                experts: &experts,
            };
            let bit = model.engine.decide(coder, &ask, given >> at & 1 != 0);
            built = built << 1 | u32::from(bit);
        }
        built as u8
    }

    fn push(&mut self, model: &Model, byte: u8) {
        self.text.push(byte);
        self.word = match byte.is_ascii_alphanumeric() {
            true => hash(self.word, byte.into()),
            false => 0,
        };
        self.follows = match self.follows {
            Some((at, long)) if model.texts.byte(at) == byte => Some((at + 1, long + 1)),
            _ => model.texts.repetition(&self.text).map(|at| (at, 0)),
        };
    }
}
