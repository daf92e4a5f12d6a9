//! Which rows the delete rule must look at together.
//!
//! What a transaction touched can change the fate of its ancestors, of all that
//! hangs on those of them that were deleted, and of the ancestors of that: the
//! set is closed under "up by restrict and cascade" and, from rows that are or
//! were deleted, "down by cascade, and one step by restrict". Rows outside it keep their fate.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::resolve::deletion::Node;
use wadi_protocol::schema::OnDelete;

use super::StoreError;
use super::sql::RowKey;
use super::work::{State, Work, children, parents};

/// Rows that the delete rule looks at together.
pub(super) struct Neighbourhood {
    /// The rows and their states, by place.
    pub rows: Vec<(RowKey, State)>,
    /// What the rule is told of them, by place; nobody survives a cascade yet.
    pub nodes: Vec<Node>,
    /// The rows that go with a row by cascade, one step, by place.
    below: Vec<Vec<usize>>,
}

/// Whether any of these rows, or any above them, is or was deleted: else the rule has
/// nothing to say.
pub(super) fn any_gone(work: &Work<'_>, seeds: &BTreeSet<RowKey>) -> Result<bool, StoreError> {
    let mut above: BTreeSet<RowKey> = BTreeSet::new();
    let mut open: Vec<RowKey> = seeds.iter().copied().collect();
    while let Some(key) = open.pop() {
        let state = work.peek(key)?;
        if state.deleted || state.dead || state.kept {
            return Ok(true);
        }
        let ups = parents(work.table(key)?, &state.fields).filter(|(_, _, rule)| rises(*rule));
        open.extend(
            ups.map(|(key, ..)| key).filter(|key| !seeds.contains(key) && above.insert(*key)),
        );
    }
    Ok(false)
}

/// Whether what happens to a row may concern the row that it references.
fn rises(rule: OnDelete) -> bool {
    rule != OnDelete::SetNull
}

/// Everything whose fate may change when `seeds` change.
pub(super) fn around(
    work: &Work<'_>,
    seeds: &BTreeSet<RowKey>,
) -> Result<Neighbourhood, StoreError> {
    let mut rows: BTreeMap<RowKey, State> = BTreeMap::new();
    let mut down_done = BTreeSet::new();
    let mut up: Vec<RowKey> = seeds.iter().copied().collect();
    let mut down = Vec::new();
    loop {
        if let Some(key) = up.pop() {
            if rows.contains_key(&key) {
                continue;
            }
            let state = work.peek(key)?;
            if !state.known {
                continue;
            }
            if state.deleted || state.dead {
                down.push(key);
            }
            let ups = parents(work.table(key)?, &state.fields);
            up.extend(ups.filter(|(_, _, rule)| rises(*rule)).map(|(key, ..)| key));
            rows.insert(key, state);
        } else if let Some(key) = down.pop() {
            if !down_done.insert(key) {
                continue;
            }
            for (child, rule) in children_now(work, key)? {
                if rises(rule) {
                    up.push(child);
                }
                if rule == OnDelete::Cascade {
                    down.push(child);
                }
            }
        } else {
            break;
        }
    }
    build(work, rows)
}

/// The rows that reference a row now, and by which rule. The index of references
/// is kept up to date before the rule runs.
fn children_now(work: &Work<'_>, key: RowKey) -> Result<Vec<(RowKey, OnDelete)>, StoreError> {
    children(work.db, key)?
        .into_iter()
        .map(|(child, field)| {
            let field = work.table(child)?.field(field);
            match field.map(|field| &field.kind) {
                Some(wadi_protocol::schema::Kind::Reference { on_delete, .. }) => {
                    Ok((child, *on_delete))
                }
                _ => Err(StoreError::Broken(format!("reference of {child:?} without a field"))),
            }
        })
        .collect()
}

fn build(work: &Work<'_>, rows: BTreeMap<RowKey, State>) -> Result<Neighbourhood, StoreError> {
    let places: BTreeMap<RowKey, usize> =
        rows.keys().enumerate().map(|(place, key)| (*key, place)).collect();
    let mut nodes = Vec::with_capacity(rows.len());
    let mut below = vec![Vec::new(); rows.len()];
    for (place, (key, state)) in rows.iter().enumerate() {
        let references: Vec<(usize, OnDelete)> = parents(work.table(*key)?, &state.fields)
            .filter_map(|(parent, _, rule)| Some((*places.get(&parent)?, rule)))
            .collect();
        for (parent, _) in references.iter().filter(|(_, rule)| *rule == OnDelete::Cascade) {
            below[*parent].push(place);
        }
        nodes.push(Node { deleted: state.deleted, references, survives: Vec::new() });
    }
    Ok(Neighbourhood { rows: rows.into_iter().collect(), nodes, below })
}

impl Neighbourhood {
    /// The rows that go with a row by cascade, itself left out.
    pub fn closure(&self, of: usize) -> BTreeSet<usize> {
        let mut closure = BTreeSet::from([of]);
        let mut open = vec![of];
        while let Some(parent) = open.pop() {
            open.extend(self.below[parent].iter().copied().filter(|&place| closure.insert(place)));
        }
        closure.remove(&of);
        closure
    }
}
