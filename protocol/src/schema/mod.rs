//! The schema: tables, fields, and how their changes merge.
//!
//! This file holds the numbered form that both ends store and exchange. The
//! TOML form that people write is [`mod@file`]; what may follow what is [`compat`];
//! the judgement of one change alone is [`judge`]; [`interpret`] types raw
//! changes, [`cell`] maps values to columns.
pub mod cell;
pub mod compat;
mod date;
mod decimal;
mod field;
pub mod file;
pub mod interpret;
pub mod judge;
mod number;
mod received;
mod words;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::received::BadSchema;

/// A published schema: versions count up from 1; numbers are never reused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Schema {
    /// Its name, from the file.
    pub name: String,
    /// The hub's version of it.
    pub version: u32,
    /// Tables in the order of their numbers.
    pub tables: Vec<Table>,
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Table {
    /// The hub's number, from 1.
    pub number: u16,
    /// Lower case letters, digits and `_`.
    pub name: String,
    /// Fields in the order of their numbers.
    pub fields: Vec<Field>,
    /// What a candidate is.
    pub mode: Mode,
    /// A delete against concurrent updates.
    pub delete: DeletePolicy,
    /// Who receives its rows.
    pub scope: Scope,
    /// The field that names the site of a row; none = the row is of the site whose gateway
    /// brought its insert. Only with [`Scope::Site`].
    pub site: Option<u16>,
    /// How soon they go.
    pub lane: Lane,
    /// Whether every change travels.
    pub history: History,
    /// Days that superseded values stay queryable; none = for ever.
    pub retention_days: Option<u32>,
}

/// A field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Field {
    /// The hub's number within the table, from 1 (0 is the row's existence).
    pub number: u16,
    /// Lower case letters, digits and `_`.
    pub name: String,
    /// Type.
    pub kind: Kind,
    /// How candidates become its value.
    pub merge: Merge,
    /// Whether an insert must carry a value.
    pub required: bool,
    /// Least value (scaled, for decimals).
    pub min: Option<i64>,
    /// Greatest value (scaled, for decimals).
    pub max: Option<i64>,
    /// Whether twins open a review.
    pub unique: bool,
    /// For people.
    pub label: Option<String>,
    /// For people.
    pub unit: Option<String>,
}

/// A field's type.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// 64-bit.
    Integer,
    /// An integer scaled by 10^scale.
    Decimal {
        /// Digits behind the point, at most 12.
        scale: u8,
    },
    /// UTF-8.
    Text,
    /// True or false.
    Boolean,
    /// `2026-11-22`.
    Date,
    /// `2026-11-22T10:00Z`, with or without seconds, `Z` or an offset.
    Timestamp,
    /// One of its codes.
    Enum {
        /// The codes.
        values: Vec<String>,
    },
    /// Any of its codes, or any text where it names none.
    Set {
        /// The codes; empty = any text.
        values: Vec<String>,
    },
    /// A row of another table (or the same).
    Reference {
        /// The table's number.
        table: u16,
        /// What becomes of this row when that one is deleted.
        on_delete: OnDelete,
    },
}

/// What happens to the rows that reference a deleted one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// They keep it alive.
    Restrict,
    /// They go with it.
    Cascade,
    /// Their reference becomes null.
    SetNull,
}

/// How candidates become a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// The greatest stamp.
    #[default]
    LastWrite,
    /// The least stamp.
    FirstWrite,
    /// The greatest value.
    Max,
    /// The least value.
    Min,
    /// Every delta is added, followed or not.
    Sum,
    /// Every entry is kept, in stamp order.
    Append,
    /// Additions win over removals that had not seen them.
    Set,
    /// The greatest stamp, marked, until a person settles.
    Review,
}

/// What a candidate is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A change of one field.
    #[default]
    Field,
    /// A whole change: every field comes from the winner's own past.
    Record,
}

/// A delete against a concurrent update.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeletePolicy {
    /// The row goes.
    #[default]
    DeleteWins,
    /// The row stays.
    UpdateWins,
    /// The row stays, marked, until a person settles.
    Review,
}

/// Who receives a table's rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every site.
    #[default]
    Global,
    /// The row's site: the one that its field says, else whose gateway brought its insert.
    Site,
    /// Only the hub.
    Upload,
}

/// How soon a table's rows go. Also the index of its cursor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// Before the others.
    Urgent,
    /// After them.
    #[default]
    Routine,
}

/// How many lanes there are.
pub const LANES: usize = 2;

/// Whether every change travels, or only the net effect of those pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum History {
    /// Every change.
    #[default]
    Full,
    /// The net effect.
    Latest,
}

impl Schema {
    /// The table of a number.
    pub fn table(&self, number: u16) -> Option<&Table> {
        let place = self.tables.binary_search_by_key(&number, |table| table.number).ok()?;
        Some(&self.tables[place])
    }

    /// The table of a name.
    pub fn table_named(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Table {
    /// The field of a number.
    pub fn field(&self, number: u16) -> Option<&Field> {
        let place = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        Some(&self.fields[place])
    }

    /// Whether a value of the field may be left out of a changeset that holds a later one
    /// by the same writer. Where a past value tells who has closed a case, or is looked for
    /// in somebody's past, every step travels.
    pub fn leaves_out(&self, field: &Field) -> bool {
        let assigned = match field.merge {
            Merge::LastWrite | Merge::FirstWrite | Merge::Max | Merge::Min => true,
            Merge::Sum | Merge::Append | Merge::Set | Merge::Review => false,
        };
        assigned && self.history == History::Latest && self.mode == Mode::Field
    }

    /// The field of a name.
    pub fn field_named(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}
