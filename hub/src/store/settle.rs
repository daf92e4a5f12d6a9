//! Operators' decisions about cases: changes of the hub's own device, taken like any other.
use rusqlite::Connection;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{RowVersion, RunId};
use wadi_protocol::schema::judge::judge;
use wadi_protocol::schema::{Field, Kind, Merge, Schema, Table};
use wadi_protocol::stamp::Clock;
use wadi_protocol::value::Value;

use super::operators::{self, Act, Names};
use super::review::{Candidate, Case, candidates, open_case, open_cases};
use super::{Catalog, Store, StoreError, entered, head, run, sql, text};

/// Cases that one command settles at most.
pub const AT_ONCE_MAX: usize = 1_000;

/// What a person decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// One of the candidates, counted from 1 as `review show` does.
    Pick(usize),
    /// A value of their own, as text.
    Value(String),
    /// The candidate of the greatest stamp.
    Newest,
    /// The candidate of a site, by name; of several the newest.
    Site(String),
    /// The texts of all candidates in the order of their stamps, each once, with this between.
    Join(String),
}

/// What a decision about many cases does, or did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// Cases and what each is settled to, for people.
    pub done: Vec<(u64, String)>,
    /// Cases that cannot be settled so, and why: they stay open.
    pub left: Vec<(u64, String)>,
    /// Whether there are more: [`AT_ONCE_MAX`] was reached.
    pub more: bool,
}

impl Store {
    /// Settle a case; the hub sequence of the change that does.
    pub fn settle(
        &mut self,
        case: u64,
        decision: &Decision,
        now_s: u64,
    ) -> Result<u64, StoreError> {
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            operators::may_act(tx)?;
            let case = open_case(tx, catalog, case)?;
            let delta = delta(tx, catalog, &case, decision)?;
            let hub = run::begin_run(tx, &draw, now_s)?;
            let mut names = Names::draw(tx, &draw)?;
            let change = change(tx, catalog, (hub, &mut names), &case, delta, now_s)?;
            let dot = change.dot;
            let heeded = operators::take(tx, catalog, &[Act::Settle(change)], now_s)?;
            operators::applied(&heeded, dot)
        })
    }

    /// Settle every case of a field alike, as far as that can be.
    pub fn settle_alike(
        &mut self,
        (table, field): (&str, &str),
        decision: &Decision,
        now_s: u64,
    ) -> Result<Settled, StoreError> {
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            let (settled, deltas) = plan(tx, catalog, (table, field), decision)?;
            if deltas.is_empty() {
                return Ok(settled);
            }
            let hub = run::begin_run(tx, &draw, now_s)?;
            let mut names = Names::draw(tx, &draw)?;
            let mut acts = Vec::with_capacity(deltas.len());
            for (case, delta) in deltas {
                let change = change(tx, catalog, (hub, &mut names), &case, delta, now_s)?;
                acts.push(Act::Settle(change));
            }
            operators::take(tx, catalog, &acts, now_s)?;
            Ok(settled)
        })
    }

    /// What [`Store::settle_alike`] would do; nothing is done.
    pub fn would_settle(
        &self,
        of: (&str, &str),
        decision: &Decision,
    ) -> Result<Settled, StoreError> {
        self.read(|tx, catalog| Ok(plan(tx, catalog, of, decision)?.0))
    }
}

/// What each open case of a field would be settled to.
fn plan(
    db: &Connection,
    catalog: &Catalog,
    (table, field): (&str, &str),
    decision: &Decision,
) -> Result<(Settled, Vec<(Case, Delta)>), StoreError> {
    let table = catalog.table_named(table)?;
    let number = match field {
        "existence" => 0,
        name => super::compose::known_field(table, name)?.number,
    };
    let mut settled = Settled::default();
    let mut deltas = Vec::new();
    for case in open_cases(db, catalog)? {
        if (case.key.table, case.field) != (table.number, number) {
            continue;
        }
        settled.more = settled.done.len() == AT_ONCE_MAX;
        if settled.more {
            break;
        }
        match delta(db, catalog, &case, decision) {
            Ok(delta) => {
                let value = text::delta(table.field(number), &delta);
                settled.done.push((case.number, value));
                deltas.push((case, delta));
            }
            Err(StoreError::Refused(why)) => settled.left.push((case.number, why)),
            Err(error) => return Err(error),
        }
    }
    Ok((settled, deltas))
}

/// The change that settles a case, by somebody who was shown all that the hub has.
fn change(
    db: &Connection,
    catalog: &Catalog,
    (hub, names): (RunId, &mut Names),
    case: &Case,
    delta: Delta,
    now_s: u64,
) -> Result<Change, StoreError> {
    Ok(Change {
        dot: names.next(),
        stamp: latest(db, case)?.issue(now_s),
        entered_s: now_s,
        contained: None,
        schema: catalog.newest().map_or(0, |schema| schema.version),
        rights: 0,
        group: None,
        table: TableRef::Number(case.key.table),
        row: case.key.row,
        op: Op::Settle,
        fields: vec![(FieldRef::Number(case.field), delta)],
        seen: Seen { version: RowVersion { hub, seq: head(db)? }, above: Vec::new() },
        closure: Vec::new(),
    })
}

/// A clock that has heard of every stamp in the case.
fn latest(db: &Connection, case: &Case) -> Result<Clock, StoreError> {
    let mut clock = Clock::default();
    for candidate in candidates(db, case.key, case.field)? {
        clock.issued = clock.issued.max(candidate.stamp);
    }
    Ok(clock)
}

fn delta(
    db: &Connection,
    catalog: &Catalog,
    case: &Case,
    decision: &Decision,
) -> Result<Delta, StoreError> {
    let table = catalog.table(case.key.table)?;
    let candidates = || candidates(db, case.key, case.field);
    match decision {
        Decision::Pick(number) => {
            let candidates = candidates()?;
            let picked = number.checked_sub(1).and_then(|index| candidates.get(index));
            match picked {
                Some(picked) => taken(picked, &format!("candidate {number}")),
                None if candidates.is_empty() => nothing_to_pick(),
                None => Err(StoreError::Refused(format!(
                    "no candidate {number}: there are 1 to {}, see `wadi-hub review show {}`",
                    candidates.len(),
                    case.number
                ))),
            }
        }
        Decision::Newest => match candidates()?.last() {
            Some(newest) => taken(newest, "the newest candidate"),
            None => nothing_to_pick(),
        },
        Decision::Site(site) => {
            let candidates = candidates()?;
            match candidates.iter().rfind(|candidate| candidate.site == *site) {
                Some(of_site) => taken(of_site, &format!("the candidate of {site}")),
                None if candidates.is_empty() => nothing_to_pick(),
                None => Err(StoreError::Refused(format!("no candidate is of site {site:?}"))),
            }
        }
        Decision::Join(between) => {
            let field = table
                .field(case.field)
                .filter(|field| field.kind == Kind::Text && !matches!(field.merge, Merge::Append));
            let (Some(field), Some(schema)) = (field, catalog.newest()) else {
                let (table, field) = &case.names;
                return Err(StoreError::Refused(format!(
                    "{table}.{field} holds no text that could be joined: pick, or use --value"
                )));
            };
            let joined = joined(&candidates()?, between)?;
            Ok(Delta::Set(judged(schema, table, field, Value::Text(joined))?))
        }
        Decision::Value(text) if case.field == 0 => match text.as_str() {
            "true" | "keep" => Ok(Delta::Set(Value::Bool(true))),
            "false" | "delete" => Ok(Delta::Set(Value::Bool(false))),
            _ => Err(StoreError::Refused(format!("{text:?}: use keep or delete"))),
        },
        Decision::Value(text) => {
            let field = table
                .field(case.field)
                .ok_or_else(|| StoreError::Broken(format!("case about field {}", case.field)))?;
            let schema = catalog.newest().expect("the table is in it");
            let value = judged(schema, table, field, entered::raw(field, text)?)?;
            if let (Kind::Reference { table, .. }, Value::Row(row)) = (&field.kind, &value)
                && super::work::load(db, sql::RowKey { table: *table, row: *row })?.is_none()
            {
                return Err(StoreError::Refused(format!(
                    "{row}: there is no such row to refer to; give the id of one that is there"
                )));
            }
            Ok(Delta::Set(value))
        }
    }
}

fn nothing_to_pick() -> Result<Delta, StoreError> {
    Err(StoreError::Refused(
        "nothing to pick from: use --value with the value that it shall have".into(),
    ))
}

/// What a candidate says, if that is a value.
fn taken(candidate: &Candidate, which: &str) -> Result<Delta, StoreError> {
    match &candidate.delta {
        Some(delta @ Delta::Set(_)) => Ok(delta.clone()),
        _ => Err(StoreError::Refused(format!(
            "{which} is a part of the value, not a value: use --value"
        ))),
    }
}

/// The texts of candidates, in their order, each once.
fn joined(candidates: &[Candidate], between: &str) -> Result<String, StoreError> {
    let mut texts: Vec<&str> = Vec::new();
    for candidate in candidates {
        if let Some(Delta::Set(Value::Text(text))) = &candidate.delta
            && !texts.contains(&text.as_str())
        {
            texts.push(text);
        }
    }
    match texts.is_empty() {
        true => nothing_to_pick().map(|_| String::new()),
        false => Ok(texts.join(between)),
    }
}

/// A raw value as one that the field may hold.
fn judged(schema: &Schema, table: &Table, field: &Field, raw: Value) -> Result<Value, StoreError> {
    // Judged as a plain value: the total of a sum against its range, a list by its codes.
    let mut plain = schema.clone();
    for table in plain.tables.iter_mut().filter(|other| other.number == table.number) {
        for field in table.fields.iter_mut().filter(|other| other.number == field.number) {
            if !matches!(field.merge, Merge::Append) {
                field.merge = Merge::LastWrite;
            }
        }
    }
    let value = entered::typed(&plain, table, field, raw).map_err(StoreError::Refused)?;
    if field.merge != Merge::Append {
        let probe = entered::probe(&plain, table, field, value.clone());
        judge(&plain, &Change { op: Op::Update, ..probe }).map_err(StoreError::Refused)?;
    }
    Ok(value)
}
