//! Pages whose rows are written against a model, as changes that nobody made.
//!
//! A row is what an insert of it would be, an amendment what an update would, a row that is
//! gone what a delete would: so the codec of changes serves the other direction too. A row
//! that is anything else besides (in review, followed, gone with values) stays in the rest.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::adaptive;
use super::batch::Batch;
use super::coded::{Named, Writing, Written, frame, writing};
use super::downlink::{self, Page, PageError, PageRow, RowState};
use crate::budget;
use crate::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use crate::id::{DeviceId, Dot, RowVersion, RunId};
use crate::limits::{CHANGESET_CHANGES_MAX, DOWNLINK_BYTES_MAX, DOWNLINK_MEMORY_BYTES_MAX};
use crate::stamp::Stamp;

/// A page without the rows that are coded.
#[derive(Serialize, Deserialize)]
struct Rest {
    page: Page,
    /// Where its rows stand among all, ascending.
    places: Vec<u32>,
}

/// Write a page: its rows against the model, if there is one and it takes them.
pub fn write_page(before: Option<&Named>, page: &Page) -> Written {
    let coded = before.and_then(|before| code(before, page));
    coded.unwrap_or_else(|| Written { bytes: downlink::encode(page), after: None })
}

fn code(before: &Named, page: &Page) -> Option<Written> {
    let mut batch = Batch::default();
    let mut rest = Rest { page: Page { rows: Vec::new(), ..page.clone() }, places: Vec::new() };
    for (place, row) in (0..).zip(&page.rows) {
        let change = change_of(row);
        if batch.changes.len() < CHANGESET_CHANGES_MAX && row_of(&change).as_ref() == Some(row) {
            batch.changes.push(change);
        } else {
            rest.page.rows.push(row.clone());
            rest.places.push(place);
        }
    }
    if batch.changes.is_empty() {
        return None;
    }
    let mut model = (*before.model).clone();
    let coded = adaptive::encode(&mut model, &batch).ok()?;
    let rest = postcard::to_allocvec(&rest).expect("pages always encode");
    let mut bytes = frame(before.name);
    bytes.extend_from_slice(&u32::try_from(rest.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(&rest);
    bytes.extend_from_slice(&coded);
    Some(Written { bytes, after: Some(before.next(model, &coded)) })
}

/// What of a framed page was coded; none if it is no page.
pub fn coded_rows(framed: &[u8]) -> Option<&[u8]> {
    split(framed).map(|(_, coded)| coded)
}

fn split(framed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = framed.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// Read a page against the model that it names ([`writing`]), and tell the one behind it.
///
/// # Errors
/// It is none, or was not written against this model.
pub fn read_page(bytes: &[u8], model: Option<&Named>) -> Result<(Page, Option<Named>), PageError> {
    if bytes.len() > DOWNLINK_BYTES_MAX {
        return Err(PageError::TooLarge(bytes.len()));
    }
    let (framed, before) = match (writing(bytes), model) {
        (Writing::Against(name, framed), Some(before)) if name == before.name => (framed, before),
        (Writing::Against(..), _) => return Err(PageError::OtherModel),
        (Writing::Unknown(version), _) => return Err(PageError::Version(version)),
        (Writing::Plain, _) => return Ok((downlink::decode(bytes)?, None)),
    };
    let (rest, coded) = split(framed).ok_or(PageError::Malformed)?;
    let rest: Rest = budget::decode(rest, DOWNLINK_MEMORY_BYTES_MAX)?;
    let mut model = (*before.model).clone();
    let batch = adaptive::decode(&mut model, coded).map_err(|_| PageError::Malformed)?;
    let page = together(rest, &batch).ok_or(PageError::Malformed)?;
    Ok((page, Some(before.next(model, coded))))
}

/// The rows in their order; none if they were put together otherwise.
fn together(rest: Rest, batch: &Batch) -> Option<Page> {
    let Rest { mut page, places } = rest;
    if places.len() != page.rows.len() || !batch.runs.is_empty() {
        return None;
    }
    let mut odd = places.into_iter().zip(core::mem::take(&mut page.rows)).peekable();
    let mut changes = batch.changes.iter();
    for place in 0.. {
        match odd.next_if(|(at, _)| *at == place) {
            Some((_, row)) => page.rows.push(row),
            None => match changes.next() {
                Some(change) => page.rows.push(row_of(change)?),
                None => break,
            },
        }
    }
    odd.next().is_none().then_some(page)
}

/// A row as a change.
fn change_of(row: &PageRow) -> Change {
    let op = match (row.state, row.whole) {
        (RowState::Live, true) => Op::Insert,
        (RowState::Live, false) => Op::Update,
        (RowState::Dead, _) => Op::Delete,
        (RowState::Left, _) => Op::Settle,
    };
    let fields = row.fields.iter();
    // Of its maker, so that the id of the row need not travel.
    let (device, run, _) = row.row.maker().unwrap_or((DeviceId(0), RunId::NONE, 0));
    Change {
        dot: Dot { device, run, seq: 1 },
        stamp: Stamp::default(),
        entered_s: 0,
        contained: None,
        schema: 0,
        rights: 0,
        group: None,
        table: TableRef::Number(row.table),
        row: row.row,
        op,
        fields: fields
            .map(|(number, value)| (FieldRef::Number(*number), Delta::Set(value.clone())))
            .collect(),
        seen: Seen {
            version: RowVersion { hub: RunId::NONE, seq: row.version },
            above: Vec::new(),
        },
        closure: Vec::new(),
    }
}

/// The row that a change stands for; none if it stands for none.
fn row_of(change: &Change) -> Option<PageRow> {
    let (state, whole) = match change.op {
        Op::Insert => (RowState::Live, true),
        Op::Update => (RowState::Live, false),
        Op::Delete => (RowState::Dead, false),
        Op::Settle => (RowState::Left, false),
        Op::Undone => return None,
    };
    let fields = change.fields.iter().map(|(field, delta)| match (field, delta) {
        (FieldRef::Number(number), Delta::Set(value)) => Some((*number, value.clone())),
        _ => None,
    });
    Some(PageRow {
        table: change.table_number()?,
        row: change.row,
        version: change.seen.version.seq,
        state,
        fields: fields.collect::<Option<_>>()?,
        whole,
        review: Vec::new(),
        followed: Vec::new(),
    })
}
