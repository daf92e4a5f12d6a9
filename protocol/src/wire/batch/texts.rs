//! Texts: a dictionary that fills as they come, and what they share with the last.
//!
//! ```text
//! text = 2 * place in the dictionary
//!      | 2 * bytes that follow + 1 | bytes shared with the text before | bytes
//! ```
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::BatchError;
use super::stream::{Reader, Writer};

/// Longer texts hardly come again, and shared bytes cost the reader memory.
const SHARED_BYTES_MAX: usize = 255;

/// Both ends' state of one sequence of texts.
#[derive(Default)]
pub(super) struct Texts {
    known: Vec<String>,
    last: String,
    /// The writer's index of `known`.
    places: BTreeMap<String, usize>,
}

impl Texts {
    pub(super) fn put(&mut self, out: &mut Writer, text: &str) {
        if let Some(place) = self.places.get(text) {
            out.count(place << 1);
        } else {
            let pairs = self.last.bytes().zip(text.bytes()).take(SHARED_BYTES_MAX);
            let shared = pairs.take_while(|(a, b)| a == b).count();
            let rest = &text.as_bytes()[shared..];
            out.count(rest.len() << 1 | 1);
            out.count(shared);
            out.bytes(rest);
            if text.len() <= SHARED_BYTES_MAX {
                self.places.insert(text.into(), self.places.len());
            }
        }
        text.clone_into(&mut self.last);
    }

    pub(super) fn take(&mut self, from: &mut Reader<'_>) -> Result<String, BatchError> {
        let code: usize = from.small("text")?;
        let text = if code & 1 == 0 {
            let known =
                self.known.get(code >> 1).ok_or(BatchError::Malformed("place of a text"))?;
            from.charge(known.len())?;
            known.clone()
        } else {
            let shared = from.count("shared bytes", self.last.len().min(SHARED_BYTES_MAX))?;
            let rest = from.bytes(code >> 1)?;
            from.charge(2 * (shared + rest.len() + size_of::<String>()))?;
            let bytes = [&self.last.as_bytes()[..shared], rest].concat();
            let text =
                String::from_utf8(bytes).map_err(|_| BatchError::Malformed("text is not UTF-8"))?;
            if text.len() <= SHARED_BYTES_MAX {
                self.known.push(text.clone());
            }
            text
        };
        text.clone_into(&mut self.last);
        Ok(text)
    }
}
