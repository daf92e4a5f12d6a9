//! What operators type: one function for each command.
//!
//! Each takes the store and writes to the output it is given: lists as
//! tab-separated lines behind a header, or JSON where a program asks. Nothing
//! here knows a table of the store or parses the command line.
use std::io::{self, Write};

use crate::store::StoreError;
use crate::store::export::ExportError;

mod agreement;
mod broker_config;
mod export;
mod gateway;
mod history;
mod ledger;
mod quarantine;
mod rescue;
mod review;
mod schema;
mod status;

pub use self::agreement::agreement;
pub use self::broker_config::broker_config;
pub use self::export::export;
pub use self::gateway::{
    Enroller, gateway_enrol, gateway_list, gateway_rejoin, gateway_revoke, subject,
};
pub use self::history::history;
pub use self::ledger::ledger;
pub use self::quarantine::{
    quarantine_list, quarantine_map, quarantine_reject, quarantine_repair, quarantine_show,
};
pub use self::rescue::{backup, restore, resume};
pub use self::review::{
    review_closed, review_list, review_settle, review_settle_alike, review_show, review_undo,
};
pub use self::schema::{schema_check, schema_publish};
pub use self::status::status;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// At the store, or by its word.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// At the output.
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
    /// At a file that was named.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it, a problem a line.
        reason: String,
    },
    /// A word of the command line is not what it should be.
    #[error("{word:?} is {error}")]
    Word {
        /// The word.
        word: String,
        /// What it is not.
        error: wadi_protocol::id::BadId,
    },
}

impl From<ExportError> for CommandError {
    fn from(error: ExportError) -> CommandError {
        match error {
            ExportError::Store(error) => CommandError::Store(error),
            ExportError::Write(error) => CommandError::Output(error),
        }
    }
}

/// A word of the command line as an id.
fn id<T: std::str::FromStr<Err = wadi_protocol::id::BadId>>(word: &str) -> Result<T, CommandError> {
    word.parse().map_err(|error| CommandError::Word { word: word.into(), error })
}

/// One line of a list; what would break the line is shown as a space.
fn line(out: &mut dyn Write, cells: &[&str]) -> io::Result<()> {
    let cells: Vec<String> = cells
        .iter()
        .map(|cell| cell.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect())
        .collect();
    writeln!(out, "{}", cells.join("\t"))
}

/// A pretty JSON answer.
fn json(out: &mut dyn Write, answer: &serde_json::Value) -> io::Result<()> {
    writeln!(out, "{answer:#}")
}
