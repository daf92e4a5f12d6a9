//! `wadi-hub schema check | publish`.
use std::io::Write;
use std::path::Path;

use super::CommandError;
use crate::store::schema::Change;
use crate::store::{Store, StoreError};
use crate::words::plain;

/// Say whether a file could be published; without a store, as the first one.
pub fn schema_check(
    store: Option<&Store>,
    file: &Path,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let text = read(file)?;
    let checked = match store {
        Some(store) => store.check_schema(&text),
        None => Store::check_first_schema(&text),
    };
    let change = checked.map_err(|error| about(file, error))?;
    let says = match change {
        Change::Same(version) => format!("published as version {version}"),
        Change::Next(version) => format!("good, would be version {version}"),
    };
    Ok(writeln!(out, "{}: {says}", file.display())?)
}

/// Publish a file.
pub fn schema_publish(
    store: &mut Store,
    file: &Path,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let change = store.publish_schema(&read(file)?, now_s).map_err(|error| about(file, error))?;
    let says = match change {
        Change::Same(version) => format!("is version {version} already, nothing to do"),
        Change::Next(version) => format!("published as version {version}"),
    };
    Ok(writeln!(out, "{}: {says}", file.display())?)
}

fn read(file: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(file).map_err(|error| CommandError::File {
        file: file.display().to_string(),
        reason: plain(&error),
    })
}

/// The file's problems, one a line behind its name.
fn about(file: &Path, error: StoreError) -> CommandError {
    match error {
        StoreError::Refused(reason) => CommandError::File {
            file: file.display().to_string(),
            reason: reason.replace('\n', "\n  "),
        },
        error => error.into(),
    }
}
