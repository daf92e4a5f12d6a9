//! One row, base and overlay: what it is before other rows have their say.
//!
//! The overlay is every own change that is undecided or lies above the row's
//! version in base. It is laid by the same function as at the hub, over the base
//! image. Other rows come after, see `picture`.
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use wadi_protocol::change::{Change, FieldRef, Op};
use wadi_protocol::id::Dot;
use wadi_protocol::resolve::{Image, Placed, Resolution, Resolved, chain, resolve};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::{Merge, Schema, Table};

use super::Custody;
use super::error::Problem;
use super::image::{Fields, Key, decode_image, read};
use super::log::{self, Entry};
use super::seen;
use super::work::{Work, decode, encode, table_of};

/// A row in base.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    /// The hub has told nothing of it.
    #[default]
    None = 0,
    /// It is there.
    Live = 1,
    /// It was deleted.
    Dead = 2,
    /// It is no longer this site's.
    Left = 3,
}

/// How a row stands in the typed table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Shown {
    /// It has no image.
    #[default]
    Absent = 0,
    /// It is there.
    Visible = 1,
    /// It has an image and is hidden: deleted here, or gone with its parent.
    Hidden = 2,
    /// It was deleted and another row keeps it.
    Kept = 3,
}

/// What handhelds are told beside the values.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sight {
    /// Changes shown above the base image that no other follows. Sorted.
    pub above: Vec<Dot>,
    /// Changes that the hub has not taken into its tables. Sorted.
    pub marked: Vec<Dot>,
    /// Fields that wait for a person.
    pub review: Vec<u16>,
}

/// A line of `wadi_row`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Meta {
    pub state: State,
    pub version: u64,
    pub shown: Shown,
    pub base: Option<Vec<u8>>,
    /// The hub's open cases.
    pub review: Vec<u16>,
    /// Own changes, by the hub's word, that changes in base follow, on these fields.
    pub followed: Vec<(Dot, Vec<u16>)>,
    pub sight: Sight,
    pub feed_seq: u64,
    /// Its base is that of a hub that is lost, at this sequence there, until the restored
    /// one has told of it.
    pub stale: Option<u64>,
}

impl Meta {
    /// What is known of a row; nothing, of one that was never heard of.
    pub fn load(db: &Connection, key: Key) -> Result<Meta, Problem> {
        let mut statement = db.prepare_cached(
            "SELECT state, version, shown, base, review, followed, sight, feed_seq, stale
             FROM wadi_row WHERE tbl = ? AND row = ?",
        )?;
        type Blobs = [Option<Vec<u8>>; 3];
        let found = statement
            .query_row((key.0, key.1.0), |row| {
                let meta = Meta {
                    state: match row.get::<_, i64>(0)? {
                        1 => State::Live,
                        2 => State::Dead,
                        3 => State::Left,
                        _ => State::None,
                    },
                    version: row.get::<_, i64>(1)? as u64,
                    shown: match row.get::<_, i64>(2)? {
                        1 => Shown::Visible,
                        2 => Shown::Hidden,
                        3 => Shown::Kept,
                        _ => Shown::Absent,
                    },
                    base: row.get(3)?,
                    feed_seq: row.get::<_, i64>(7)? as u64,
                    stale: (row.get::<_, i64>(8)? as u64).checked_sub(1),
                    ..Meta::default()
                };
                let blobs: Blobs = [row.get(4)?, row.get(5)?, row.get(6)?];
                Ok((meta, blobs))
            })
            .optional()?;
        let Some((mut meta, [review, followed, sight])) = found else {
            return Ok(Meta::default());
        };
        if let Some(review) = review {
            meta.review = decode("a review", &review)?;
        }
        if let Some(followed) = followed {
            meta.followed = decode("a list of dots", &followed)?;
        }
        if let Some(sight) = sight {
            meta.sight = decode("what is told of a row", &sight)?;
        }
        Ok(meta)
    }

    /// Write it down.
    pub fn save(&self, db: &Connection, key: Key) -> Result<(), Problem> {
        let blob = |empty: bool, bytes: Vec<u8>| (!empty).then_some(bytes);
        db.prepare_cached(
            "INSERT OR REPLACE INTO wadi_row
             (tbl, row, state, version, shown, base, review, followed, sight, feed_seq, stale)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            key.0,
            key.1.0,
            self.state as i64,
            self.version as i64,
            self.shown as i64,
            &self.base,
            blob(self.review.is_empty(), encode(&self.review)),
            blob(self.followed.is_empty(), encode(&self.followed)),
            blob(self.sight == Sight::default(), encode(&self.sight)),
            self.feed_seq as i64,
            self.stale.map_or(0, |at| at as i64 + 1),
        ))?;
        Ok(())
    }

    /// Whether the typed table has the row.
    pub fn is_shown(&self) -> bool {
        matches!(self.shown, Shown::Visible | Shown::Kept)
    }
}

/// A row, laid out.
#[derive(Debug)]
pub(crate) struct Laid {
    pub meta: Meta,
    /// The hub's image.
    pub base: Option<Image>,
    /// Own changes over it, typed, in order of arrival.
    pub overlay: Vec<Entry>,
    /// What they come to; none without an overlay, or if that is one plain insert.
    pub resolved: Option<Resolved>,
    /// What there is to show of the row, whether it is deleted or not.
    pub image: Option<Fields>,
    /// Its own changes, or the hub, delete it.
    pub deleted: bool,
    pub sight: Sight,
}

impl Laid {
    /// Read a row and lay its overlay.
    pub fn load(work: &Work<'_>, schema: &Schema, key: Key) -> Result<Laid, Problem> {
        let table = table_of(schema, key.0)?;
        let meta = Meta::load(&work.tx, key)?;
        let base = base_image(work, table, key, &meta)?;
        // What cannot be typed is here only if the hub took it under another schema:
        // its values come with that.
        let typed = |entry: Entry| {
            interpret(schema, &entry.change).ok().map(|change| Entry { change, ..entry })
        };
        let overlay: Vec<Entry> = log::overlay(work, key)?.into_iter().filter_map(typed).collect();
        let mut laid = Laid {
            sight: Sight { review: meta.review.clone(), ..Sight::default() },
            deleted: base.as_ref().is_some_and(|base| !base.live),
            image: base.as_ref().map(|base| base.fields.clone()),
            meta,
            base,
            overlay,
            resolved: None,
        };
        if !laid.overlay.is_empty() && !laid.lay_chain(work, table) {
            laid.lay(work, table);
        }
        laid.mark(work, key)?;
        Ok(laid)
    }

    /// The short way for a row that one change made, and nothing is known of it besides.
    fn lay_chain(&mut self, work: &Work<'_>, table: &Table) -> bool {
        let [Entry { change, .. }] = &self.overlay[..] else {
            return false;
        };
        // Nothing is applied yet: any place in the hub's order serves.
        let seen_seq = seen::expand(&work.ground, change.seen.version);
        let placed = Placed { change, seq: u64::MAX, seen_seq };
        let plain = self.base.is_none() && self.meta.followed.is_empty();
        if !plain || chain::grown(table, None, &placed).is_none() {
            return false;
        }
        let mut fields = Fields::new();
        chain::grow(table, &mut fields, change);
        let above = seen::newest(vec![change.order()]);
        if cfg!(debug_assertions) {
            self.lay(work, table);
            assert_eq!((&self.image, &self.sight.above), (&Some(fields.clone()), &above));
            assert!(!self.deleted && self.sight.review == self.meta.review);
            self.resolved = None;
        }
        (self.image, self.sight.above) = (Some(fields), above);
        true
    }

    fn lay(&mut self, work: &Work<'_>, table: &Table) {
        let base = self.base.as_ref();
        let live = base.is_some_and(|base| base.live);
        let come = |changes: &[(u64, Change)]| {
            let placed = |(seq, change)| Placed {
                change,
                seq,
                seen_seq: seen::expand(&work.ground, change.seen.version),
            };
            let placed: Vec<_> = changes.iter().map(|(seq, it)| placed((*seq, it))).collect();
            resolve(table, base, &placed, &work.ground.lines)
        };
        let entries = self.overlay.iter().map(|entry| (entry.seq, &entry.change));
        let rest: Vec<(u64, Change)> = entries
            .clone()
            .filter_map(|(seq, change)| {
                Some((seq, unfollowed(table, change, &self.meta.followed, live)?))
            })
            .collect();
        let resolved = come(&rest);
        let existence = &resolved.existence;
        let values = |fields: &[Resolution]| -> Fields {
            let values = fields.iter().filter(|field| !field.value.is_null());
            values.map(|field| (field.field, field.value.clone())).collect()
        };
        self.image = match base {
            // What followed own edits did not come with a row that is deleted there: its last
            // image here stays, with all of them, for another row or an edit may keep it.
            Some(base) if !base.live => {
                let all: Vec<(u64, Change)> = entries.map(|(seq, it)| (seq, it.clone())).collect();
                Some(values(&come(&all).fields))
            }
            _ => existence.inserted.then(|| values(&resolved.fields)),
        };
        self.deleted = !existence.live() && (existence.inserted || self.deleted);
        let shown = resolved.fields.iter().flat_map(|field| &field.candidates);
        let shown = shown.chain(&existence.candidates).chain(&existence.deletes);
        self.sight.above = seen::newest(shown.map(|&at| rest[at].1.order()).collect());
        let review = resolved.fields.iter().filter(|field| field.review).map(|field| field.field);
        self.sight.review.extend(existence.review.then_some(0).into_iter().chain(review));
        self.sight.review.sort_unstable();
        self.sight.review.dedup();
        self.resolved = Some(resolved);
    }

    fn mark(&mut self, work: &Work<'_>, key: Key) -> Result<(), Problem> {
        let open = |entry: &&Entry| !matches!(entry.custody, Custody::Pending | Custody::Committed);
        self.sight.marked =
            self.overlay.iter().filter(open).map(|entry| entry.change.dot).collect();
        self.sight.marked.extend(log::unlaid_dots(work, key)?);
        self.sight.marked.sort_unstable();
        Ok(())
    }

    /// The delete candidates that make the row deleted; empty if it is the hub who says so.
    pub fn deletes(&self) -> Vec<&Change> {
        let Some(resolved) = &self.resolved else {
            return Vec::new();
        };
        let deletes = self.overlay.iter().map(|entry| &entry.change).filter(|c| c.op == Op::Delete);
        if resolved.existence.deletes.is_empty() { Vec::new() } else { deletes.collect() }
    }
}

/// The hub's image of a row. Where the typed table holds just that, it is not kept twice.
pub(super) fn base_image(
    work: &Work<'_>,
    table: &Table,
    key: Key,
    meta: &Meta,
) -> Result<Option<Image>, Problem> {
    match (&meta.base, meta.state) {
        (_, State::None) => Ok(None),
        (Some(bytes), _) => decode_image(bytes).map(Some),
        (None, State::Live) => {
            let fields = read(&work.tx, table, key.1)?.ok_or_else(|| {
                Problem::Damaged(format!("{} {} is gone from its table", table.name, key.1))
            })?;
            Ok(Some(Image { live: true, fields }))
        }
        (None, _) => Ok(Some(Image::default())),
    }
}

/// What of a change is laid, given what in base follows it: assignments that are
/// followed are not; deltas of a sum and entries count, followed or not.
fn unfollowed(
    table: &Table,
    change: &Change,
    followed: &[(Dot, Vec<u16>)],
    live: bool,
) -> Option<Change> {
    let Some((_, fields)) = followed.iter().find(|(dot, _)| *dot == change.dot) else {
        return Some(change.clone());
    };
    if fields.contains(&0) && change.op == Op::Delete {
        return None;
    }
    // What deleted the row had seen all of it: it keeps the row no longer.
    let is_followed = |at: &FieldRef| matches!(at, FieldRef::Number(at) if fields.contains(at));
    let seen_whole = fields.contains(&0) || change.fields.iter().all(|(at, _)| is_followed(at));
    if !live && change.op == Op::Update && seen_whole {
        return None;
    }
    let mut change = change.clone();
    change.fields.retain(|(at, _)| {
        let FieldRef::Number(number) = at else {
            return true;
        };
        let merge = table.field(*number).map(|field| field.merge);
        !fields.contains(number) || matches!(merge, Some(Merge::Sum | Merge::Append))
    });
    // Base has the row already, by those who follow: what is left amends it.
    if change.op == Op::Insert && live {
        change.op = Op::Update;
    }
    Some(change)
}
