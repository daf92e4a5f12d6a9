//! Changes: what one device did to one row, and what it had been shown.
//!
//! A change is immutable once its dot is given. Tables and fields are numbered
//! where a schema was known and named where it was not; [`crate::schema::interpret`]
//! turns the second form into the first.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{Dot, RowId, RowVersion};
use crate::stamp::Stamp;
use crate::value::Value;

/// A table, by the hub's number or by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TableRef {
    /// The hub's number for it.
    Number(u16),
    /// As the record named it.
    Name(String),
}

/// A field, by the hub's number or by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum FieldRef {
    /// The hub's number for it within its table.
    Number(u16),
    /// As the record named it.
    Name(String),
}

/// What happens to the row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Op {
    /// It comes to be; fields that are not carried become null.
    Insert,
    /// The carried fields change.
    Update,
    /// It ceases to be.
    Delete,
    /// An operator settles the carried fields: like an update, and the only change
    /// that closes an open case. Field 0 (existence) is settled by a boolean.
    Settle,
    /// What a settle counts as once an operator has undone it: it stands where it stood
    /// among what precedes what, and says nothing. Never made, see [`crate::ruling`].
    Undone,
}

/// What happens to one field.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Delta {
    /// It takes this value.
    Set(Value),
    /// `sum`: this much is added (scaled, for decimals).
    Add(i64),
    /// `append`: this entry is added.
    Append(String),
    /// `set`: entries come and go.
    Edit {
        /// Entries added.
        add: Vec<String>,
        /// Entries removed: exactly the additions of them that had been seen.
        remove: Vec<String>,
    },
    /// It took a value that a later change of its own writer has replaced, and which did
    /// not travel: its table keeps the latest only. Touches the field, and says nothing.
    Passed,
}

/// What the writer had been shown of the row.
///
/// Judged per field: of `above`, only the changes that touch a field count for
/// it, so naming more dots than touch it claims nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The version of the row image in base: every change of the row up to it.
    pub version: RowVersion,
    /// Changes of the row shown above that image by other devices; per field the
    /// latest suffice, since *precedes* is transitive. Sorted.
    pub above: Vec<Dot>,
}

/// A row that a delete's writer was shown as going with it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SeenRow {
    /// Its table.
    pub table: u16,
    /// The row.
    pub row: RowId,
    /// What had been shown of it.
    pub seen: Seen,
}

/// The group of a change: consecutive sequences of one run that share custody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Sequence of the group's first change.
    pub first: u64,
    /// How many changes.
    pub len: u16,
}

/// One change, whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub dot: Dot,
    /// When it was made; never rewritten.
    pub stamp: Stamp,
    /// The device's own clock at entry, seconds since 1970.
    pub entered_s: u64,
    /// Given at intake when the stamp lies beyond the drift bound: used in its
    /// place wherever stamps are compared. Of several the least counts.
    pub contained: Option<Stamp>,
    /// The schema version it was written in; 0 = none was known.
    pub schema: u32,
    /// The version of rights under which it was made.
    pub rights: u32,
    /// The group it shares custody with, unless it stands alone.
    pub group: Option<Group>,
    /// The table.
    pub table: TableRef,
    /// The row.
    pub row: RowId,
    /// What happens to it.
    pub op: Op,
    /// Fields touched, sorted by field, no twins. Empty for a delete.
    pub fields: Vec<(FieldRef, Delta)>,
    /// What had been shown of the row.
    pub seen: Seen,
    /// For a delete: what had been shown of the rows that go with it. Sorted.
    pub closure: Vec<SeenRow>,
}

impl Change {
    /// The stamp that comparisons use, with the dot that breaks ties.
    pub fn order(&self) -> (Stamp, Dot) {
        (self.contained.unwrap_or(self.stamp), self.dot)
    }

    /// The delta of a numbered field, if the change carries one.
    pub fn delta(&self, field: u16) -> Option<&Delta> {
        let place = self.fields.binary_search_by(|(at, _)| at.cmp(&FieldRef::Number(field)));
        place.ok().map(|place| &self.fields[place].1)
    }

    /// Whether it gave the field a value that did not travel, see [`Delta::Passed`].
    pub fn passes(&self, field: u16) -> bool {
        self.delta(field) == Some(&Delta::Passed)
    }

    /// The same of any field.
    pub fn passes_any(&self) -> bool {
        self.fields.iter().any(|(_, delta)| *delta == Delta::Passed)
    }

    /// Whether the change touches a field: inserts and deletes touch every one.
    pub fn touches(&self, field: u16) -> bool {
        matches!(self.op, Op::Insert | Op::Delete) || self.delta(field).is_some()
    }

    /// The numbered table, if it is numbered.
    pub fn table_number(&self) -> Option<u16> {
        match self.table {
            TableRef::Number(number) => Some(number),
            TableRef::Name(_) => None,
        }
    }

    /// The sequences of the group (or of the change alone), first and last.
    pub fn group_span(&self) -> (u64, u64) {
        match self.group {
            Some(group) => {
                (group.first, group.first.saturating_add(u64::from(group.len.max(1)) - 1))
            }
            None => (self.dot.seq, self.dot.seq),
        }
    }
}
