//! Where random bits come from: the operating system, unless a simulation says so.
use std::fmt;
use std::sync::Arc;

use super::StoreError;

/// A source of random bits.
#[derive(Clone, Default)]
pub struct Draw(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl Draw {
    /// Bits that are not random, for a run that can be played again.
    pub fn of(source: impl Fn() -> u64 + Send + Sync + 'static) -> Draw {
        Draw(Some(Arc::new(source)))
    }

    /// 64 of them.
    pub(super) fn bits(&self) -> Result<u64, StoreError> {
        match &self.0 {
            Some(source) => Ok(source()),
            None => getrandom::u64().map_err(|error| StoreError::Random(error.to_string())),
        }
    }
}

impl fmt::Debug for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Draw(played)" } else { "Draw(system)" })
    }
}
