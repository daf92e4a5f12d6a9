//! The rows that one transaction works on: before, after, and what touched them.
//!
//! Rows are read when first needed and written once, by [`super::apply`]; until
//! then the database holds what was before.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::Op;
use wadi_protocol::id::{DeviceId, Dot};
use wadi_protocol::resolve::{Lines, Placed, Resolved, chain, resolve};
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
    /// The log entry at which it came to the site that it is of now; 0 = it never moved.
    pub moved_seq: u64,
    /// Its last log entry.
    pub last_seq: u64,
    /// Deleted by its own candidates.
    pub deleted: bool,
    /// Deleted by the delete rule: what people see.
    pub dead: bool,
    /// Deleted by its own candidates, and kept by the delete rule.
    pub kept: bool,
    /// Values before set-null; shared, since most of what reads them changes nothing.
    pub fields: Rc<Fields>,
    /// Encoded bytes of these values as they were stored.
    pub bytes: usize,
    /// The last of its applied changes, if these are known to be a simple chain.
    pub chain: Option<Dot>,
    /// Fields that resolution leaves to a person; 0 = existence. Sorted.
    pub review: Vec<u16>,
    /// Unique fields that share their value with another row. Sorted.
    pub twins: Vec<u16>,
}

/// One row's way through the transaction.
pub(super) struct RowWork {
    /// As it was.
    pub before: State,
    /// Its values then, as people saw them.
    pub shown_before: Rc<Fields>,
    /// As it will be.
    pub after: State,
    /// The changes between, in hub order.
    pub touches: Vec<Entered>,
    /// What resolution said, if it was asked: a chain that grew needs none.
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
    /// Stored states of rows that were looked at: they are written at the end only.
    stored: RefCell<BTreeMap<RowKey, State>>,
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

    /// The log entry since when its site has it.
    pub fn since(&self) -> u64 {
        self.first_seq.max(self.moved_seq)
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
            stored: RefCell::default(),
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
            let before = self.stored(key)?;
            let is_dead = |parent| Ok(self.stored(parent)?.dead);
            let shown_before = shown(self.table(key)?, &before.fields, is_dead)?;
            let after = before.clone();
            let work = RowWork { before, shown_before, after, touches: Vec::new(), resolved: None };
            self.rows.insert(key, work);
        }
        Ok(self.rows.get_mut(&key).expect("just put there"))
    }

    /// A row's state as it was before.
    fn stored(&self, key: RowKey) -> Result<State, StoreError> {
        if let Some(state) = self.stored.borrow().get(&key) {
            return Ok(state.clone());
        }
        let state = load(self.db, key)?.unwrap_or_default();
        self.stored.borrow_mut().insert(key, state.clone());
        Ok(state)
    }

    /// A row's state now, without putting it to work.
    pub fn peek(&self, key: RowKey) -> Result<State, StoreError> {
        match self.rows.get(&key) {
            Some(row) => Ok(row.after.clone()),
            None => self.stored(key),
        }
    }

    /// Whether a row has come, by what is to be applied now too.
    pub fn is_known(&self, key: RowKey) -> Result<bool, StoreError> {
        let comes = self
            .rows
            .get(&key)
            .is_some_and(|row| row.touches.iter().any(|touch| touch.change.op == Op::Insert));
        Ok(comes || self.peek(key)?.known)
    }

    /// Whether a row is dead now.
    pub fn is_dead(&self, key: RowKey) -> Result<bool, StoreError> {
        match self.rows.get(&key) {
            Some(row) => Ok(row.after.dead),
            None => Ok(self.stored(key)?.dead),
        }
    }

    /// A row's values now, as people see them.
    pub fn shown(&self, key: RowKey) -> Result<Rc<Fields>, StoreError> {
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
        let table = self.table(key)?;
        if !self.row(key)?.grow(table) {
            return self.renew_whole(key);
        }
        // Every test of the store checks the short way against the whole one.
        if cfg!(debug_assertions) {
            let short = self.row(key)?.after.clone();
            self.renew_whole(key)?;
            let row = self.row(key)?;
            assert_eq!(row.after, short, "{key:?}");
            row.resolved = None;
        }
        Ok(())
    }

    /// The same from all changes of the row, whatever they are.
    fn renew_whole(&mut self, key: RowKey) -> Result<(), StoreError> {
        let (changes, resolved) = self.resolve(key)?;
        let chain = chain::end(self.table(key)?, &placed(&changes));
        let row = self.row(key)?;
        if !row.after.known {
            let insert = changes.iter().find(|entered| entered.change.op == Op::Insert);
            row.after.site = insert.map_or(0, |insert| insert.gateway);
            row.after.known = insert.is_some();
        }
        let after = &mut row.after;
        after.deleted = !resolved.existence.deletes.is_empty();
        let fields = resolved.fields.iter().filter(|field| !field.value.is_null());
        after.fields = Rc::new(fields.map(|field| (field.field, field.value.clone())).collect());
        after.chain = chain;
        let existence = resolved.existence.review.then_some(0);
        let fields = resolved.fields.iter().filter(|field| field.review).map(|field| field.field);
        after.review = existence.into_iter().chain(fields).collect();
        row.resolved = Some((changes, resolved));
        Ok(())
    }
}

impl RowWork {
    /// Let a chain grow by what touched the row; false, and nothing done, if it is none.
    fn grow(&mut self, table: &Table) -> bool {
        let Some(first) = self.touches.first() else {
            return false;
        };
        let mut last = self.before.chain;
        if last.is_none() && self.before.known {
            return false;
        }
        for touch in &self.touches {
            last = chain::grown(table, last, &touch.placed());
            if last.is_none() {
                return false;
            }
        }
        let after = &mut self.after;
        if !after.known {
            (after.known, after.site) = (true, first.gateway);
        }
        after.chain = last;
        let fields = Rc::make_mut(&mut after.fields);
        self.touches.iter().for_each(|touch| chain::grow(table, fields, &touch.change));
        true
    }
}

/// Changes as resolution wants them.
pub(super) fn placed(changes: &[Entered]) -> Vec<Placed<'_>> {
    changes.iter().map(Entered::placed).collect()
}

/// Values as people see them: references with set-null to dead rows are null.
pub(super) fn shown(
    table: &Table,
    fields: &Rc<Fields>,
    is_dead: impl Fn(RowKey) -> Result<bool, StoreError>,
) -> Result<Rc<Fields>, StoreError> {
    let mut shown = Rc::clone(fields);
    for field in &table.fields {
        if let Kind::Reference { table, on_delete: OnDelete::SetNull } = field.kind
            && let Some(Value::Row(row)) = fields.get(&field.number)
            && is_dead(RowKey { table, row: *row })?
        {
            Rc::make_mut(&mut shown).remove(&field.number);
        }
    }
    Ok(shown)
}

/// The stored state of a row.
pub(super) fn load(db: &Connection, key: RowKey) -> Result<Option<State>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT site, first_seq, last_seq, deleted, dead, kept, fields, review, twins, chain,
             moved_seq
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
                    moved_seq: number_at(row, 10)?,
                    ..State::default()
                },
                row.get::<_, Vec<u8>>(6)?,
                row.get::<_, Vec<u8>>(7)?,
                row.get::<_, Vec<u8>>(8)?,
                row.get::<_, Option<Vec<u8>>>(9)?,
            ))
        })
        .optional()?;
    let Some((mut state, fields, review, twins, chain)) = state else {
        return Ok(None);
    };
    state.bytes = fields.len();
    state.fields = Rc::new(unpack(&fields, "wadi_row.fields")?);
    state.chain = chain.map(|chain| unpack(&chain, "wadi_row.chain")).transpose()?;
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
