//! The changelog: every committed change, applied or parked, and its runs.
use std::rc::Rc;

use rusqlite::{Connection, OptionalExtension, Row, params};
use wadi_protocol::change::{Change, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RunId, RunInfo};
use wadi_protocol::resolve::Placed;
use wadi_protocol::stamp::Stamp;
use wadi_protocol::wire::message::Outcome;

use super::run::expand;
use super::sql::{Bits, Id, RowKey, key_at, number_at, pack, unpack};
use super::{StoreError, restored};

/// A change that came in, judged and typed, not stored yet.
pub(super) struct Arrival {
    /// As it was made.
    pub original: Change,
    /// Its numbered form.
    pub typed: Change,
    /// Who brought it; 0 = the hub's own operators.
    pub gateway: u32,
    /// In which round.
    pub round: u64,
}

/// A stored change.
#[derive(Clone, Debug)]
pub(super) struct Entered {
    /// Its place in the table.
    pub number: i64,
    /// Its numbered form.
    pub change: Rc<Change>,
    /// The hub sequence; 0 while parked.
    pub seq: u64,
    /// Who brought it.
    pub gateway: u32,
    /// When.
    pub received_s: u64,
    /// What its writer had seen, in our sequences.
    pub seen_seq: u64,
    /// The same for each row of its closure.
    pub closure_seqs: Vec<u64>,
    /// Whether its form is an operator's: its gateway has another, and lays none.
    pub repaired: bool,
    /// Whether its gateway's line of rounds ended while it was parked.
    pub stray: bool,
}

const COLUMNS: &str = "number, coalesce(typed, body), hub_seq, gateway, received_s, seen_seq,
     closure_seqs, repaired, stray";

impl Entered {
    /// The row that it changes.
    pub fn key(&self) -> RowKey {
        key_of(&self.change)
    }

    /// As resolution wants it.
    pub fn placed(&self) -> Placed<'_> {
        Placed { change: &self.change, seq: self.seq, seen_seq: self.seen_seq }
    }

    /// What its gateway is told once it is applied.
    pub fn outcome(&self) -> Outcome {
        match self.repaired {
            true => Outcome::Known { seq: self.seq },
            false => Outcome::Applied { seq: self.seq },
        }
    }
}

/// The row that a numbered change changes.
pub(super) fn key_of(change: &Change) -> RowKey {
    let table = change.table_number().expect("typed changes are numbered");
    RowKey { table, row: change.row }
}

/// The table of a change as text: its number or the name that the record gave.
pub(super) fn table_text(table: &TableRef) -> String {
    match table {
        TableRef::Number(number) => number.to_string(),
        TableRef::Name(name) => name.clone(),
    }
}

/// A change as it came in, its numbered form still to be stored.
pub(super) struct Form {
    round: u64,
    body: Vec<u8>,
    typed: Option<Vec<u8>>,
}

impl Form {
    /// Of a change that came in some round, in its numbered form.
    pub fn of(round: u64, original: &Change, typed: &Change) -> Form {
        let typed = (original != typed).then(|| pack(typed));
        Form { round, body: pack(original), typed }
    }
}

/// What is to be stored of a change, and in which form. It has no number yet.
pub(super) fn enter(
    db: &Connection,
    arrival: Arrival,
    now_s: u64,
) -> Result<(Entered, Form), StoreError> {
    let Arrival { original, mut typed, gateway, round } = arrival;
    let (seen_seq, closure_seqs) = seen_seqs(db, gateway, &typed)?;
    if typed.seen.version.seq > seen_seq {
        let more = restored::returned(db, gateway, &typed, typed.seen.version)?;
        typed.seen.above.extend(more);
        typed.seen.above.sort_unstable();
        typed.seen.above.dedup();
    }
    let form = Form::of(round, &original, &typed);
    let change = Rc::new(typed);
    let entered = Entered {
        number: 0,
        change,
        seq: 0,
        gateway,
        received_s: now_s,
        seen_seq,
        closure_seqs,
        repaired: false,
        stray: false,
    };
    Ok((entered, form))
}

/// What a change's writer had seen, of its row and of each in its closure, in our sequences now.
pub(super) fn seen_seqs(
    db: &Connection,
    gateway: u32,
    change: &Change,
) -> Result<(u64, Vec<u64>), StoreError> {
    let closure = change.closure.iter().map(|row| expand(db, gateway, row.seen.version));
    Ok((expand(db, gateway, change.seen.version)?, closure.collect::<Result<_, _>>()?))
}

/// Store a change, with its hub sequence if it was given one: written once, since every
/// index of the changelog would be written again.
pub(super) fn store(db: &Connection, entered: &mut Entered, form: &Form) -> Result<(), StoreError> {
    let key = entered.key();
    let dot = entered.change.dot;
    let mut query = db.prepare_cached(
        "INSERT INTO wadi_change (device, run, seq, hub_seq, gateway, round, received_s, seen_seq,
             closure_seqs, tbl, row, body, typed, repaired, stray)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    query.execute(params![
        Bits(dot.device.0),
        Bits(dot.run.0),
        Bits(dot.seq),
        (entered.seq != 0).then_some(Bits(entered.seq)),
        entered.gateway,
        Bits(form.round),
        Bits(entered.received_s),
        Bits(entered.seen_seq),
        pack(&entered.closure_seqs),
        key.table,
        Id(key.row),
        form.body,
        form.typed,
        entered.repaired,
        entered.stray,
    ])?;
    entered.number = db.last_insert_rowid();
    Ok(())
}

/// Give a stored change its hub sequence.
pub(super) fn number(db: &Connection, entered: &Entered) -> Result<(), StoreError> {
    let mut query = db.prepare_cached("UPDATE wadi_change SET hub_seq = ?2 WHERE number = ?1")?;
    query.execute(params![entered.number, Bits(entered.seq)])?;
    Ok(())
}

/// Whether changes of a row were released after the line of rounds that brought them.
pub(super) fn has_stray(db: &Connection, key: RowKey) -> Result<bool, StoreError> {
    let mut query =
        db.prepare_cached("SELECT 1 FROM wadi_change WHERE tbl = ?1 AND row = ?2 AND stray")?;
    Ok(query.exists(params![key.table, Id(key.row)])?)
}

/// The change of a dot, if it was committed.
pub(super) fn find(db: &Connection, dot: Dot) -> Result<Option<Entered>, StoreError> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM wadi_change WHERE device = ?1 AND run = ?2 AND seq = ?3"
    ))?;
    let found = query
        .query_row([Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)], |row| Ok(entered(row)))
        .optional()?;
    found.transpose()
}

/// A change that was committed, as it was made.
pub(super) fn as_made(db: &Connection, dot: Dot) -> Result<Option<Change>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT body FROM wadi_change WHERE device = ?1 AND run = ?2 AND seq = ?3",
    )?;
    let key = [Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)];
    let body = query.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional()?;
    body.map(|body| unpack(&body, "wadi_change.body")).transpose()
}

/// Give a stored change the form of a repair.
pub(super) fn reform(db: &Connection, stored: &Entered, form: &Change) -> Result<(), StoreError> {
    retype(db, stored, form)?;
    db.prepare_cached("UPDATE wadi_change SET repaired = 1, tbl = ?2 WHERE number = ?1")?
        .execute(params![stored.number, key_of(form).table])?;
    Ok(())
}

/// Let a stored change count in another form; `body` stays as it was made.
pub(super) fn retype(db: &Connection, stored: &Entered, form: &Change) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE wadi_change SET typed = ?2 WHERE number = ?1")?
        .execute(params![stored.number, pack(form)])?;
    Ok(())
}

/// The hub sequence of a dot that was committed; 0 while it is parked.
pub(super) fn sequence(db: &Connection, dot: Dot) -> Result<Option<u64>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT coalesce(hub_seq, 0) FROM wadi_change WHERE device = ?1 AND run = ?2 AND seq = ?3",
    )?;
    Ok(query
        .query_row([Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)], |row| number_at(row, 0))
        .optional()?)
}

/// Every applied change of a row, in hub order.
pub(super) fn applied(db: &Connection, key: RowKey) -> Result<Vec<Entered>, StoreError> {
    list(
        db,
        "WHERE tbl = ?1 AND row = ?2 AND hub_seq IS NOT NULL ORDER BY hub_seq",
        params![key.table, Id(key.row)],
    )
}

/// The parked changes of a row, in the order of their arrival.
pub(super) fn parked_of(db: &Connection, key: RowKey) -> Result<Vec<Entered>, StoreError> {
    list(
        db,
        "WHERE tbl = ?1 AND row = ?2 AND hub_seq IS NULL ORDER BY number",
        params![key.table, Id(key.row)],
    )
}

/// Every parked change, in the order of arrival.
pub(super) fn parked(db: &Connection) -> Result<Vec<Entered>, StoreError> {
    list(db, "WHERE hub_seq IS NULL ORDER BY number", [])
}

/// The parked changes that came first.
pub(super) fn parked_first(db: &Connection, most: u32) -> Result<Vec<Entered>, StoreError> {
    list(db, "WHERE hub_seq IS NULL ORDER BY number LIMIT ?1", [most])
}

/// Take a containment stamp into account: of several the least counts. Whether it changed anything.
pub(super) fn contain(
    db: &Connection,
    dot: Dot,
    contained: Option<Stamp>,
) -> Result<Option<RowKey>, StoreError> {
    let (Some(stamp), Some(mut stored)) = (contained, find(db, dot)?) else {
        return Ok(None);
    };
    if stored.change.contained.is_some_and(|least| least <= stamp) {
        return Ok(None);
    }
    Rc::make_mut(&mut stored.change).contained = Some(stamp);
    retype(db, &stored, &stored.change)?;
    Ok((stored.seq != 0).then(|| stored.key()))
}

/// A stored change had seen another one of its row too.
pub(super) fn has_seen(db: &Connection, entered: &Entered, dot: Dot) -> Result<(), StoreError> {
    let mut change = (*entered.change).clone();
    change.seen.above.push(dot);
    change.seen.above.sort_unstable();
    retype(db, entered, &change)
}

/// Store what is told of a run; true if that changes what was known of it. Reports
/// that disagree count as [`wadi_protocol::resolve::Lines::add`] says.
pub(super) fn insert_run(db: &Connection, run: &RunInfo) -> Result<bool, StoreError> {
    let mut query = db.prepare_cached(
        "INSERT INTO wadi_run (device, run, parent_run, parent_seq, label)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET
             parent_seq = iif(parent_run = excluded.parent_run,
                              min(parent_seq, excluded.parent_seq), NULL),
             parent_run = iif(parent_run = excluded.parent_run, parent_run, NULL)
         WHERE parent_run IS NOT NULL
             AND (parent_run IS NOT excluded.parent_run OR parent_seq > excluded.parent_seq)",
    )?;
    let told = query.execute(params![
        Bits(run.device.0),
        Bits(run.run.0),
        run.parent.map(|(parent, _)| Bits(parent.0)),
        run.parent.map(|(_, seq)| Bits(seq)),
        run.label,
    ])?;
    Ok(told > 0)
}

/// Rows with applied changes of a device: what its lines may decide about.
pub(super) fn rows_of(db: &Connection, device: DeviceId) -> Result<Vec<RowKey>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT DISTINCT tbl, row FROM wadi_change WHERE device = ?1 AND hub_seq IS NOT NULL",
    )?;
    let rows = query.query_map([Bits(device.0)], |row| key_at(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether some known run of the device names this one as its parent: then its line was cut here.
pub(super) fn has_child_run(db: &Connection, run: &RunInfo) -> Result<bool, StoreError> {
    let mut query =
        db.prepare_cached("SELECT 1 FROM wadi_run WHERE device = ?1 AND parent_run = ?2")?;
    Ok(query.exists([Bits(run.device.0), Bits(run.run.0)])?)
}

/// Every run of a device.
pub(super) fn runs(db: &Connection, device: DeviceId) -> Result<Vec<RunInfo>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT run, parent_run, parent_seq, label FROM wadi_run WHERE device = ?1",
    )?;
    let rows = query.query_map([Bits(device.0)], |row| {
        let parent: Option<Bits> = row.get(1)?;
        let parent_seq: Option<Bits> = row.get(2)?;
        Ok(RunInfo {
            device,
            run: RunId(number_at(row, 0)?),
            parent: parent.zip(parent_seq).map(|(run, seq)| (RunId(run.0), seq.0)),
            label: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn list(
    db: &Connection,
    rest: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Entered>, StoreError> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM wadi_change {rest}"))?;
    let rows = query.query_map(params, |row| Ok(entered(row)))?;
    rows.map(|row| row?).collect()
}

fn entered(row: &Row<'_>) -> Result<Entered, StoreError> {
    let seq: Option<Bits> = row.get(2)?;
    Ok(Entered {
        number: row.get(0)?,
        change: Rc::new(unpack(&row.get::<_, Vec<u8>>(1)?, "wadi_change.body")?),
        seq: seq.map_or(0, |seq| seq.0),
        gateway: row.get(3)?,
        received_s: number_at(row, 4)?,
        seen_seq: number_at(row, 5)?,
        closure_seqs: unpack(&row.get::<_, Vec<u8>>(6)?, "wadi_change.closure_seqs")?,
        repaired: row.get(7)?,
        stray: row.get(8)?,
    })
}
