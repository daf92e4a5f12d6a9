//! Values of fields, typed and raw.
//!
//! A typed value is what a schema's field holds ([`crate::schema::Kind`] says
//! which variant). Raw values are what arrived before anybody could type them:
//! they keep whatever the record held, so that a poison record can be
//! acknowledged and quarantined whole.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::RowId;

/// One value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// integer; decimal as an integer scaled by ten to its scale.
    Int(i64),
    /// boolean.
    Bool(bool),
    /// text, enum; date (`2026-11-22`) and timestamp (`2026-11-22T10:00Z`) as ISO 8601 text.
    Text(String),
    /// reference.
    Row(RowId),
    /// set (sorted, no twins) and append (in stamp order).
    List(Vec<String>),
    /// Raw only: a number in decimal notation that no field has typed yet, as received.
    Number(String),
}

impl Value {
    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Bytes that the value takes, about: for limits, before anything is encoded.
    pub fn size(&self) -> usize {
        match self {
            Value::Null | Value::Bool(_) => 1,
            Value::Int(_) => 9,
            Value::Text(text) | Value::Number(text) => text.len() + 2,
            Value::Row(_) => 17,
            Value::List(list) => list.iter().map(|entry| entry.len() + 2).sum::<usize>() + 2,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Text(text) | Value::Number(text) => f.write_str(text),
            Value::Row(row) => write!(f, "{row}"),
            Value::List(list) => write!(f, "[{}]", list.join(", ")),
        }
    }
}
