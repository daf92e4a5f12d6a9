//! Which rows a site receives.
//!
//! A row is a site's by its table's scope, or because a live row of the site
//! references it: a scope includes its parents. In a table with a field for it, a row is of
//! the site that the field names, and moves when that is changed: the log tells both sites.
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::schema::{Scope, Table};
use wadi_protocol::value::Value;

use super::enrolment;
use super::sql::{Id, RowKey};
use super::work::{State, children, load};
use super::{Catalog, StoreError};

/// Whether a row is a gateway's by its table's scope alone.
pub(super) fn is_direct(
    db: &Connection,
    table: &Table,
    state: &State,
    gateway: u32,
) -> Result<bool, StoreError> {
    match table.scope {
        Scope::Global => Ok(true),
        Scope::Site => Ok(site(db, table, state)? == Some(gateway)),
        Scope::Upload => Ok(false),
    }
}

/// The gateway of the site that a row of a table of sites is of; none if its field names
/// no site that is there.
fn site(db: &Connection, table: &Table, state: &State) -> Result<Option<u32>, StoreError> {
    match named(table, state) {
        None => Ok(Some(state.site)),
        Some(name) => Ok(enrolment::known(db, name)?.map(|gateway| gateway.0)),
    }
}

/// The site that a row names.
fn named<'a>(table: &Table, state: &'a State) -> Option<&'a str> {
    match state.fields.get(&table.site?) {
        Some(Value::Text(name)) => Some(name),
        _ => None,
    }
}

/// The gateway whose row it was before it became another one's, or nobody's (none = it was
/// nobody's). None if it did not move.
pub(super) fn moves(
    db: &Connection,
    table: &Table,
    before: &State,
    after: &State,
) -> Result<Option<Option<u32>>, StoreError> {
    if !before.known || named(table, before) == named(table, after) {
        return Ok(None);
    }
    let (from, to) = (site(db, table, before)?, site(db, table, after)?);
    Ok((from != to).then_some(from))
}

/// Whether a gateway receives a row.
pub(super) fn is_within(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    key: RowKey,
    state: &State,
) -> Result<bool, StoreError> {
    if is_direct(db, catalog.table(key.table)?, state, gateway)? {
        return Ok(true);
    }
    let mut passed = BTreeSet::from([key]);
    let mut open = vec![key];
    while let Some(key) = open.pop() {
        for (child, _) in children(db, key)? {
            let Some(state) = load(db, child)?.filter(State::is_live) else {
                continue;
            };
            if is_direct(db, catalog.table(child.table)?, &state, gateway)? {
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

/// Note that a gateway may hold a row that was its own until now.
pub(super) fn set_perhaps_present(
    db: &Connection,
    gateway: u32,
    key: RowKey,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO wadi_presence (gateway, tbl, row, held) VALUES (?1, ?2, ?3, 2)
               ON CONFLICT DO UPDATE SET held = 2 WHERE held = 0";
    db.prepare_cached(sql)?.execute(params![gateway, key.table, Id(key.row)])?;
    Ok(())
}
