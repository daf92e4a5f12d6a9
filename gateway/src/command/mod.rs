//! What people ask of a gateway beside the running one: `status`, `schema`,
//! `ledger`, `plan`. A page of plain words, problems first, or JSON for programs.
//!
//! One file for each; each takes facts and writes to the output it is given.
use std::io;

use crate::store::StoreError;

mod ledger;
mod plan;
mod schema;
mod status;

pub use self::ledger::ledger;
pub use self::plan::{Terms, plan, rate};
pub use self::schema::schema;
pub use self::status::status;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// At the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// At the output.
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data always serialises")
}
