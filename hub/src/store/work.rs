//! The rows that one transaction works on: before, after, and what touched them.
//!
//! Rows are read when first needed and written once, by [`super::apply`]; until
//! then the database holds what was before.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::{Change, Op};
use wadi_protocol::id::DeviceId;
use wadi_protocol::resolve::{Lines, Placed, Resolved, resolve};
use wadi_protocol::schema::{Kind, OnDelete, Table};
use wadi_protocol::value::Value;

use super::catalog::Catalog;
use super::changes::{self, Entered};
use super::sql::{Id, RowKey, key_at, number_at, unpack};
use super::{StoreError, head};

/// Values by field, no nulls.
pub(super) type Fields = BTreeMap<u16, Value>;

/// What the hub holds of a row.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct State {
    /// Whether it ever was inserted.
    pub known: bool,
    /// The gateway that brought its insert.
    pub site: u32,
    /// Its first log entry.
    pub first_seq: u64,
    /// Its last log entry.
    pub last_seq: u64,
    /// Deleted by its own candidates.
    pub deleted: bool,
    /// Deleted by the delete rule: what people see.
    pub dead: bool,
    /// Deleted by its own candidates, and kept by the delete rule.
    pub kept: bool,
    /// Values before set-null.
    pub fields: Fields,
    /// Fields that resolution leaves to a person; 0 = existence. Sorted.
    pub review: Vec<u16>,
    /// Unique fields that share their value with another row. Sorted.
    pub twins: Vec<u16>,
}

/// A change of this transaction, as the log will tell of it.
pub(super) struct Touch {
    /// Its hub sequence.
    pub seq: u64,
    /// Who brought it.
    pub gateway: u32,
    /// What it does.
    pub change: Change,
}

/// One row's way through the transaction.
pub(super) struct RowWork {
    /// As it was.
    pub before: State,
    /// Its values then, as people saw them.
    pub shown_before: Fields,
    /// As it will be.
    pub after: State,
    /// The changes between, in hub order.
    pub touches: Vec<Touch>,
    /// What resolution said, if it was asked.
    pub resolved: Option<(Vec<Entered>, Resolved)>,
}

/// The transaction's working memory.
pub(super) struct Work<'a> {
    /// The database.
    pub db: &'a Connection,
    /// The schemas.
    pub catalog: &'a Catalog,
    /// The hub's clock, seconds since 1970.
    pub now_s: u64,
    /// The hub sequence.
    pub head: u64,
    /// Where the transaction began.
    pub start: u64,
    /// Rows at work.
    pub rows: BTreeMap<RowKey, RowWork>,
    lines: Lines,
    devices: BTreeSet<DeviceId>,
}

impl State {
    /// Fields that wait for a person; none of a row that is not there.
    pub fn waiting(&self) -> Vec<u16> {
        if self.dead || !self.known {
            return Vec::new();
        }
        let all: BTreeSet<u16> = self.review.iter().chain(&self.twins).copied().collect();
        all.into_iter().collect()
    }

    /// Whether people see it.
    pub fn is_live(&self) -> bool {
        self.known && !self.dead
    }
}

impl<'a> Work<'a> {
    /// Nothing yet.
    pub fn new(
        db: &'a Connection,
        catalog: &'a Catalog,
        now_s: u64,
    ) -> Result<Work<'a>, StoreError> {
        let head = head(db)?;
        Ok(Work {
            db,
            catalog,
            now_s,
            head,
            start: head,
            rows: BTreeMap::new(),
            lines: Lines::new(),
            devices: BTreeSet::new(),
        })
    }

    /// The next hub sequence.
    pub fn next_seq(&mut self) -> u64 {
        self.head += 1;
        self.head
    }

    /// The table of a row.
    pub fn table(&self, key: RowKey) -> Result<&'a Table, StoreError> {
        self.catalog.table(key.table)
    }

    /// A row at work; read it if it is not yet.
    pub fn row(&mut self, key: RowKey) -> Result<&mut RowWork, StoreError> {
        if !self.rows.contains_key(&key) {
            let before = load(self.db, key)?.unwrap_or_default();
            let db = self.db;
            let shown_before =
                shown(self.table(key)?, &before.fields, |parent| is_dead(db, parent))?;
            let after = before.clone();
            let work = RowWork { before, shown_before, after, touches: Vec::new(), resolved: None };
            self.rows.insert(key, work);
        }
        Ok(self.rows.get_mut(&key).expect("just put there"))
    }

    /// A row's state now, without putting it to work.
    pub fn peek(&self, key: RowKey) -> Result<State, StoreError> {
        match self.rows.get(&key) {
            Some(row) => Ok(row.after.clone()),
            None => Ok(load(self.db, key)?.unwrap_or_default()),
        }
    }

    /// Whether a row is dead now.
    pub fn is_dead(&self, key: RowKey) -> Result<bool, StoreError> {
        match self.rows.get(&key) {
            Some(row) => Ok(row.after.dead),
            None => is_dead(self.db, key),
        }
    }

    /// A row's values now, as people see them.
    pub fn shown(&self, key: RowKey) -> Result<Fields, StoreError> {
        let table = self.table(key)?;
        let state = self.peek(key)?;
        shown(table, &state.fields, |parent| self.is_dead(parent))
    }

    /// What precedes what, with the runs of these changes' devices known.
    pub fn lines_for(&mut self, changes: &[Entered]) -> Result<&Lines, StoreError> {
        for entered in changes {
            let device = entered.change.dot.device;
            if self.devices.insert(device) {
                for run in changes::runs(self.db, device)? {
                    self.lines.add(&run);
                }
            }
        }
        Ok(&self.lines)
    }

    /// Resolve a row from all its applied changes.
    pub fn resolve(&mut self, key: RowKey) -> Result<(Vec<Entered>, Resolved), StoreError> {
        let changes = changes::applied(self.db, key)?;
        let table = self.table(key)?;
        let lines = self.lines_for(&changes)?;
        let resolved = resolve(table, None, &placed(&changes), lines);
        Ok((changes, resolved))
    }

    /// Resolve a row and take the result as what it will be.
    pub fn renew(&mut self, key: RowKey) -> Result<(), StoreError> {
        let (changes, resolved) = self.resolve(key)?;
        let row = self.row(key)?;
        if !row.after.known {
            let insert = changes.iter().find(|entered| entered.change.op == Op::Insert);
            row.after.site = insert.map_or(0, |insert| insert.gateway);
            row.after.known = insert.is_some();
        }
        let after = &mut row.after;
        after.deleted = !resolved.existence.deletes.is_empty();
        after.fields = resolved
            .fields
            .iter()
            .filter(|field| !field.value.is_null())
            .map(|field| (field.field, field.value.clone()))
            .collect();
        let existence = resolved.existence.review.then_some(0);
        let fields = resolved.fields.iter().filter(|field| field.review).map(|field| field.field);
        after.review = existence.into_iter().chain(fields).collect();
        row.resolved = Some((changes, resolved));
        Ok(())
    }
}

/// Changes as resolution wants them.
pub(super) fn placed(changes: &[Entered]) -> Vec<Placed<'_>> {
    changes
        .iter()
        .map(|entered| Placed {
            change: &entered.change,
            seq: entered.seq,
            seen_seq: entered.seen_seq,
        })
        .collect()
}

/// Values as people see them: references with set-null to dead rows are null.
pub(super) fn shown(
    table: &Table,
    fields: &Fields,
    is_dead: impl Fn(RowKey) -> Result<bool, StoreError>,
) -> Result<Fields, StoreError> {
    let mut shown = fields.clone();
    for field in &table.fields {
        if let Kind::Reference { table, on_delete: OnDelete::SetNull } = field.kind
            && let Some(Value::Row(row)) = fields.get(&field.number)
            && is_dead(RowKey { table, row: *row })?
        {
            shown.remove(&field.number);
        }
    }
    Ok(shown)
}

/// The stored state of a row.
pub(super) fn load(db: &Connection, key: RowKey) -> Result<Option<State>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT site, first_seq, last_seq, deleted, dead, kept, fields, review, twins
         FROM wadi_row WHERE tbl = ?1 AND row = ?2",
    )?;
    let state = query
        .query_row(params![key.table, Id(key.row)], |row| {
            Ok((
                State {
                    known: true,
                    site: row.get(0)?,
                    first_seq: number_at(row, 1)?,
                    last_seq: number_at(row, 2)?,
                    deleted: row.get(3)?,
                    dead: row.get(4)?,
                    kept: row.get(5)?,
                    ..State::default()
                },
                row.get::<_, Vec<u8>>(6)?,
                row.get::<_, Vec<u8>>(7)?,
                row.get::<_, Vec<u8>>(8)?,
            ))
        })
        .optional()?;
    let Some((mut state, fields, review, twins)) = state else {
        return Ok(None);
    };
    state.fields = unpack(&fields, "wadi_row.fields")?;
    state.review = unpack(&review, "wadi_row.review")?;
    state.twins = unpack(&twins, "wadi_row.twins")?;
    Ok(Some(state))
}

/// Whether a stored row is dead; one that never was is not.
pub(super) fn is_dead(db: &Connection, key: RowKey) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached("SELECT dead FROM wadi_row WHERE tbl = ?1 AND row = ?2")?;
    let dead = query.query_row(params![key.table, Id(key.row)], |row| row.get(0)).optional()?;
    Ok(dead.unwrap_or(false))
}

/// Whether the hub ever had a row.
pub(super) fn is_known(db: &Connection, key: RowKey) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached("SELECT 1 FROM wadi_row WHERE tbl = ?1 AND row = ?2")?;
    Ok(query.exists(params![key.table, Id(key.row)])?)
}

/// Rows that reference a row, each with the field.
pub(super) fn children(db: &Connection, key: RowKey) -> Result<Vec<(RowKey, u16)>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT tbl, row, field FROM wadi_reference WHERE to_tbl = ?1 AND to_row = ?2",
    )?;
    let rows = query
        .query_map(params![key.table, Id(key.row)], |row| Ok((key_at(row, 0)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The rows that a row's values reference, each with the field.
pub(super) fn parents<'t>(
    table: &'t Table,
    fields: &'t Fields,
) -> impl Iterator<Item = (RowKey, u16, OnDelete)> + 't {
    table.fields.iter().filter_map(|field| match (&field.kind, fields.get(&field.number)) {
        (Kind::Reference { table, on_delete }, Some(Value::Row(row))) => {
            Some((RowKey { table: *table, row: *row }, field.number, *on_delete))
        }
        _ => None,
    })
}
