//! Cases: fields that wait for a person.
//!
//! A case opens when resolution (or a twin of a unique value) leaves a field
//! to people, keeps its number while it is open, and closes when the field no
//! longer waits, whoever brought that about.
use rusqlite::{Connection, OptionalExtension, Row, params};
use wadi_protocol::change::Delta;
use wadi_protocol::id::Dot;
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;

use super::changes;
use super::past::Past;
use super::sql::{Bits, Id, RowKey, dot_at, key_at, number_at, unpack};
use super::work::{State, is_dead, load, shown};
use super::{Catalog, Store, StoreError, text};

/// An open case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Its number.
    pub number: u64,
    /// The row.
    pub key: RowKey,
    /// The field; 0 = existence.
    pub field: u16,
    /// Why it waits, in words.
    pub why: &'static str,
    /// When it was opened, seconds since 1970.
    pub opened_s: u64,
    /// The names of table and field.
    pub names: (String, String),
    /// What is shown until it is settled.
    pub shown: Value,
}

/// One of the values that compete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The change that says it.
    pub dot: Dot,
    /// Its device, by name.
    pub label: String,
    /// The site whose gateway brought it.
    pub site: String,
    /// Its stamp (contained, if it was).
    pub stamp: Stamp,
    /// The device's clock at entry, seconds since 1970.
    pub entered_s: u64,
    /// When it was received, seconds since 1970.
    pub received_s: u64,
    /// What it says; none where it says nothing of this field alone.
    pub delta: Option<Delta>,
    /// What the field showed to its writer; none where they had been shown no such row.
    pub had_seen: Option<Value>,
    /// Whether it is what is shown.
    pub shown: bool,
}

impl Store {
    /// Every open case, by number.
    pub fn cases(&self) -> Result<Vec<Case>, StoreError> {
        self.read(|tx, catalog| open_cases(tx, catalog))
    }

    /// A case and everything that competes in it.
    pub fn case(&self, number: u64) -> Result<(Case, Vec<Candidate>), StoreError> {
        self.read(|tx, catalog| {
            let case = open_case(tx, catalog, number)?;
            let mut candidates = candidates(tx, case.key, case.field)?;
            let past = Past::of(tx, catalog, case.key)?;
            for candidate in &mut candidates {
                candidate.had_seen = past.shown_to(candidate.dot, case.field)?;
            }
            Ok((case, candidates))
        })
    }
}

type Found = (u64, RowKey, u16, u64);

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok((number_at(row, 0)?, key_at(row, 1)?, row.get(3)?, number_at(row, 4)?))
}

/// Every open case, by number.
pub(super) fn open_cases(db: &Connection, catalog: &Catalog) -> Result<Vec<Case>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT number, tbl, row, field, opened_s FROM wadi_review
         WHERE closed_seq IS NULL ORDER BY number",
    )?;
    let found = query.query_map([], found)?.collect::<Result<Vec<_>, _>>()?;
    found.into_iter().map(|found| case(db, catalog, found)).collect()
}

/// A case by its number; when it was closed, sequence and seconds since 1970, if it was.
type Known = (Found, Option<(u64, u64)>);

fn known(db: &Connection, number: u64) -> Result<Known, StoreError> {
    let row = db
        .query_row(
            "SELECT number, tbl, row, field, opened_s, closed_seq, closed_s FROM wadi_review
             WHERE number = ?1",
            [Bits(number)],
            |row| {
                let closed: (Option<Bits>, Option<Bits>) = (row.get(5)?, row.get(6)?);
                Ok((found(row)?, closed.0.zip(closed.1).map(|(seq, s)| (seq.0, s.0))))
            },
        )
        .optional()?;
    row.ok_or_else(|| StoreError::Refused(format!("no case {number}: see `wadi-hub review list`")))
}

/// An open case by its number.
pub(super) fn open_case(
    db: &Connection,
    catalog: &Catalog,
    number: u64,
) -> Result<Case, StoreError> {
    match known(db, number)? {
        (_, Some((_, closed_s))) => Err(StoreError::Refused(format!(
            "case {number} was closed at {}: `wadi-hub review list` names those that are open",
            text::time(closed_s)
        ))),
        (found, None) => case(db, catalog, found),
    }
}

/// A closed case by its number, and the hub sequence that closed it.
pub(super) fn closed_case(
    db: &Connection,
    catalog: &Catalog,
    number: u64,
) -> Result<(Case, u64), StoreError> {
    match known(db, number)? {
        (found, Some((seq, _))) => Ok((case(db, catalog, found)?, seq)),
        (_, None) => {
            Err(StoreError::Refused(format!("case {number} is open: there is nothing to undo")))
        }
    }
}

/// A case by its number, open or closed.
pub(super) fn case_of(db: &Connection, catalog: &Catalog, number: u64) -> Result<Case, StoreError> {
    case(db, catalog, known(db, number)?.0)
}

/// The number of the open case about a field, if there is one.
pub(super) fn open_number(
    db: &Connection,
    key: RowKey,
    field: u16,
) -> Result<Option<u64>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT number FROM wadi_review
         WHERE tbl = ?1 AND row = ?2 AND field = ?3 AND closed_seq IS NULL",
    )?;
    let key = params![key.table, Id(key.row), field];
    Ok(query.query_row(key, |row| number_at(row, 0)).optional()?)
}

fn case(
    db: &Connection,
    catalog: &Catalog,
    (number, key, field, opened_s): Found,
) -> Result<Case, StoreError> {
    let table = catalog.table(key.table)?;
    let state = load(db, key)?.unwrap_or_default();
    let values = shown(table, &state.fields, |parent| is_dead(db, parent))?;
    let shown = match field {
        0 => Value::Bool(state.is_live()),
        _ => values.get(&field).cloned().unwrap_or(Value::Null),
    };
    let names = (table.name.clone(), text::field_name(table, field));
    Ok(Case { number, key, field, why: why(catalog, key, &state, field)?, opened_s, names, shown })
}

fn why(
    catalog: &Catalog,
    key: RowKey,
    state: &State,
    field: u16,
) -> Result<&'static str, StoreError> {
    let sums = catalog
        .table(key.table)?
        .field(field)
        .is_some_and(|field| field.merge == wadi_protocol::schema::Merge::Sum);
    Ok(match (state.twins.contains(&field), state.review.contains(&field)) {
        (true, false) => "another row has the same value, and it should be unique",
        (_, _) if field == 0 => "deleted by one, changed by another",
        (_, _) if sums => "the total is out of range",
        _ => "several people changed it",
    })
}

/// What competes for a field.
pub(super) fn candidates(
    db: &Connection,
    key: RowKey,
    field: u16,
) -> Result<Vec<Candidate>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT device, run, seq, value, winner FROM wadi_candidate
         WHERE tbl = ?1 AND row = ?2 AND field = ?3",
    )?;
    let mut rows = query.query(params![key.table, Id(key.row), field])?;
    let mut candidates = Vec::new();
    while let Some(row) = rows.next()? {
        let dot = dot_at(row, 0)?;
        let entered = changes::find(db, dot)?
            .ok_or_else(|| StoreError::Broken(format!("candidate {dot} is in no changelog")))?;
        candidates.push(Candidate {
            dot,
            label: label(db, dot)?,
            site: site(db, entered.gateway)?,
            stamp: entered.change.order().0,
            entered_s: entered.change.entered_s,
            received_s: entered.received_s,
            delta: unpack(&row.get::<_, Vec<u8>>(3)?, "wadi_candidate.value")?,
            had_seen: None,
            shown: row.get(4)?,
        });
    }
    candidates.sort_by_key(|candidate| (candidate.stamp, candidate.dot));
    Ok(candidates)
}

/// The name of a change's device.
pub(super) fn label(db: &Connection, dot: Dot) -> Result<String, StoreError> {
    let mut query =
        db.prepare_cached("SELECT label FROM wadi_run WHERE device = ?1 AND run = ?2")?;
    let label: Option<String> =
        query.query_row([Bits(dot.device.0), Bits(dot.run.0)], |row| row.get(0)).optional()?;
    Ok(label.filter(|label| !label.is_empty()).unwrap_or_else(|| dot.device.to_string()))
}

/// The name of the site whose gateway has this number; 0 = the hub itself.
pub(super) fn site(db: &Connection, gateway: u32) -> Result<String, StoreError> {
    if gateway == 0 {
        return Ok("hub".into());
    }
    let mut query = db.prepare_cached("SELECT site FROM wadi_gateway WHERE number = ?1")?;
    let site = query.query_row([gateway], |row| row.get(0)).optional()?;
    Ok(site.unwrap_or_else(|| format!("gateway {gateway}")))
}

/// Open and close a row's cases as its fields begin and cease to wait.
pub(super) fn renew(
    db: &Connection,
    key: RowKey,
    (before, after): (&[u16], &[u16]),
    seq: u64,
    now_s: u64,
) -> Result<(), StoreError> {
    for field in before.iter().filter(|field| !after.contains(field)) {
        db.prepare_cached(
            "UPDATE wadi_review SET closed_seq = ?4, closed_s = ?5
             WHERE tbl = ?1 AND row = ?2 AND field = ?3 AND closed_seq IS NULL",
        )?
        .execute(params![key.table, Id(key.row), field, Bits(seq), Bits(now_s)])?;
    }
    for field in after.iter().filter(|field| !before.contains(field)) {
        db.prepare_cached(
            "INSERT INTO wadi_review (tbl, row, field, opened_seq, opened_s)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![key.table, Id(key.row), field, Bits(seq), Bits(now_s)])?;
    }
    Ok(())
}
