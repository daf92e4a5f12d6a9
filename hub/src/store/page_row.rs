//! One row of a downlink page: what of it travels to a gateway.
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rusqlite::{Connection, params};
use wadi_protocol::change::{Change, FieldRef, Op};
use wadi_protocol::id::{DeviceId, Dot, RunId};
use wadi_protocol::limits::ROW_BYTES_MAX;
use wadi_protocol::resolve::Lines;
use wadi_protocol::schema::{LANES, Table};
use wadi_protocol::value::Value;
use wadi_protocol::wire::downlink::{PageRow, RowState};

use super::changes;
use super::line::{self, Line};
use super::log::{self, Entry};
use super::scope::{self, Presence};
use super::sql::{Bits, Id, RowKey, dot_at};
use super::work::{Fields, State, is_dead, shown};
use super::{Catalog, StoreError};

/// Who asks, and how far it is.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The database.
    pub db: &'a Connection,
    /// The schemas.
    pub catalog: &'a Catalog,
    /// The gateway.
    pub gateway: u32,
    /// How far it has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// Its line of rounds.
    line: Line,
}

/// Dots by run.
pub(super) type Dots = BTreeMap<(DeviceId, RunId), BTreeSet<u64>>;

impl<'a> Asker<'a> {
    /// A gateway at its cursors.
    pub fn new(
        db: &'a Connection,
        catalog: &'a Catalog,
        gateway: u32,
        cursors: [u64; LANES],
    ) -> Result<Asker<'a>, StoreError> {
        Ok(Asker { db, catalog, gateway, cursors, line: line::of(db, gateway)? })
    }

    /// How many lines of rounds it had before.
    pub fn line_number(&self) -> u32 {
        self.line.number
    }

    /// Whether the gateway's own line of rounds brought what a line of the log tells of.
    pub fn brought(&self, entry: &Entry) -> bool {
        entry.gateway == self.gateway && entry.seq > self.line.from
    }

    /// Whether the gateway may hold what a line of the log tells of, since it brought that
    /// itself, on this line of its rounds or on a former one.
    pub fn may_hold(&self, entry: &Entry) -> bool {
        entry.gateway == self.gateway && (self.brought(entry) || !self.line.blank)
    }

    /// How far the gateway is in a table's lane.
    pub fn cursor(&self, table: &Table) -> u64 {
        self.cursors[table.lane as usize]
    }

    /// Whether the gateway may lack a row of its own scope.
    pub fn may_lack(&self, table: &Table, key: RowKey, state: &State) -> Result<bool, StoreError> {
        if state.since() <= self.cursor(table) {
            return Ok(false);
        }
        let made = state.site == self.gateway && state.moved_seq == 0;
        let own = made && state.first_seq > self.line.from;
        let other = !own || (self.line.number > 0 && changes::has_stray(self.db, key)?);
        Ok(other || self.is_repaired(key)?)
    }

    /// Whether a change of the row counts in a form that no gateway has.
    fn is_repaired(&self, key: RowKey) -> Result<bool, StoreError> {
        let mut query = self
            .db
            .prepare_cached("SELECT 1 FROM wadi_change WHERE tbl = ?1 AND row = ?2 AND repaired")?;
        Ok(query.exists(params![key.table, Id(key.row)])?)
    }

    /// Whether a row that a travelling one references must come along.
    pub fn comes_along(&self, key: RowKey, state: &State) -> Result<bool, StoreError> {
        let table = self.catalog.table(key.table)?;
        let direct = scope::is_direct(self.db, table, state, self.gateway)?;
        let lacks = !direct || self.may_lack(table, key, state)?;
        Ok(lacks && scope::presence(self.db, self.gateway, key)? != Presence::Yes)
    }

    /// A row's values as people see them.
    pub fn shown(&self, key: RowKey, state: &State) -> Result<Rc<Fields>, StoreError> {
        shown(self.catalog.table(key.table)?, &state.fields, |parent| is_dead(self.db, parent))
    }

    /// The row that goes to the gateway.
    pub fn page_row(&self, key: RowKey, state: &State) -> Result<PageRow, StoreError> {
        let table = self.catalog.table(key.table)?;
        if state.bytes > ROW_BYTES_MAX {
            tracing::warn!(gateway = self.gateway, table = table.name, row = %key.row,
                bytes = state.bytes, "the row is too large to travel");
            return Ok(self.leaving(key, state));
        }
        let entries = log::since(self.db, key, self.cursor(table))?;
        let travels = log::travels_to(&entries, |entry| self.brought(entry));
        let direct = scope::is_direct(self.db, table, state, self.gateway)?;
        let whole = self.may_lack(table, key, state)? || !direct || travels.contains_key(&0);
        let whole = whole && state.is_live();
        let shown = if state.is_live() { self.shown(key, state)? } else { Rc::default() };
        let fields = if whole {
            shown.iter().map(|(field, value)| (*field, value.clone())).collect()
        } else if state.is_live() {
            let value = |field: &u16| shown.get(field).cloned().unwrap_or(Value::Null);
            travels
                .keys()
                .filter(|&&field| field != 0)
                .map(|field| (*field, value(field)))
                .collect()
        } else {
            Vec::new()
        };
        Ok(PageRow {
            table: key.table,
            row: key.row,
            version: state.last_seq,
            state: if state.is_live() { RowState::Live } else { RowState::Dead },
            fields,
            whole,
            review: state.waiting(),
            followed: self.followed(table, key, state)?,
        })
    }

    /// The row that the gateway is to let go of.
    pub fn leaving(&self, key: RowKey, state: &State) -> PageRow {
        PageRow {
            table: key.table,
            row: key.row,
            version: state.last_seq,
            state: RowState::Left,
            fields: Vec::new(),
            whole: false,
            review: Vec::new(),
            followed: Vec::new(),
        }
    }

    /// Dots that other gateways, or other lines of this one, brought and the row's image covers.
    pub fn known(&self, row: &PageRow, known: &mut Dots) -> Result<(), StoreError> {
        let key = RowKey { table: row.table, row: row.row };
        let from = if row.whole { 0 } else { self.cursor(self.catalog.table(row.table)?) };
        let mut query = self.db.prepare_cached(
            "SELECT device, run, seq FROM wadi_change
             WHERE tbl = ?1 AND row = ?2 AND hub_seq > ?3
                 AND (gateway <> ?4 OR hub_seq <= ?5 OR stray)",
        )?;
        let params =
            params![key.table, Id(key.row), Bits(from), self.gateway, Bits(self.line.from)];
        let dots = query.query_map(params, |row| dot_at(row, 0))?;
        for dot in dots {
            let dot = dot?;
            known.entry((dot.device, dot.run)).or_default().insert(dot.seq);
        }
        Ok(())
    }

    /// Changes that are not applied here and that applied changes of the row follow.
    fn followed(
        &self,
        table: &Table,
        key: RowKey,
        state: &State,
    ) -> Result<Vec<(Dot, Vec<u16>)>, StoreError> {
        let parked = changes::parked_of(self.db, key)?;
        // The changes of a chain name none that they had seen.
        if parked.is_empty() && state.chain.is_some() {
            return Ok(Vec::new());
        }
        let applied = changes::applied(self.db, key)?;
        let mut lines = Lines::new();
        for device in
            parked.iter().map(|entered| entered.change.dot.device).collect::<BTreeSet<_>>()
        {
            for run in changes::runs(self.db, device)? {
                lines.add(&run);
            }
        }
        let inserts = applied.iter().filter(|entered| entered.change.op == Op::Insert);
        let last_insert = inserts.map(|entered| entered.seq).max().unwrap_or(0);
        let mut followed: BTreeMap<Dot, BTreeSet<u16>> = BTreeMap::new();
        for entered in &applied {
            let change = &entered.change;
            let mut open = Vec::new();
            for &dot in &change.seen.above {
                if changes::sequence(self.db, dot)?.unwrap_or(0) == 0 {
                    open.push(dot);
                }
            }
            let earlier = parked.iter().map(|entered| entered.change.dot);
            open.extend(earlier.filter(|&dot| lines.earlier(dot, change.dot)));
            for dot in open {
                let reborn = entered.seq < last_insert;
                followed.entry(dot).or_default().extend(touched(table, change, reborn));
            }
        }
        let flat = followed.into_iter().map(|(dot, fields)| (dot, fields.into_iter().collect()));
        Ok(flat.collect())
    }
}

/// The fields of which a change follows what it had seen; 0 = existence. A delete gives no
/// value, so it takes the place of none, unless the row was made anew after it.
fn touched(table: &Table, change: &Change, reborn: bool) -> Vec<u16> {
    if change.op == Op::Delete && !reborn {
        return vec![0];
    }
    if matches!(change.op, Op::Insert | Op::Delete) {
        return std::iter::once(0).chain(table.fields.iter().map(|field| field.number)).collect();
    }
    let fields = change.fields.iter().filter_map(|(field, _)| match field {
        FieldRef::Number(number) => Some(*number),
        FieldRef::Name(_) => None,
    });
    fields.collect()
}
