//! What the writer of a change had been shown of its row: the row as it is by what it
//! had seen, and nothing else.
use rusqlite::Connection;
use wadi_protocol::id::Dot;
use wadi_protocol::resolve::{Lines, resolve};
use wadi_protocol::value::Value;

use super::changes::{self, Entered};
use super::sql::RowKey;
use super::work::{Work, placed};
use super::{Catalog, StoreError};

/// The applied changes of a row.
pub(super) struct Past<'c> {
    catalog: &'c Catalog,
    key: RowKey,
    changes: Vec<Entered>,
    lines: Lines,
}

impl<'c> Past<'c> {
    /// Of a row.
    pub fn of(db: &Connection, catalog: &'c Catalog, key: RowKey) -> Result<Past<'c>, StoreError> {
        let mut work = Work::new(db, catalog, 0)?;
        let changes = changes::applied(db, key)?;
        let lines = work.lines_for(&changes)?.clone();
        Ok(Past { catalog, key, changes, lines })
    }

    /// What a field showed to whoever made a change: none if they had seen nothing of the
    /// row. Field 0 is its existence.
    pub fn shown_to(&self, dot: Dot, field: u16) -> Result<Option<Value>, StoreError> {
        let seen = self.before(dot);
        if seen.is_empty() {
            return Ok(None);
        }
        let table = self.catalog.table(self.key.table)?;
        let resolved = resolve(table, None, &placed(&seen), &self.lines);
        if field == 0 {
            return Ok(Some(Value::Bool(resolved.existence.live())));
        }
        let shown = resolved.fields.into_iter().find(|shown| shown.field == field);
        Ok(shown.map(|shown| shown.value))
    }

    /// What a change had seen, and what that had seen, and so on.
    fn before(&self, dot: Dot) -> Vec<Entered> {
        let place = |dot| self.changes.iter().position(|entered| entered.change.dot == dot);
        let mut seen = vec![false; self.changes.len()];
        let mut open: Vec<usize> = place(dot).into_iter().collect();
        while let Some(after) = open.pop() {
            for (before, known) in seen.iter_mut().enumerate() {
                if !*known && self.precedes(before, after) {
                    *known = true;
                    open.push(before);
                }
            }
        }
        let seen = self
            .changes
            .iter()
            .zip(seen)
            .filter(|(entered, seen)| *seen && entered.change.dot != dot);
        seen.map(|(entered, _)| entered.clone()).collect()
    }

    fn precedes(&self, before: usize, after: usize) -> bool {
        let (before, after) = (&self.changes[before], &self.changes[after]);
        before.seq <= after.seen_seq
            || after.change.seen.above.contains(&before.change.dot)
            || self.lines.earlier(before.change.dot, after.change.dot)
    }
}
