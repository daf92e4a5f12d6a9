//! Changes that may not be applied as they came: kept whole, with the reason, until an
//! operator repairs them (see [`super::release`]), and for good if one rejects them.
use rusqlite::{Connection, Row, params};
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::id::{Dot, RowId};
use wadi_protocol::ruling::{self, Ruling, Word};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge;
use wadi_protocol::wire::downlink::Notice;
use wadi_protocol::wire::message::Outcome;

use super::judge::group_key;
use super::review::{label, site};
use super::sql::{Bits, Id, dot_at, number_at, pack, unpack};
use super::work::Work;
use super::{Catalog, Store, StoreError, changes, notice, rulings, text};

/// How the reason of a rejected change begins, wherever it is read.
const REJECTED: &str = "rejected by the operators: ";

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

/// How many changes of a gateway are kept so and not rejected.
pub(super) fn count(db: &Connection, gateway: u32) -> Result<u64, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT count(*) FROM wadi_quarantine WHERE gateway = ?1 AND rejected IS NULL",
    )?;
    Ok(query.query_row([gateway], |row| number_at(row, 0))?)
}

/// Keep a change whole, outside the tables.
pub(super) fn put(
    work: &Work<'_>,
    (gateway, round): (u32, u64),
    change: &Change,
    reason: &str,
) -> Result<(), StoreError> {
    let (seen_seq, closure_seqs) = changes::seen_seqs(work.db, change)?;
    let mut query = work.db.prepare_cached(
        "INSERT OR IGNORE INTO wadi_quarantine
             (device, run, seq, gateway, round, received_s, reason, tbl, row, body,
              seen_seq, closure_seqs)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let put = query.execute(params![
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
        Bits(seen_seq),
        pack(&closure_seqs),
    ])?;
    if put == 0 {
        contain(work.db, change)?;
    }
    Ok(())
}

/// The same change by another route: of several stamps of containment the least counts.
fn contain(db: &Connection, change: &Change) -> Result<(), StoreError> {
    let (Some(stamp), Some(kept)) = (change.contained, find(db, change.dot)?) else {
        return Ok(());
    };
    if kept.change.contained.is_none_or(|least| stamp < least) {
        let dot = change.dot;
        let contained = Change { contained: Some(stamp), ..kept.change };
        db.prepare_cached(
            "UPDATE wadi_quarantine SET body = ?4 WHERE device = ?1 AND run = ?2 AND seq = ?3",
        )?
        .execute(params![
            Bits(dot.device.0),
            Bits(dot.run.0),
            Bits(dot.seq),
            pack(&contained)
        ])?;
    }
    Ok(())
}

/// A change as quarantine keeps it.
pub(super) struct Kept {
    /// As it was made.
    pub change: Change,
    /// Who brought it.
    pub gateway: u32,
    /// In which round.
    pub round: u64,
    /// When.
    pub received_s: u64,
    /// Why it is here.
    pub reason: String,
    /// What its writer had seen, in our sequences.
    pub seen_seq: u64,
    /// The same for each row of its closure.
    pub closure_seqs: Vec<u64>,
}

const KEPT: &str = "SELECT body, gateway, round, received_s, reason, seen_seq, closure_seqs
    FROM wadi_quarantine WHERE device = ?1 AND run = ?2 AND seq BETWEEN ?3 AND ?4";

/// The quarantined change that has this dot.
pub(super) fn find(db: &Connection, dot: Dot) -> Result<Option<Kept>, StoreError> {
    Ok(between(db, dot, (dot.seq, dot.seq))?.pop())
}

/// The quarantined changes that share the custody of one, itself included.
pub(super) fn mates(db: &Connection, change: &Change) -> Result<Vec<Kept>, StoreError> {
    let mut mates = between(db, change.dot, change.group_span())?;
    mates.retain(|kept| group_key(&kept.change) == group_key(change));
    Ok(mates)
}

fn between(db: &Connection, dot: Dot, (first, last): (u64, u64)) -> Result<Vec<Kept>, StoreError> {
    let mut query = db.prepare_cached(&format!("{KEPT} ORDER BY seq"))?;
    let span = params![Bits(dot.device.0), Bits(dot.run.0), Bits(first), Bits(last)];
    let mut rows = query.query(span)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Kept {
            change: unpack(&row.get::<_, Vec<u8>>(0)?, "wadi_quarantine.body")?,
            gateway: row.get(1)?,
            round: number_at(row, 2)?,
            received_s: number_at(row, 3)?,
            reason: row.get(4)?,
            seen_seq: number_at(row, 5)?,
            closure_seqs: unpack(&row.get::<_, Vec<u8>>(6)?, "wadi_quarantine.closure_seqs")?,
        });
    }
    Ok(found)
}

/// Every quarantined change that nobody has rejected, by name, in the order of receipt.
pub(super) fn undecided(db: &Connection) -> Result<Vec<Dot>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT device, run, seq FROM wadi_quarantine
         WHERE rejected IS NULL ORDER BY received_s, device, run, seq",
    )?;
    Ok(query.query_map([], |row| dot_at(row, 0))?.collect::<Result<_, _>>()?)
}

/// Whether something is kept that came under the number of another change.
pub(super) fn has_clash(db: &Connection, dot: Dot) -> Result<bool, StoreError> {
    let mut query =
        db.prepare_cached("SELECT 1 FROM wadi_clash WHERE device = ?1 AND run = ?2 AND seq = ?3")?;
    Ok(query.exists(params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)])?)
}

/// Take a change out.
pub(super) fn remove(db: &Connection, dot: Dot) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM wadi_quarantine WHERE device = ?1 AND run = ?2 AND seq = ?3")?
        .execute(params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)])?;
    Ok(())
}

/// Let what is kept under a dot be rejected or not, as the rulings about it say; who
/// brought it is told where that is news.
pub(super) fn reject(db: &Connection, dot: Dot, rulings: &[Ruling]) -> Result<(), StoreError> {
    let rejected = ruling::rejection(rulings).map(|reason| format!("{REJECTED}{reason}"));
    // What came under the number of another change is never repaired.
    let rejects = rulings.iter().filter(|ruling| matches!(ruling.word, Word::Reject { .. }));
    let clash =
        ruling::rejection(rejects.collect::<Vec<_>>()).map(|why| format!("{REJECTED}{why}"));
    for (table, rejected) in [("wadi_quarantine", &rejected), ("wadi_clash", &clash)] {
        let mut query = db.prepare_cached(&format!(
            "UPDATE {table} SET rejected = ?4
             WHERE device = ?1 AND run = ?2 AND seq = ?3 AND rejected IS NOT ?4
             RETURNING gateway, reason"
        ))?;
        let key = params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq), rejected];
        let told = query
            .query_map(key, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        for (gateway, reason) in told {
            let reason = rejected.clone().unwrap_or(reason);
            notice::put(db, gateway, &Notice { dot, outcome: Outcome::Quarantined, reason })?;
        }
    }
    Ok(())
}
