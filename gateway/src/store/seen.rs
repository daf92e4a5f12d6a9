//! What someone who is shown a row here has seen.
use std::collections::BTreeSet;

use rusqlite::Connection;
use wadi_protocol::change::{Seen, SeenRow};
use wadi_protocol::id::{Dot, RowVersion, RunId};
use wadi_protocol::limits::{CLOSURE_ROWS_MAX, SEEN_DOTS_MAX};
use wadi_protocol::schema::{OnDelete, Schema};

use super::Ground;
use super::error::Problem;
use super::image::{Key, referrers};
use super::overlay::{Meta, State};

/// The version of a row's image in base: the row's own, or the cursor of its
/// lane, which says that nothing happened to it since. A row that was never
/// here claims nothing; of one that left the scope nothing more is told, and when
/// its values are gone too, its version is none.
pub(crate) fn version(ground: &Ground, schema: &Schema, key: Key, meta: &Meta) -> RowVersion {
    let (hub, seq) = match (meta.state, meta.stale) {
        (State::None, _) => (RunId::NONE, 0),
        (_, Some(seq)) => (ground.lost_hub, seq),
        (State::Left, None) => (ground.round.hub, meta.version),
        (State::Live | State::Dead, None) => {
            (ground.round.hub, meta.version.max(cursor(ground, schema, key.0)))
        }
    };
    if seq == 0 { RowVersion::default() } else { RowVersion { hub, seq } }
}

/// How far base has the lane of a table.
pub(crate) fn cursor(ground: &Ground, schema: &Schema, table: u16) -> u64 {
    schema.table(table).map_or(0, |table| ground.round.cursors[table.lane as usize])
}

/// A version as a sequence of our hub's lineage; 0 if it is of a hub run that
/// was never heard here: claim less rather than more.
pub(crate) fn expand(ground: &Ground, version: RowVersion) -> u64 {
    if ground.hubs.contains(&version.hub) { version.seq } else { 0 }
}

/// What whoever makes the change `next` was shown of a row. What its own device
/// did before counts anyway and is left out.
pub(crate) fn of_row(ground: &Ground, schema: &Schema, key: Key, meta: &Meta, next: Dot) -> Seen {
    let mut above = meta.sight.above.clone();
    above.retain(|&dot| !ground.lines.earlier(dot, next));
    Seen { version: version(ground, schema, key, meta), above }
}

/// The rows that are shown as going with a deleted one, and what was seen of them.
pub(crate) fn closure(
    db: &Connection,
    ground: &Ground,
    schema: &Schema,
    key: Key,
    next: Dot,
) -> Result<Vec<SeenRow>, Problem> {
    let mut rows = Vec::new();
    let mut passed = BTreeSet::from([key]);
    let mut queue = vec![key];
    while let Some(parent) = queue.pop() {
        for (child, on_delete) in referrers(db, schema, parent)? {
            let full = rows.len() == CLOSURE_ROWS_MAX;
            if on_delete != OnDelete::Cascade || full || !passed.insert(child) {
                continue;
            }
            let meta = Meta::load(db, child)?;
            if meta.is_shown() {
                let seen = of_row(ground, schema, child, &meta, next);
                rows.push(SeenRow { table: child.0, row: child.1, seen });
                queue.push(child);
            }
        }
    }
    rows.sort();
    Ok(rows)
}

/// Of the changes shown, the newest that may be named, sorted by dot.
pub(crate) fn newest(mut dots: Vec<(wadi_protocol::stamp::Stamp, Dot)>) -> Vec<Dot> {
    dots.sort();
    dots.dedup();
    let from = dots.len().saturating_sub(SEEN_DOTS_MAX);
    let mut named: Vec<Dot> = dots[from..].iter().map(|&(_, dot)| dot).collect();
    named.sort();
    named
}
