//! Where random bits come from: the operating system, unless a simulation says so.
use std::sync::Arc;
use std::{fmt, io};

use crate::noise::key::{KEY_BYTES, KeyPair};

/// A source of random bits.
#[derive(Clone, Default)]
pub struct Draw(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl Draw {
    /// Bits that are not random, for a run that can be played again.
    pub fn of(source: impl Fn() -> u64 + Send + Sync + 'static) -> Draw {
        Draw(Some(Arc::new(source)))
    }

    /// 64 of them.
    pub(super) fn bits(&self) -> io::Result<u64> {
        match &self.0 {
            Some(source) => Ok(source()),
            None => getrandom::u64().map_err(|error| io::Error::other(error.to_string())),
        }
    }

    /// A pair of keys.
    pub(super) fn keys(&self) -> io::Result<KeyPair> {
        let Some(source) = &self.0 else {
            return KeyPair::draw();
        };
        let mut secret = [0; KEY_BYTES];
        secret.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&source().to_be_bytes()));
        Ok(KeyPair::of(secret))
    }
}

impl fmt::Debug for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Draw(played)" } else { "Draw(system)" })
    }
}
