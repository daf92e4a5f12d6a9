//! Every schema version that was published, decoded once.
//!
//! Changes are judged under the version that they were written in; tables are
//! kept in the newest. Another process may publish, so each transaction looks.
use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use wadi_protocol::schema::{Schema, Table};

use super::StoreError;
use super::sql::unpack;

/// The published schemas.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    versions: BTreeMap<u32, Schema>,
}

impl Catalog {
    /// Read what was published since.
    pub(super) fn refresh(catalog: &mut Arc<Catalog>, db: &Connection) -> Result<(), StoreError> {
        let newest = catalog.newest().map_or(0, |schema| schema.version);
        let mut query =
            db.prepare_cached("SELECT version, body FROM wadi_schema WHERE version > ?1")?;
        let mut rows = query.query([newest])?;
        while let Some(row) = rows.next()? {
            let schema = unpack(&row.get::<_, Vec<u8>>(1)?, "wadi_schema.body")?;
            Arc::make_mut(catalog).versions.insert(row.get(0)?, schema);
        }
        Ok(())
    }

    /// The newest schema, if any was published.
    pub fn newest(&self) -> Option<&Schema> {
        self.versions.last_key_value().map(|(_, schema)| schema)
    }

    /// The schema under which a change of that version is judged; 0 = the newest.
    pub fn version(&self, version: u32) -> Option<&Schema> {
        if version == 0 { self.newest() } else { self.versions.get(&version) }
    }

    /// A table of the newest schema that our own tables name.
    pub(super) fn table(&self, number: u16) -> Result<&Table, StoreError> {
        self.newest()
            .and_then(|schema| schema.table(number))
            .ok_or_else(|| StoreError::Broken(format!("table {number} is in no schema")))
    }

    /// A table by the name that a person gave.
    pub fn table_named(&self, name: &str) -> Result<&Table, StoreError> {
        let newest = self.newest().ok_or_else(|| {
            StoreError::Refused("no schema: run `wadi-hub schema publish FILE`".into())
        })?;
        newest.table_named(name).ok_or_else(|| {
            let names: Vec<&str> = newest.tables.iter().map(|table| table.name.as_str()).collect();
            StoreError::Refused(format!("no table {name:?}; there are {}", names.join(", ")))
        })
    }
}
