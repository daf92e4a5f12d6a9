//! The history of a row: every change, and what became of it.
use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::change::{Change, Op};
use wadi_protocol::id::{Dot, RowId};
use wadi_protocol::resolve::Resolved;
use wadi_protocol::ruling::{self, Ruling, Word};
use wadi_protocol::schema::Table;

use super::changes::{self, Entered};
use super::review::{label, site};
use super::sql::{Bits, Id, RowKey, unpack};
use super::work::Work;
use super::{Store, StoreError, rulings, text};

/// One change of a row's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Past {
    /// Its hub sequence; 0 = not applied.
    pub seq: u64,
    /// Its name.
    pub dot: Dot,
    /// Its device, by name.
    pub label: String,
    /// The site whose gateway brought it.
    pub site: String,
    /// When it was received, seconds since 1970.
    pub received_s: u64,
    /// The change.
    pub change: Change,
    /// What it carries, for people.
    pub fields: String,
    /// What became of it.
    pub fate: Fate,
    /// Of a change that was released from quarantine: what it carried as it came, and why
    /// it had been there.
    pub came: Option<(String, String)>,
    /// What operators ruled about it, in the order of their stamps.
    pub rulings: Vec<Ruled>,
}

/// A ruling about a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruled {
    /// The ruling.
    pub ruling: Ruling,
    /// What it says, for people.
    pub says: String,
    /// Whether it is the one that counts.
    pub counts: bool,
}

/// What became of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Something of it waits for a person.
    Review,
    /// Something of it is what people see.
    Shown,
    /// It competes with what people see.
    Candidate,
    /// Others followed it; its values stay readable here.
    Superseded,
    /// A settle that an operator has undone.
    Undone,
    /// It waits for what it needs.
    Parked,
    /// It is kept outside the tables, for this reason.
    Quarantined(String),
}

impl Store {
    /// Every change of a row, in hub order; what is not applied comes last.
    pub fn history(&self, table: &str, row: RowId) -> Result<Vec<Past>, StoreError> {
        self.read(|tx, catalog| {
            let table = catalog.table_named(table)?;
            let key = RowKey { table: table.number, row };
            let mut work = Work::new(tx, catalog, 0)?;
            let (applied, resolved) = work.resolve(key)?;
            let dead = work.is_dead(key)?;
            let past = |entered: &Entered, fate| {
                let change = Change::clone(&entered.change);
                Ok::<Past, StoreError>(Past {
                    seq: entered.seq,
                    dot: change.dot,
                    label: label(tx, change.dot)?,
                    site: site(tx, entered.gateway)?,
                    received_s: entered.received_s,
                    fields: text::fields(Some(table), &change, " "),
                    came: came(tx, table, change.dot)?,
                    rulings: ruled(tx, table, &change)?,
                    change,
                    fate,
                })
            };
            let mut history = Vec::new();
            for (index, entered) in applied.iter().enumerate() {
                history.push(past(entered, fate(index, entered, &resolved, dead))?);
            }
            for entered in changes::parked_of(tx, key)? {
                history.push(past(&entered, Fate::Parked)?);
            }
            history.extend(quarantined(tx, key, table)?);
            Ok(history)
        })
    }
}

/// What became of an applied change.
fn fate(index: usize, entered: &Entered, resolved: &Resolved, dead: bool) -> Fate {
    let existence = &resolved.existence;
    let waits = (existence.review && existence.candidates.contains(&index))
        || resolved.fields.iter().any(|field| field.review && field.candidates.contains(&index));
    let shows = match entered.change.op {
        Op::Delete => dead && existence.deletes.contains(&index),
        _ => !dead && resolved.fields.iter().any(|field| field.shown.contains(&index)),
    };
    let competes = existence.conflict && existence.candidates.contains(&index)
        || resolved.fields.iter().any(|field| field.conflict && field.candidates.contains(&index));
    match (waits && !dead, shows, competes) {
        _ if entered.change.op == Op::Undone => Fate::Undone,
        (true, ..) => Fate::Review,
        (_, true, _) => Fate::Shown,
        (.., true) => Fate::Candidate,
        _ => Fate::Superseded,
    }
}

/// What a released change carried as it came, and why it was in quarantine.
fn came(db: &Connection, table: &Table, dot: Dot) -> Result<Option<(String, String)>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT reason FROM wadi_released WHERE device = ?1 AND run = ?2 AND seq = ?3",
    )?;
    let key = params![Bits(dot.device.0), Bits(dot.run.0), Bits(dot.seq)];
    let reason: Option<String> = query.query_row(key, |row| row.get(0)).optional()?;
    let original = match reason {
        Some(_) => changes::as_made(db, dot)?,
        None => None,
    };
    Ok(original.map(|original| text::fields(Some(table), &original, " ")).zip(reason))
}

/// What operators ruled about a change.
fn ruled(db: &Connection, table: &Table, change: &Change) -> Result<Vec<Ruled>, StoreError> {
    let rulings = rulings::about(db, change.dot)?;
    let repair = ruling::repairs(&rulings).first().map(|(ruling, _)| ruling.dot);
    let last = rulings.last().map(|ruling| ruling.dot);
    let ruled = |ruling: &Ruling| Ruled {
        says: match &ruling.word {
            Word::Repair(repair) => {
                text::fields(Some(table), &ruling::repaired(change, repair), " ")
            }
            Word::Reject { reason } => reason.clone(),
            Word::Undo => String::new(),
        },
        counts: Some(ruling.dot) == repair.or(last),
        ruling: ruling.clone(),
    };
    Ok(rulings.iter().map(ruled).collect())
}

/// Quarantined changes that name the row, by the table's number or name.
fn quarantined(db: &Connection, key: RowKey, table: &Table) -> Result<Vec<Past>, StoreError> {
    let names: BTreeSet<String> = [key.table.to_string(), table.name.clone()].into();
    let mut query = db.prepare_cached(
        "SELECT tbl, gateway, received_s, coalesce(rejected, reason), body, device, run, seq
             FROM wadi_quarantine WHERE row = ?1
         UNION ALL
         SELECT tbl, gateway, received_s, coalesce(rejected, reason), body, device, run, seq
             FROM wadi_clash WHERE row = ?1
         ORDER BY received_s, device, run, seq, body",
    )?;
    let mut rows = query.query(params![Id(key.row)])?;
    let mut past = Vec::new();
    while let Some(row) = rows.next()? {
        if !names.contains(&row.get::<_, String>(0)?) {
            continue;
        }
        let change: Change = unpack(&row.get::<_, Vec<u8>>(4)?, "wadi_quarantine.body")?;
        past.push(Past {
            seq: 0,
            dot: change.dot,
            label: label(db, change.dot)?,
            site: site(db, row.get(1)?)?,
            received_s: super::sql::number_at(row, 2)?,
            fields: text::fields(Some(table), &change, " "),
            came: None,
            rulings: ruled(db, table, &change)?,
            change,
            fate: Fate::Quarantined(row.get(3)?),
        });
    }
    Ok(past)
}
