//! Which rows a site receives.
//!
//! A row is a site's by its table's scope, or because a live row of the site
//! references it: a scope includes its parents.
use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use wadi_protocol::schema::{Scope, Table};

use super::sql::{Id, RowKey};
use super::work::{State, children, load};
use super::{Catalog, StoreError};

/// Whether a row is a gateway's by its table's scope alone.
pub(super) fn is_direct(table: &Table, state: &State, gateway: u32) -> bool {
    match table.scope {
        Scope::Global => true,
        Scope::Site => state.site == gateway,
        Scope::Upload => false,
    }
}

/// Whether a gateway receives a row.
pub(super) fn is_within(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    key: RowKey,
    state: &State,
) -> Result<bool, StoreError> {
    if is_direct(catalog.table(key.table)?, state, gateway) {
        return Ok(true);
    }
    let mut passed = BTreeSet::from([key]);
    let mut open = vec![key];
    while let Some(key) = open.pop() {
        for (child, _) in children(db, key)? {
            let Some(state) = load(db, child)?.filter(State::is_live) else {
                continue;
            };
            if is_direct(catalog.table(child.table)?, &state, gateway) {
                return Ok(true);
            }
            if passed.insert(child) {
                open.push(child);
            }
        }
    }
    Ok(false)
}

/// Whether a gateway was given a row for the sake of one that references it.
pub(super) fn is_present(db: &Connection, gateway: u32, key: RowKey) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM wadi_presence WHERE gateway = ?1 AND tbl = ?2 AND row = ?3",
    )?;
    Ok(query.exists(params![gateway, key.table, Id(key.row)])?)
}

/// Note that a gateway was given such a row, or let go of it.
pub(super) fn set_present(
    db: &Connection,
    gateway: u32,
    key: RowKey,
    present: bool,
) -> Result<(), StoreError> {
    let sql = if present {
        "INSERT OR IGNORE INTO wadi_presence (gateway, tbl, row) VALUES (?1, ?2, ?3)"
    } else {
        "DELETE FROM wadi_presence WHERE gateway = ?1 AND tbl = ?2 AND row = ?3"
    };
    db.prepare_cached(sql)?.execute(params![gateway, key.table, Id(key.row)])?;
    Ok(())
}
