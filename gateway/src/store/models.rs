//! What this gateway has learnt of the changesets that it sent and of the pages that it
//! got: the models that both are written against, as far as their rounds were committed.
//!
//! A whole model is stored now and then, and what was coded behind it each time: the card
//! is spared, and any model in between can be made again, so that ends which lost touch
//! (a restored box, a restored hub) find one that both have. What memory holds of them
//! goes by name, so it is right whatever becomes of a transaction.
use rusqlite::Connection;
use wadi_protocol::limits::{MODEL_ENTRIES_MAX, MODEL_SINCE_BYTES_MAX};
use wadi_protocol::wire::coded::{Making, ModelName, Named};

use super::error::Problem;
use super::work::Work;

/// Models that are kept in memory: of each direction the newest, and the one behind it.
pub(super) const HELD_MAX: usize = 4;

const ADD: &str =
    "INSERT INTO wadi_model (direction, n, name, whole, bytes) VALUES (?, ?, ?, ?, ?)";

/// Which way what a model learnt travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Up = 0,
    Down = 1,
}

/// The name of the newest model.
pub(super) fn newest(db: &Connection, direction: Direction) -> Result<ModelName, Problem> {
    Ok(names(db, direction, 1)?.first().copied().unwrap_or_else(ModelName::empty))
}

/// The newest names, so many at most.
pub(super) fn names(
    db: &Connection,
    direction: Direction,
    at_most: usize,
) -> Result<Vec<ModelName>, Problem> {
    let sql = "SELECT name FROM wadi_model WHERE direction = ? ORDER BY n DESC LIMIT ?";
    let mut query = db.prepare_cached(sql)?;
    let names = query.query_map((direction as u8, at_most as i64), |row| row.get(0))?;
    Ok(names.map(|name| name.map(ModelName)).collect::<Result<_, _>>()?)
}

/// Where the model of this name stands; none if it cannot be made here.
fn place(db: &Connection, direction: Direction, name: ModelName) -> Result<Option<i64>, Problem> {
    if name == ModelName::empty() {
        return Ok(Some(0));
    }
    let sql = "SELECT max(n) FROM wadi_model WHERE direction = ? AND name = ?";
    let mut query = db.prepare_cached(sql)?;
    Ok(query.query_row((direction as u8, name.0), |row| row.get(0))?)
}

/// The model of this name, if it can be made here.
pub(super) fn find(
    work: &mut Work<'_>,
    direction: Direction,
    name: ModelName,
) -> Result<Option<Named>, Problem> {
    let Some(place) = place(&work.tx, direction, name)? else {
        return Ok(None);
    };
    if let Some(named) = work.ground.models.find(name) {
        return Ok(Some(named));
    }
    let named = stored(&work.tx, direction, (place, name))?;
    match &named {
        Some(named) => work.ground.models.keep(named.clone()),
        // Whoever asks goes on with another one.
        None => tracing::warn!(phase = "store", ?direction, "a stored model cannot be made again"),
    }
    Ok(named)
}

/// The newest model, to look at.
pub(super) fn look(db: &Connection, direction: Direction) -> Result<Named, Problem> {
    let name = newest(db, direction)?;
    let found = match place(db, direction, name)? {
        Some(place) => stored(db, direction, (place, name))?,
        None => None,
    };
    Ok(found.unwrap_or_else(Named::empty))
}

/// The model at this place, if it is called so.
fn stored(
    db: &Connection,
    direction: Direction,
    (place, name): (i64, ModelName),
) -> Result<Option<Named>, Problem> {
    match name == ModelName::empty() {
        true => Ok(Some(Named::empty())),
        false => Ok(make(db, direction, place)?.filter(|named| named.name == name)),
    }
}

/// The model at this place, from the last whole one before it.
fn make(db: &Connection, direction: Direction, place: i64) -> Result<Option<Named>, Problem> {
    let mut statement = db.prepare_cached(
        "SELECT name, whole, bytes FROM wadi_model WHERE direction = ?1 AND n <= ?2
         AND n >= coalesce((SELECT max(n) FROM wadi_model
                            WHERE direction = ?1 AND n <= ?2 AND whole), 0) ORDER BY n",
    )?;
    let mut rows = statement.query((direction as u8, place))?;
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

/// What was coded against `before` is committed: the model behind it is the newest one,
/// and those that were taught otherwise are gone.
pub(super) fn learn(
    work: &mut Work<'_>,
    direction: Direction,
    before: ModelName,
    coded: &[u8],
) -> Result<(), Problem> {
    let Some(place) = place(&work.tx, direction, before)? else {
        return forget(work, direction);
    };
    let after = before.after(coded);
    let (way, sql) = (direction as u8, "DELETE FROM wadi_model WHERE direction = ? AND n > ?");
    work.run(sql, (way, place))?;
    work.run(ADD, (way, place + 1, after.0, false, coded))?;
    let sql = "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM wadi_model
               WHERE direction = ?1 AND n > coalesce(
                   (SELECT max(n) FROM wadi_model WHERE direction = ?1 AND whole), 0)";
    let since = work.one(sql, (way,), |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?)))?;
    let (entries, bytes) = since.unwrap_or_default();
    if (entries as usize) < MODEL_ENTRIES_MAX && (bytes as usize) < MODEL_SINCE_BYTES_MAX {
        return Ok(());
    }
    let Some(named) = find(work, direction, after)? else {
        return forget(work, direction);
    };
    let sql = "DELETE FROM wadi_model WHERE direction = ?1 AND n < coalesce(
                   (SELECT max(n) FROM wadi_model WHERE direction = ?1 AND whole), 0)";
    work.run(sql, (way,))?;
    let whole = named.model.checkpoint();
    work.run(ADD, (way, place + 2, after.0, true, whole)).map(drop)
}

/// Begin with nothing again: a model is never a reason to stop.
pub(super) fn forget(work: &Work<'_>, direction: Direction) -> Result<(), Problem> {
    tracing::warn!(phase = "store", ?direction, "what was learnt of a link is learnt anew");
    work.run("DELETE FROM wadi_model WHERE direction = ?", (direction as u8,)).map(drop)
}
