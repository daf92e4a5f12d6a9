//! Changes that will never be applied: kept whole, with the reason.
use rusqlite::{Connection, OptionalExtension, Row};
use wadi_protocol::change::Change;
use wadi_protocol::id::{Dot, RowId};

use super::review::{label, site};
use super::sql::{Bits, Id, dot_at, number_at, unpack};
use super::{Catalog, Store, StoreError, text};

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
}

const COLUMNS: &str = "device, run, seq, gateway, received_s, reason, tbl, row, body";

impl Store {
    /// Every quarantined change, in the order of receipt.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.read(|tx, catalog| {
            let mut query = tx.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM wadi_quarantine ORDER BY received_s, device, run, seq"
            ))?;
            let rows = query.query_map([], raw)?.collect::<Result<Vec<_>, _>>()?;
            rows.into_iter().map(|row| finish(tx, catalog, row)).collect()
        })
    }

    /// One quarantined change.
    pub fn quarantined_change(&self, dot: Dot) -> Result<Quarantined, StoreError> {
        self.read(|tx, catalog| {
            let row = tx
                .query_row(
                    &format!(
                        "SELECT {COLUMNS} FROM wadi_quarantine
                         WHERE device = ?1 AND run = ?2 AND seq = ?3"
                    ),
                    [Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)],
                    raw,
                )
                .optional()?;
            let row = row.ok_or_else(|| {
                StoreError::Refused(format!(
                    "{dot} is not in quarantine: see `wadi-hub quarantine list`"
                ))
            })?;
            finish(tx, catalog, row)
        })
    }
}

/// A line of the table: dot, gateway, received, reason, table, row, body.
type Line = (Dot, u32, u64, String, String, Id, Vec<u8>);

fn raw(row: &Row<'_>) -> rusqlite::Result<Line> {
    let line = (dot_at(row, 0)?, row.get(3)?, number_at(row, 4)?, row.get(5)?);
    Ok((line.0, line.1, line.2, line.3, row.get(6)?, row.get(7)?, row.get(8)?))
}

fn finish(db: &Connection, catalog: &Catalog, line: Line) -> Result<Quarantined, StoreError> {
    let (dot, gateway, received_s, reason, table, Id(row), body) = line;
    let change: Change = unpack(&body, "wadi_quarantine.body")?;
    let number = change.table_number();
    let known = number.and_then(|number| catalog.newest()?.table(number));
    Ok(Quarantined {
        dot,
        label: label(db, dot)?,
        site: site(db, gateway)?,
        received_s,
        reason,
        table: known.map_or(table, |known| known.name.clone()),
        row,
        fields: text::fields(known, &change, "\n"),
        change,
    })
}
