//! What each link has taught: the models that changesets and pages are written against.
//!
//! A whole model is stored now and then, and what was coded behind it each time; any in
//! between can be made again, so that a gateway which was restored, or a hub which was,
//! finds one that both have. What is held in memory goes by name, so it is right whatever
//! becomes of a transaction, and serves every link that was taught the same.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::limits::{MODEL_ENTRIES_MAX, MODEL_SINCE_BYTES_MAX};
use wadi_protocol::wire::coded::{Held, Making, ModelName, Named};

use super::StoreError;

/// Models that are kept in memory, some 260 KB each: of the links that spoke last.
pub(super) const HELD_MAX: usize = 32;

const ADD: &str = "INSERT INTO wadi_model (gateway, direction, n, name, whole, bytes)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// One direction of the link of a gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub gateway: u32,
    /// 0 up, 1 down.
    direction: u8,
}

impl Way {
    /// What a gateway sends.
    pub(super) fn up(gateway: u32) -> Way {
        Way { gateway, direction: 0 }
    }

    /// What it gets.
    pub(super) fn down(gateway: u32) -> Way {
        Way { gateway, direction: 1 }
    }
}

/// The model of this name, if the link's can be made.
pub(super) fn find(
    held: &mut Held,
    db: &Connection,
    way: Way,
    name: ModelName,
) -> Result<Option<Named>, StoreError> {
    let Some(place) = place(db, way, name)? else {
        return Ok(None);
    };
    let named = match held.find(name) {
        Some(named) => Some(named),
        None if name == ModelName::empty() => Some(Named::empty()),
        None => make(db, way, place)?.filter(|named| named.name == name),
    };
    match &named {
        Some(named) => held.keep(named.clone()),
        // Whoever asks goes on with another one.
        None => tracing::warn!(?way, "a stored model cannot be made again"),
    }
    Ok(named)
}

/// What was coded against `before` is committed: the model behind it is the newest one,
/// and those that were taught otherwise are gone.
pub(super) fn learn(
    held: &mut Held,
    db: &Connection,
    way: Way,
    before: ModelName,
    coded: &[u8],
) -> Result<(), StoreError> {
    let Some(place) = place(db, way, before)? else {
        return forget(db, way);
    };
    let Way { gateway, direction } = way;
    let after = before.after(coded);
    let sql = "DELETE FROM wadi_model WHERE gateway = ?1 AND direction = ?2 AND n > ?3";
    db.prepare_cached(sql)?.execute(params![gateway, direction, place])?;
    let mut add = db.prepare_cached(ADD)?;
    add.execute(params![gateway, direction, place + 1, after.0, false, coded])?;
    let (entries, bytes) = since(db, way)?;
    if entries < MODEL_ENTRIES_MAX && bytes < MODEL_SINCE_BYTES_MAX {
        return Ok(());
    }
    let Some(named) = find(held, db, way, after)? else {
        return forget(db, way);
    };
    let sql = "DELETE FROM wadi_model WHERE gateway = ?1 AND direction = ?2 AND n < coalesce(
                   (SELECT max(n) FROM wadi_model
                    WHERE gateway = ?1 AND direction = ?2 AND whole), 0)";
    db.prepare_cached(sql)?.execute(params![gateway, direction])?;
    let whole = named.model.checkpoint();
    add.execute(params![gateway, direction, place + 2, after.0, true, whole])?;
    Ok(())
}

/// The newest names, so many at most.
pub(super) fn names(
    db: &Connection,
    way: Way,
    at_most: usize,
) -> Result<Vec<ModelName>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT name FROM wadi_model WHERE gateway = ?1 AND direction = ?2
         ORDER BY n DESC LIMIT ?3",
    )?;
    let names =
        query.query_map(params![way.gateway, way.direction, at_most as i64], |row| row.get(0))?;
    Ok(names.map(|name| name.map(ModelName)).collect::<Result<_, _>>()?)
}

/// Where the model of this name stands; none if the link has none.
fn place(db: &Connection, way: Way, name: ModelName) -> Result<Option<i64>, StoreError> {
    if name == ModelName::empty() {
        return Ok(Some(0));
    }
    let mut query = db.prepare_cached(
        "SELECT max(n) FROM wadi_model WHERE gateway = ?1 AND direction = ?2 AND name = ?3",
    )?;
    let found = query.query_row(params![way.gateway, way.direction, name.0], |row| row.get(0));
    Ok(found.optional()?.flatten())
}

/// Entries and bytes behind the last whole model.
fn since(db: &Connection, way: Way) -> Result<(usize, usize), StoreError> {
    let mut query = db.prepare_cached(
        "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM wadi_model
         WHERE gateway = ?1 AND direction = ?2 AND n > coalesce(
             (SELECT max(n) FROM wadi_model WHERE gateway = ?1 AND direction = ?2 AND whole), 0)",
    )?;
    let (entries, bytes): (u32, u32) = query
        .query_row(params![way.gateway, way.direction], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((entries as usize, bytes as usize))
}

/// The model at this place, from the last whole one before it.
fn make(db: &Connection, way: Way, place: i64) -> Result<Option<Named>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT name, whole, bytes FROM wadi_model
         WHERE gateway = ?1 AND direction = ?2 AND n <= ?3 AND n >= coalesce(
             (SELECT max(n) FROM wadi_model
              WHERE gateway = ?1 AND direction = ?2 AND n <= ?3 AND whole), 0)
         ORDER BY n",
    )?;
    let mut rows = query.query(params![way.gateway, way.direction, place])?;
    let mut making = Making::begin();
    while let Some(row) = rows.next()? {
        let (whole, bytes) = (row.get::<_, bool>(1)?, row.get_ref(2)?.as_blob().unwrap_or(&[]));
        match whole {
            true => making.restore(ModelName(row.get(0)?), bytes),
            false => making.teach(bytes),
        }
    }
    Ok(making.end())
}

/// Begin with nothing again: a model is never a reason to stop.
fn forget(db: &Connection, way: Way) -> Result<(), StoreError> {
    tracing::warn!(?way, "what was learnt of a link is learnt anew");
    let sql = "DELETE FROM wadi_model WHERE gateway = ?1 AND direction = ?2";
    db.prepare_cached(sql)?.execute(params![way.gateway, way.direction])?;
    Ok(())
}
