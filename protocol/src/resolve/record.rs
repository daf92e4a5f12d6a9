//! `record` mode: candidates are whole changes.
//!
//! The row is one field. One candidate wins, and every field comes from the
//! winner's own past: from the winner where it touches the field, else from the
//! greatest of the maximal changes in its past, and so on back to the insert.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::history::History;
use super::standing::Standing;
use super::{Resolution, strategy};
use crate::change::Op;
use crate::schema::{Merge, Table};
use crate::value::Value;

/// What the fields are; indices are places. The row waits for a person if one of
/// its fields is of strategy `review`; the least stamp wins if all of them are
/// `first-write`, else the greatest.
pub(super) fn resolve(
    table: &Table,
    base: impl Fn(u16) -> Value,
    standing: &Standing,
    history: &History<'_>,
) -> Vec<Resolution> {
    let has = |merge| table.fields.iter().any(|field| field.merge == merge);
    let candidates = match has(Merge::Review) {
        true => standing.case(history),
        false => standing.candidates(),
    };
    let first = table.fields.iter().all(|field| field.merge == Merge::FirstWrite);
    let winner = if first { candidates.first() } else { candidates.last() }.copied();
    let givers = winner.map(|winner| givers(table, winner, first, standing, history));
    let conflict = candidates.len() > 1;
    let places: Vec<usize> = candidates.iter().map(|&node| standing.place(node)).collect();
    let resolution = |field: &crate::schema::Field| {
        let giver = givers.as_ref().and_then(|givers| givers.get(&field.number).copied());
        let given = |place| strategy::value_of(field, history, place);
        Resolution {
            field: field.number,
            value: giver.map_or_else(|| base(field.number), given),
            candidates: places.clone(),
            winner: winner.map(|node| standing.place(node)),
            shown: Vec::from_iter(giver),
            conflict,
            review: conflict && field.merge == Merge::Review,
        }
    };
    table.fields.iter().map(resolution).collect()
}

/// Who in the winner's past gives each field its value: its place.
fn givers(
    table: &Table,
    winner: usize,
    first: bool,
    standing: &Standing,
    history: &History<'_>,
) -> BTreeMap<u16, usize> {
    let mut givers = BTreeMap::new();
    let mut open: Vec<u16> = table.fields.iter().map(|field| field.number).collect();
    let mut heads = None;
    let mut at = Some(winner);
    while let Some(node) = at {
        let place = standing.place(node);
        let change = history.change(place);
        open.retain(|&field| {
            let gives = super::gives(change, field);
            if gives {
                givers.insert(field, place);
            }
            !gives
        });
        if open.is_empty() {
            break;
        }
        let heads = heads.get_or_insert_with(|| {
            let insert = |node: usize| history.change(standing.place(node)).op == Op::Insert;
            let insert: Vec<bool> = (0..standing.value.len()).map(insert).collect();
            standing.graph.heads(&standing.value, &standing.delete, &insert)
        });
        at = if first { heads.least[node] } else { heads.greatest[node] };
    }
    givers
}
