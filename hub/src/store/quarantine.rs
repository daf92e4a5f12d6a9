//! Changes that may not be applied as they came, as operators see them: kept whole, with
//! the reason, until one repairs them (see [`super::release`]), and for good if one
//! rejects them.
use rusqlite::{Connection, Row, params};
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::id::{Dot, RowId};
use wadi_protocol::ruling;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge;

use super::review::{label, site};
use super::sql::{Bits, Id, dot_at, number_at, unpack};
use super::{Catalog, Store, StoreError, rulings, text};

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
    /// What it carries, field by field, as it came and as the schema reads it.
    pub decoded: Vec<Decoded>,
    /// Why it is never to be applied, if an operator said so.
    pub rejected: Option<String>,
    /// Whether it was repaired, and waits for others of its group.
    pub repaired: bool,
    /// The change, whole.
    pub change: Change,
    /// In which round it came.
    pub round: u64,
    /// Who brought the change that has its number, if another has.
    pub first: Option<First>,
}

/// One thing that a quarantined change carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// The field, as the change names it.
    pub field: String,
    /// What came, with its kind.
    pub raw: String,
    /// What that is in the schema, or why it is nothing there.
    pub read: Result<String, String>,
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
        NULL AS first_gateway, NULL AS first_round, NULL AS first_s, rejected FROM wadi_quarantine
    UNION ALL
    SELECT device, run, seq, gateway, round, received_s, reason, tbl, row, body,
        first_gateway, first_round, first_s, rejected FROM wadi_clash)";
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
    rejected: Option<String>,
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
        rejected: row.get(13)?,
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
        decoded: decoded(catalog, &change),
        rejected: line.rejected,
        repaired: line.first.is_none()
            && !ruling::repairs(&rulings::about(db, line.dot)?).is_empty(),
        change,
        round: line.round,
        first: first.transpose()?,
    })
}

/// What a change carries, each part read alone, under the schema version that it names
/// or, where that was never published, the newest.
fn decoded(catalog: &Catalog, change: &Change) -> Vec<Decoded> {
    let schema = catalog.version(change.schema).or(catalog.newest());
    let number = change.table_number();
    let table = number.and_then(|number| schema?.table(number));
    let read = |named: &FieldRef, delta: &Delta| {
        let schema = schema.ok_or("no schema was published")?;
        let alone = Change {
            op: if change.op == Op::Insert { Op::Update } else { change.op },
            fields: vec![(named.clone(), delta.clone())],
            ..change.clone()
        };
        let typed = interpret(schema, &alone)?;
        let table = typed.table_number().and_then(|number| schema.table(number));
        judge::judge(schema, &alone).map(|()| text::fields(table, &typed, " "))
    };
    let decode = |(named, delta): &(FieldRef, Delta)| Decoded {
        field: match named {
            FieldRef::Name(name) => name.clone(),
            FieldRef::Number(number) => match table {
                Some(table) => text::field_name(table, *number),
                None => format!("field {number}"),
            },
        },
        raw: text::raw(delta),
        read: read(named, delta),
    };
    change.fields.iter().map(decode).collect()
}
