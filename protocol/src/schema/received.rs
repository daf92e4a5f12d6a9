//! A schema that a peer sent: decoded within limits, and sound.
//!
//! What the hub publishes is sound; a schema from anywhere else is looked at
//! before its names go into SQL and its numbers are searched for.
use alloc::collections::BTreeSet;

use super::{Kind, Schema, Table};
use crate::budget;
use crate::limits::{
    ENTRIES_MAX, FIELDS_MAX, NAME_BYTES_MAX, SCALE_MAX, SCHEMA_BYTES_MAX, SCHEMA_MEMORY_BYTES_MAX,
    TABLES_MAX,
};

/// What a peer sent is no schema that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSchema {
    /// Too many bytes, or they are no schema.
    #[error("the schema does not decode")]
    Malformed,
    /// Something in it cannot be.
    #[error("the schema is not sound: {0}")]
    Unsound(&'static str),
}

impl Schema {
    /// The schema of an encoding that a peer sent.
    ///
    /// # Errors
    /// It does not decode within the limits, or is not sound.
    pub fn decode(bytes: &[u8]) -> Result<Schema, BadSchema> {
        if bytes.len() > SCHEMA_BYTES_MAX {
            return Err(BadSchema::Malformed);
        }
        let schema: Schema =
            budget::decode(bytes, SCHEMA_MEMORY_BYTES_MAX).map_err(|_| BadSchema::Malformed)?;
        schema.check().map(|()| schema)
    }

    /// Whether tables and fields can be made of it.
    ///
    /// # Errors
    /// What cannot be.
    pub fn check(&self) -> Result<(), BadSchema> {
        let unsound = |what| Err(BadSchema::Unsound(what));
        if self.tables.len() > TABLES_MAX {
            return unsound("too many tables");
        }
        if !self.tables.is_sorted_by(|a, b| a.number < b.number) {
            return unsound("table numbers do not ascend");
        }
        let names: BTreeSet<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        if names.len() != self.tables.len() {
            return unsound("two tables of one name");
        }
        self.tables.iter().try_for_each(|table| self.check_table(table))
    }

    fn check_table(&self, table: &Table) -> Result<(), BadSchema> {
        let unsound = |what| Err(BadSchema::Unsound(what));
        if !is_plain(&table.name) {
            return unsound("name of a table");
        }
        if table.fields.len() > FIELDS_MAX {
            return unsound("too many fields");
        }
        if !table.fields.is_sorted_by(|a, b| a.number < b.number)
            || table.fields.first().is_some_and(|first| first.number == 0)
        {
            return unsound("field numbers do not ascend from 1");
        }
        let names: BTreeSet<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
        if names.len() != table.fields.len() {
            return unsound("two fields of one name");
        }
        if table.site.is_some_and(|site| table.field(site).is_none()) {
            return unsound("the field of the site");
        }
        for field in &table.fields {
            if !is_plain(&field.name) || field.name == "id" {
                return unsound("name of a field");
            }
            match &field.kind {
                Kind::Decimal { scale } if *scale > SCALE_MAX => return unsound("scale"),
                Kind::Enum { values } | Kind::Set { values } if values.len() > ENTRIES_MAX => {
                    return unsound("too many codes");
                }
                Kind::Reference { table, .. } if self.table(*table).is_none() => {
                    return unsound("reference to no table");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Names go into SQL: whoever sends them, they are lower case letters, digits and `_`.
fn is_plain(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with("wadi_")
        && !name.starts_with("sqlite_")
}
