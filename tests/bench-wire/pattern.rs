//! What is measured: records that were committed before, and those that are sent.
use std::path::Path;

use anyhow::{Result, ensure};
use wadi_protocol::schema::Schema;

use crate::records::{Record, Rows, read, schema};

/// One pattern.
pub struct Pattern {
    pub name: String,
    pub schema: Schema,
    /// Committed before, in batches of 100.
    pub history: Vec<Record>,
    pub measured: Vec<Record>,
    /// Changes in a batch.
    pub sizes: Vec<usize>,
}

/// The patterns of a folder of records.
///
/// # Errors
/// A file is missing or holds too few records.
pub fn of_folder(folder: &Path, is_short: bool) -> Result<Vec<Pattern>> {
    let schema = schema(folder)?;
    let cut = |count: usize| if is_short { count / 20 } else { count };
    let pattern = |name: &str, before: &str, stream: &str, last: usize, sizes: &[usize]| {
        let mut all = match before {
            "" => Vec::new(),
            before => read(&schema, folder, before)?,
        };
        let after = read(&schema, folder, stream)?;
        ensure!(after.len() >= last, "{stream} has {} records, not {last}", after.len());
        all.extend(after);
        Rows::default().follow(&schema, &mut all);
        let mut measured = all.split_off(all.len() - last);
        measured.truncate(cut(last));
        let history = all.split_off(all.len() - cut(all.len()));
        let name = name.into();
        Ok::<_, anyhow::Error>(Pattern {
            name,
            schema: schema.clone(),
            history,
            measured,
            sizes: sizes.into(),
        })
    };
    let sizes: &[usize] = if is_short { &[1, 100] } else { &[1, 10, 100, 1000] };
    let mut start = pattern("start", "", "insert", 0, &[100])?;
    (start.measured, start.history) = (read(&schema, folder, "insert")?, Vec::new());
    start.measured.truncate(cut(1000));
    Rows::default().follow(&schema, &mut start.measured);
    Ok(vec![
        pattern("insert", "", "insert", 3000, sizes)?,
        pattern("update", "base", "update", 2000, sizes)?,
        pattern("trickle", "base", "trickle", 500, &[1])?,
        start,
    ])
}
