//! Base: the hub's state at this gateway's cursors, and how own changes that the
//! hub has committed are folded into it.
//!
//! Folding lays the changes in the order of their hub sequences, field by field,
//! just as the hub did when it decided that a value need not travel.
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::resolve::{Image, lay};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::{Schema, Table};
use wadi_protocol::value::Value;
use wadi_protocol::wire::downlink::{PageRow, RowState};

use super::error::Problem;
use super::image::{Key, encode_image};
use super::log::{self, Entry};
use super::overlay::{Meta, State, base_image};
use super::work::{Work, table_of};
use super::{restored, seen};

/// What a page says of a row, and how far base had its lane until then.
pub(super) type Told<'a> = (&'a PageRow, u64);

/// Bring a row's base forward: to what the page says of it, or, where the page
/// does not name it, to the cursor. Showing it comes after, when all are there.
pub(super) fn advance(
    work: &mut Work<'_>,
    schema: &Schema,
    key: Key,
    told: Option<Told<'_>>,
) -> Result<(), Problem> {
    let table = table_of(schema, key.0)?;
    let mut meta = Meta::load(&work.tx, key)?;
    match (told, meta.stale) {
        (_, None) => {}
        (Some(_), Some(_)) => meta = restored::renew(work, key, &meta)?,
        // What was folded into the base of a lost hub would go with it.
        (None, Some(_)) => return Ok(()),
    }
    let mut base = base_image(work, table, key, &meta)?;
    if let Some((told, stood)) = told {
        meta.version = version(&meta, told, stood);
        meta.state = match told.state {
            RowState::Live => State::Live,
            RowState::Dead => State::Dead,
            RowState::Left => State::Left,
        };
    }
    // Of a row that left the scope too: whatever the hub had to tell of what it decided
    // below the cursor came with it.
    let told_at = told.map_or(meta.version, |(told, _)| told.version);
    let bound = told_at.max(seen::cursor(&work.ground, schema, key.0));
    let left = meta.state == State::Left;
    let passed = passed(work, key, bound, left)?;
    for entry in &passed {
        // What another gateway brought comes with the page, as state.
        if entry.brought
            && !left
            && let Ok(change) = interpret(schema, &entry.change)
        {
            fold(table, &mut base, &change);
        }
        log::set_laid(work, entry.id, log::DONE, None, None)?;
    }
    match told {
        Some((told, _)) => take(&mut base, &mut meta, told),
        None => {
            meta.state = match &base {
                Some(base) if base.live => State::Live,
                Some(_) if meta.state == State::Live => State::Dead,
                _ => meta.state,
            };
        }
    }
    // Kept in full until the row is shown anew: the typed table holds the old picture.
    meta.base = base.as_ref().map(encode_image);
    meta.save(&work.tx, key)
}

/// Own changes that are decided and that base has come by, in the hub's order. A row that left
/// is shown as it was, with all of them over it, until the last one is decided.
fn passed(work: &Work<'_>, key: Key, bound: u64, left: bool) -> Result<Vec<Entry>, Problem> {
    let all = log::overlay(work, key)?;
    let is_passed = |entry: &Entry| entry.seq != 0 && entry.seq <= bound;
    if left && !all.iter().all(is_passed) {
        return Ok(Vec::new());
    }
    let mut passed: Vec<Entry> = all.into_iter().filter(is_passed).collect();
    passed.sort_by_key(|entry| entry.seq);
    Ok(passed)
}

/// The version of the image in base, now that the hub has told of the row. Of one that left
/// the scope nothing more is told: its image stays what it was.
fn version(before: &Meta, told: &PageRow, stood: u64) -> u64 {
    match (told.state, before.state) {
        (RowState::Live | RowState::Dead, _) => before.version.max(told.version),
        (RowState::Left, State::Live | State::Dead) => before.version.max(stood),
        (RowState::Left, State::Left) => before.version,
        (RowState::Left, State::None) => 0,
    }
}

/// What the page says of a row.
fn take(base: &mut Option<Image>, meta: &mut Meta, told: &PageRow) {
    let image = base.get_or_insert_default();
    if told.whole {
        image.fields.clear();
    }
    for (field, value) in &told.fields {
        match value {
            Value::Null => image.fields.remove(field),
            value => image.fields.insert(*field, value.clone()),
        };
    }
    image.live = told.state == RowState::Live;
    meta.review.clone_from(&told.review);
    meta.followed.clone_from(&told.followed);
}

/// Lay a committed change on the base image. The values of a deleted row stay,
/// in case the hub says that it is there after all.
fn fold(table: &Table, base: &mut Option<Image>, change: &Change) {
    match change.op {
        Op::Insert => *base = Some(Image { live: true, ..Image::default() }),
        Op::Delete => {
            if let Some(base) = base {
                base.live = false;
            }
            return;
        }
        Op::Update | Op::Settle => {}
        Op::Undone => return,
    }
    // An update of a row that base does not have: it is not in this site's scope.
    let Some(image) = base else { return };
    for (at, delta) in &change.fields {
        let FieldRef::Number(number) = at else {
            continue;
        };
        if *number == 0 {
            if let Delta::Set(Value::Bool(live)) = delta {
                image.live = *live;
            }
            continue;
        }
        let Some(field) = table.field(*number) else {
            continue;
        };
        let before = image.fields.get(number).cloned().unwrap_or(Value::Null);
        match lay(field, &before, delta) {
            Value::Null => image.fields.remove(number),
            value => image.fields.insert(*number, value),
        };
    }
}
