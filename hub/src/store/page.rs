//! Building a downlink page: state, never deltas.
//!
//! The log says what happened behind a gateway's cursors; the rows say what is.
//! Urgent sequences come first, a sequence is never split, and a row brings
//! along the rows it references where the gateway may lack them.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};
use wadi_protocol::limits::{ALONG_BYTES_MAX, DOWNLINK_BYTES_TARGET};
use wadi_protocol::schema::{Kind, LANES, Lane, Scope};
use wadi_protocol::value::Value;
use wadi_protocol::wire::coded::CODEC_PLAIN;
use wadi_protocol::wire::downlink::{KnownRuns, Page, PageRow, RowState};
use wadi_protocol::wire::message::Prepare;

use super::backup;
use super::enrolment;
use super::log::{self, Entry};
use super::notice;
use super::page_row::{Asker, Dots};
use super::scope::{self, Presence};
use super::sql::{Bits, RowKey, key_at, number_at, pack, packed_len, unpack};
use super::work::{State, load};
use super::{Catalog, StoreError, head};

/// The page that answers a gateway's head, and the last notice in it. A narrow one leaves
/// the cursor of what is not urgent where it is.
pub(super) fn build(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    head: &Prepare,
) -> Result<(Page, i64), StoreError> {
    let (cursors, schema_held) = (head.cursors, head.schema);
    let asker = Asker::new(db, catalog, gateway, cursors)?;
    let schema = catalog.newest().filter(|schema| schema.version > schema_held).cloned();
    let (notices, notices_to) = notice::waiting(db, gateway)?;
    let line = asker.line_number();
    let mut builder = Builder {
        asker,
        bytes: pack(&schema).len() + pack(&notices).len(),
        rows: Vec::new(),
        placed: BTreeSet::new(),
        known: Dots::new(),
        ahead: false,
    };
    let mut to = cursors;
    let lanes = if head.narrow { Lane::Urgent as usize + 1 } else { LANES };
    for (lane, to) in (0..lanes).zip(&mut to) {
        *to = builder.lane(lane)?;
        if builder.ahead {
            break;
        }
    }
    let page = Page {
        schema,
        verdicts: Vec::new(),
        notices,
        to,
        rows: builder.rows,
        known: spans(&builder.known),
        clock_s: 0,
        certificate: enrolment::renewal(db, gateway)?,
        line,
        backup: backup::reaches(db)?,
        wanted: Vec::new(),
        codec: CODEC_PLAIN,
    };
    Ok((page, notices_to))
}

/// Whether a gateway at these cursors should come again.
pub(super) fn has_more(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    cursors: [u64; LANES],
    schema_held: u32,
) -> Result<bool, StoreError> {
    let mut lines_left = usize::MAX;
    Ok(look_ahead(db, catalog, gateway, cursors, schema_held, &mut lines_left)?.unwrap_or(true))
}

/// As [`has_more`]; none if so many lines of the log did not tell.
pub(super) fn look_ahead(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    cursors: [u64; LANES],
    schema_held: u32,
    lines_left: &mut usize,
) -> Result<Option<bool>, StoreError> {
    if catalog.newest().is_some_and(|schema| schema.version > schema_held) {
        return Ok(Some(true));
    }
    if notice::waits(db, gateway)? {
        return Ok(Some(true));
    }
    let asker = Asker::new(db, catalog, gateway, cursors)?;
    for (lane, cursor) in cursors.into_iter().enumerate() {
        let mut query = lane_query(db)?;
        let mut lines = query.query(params![lane as u8, Bits(cursor)])?;
        while let Some(line) = lines.next()? {
            let Some(left) = lines_left.checked_sub(1) else {
                return Ok(None);
            };
            *lines_left = left;
            let (key, entry) = line_of(line)?;
            if asker.stays_home(key, &entry)? {
                continue;
            }
            let state = state_of(db, key)?;
            if asker.call(key, &state, &entry)? != Call::Nothing {
                return Ok(Some(true));
            }
        }
    }
    Ok(Some(false))
}

/// The gateway has this page: forget what it was told, remember what it was given.
pub(super) fn passed(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    page: &Page,
    notices_to: i64,
) -> Result<(), StoreError> {
    notice::told(db, gateway, notices_to)?;
    if let Some(certificate) = &page.certificate {
        enrolment::renewed(db, gateway, &certificate.der)?;
    }
    for row in &page.rows {
        let key = RowKey { table: row.table, row: row.row };
        let (table, state) = (catalog.table(key.table)?, state_of(db, key)?);
        // Of its own scope it holds what its cursor has passed.
        let ahead = state.since() > page.to[table.lane as usize];
        let beside = ahead || !scope::is_direct(db, table, &state, gateway)?;
        scope::set_present(db, gateway, key, beside && row.state != RowState::Left)?;
    }
    Ok(())
}

/// What a line of the log means to a gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Nothing: not its row, or its own change as it laid it.
    Nothing,
    /// The row travels.
    Travels,
    /// The row is no longer (or never was) in its scope.
    Leaves,
}

impl Asker<'_> {
    /// Whether a line means nothing to the gateway, whatever its row is now: its own
    /// change of a row that every site has, and nothing of it travels.
    fn stays_home(&self, key: RowKey, entry: &Entry) -> Result<bool, StoreError> {
        let global = self.catalog.table(key.table)?.scope == Scope::Global;
        Ok(global && self.brought(entry) && entry.travels.is_empty())
    }

    fn call(&self, key: RowKey, state: &State, entry: &Entry) -> Result<Call, StoreError> {
        let Asker { db, catalog, gateway, .. } = *self;
        if scope::is_within(db, catalog, gateway, key, state)? {
            let brought = |entry: &Entry| self.brought(entry);
            let travels = !log::travels_to(std::slice::from_ref(entry), brought).is_empty();
            return Ok(if travels { Call::Travels } else { Call::Nothing });
        }
        let held = self.may_hold(entry) || scope::presence(db, gateway, key)? != Presence::No;
        Ok(if held { Call::Leaves } else { Call::Nothing })
    }
}

/// A page in the making.
struct Builder<'a> {
    asker: Asker<'a>,
    bytes: usize,
    rows: Vec<PageRow>,
    placed: BTreeSet<RowKey>,
    known: Dots,
    /// Rows travel ahead of the sequence that drags them along: the page ends there.
    ahead: bool,
}

impl Builder<'_> {
    /// Take sequences of a lane while they fit; how far that went.
    fn lane(&mut self, lane: usize) -> Result<u64, StoreError> {
        let Asker { db, cursors, .. } = self.asker;
        let mut to = cursors[lane];
        let mut query = lane_query(db)?;
        let mut lines = query.query(params![lane as u8, Bits(to)])?;
        let mut sequence: Vec<(RowKey, Entry)> = Vec::new();
        while let Some(line) = lines.next()? {
            let (key, entry) = line_of(line)?;
            if let Some((_, first)) = sequence.first()
                && first.seq != entry.seq
            {
                let seq = first.seq;
                if !self.take(&sequence)? {
                    return Ok(to);
                }
                to = seq;
                sequence.clear();
            }
            sequence.push((key, entry));
        }
        if !self.take(&sequence)? {
            return Ok(to);
        }
        head(db)
    }

    /// Take one sequence whole, unless it does not fit behind what is there.
    fn take(&mut self, sequence: &[(RowKey, Entry)]) -> Result<bool, StoreError> {
        let before = self.rows.len();
        let mut placed = Vec::new();
        for (key, entry) in sequence {
            self.take_line(*key, entry, &mut placed)?;
        }
        let bytes: usize = self.rows[before..].iter().map(packed_len).sum();
        if before > 0 && bytes > 0 && self.bytes + bytes > DOWNLINK_BYTES_TARGET {
            self.rows.truncate(before);
            placed.iter().for_each(|key| {
                self.placed.remove(key);
            });
            return Ok(false);
        }
        self.ahead = bytes > ALONG_BYTES_MAX && self.send_ahead(sequence);
        for index in before..self.rows.len() {
            self.asker.known(&self.rows[index], &mut self.known)?;
        }
        self.bytes += bytes;
        Ok(!self.ahead)
    }

    /// Of a page that holds one sequence, keep what it drags along, as far as that fits:
    /// the gateway holds those rows then, and the rest comes in the pages behind. False,
    /// and nothing done, if there are no such rows.
    fn send_ahead(&mut self, sequence: &[(RowKey, Entry)]) -> bool {
        let asked: BTreeSet<RowKey> = sequence.iter().map(|(key, _)| *key).collect();
        let key = |row: &PageRow| RowKey { table: row.table, row: row.row };
        if self.rows.iter().all(|row| asked.contains(&key(row))) {
            return false;
        }
        let mut bytes = 0;
        self.rows.retain(|row| {
            let fits = !asked.contains(&key(row)) && bytes <= DOWNLINK_BYTES_TARGET;
            bytes += if fits { packed_len(row) } else { 0 };
            fits
        });
        true
    }

    fn take_line(
        &mut self,
        key: RowKey,
        entry: &Entry,
        placed: &mut Vec<RowKey>,
    ) -> Result<(), StoreError> {
        if self.placed.contains(&key) {
            return Ok(());
        }
        let table = self.asker.catalog.table(key.table)?;
        let refers = table.fields.iter().any(|f| matches!(f.kind, Kind::Reference { .. }));
        if !refers && self.asker.stays_home(key, entry)? {
            return Ok(());
        }
        let state = state_of(self.asker.db, key)?;
        match self.asker.call(key, &state, entry)? {
            Call::Travels => self.place(key, placed),
            Call::Leaves => {
                self.placed.insert(key);
                placed.push(key);
                self.rows.push(self.asker.leaving(key, &state));
                Ok(())
            }
            // Even a row that stays home may reference rows that never came here.
            Call::Nothing if entry.gateway == self.asker.gateway => {
                for parent in self.along(key, &state)? {
                    self.place(parent, placed)?;
                }
                Ok(())
            }
            Call::Nothing => Ok(()),
        }
    }

    /// Put a row into the page, behind the rows it references that must come along.
    fn place(&mut self, key: RowKey, placed: &mut Vec<RowKey>) -> Result<(), StoreError> {
        // On the way down rows are computed, on the way up they are put; no recursion,
        // so that a long chain of references costs no stack.
        let mut open = vec![(key, None)];
        while let Some((key, ready)) = open.pop() {
            if let Some(row) = ready {
                self.rows.push(row);
                continue;
            }
            if !self.placed.insert(key) {
                continue;
            }
            placed.push(key);
            let state = state_of(self.asker.db, key)?;
            let row = self.asker.page_row(key, &state)?;
            open.push((key, Some(row)));
            let along = self.along(key, &state)?;
            open.extend(along.into_iter().map(|parent| (parent, None)));
        }
        Ok(())
    }

    /// The rows that a live row references and that must come along, also by fields that stay home.
    fn along(&self, key: RowKey, state: &State) -> Result<Vec<RowKey>, StoreError> {
        let mut along = Vec::new();
        if !state.is_live() {
            return Ok(along);
        }
        let shown = self.asker.shown(key, state)?;
        for field in &self.asker.catalog.table(key.table)?.fields {
            if let Kind::Reference { table, .. } = field.kind
                && let Some(Value::Row(row)) = shown.get(&field.number)
            {
                let parent = RowKey { table, row: *row };
                if let Some(state) = load(self.asker.db, parent)?
                    && self.asker.comes_along(parent, &state)?
                {
                    along.push(parent);
                }
            }
        }
        Ok(along)
    }
}

fn lane_query(db: &Connection) -> rusqlite::Result<rusqlite::CachedStatement<'_>> {
    db.prepare_cached(
        "SELECT seq, tbl, row, gateway, touched, travels FROM wadi_log
         WHERE lane = ?1 AND seq > ?2 ORDER BY seq, tbl, row",
    )
}

fn line_of(line: &rusqlite::Row<'_>) -> Result<(RowKey, Entry), StoreError> {
    let entry = Entry {
        seq: number_at(line, 0)?,
        gateway: line.get(3)?,
        touched: unpack(&line.get::<_, Vec<u8>>(4)?, "wadi_log.touched")?,
        travels: unpack(&line.get::<_, Vec<u8>>(5)?, "wadi_log.travels")?,
    };
    Ok((key_at(line, 1)?, entry))
}

fn state_of(db: &Connection, key: RowKey) -> Result<State, StoreError> {
    load(db, key)?
        .ok_or_else(|| StoreError::Broken(format!("the log names {key:?}, no row is there")))
}

/// Sequences as ascending stretches.
fn spans(known: &Dots) -> Vec<KnownRuns> {
    let runs: BTreeMap<_, Vec<(u64, u64)>> =
        known.iter().map(|(run, seqs)| (*run, stretches(seqs))).collect();
    runs.into_iter().map(|((device, run), spans)| KnownRuns { device, run, spans }).collect()
}

/// Ascending numbers as stretches (first, last).
pub(super) fn stretches(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => spans.push((number, number)),
        }
    }
    spans
}
