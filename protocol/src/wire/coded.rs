//! What is written against a model that both ends have: changesets up, the rows of pages down.
//!
//! ```text
//! coded changeset = 2 (1 byte) | name of the model (4 bytes) | batch
//! coded page      = 2 (1 byte) | name of the model (4 bytes) | bytes of the rest (4 bytes)
//!                 | the page without its usual rows, and where they stood | those rows
//! ```
//! A model ([`super::adaptive`]) is what the batches of one direction of a link taught, as
//! far as they were committed. Its name is a hash of the codec's version and of all those
//! batches, so equal names mean equal models, whatever happened to either end since: a
//! restored or copied box only has to find which of its models the other end can make too.
//! No schema is part of it, since the codec asks none.
//!
//! Everything can be written plainly as well ([`super::batch`], [`super::downlink`]): where
//! the other end speaks only that, where no model takes what is to be written, and where
//! the ends find no common one. What travels plainly teaches nobody.
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::adaptive::{self, ADAPTIVE_VERSION, Model};
use super::batch::{self, Batch, BatchError};
use crate::id::Hash;

/// Writing that asks no model.
pub const CODEC_PLAIN: u8 = 1;
/// The newest way of writing that this side speaks, besides the one before it.
pub const CODEC_NEWEST: u8 = 2;
/// Models that the hub names when it has not got the one that it was asked for.
pub const MODELS_TOLD_MAX: usize = 8;

/// Bytes before what is coded: the version and the name.
const FRAME_BYTES: usize = 5;

/// What a model is called: a hash of all that it was taught.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ModelName(pub [u8; 4]);

impl ModelName {
    /// Of the model that was taught nothing: every end has it.
    pub fn empty() -> ModelName {
        ModelName::of(&[b"wadi model", &[ADAPTIVE_VERSION]])
    }

    /// Of the model behind what was coded with this one.
    pub fn after(self, coded: &[u8]) -> ModelName {
        ModelName::of(&[b"wadi model", &self.0, coded])
    }

    fn of(parts: &[&[u8]]) -> ModelName {
        let Hash([a, b, c, d, ..]) = Hash::of(parts);
        ModelName([a, b, c, d])
    }
}

/// A model, and what it is called.
#[derive(Clone)]
pub struct Named {
    /// Its name.
    pub name: ModelName,
    /// Itself.
    pub model: Arc<Model>,
}

impl Named {
    /// The model that was taught nothing.
    pub fn empty() -> Named {
        Named { name: ModelName::empty(), model: Arc::new(Model::new()) }
    }

    pub(super) fn next(&self, model: Model, coded: &[u8]) -> Named {
        Named { name: self.name.after(coded), model: Arc::new(model) }
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Models in memory, so many at most, the one that was used last first. What goes by name
/// is right whatever becomes of a transaction.
#[derive(Clone, Debug)]
pub struct Held {
    most: usize,
    models: Vec<Named>,
}

impl Held {
    /// Room for so many.
    pub fn of(most: usize) -> Held {
        Held { most, models: Vec::new() }
    }

    /// The model of this name, if it is in memory.
    pub fn find(&self, name: ModelName) -> Option<Named> {
        self.models.iter().find(|named| named.name == name).cloned()
    }

    /// Remember a model.
    pub fn keep(&mut self, named: Named) {
        self.models.retain(|other| other.name != named.name);
        self.models.insert(0, named);
        self.models.truncate(self.most);
    }
}

/// A model that is made again, of what is stored.
pub struct Making(Option<(ModelName, Model)>);

impl Making {
    /// With nothing.
    pub fn begin() -> Making {
        Making(Some((ModelName::empty(), Model::new())))
    }

    /// Go on from a whole model, see [`Model::checkpoint`].
    pub fn restore(&mut self, name: ModelName, bytes: &[u8]) {
        self.0 = Model::restore(bytes).map(|model| (name, model));
    }

    /// What was coded against it comes next.
    pub fn teach(&mut self, coded: &[u8]) {
        self.0 = self.0.take().and_then(|(name, mut model)| {
            adaptive::decode(&mut model, coded).ok()?;
            Some((name.after(coded), model))
        });
    }

    /// The model; none if what is stored is damaged.
    pub fn end(self) -> Option<Named> {
        self.0.map(|(name, model)| Named { name, model: Arc::new(model) })
    }
}

/// Something as it travels.
pub struct Written {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The model behind it; none where it is written plainly.
    pub after: Option<Named>,
}

/// How something is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing<'a> {
    /// Without a model, or in a way that the decoder will refuse.
    Plain,
    /// Against the model of this name: the frame is taken off.
    Against(ModelName, &'a [u8]),
    /// In a way that is newer than this side.
    Unknown(u8),
}

impl Writing<'_> {
    /// The model that is needed to read it; none where it needs none, or nothing helps.
    pub fn model(self) -> Option<ModelName> {
        match self {
            Writing::Against(name, _) => Some(name),
            Writing::Plain | Writing::Unknown(_) => None,
        }
    }
}

/// How a changeset or a page is written.
pub fn writing(bytes: &[u8]) -> Writing<'_> {
    match bytes.first() {
        Some(&CODEC_NEWEST) => match bytes.split_first_chunk::<FRAME_BYTES>() {
            Some(([_, a, b, c, d], rest)) => Writing::Against(ModelName([*a, *b, *c, *d]), rest),
            None => Writing::Plain,
        },
        Some(&version) if version > CODEC_NEWEST => Writing::Unknown(version),
        _ => Writing::Plain,
    }
}

/// The frame of what is written against a model.
pub(super) fn frame(name: ModelName) -> Vec<u8> {
    let mut bytes = alloc::vec![CODEC_NEWEST];
    bytes.extend_from_slice(&name.0);
    bytes
}

/// Write a changeset: against the model, if there is one and it takes it.
pub fn write_batch(before: Option<&Named>, batch: &Batch) -> Written {
    let coded = before.and_then(|before| {
        let mut model = (*before.model).clone();
        let coded = adaptive::encode(&mut model, batch).ok()?;
        let mut bytes = frame(before.name);
        bytes.extend_from_slice(&coded);
        Some(Written { bytes, after: Some(before.next(model, &coded)) })
    });
    coded.unwrap_or_else(|| Written { bytes: batch::encode(batch), after: None })
}

/// Read a changeset against the model that it names ([`writing`]), and tell the one behind it.
///
/// # Errors
/// It is none, or was not written against this model.
pub fn read_batch(
    bytes: &[u8],
    model: Option<&Named>,
) -> Result<(Batch, Option<Named>), BatchError> {
    match (writing(bytes), model) {
        (Writing::Against(name, coded), Some(before)) if name == before.name => {
            let mut model = (*before.model).clone();
            let batch = adaptive::decode(&mut model, coded)?;
            Ok((batch, Some(before.next(model, coded))))
        }
        (Writing::Against(..), _) => Err(BatchError::Malformed("written against another model")),
        (Writing::Unknown(version), _) => Err(BatchError::Version(version)),
        (Writing::Plain, _) => Ok((batch::decode(bytes)?, None)),
    }
}
