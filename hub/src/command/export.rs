//! `wadi-hub export`.
use std::io::{BufWriter, Write};

use super::CommandError;
use crate::store::Store;

/// Write the canonical export: JSON lines.
pub fn export(store: &Store, out: &mut dyn Write) -> Result<(), CommandError> {
    Ok(store.export(&mut BufWriter::new(out))?)
}
