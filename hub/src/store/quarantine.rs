//! Changes that will never be applied: kept whole, with the reason.
use rusqlite::{Connection, Row, params};
use wadi_protocol::change::Change;
use wadi_protocol::id::{Dot, RowId};

use super::review::{label, site};
use super::sql::{Bits, Id, dot_at, number_at, pack, unpack};
use super::work::Work;
use super::{Catalog, Store, StoreError, changes, text};

/// A quarantined change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// Its name.
    pub dot: Dot,
    /// Its device, by name.
    pub label: String,
    /// The site whose gateway brought it.
    pub site: String,
    /// When, seconds since 1970.
    pub received_s: u64,
    /// Why.
    pub reason: String,
    /// The table, as the change names it.
    pub table: String,
    /// The row.
    pub row: RowId,
    /// What it carries, for people: `field=value`, one a line.
    pub fields: String,
    /// The change, whole.
    pub change: Change,
    /// In which round it came.
    pub round: u64,
    /// Who brought the change that has its number, if another has.
    pub first: Option<First>,
}

/// Who brought the change that has a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct First {
    /// The site.
    pub site: String,
    /// In which round.
    pub round: u64,
    /// When, seconds since 1970.
    pub received_s: u64,
}

/// Both tables as one.
const ALL: &str = "SELECT * FROM (
    SELECT device, run, seq, gateway, round, received_s, reason, tbl, row, body,
        NULL AS first_gateway, NULL AS first_round, NULL AS first_s FROM wadi_quarantine
    UNION ALL
    SELECT device, run, seq, gateway, round, received_s, reason, tbl, row, body,
        first_gateway, first_round, first_s FROM wadi_clash)";
const ORDER: &str = "ORDER BY received_s, device, run, seq, body";

impl Store {
    /// Every quarantined change, in the order of receipt.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|tx, catalog| {
            let mut query = tx.prepare_cached(&format!("{ALL} {ORDER}"))?;
            let rows = query.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?;
            rows.into_iter().map(|row| finish(tx, catalog, row)).collect()
        })
    }

    /// The quarantined changes of a dot: several, if others came under the number of one.
    pub fn quarantined_changes(&self, dot: Dot) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|tx, catalog| {
            let mut query = tx.prepare_cached(&format!(
                "{ALL} WHERE device = ?1 AND run = ?2 AND seq = ?3 {ORDER}"
            ))?;
            let key = params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)];
            let rows = query.query_map(key, raw)?.collect::<Result<Vec<_>, _>>()?;
            if rows.is_empty() {
                return Err(StoreError::Refused(format!(
                    "{dot} is not in quarantine: see `wadi-hub quarantine list`"
                )));
            }
            rows.into_iter().map(|row| finish(tx, catalog, row)).collect()
        })
    }
}

/// A line of both tables.
struct Line {
    dot: Dot,
    gateway: u32,
    round: u64,
    received_s: u64,
    reason: String,
    table: String,
    row: RowId,
    body: Vec<u8>,
    first: Option<(u32, u64, u64)>,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Line> {
    let first: Option<u32> = row.get(10)?;
    let Id(id) = row.get(8)?;
    Ok(Line {
        dot: dot_at(row, 0)?,
        gateway: row.get(3)?,
        round: number_at(row, 4)?,
        received_s: number_at(row, 5)?,
        reason: row.get(6)?,
        table: row.get(7)?,
        row: id,
        body: row.get(9)?,
        first: match first {
            Some(gateway) => Some((gateway, number_at(row, 11)?, number_at(row, 12)?)),
            None => None,
        },
    })
}

fn finish(db: &Connection, catalog: &Catalog, line: Line) -> Result<Quarantined, StoreError> {
    let change: Change = unpack(&line.body, "a change in quarantine")?;
    let number = change.table_number();
    let known = number.and_then(|number| catalog.newest()?.table(number));
    let first = line.first.map(|(gateway, round, received_s)| {
        Ok::<_, StoreError>(First { site: site(db, gateway)?, round, received_s })
    });
    Ok(Quarantined {
        dot: line.dot,
        label: label(db, line.dot)?,
        site: site(db, line.gateway)?,
        received_s: line.received_s,
        reason: line.reason,
        table: known.map_or(line.table, |known| known.name.clone()),
        row: line.row,
        fields: text::fields(known, &change, "\n"),
        change,
        round: line.round,
        first: first.transpose()?,
    })
}

/// How many changes of a gateway are kept so.
pub(super) fn count(db: &Connection, gateway: u32) -> Result<u64, StoreError> {
    let mut query = db.prepare_cached("SELECT count(*) FROM wadi_quarantine WHERE gateway = ?1")?;
    Ok(query.query_row([gateway], |row| number_at(row, 0))?)
}

/// Keep a change whole, outside the tables.
pub(super) fn put(
    work: &Work<'_>,
    (gateway, round): (u32, u64),
    change: &Change,
    reason: &str,
) -> Result<(), StoreError> {
    let mut query = work.db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_quarantine
             (device, run, seq, gateway, round, received_s, reason, tbl, row, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    query.execute(params![
        Bits(change.dot.device.0),
        Bits(change.dot.run.0),
        Bits(change.dot.seq),
        gateway,
        Bits(round),
        Bits(work.now_s),
        reason,
        changes::table_text(&change.table),
        Id(change.row),
        pack(change),
    ])?;
    Ok(())
}
