//! Which rows a site receives.
//!
//! A row is a site's by its table's scope, or because a live row of the site
//! references it: a scope includes its parents.
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
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

/// Whether a gateway holds a row that it was given for the sake of one that references it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It was never given it, or let go of it.
    No = 0,
    /// It was given it.
    Yes = 1,
    /// One or the other: it was so in another line of its rounds.
    Unknown = 2,
}

/// Whether a gateway holds such a row.
pub(super) fn presence(db: &Connection, gateway: u32, key: RowKey) -> Result<Presence, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT held FROM wadi_presence WHERE gateway = ?1 AND tbl = ?2 AND row = ?3",
    )?;
    let held = query.query_row(params![gateway, key.table, Id(key.row)], |row| row.get(0));
    Ok(match held.optional()? {
        None | Some(0) => Presence::No,
        Some(1) => Presence::Yes,
        Some(_) => Presence::Unknown,
    })
}

/// Note that a gateway was given such a row, or let go of it.
pub(super) fn set_present(
    db: &Connection,
    gateway: u32,
    key: RowKey,
    present: bool,
) -> Result<(), StoreError> {
    // What it let go of is kept in mind: an older copy of it may still have it.
    let sql = if present {
        "INSERT INTO wadi_presence (gateway, tbl, row) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET held = 1 WHERE held <> 1"
    } else {
        "UPDATE wadi_presence SET held = 0 WHERE gateway = ?1 AND tbl = ?2 AND row = ?3"
    };
    db.prepare_cached(sql)?.execute(params![gateway, key.table, Id(key.row)])?;
    Ok(())
}
