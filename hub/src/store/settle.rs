//! Operators' decisions: changes of the hub's own device, taken like any other.
use rusqlite::Connection;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowVersion, RunId, RunInfo};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge::judge;
use wadi_protocol::schema::{Field, Kind, Merge, Schema};
use wadi_protocol::stamp::Clock;
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use super::changes::{self, Arrival};
use super::review::{Case, candidates, open_case};
use super::work::Work;
use super::{Catalog, Store, StoreError, commit, operators, random_bits, restored, run, sql};

/// The name of the operators' device.
const LABEL: &str = "operator";

/// What a person decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// One of the candidates, counted from 1 as `review show` does.
    Pick(usize),
    /// A value of their own, as text.
    Value(String),
}

impl Store {
    /// Settle a case; the hub sequence of the change that does.
    pub fn settle(
        &mut self,
        case: u64,
        decision: &Decision,
        now_s: u64,
    ) -> Result<u64, StoreError> {
        self.write(|tx, catalog| {
            if restored::is_stopped(tx)? {
                let text = "the database was restored and numbers nothing yet: first run `wadi-hub \
                            resume`, see `wadi-hub status`";
                return Err(StoreError::Refused(text.into()));
            }
            let case = open_case(tx, catalog, case)?;
            let delta = delta(tx, catalog, &case, decision)?;
            let hub = run::begin_run(tx, now_s)?;
            let mut work = Work::new(tx, catalog, now_s)?;
            let (info, dot) = operator(tx)?;
            changes::insert_run(tx, &info)?;
            let schema = catalog.newest().map_or(0, |schema| schema.version);
            let entered_s = now_s;
            let change = Change {
                dot,
                stamp: latest(tx, &case)?.issue(now_s),
                entered_s,
                contained: None,
                schema,
                rights: 0,
                group: None,
                table: TableRef::Number(case.key.table),
                row: case.key.row,
                op: Op::Settle,
                fields: vec![(FieldRef::Number(case.field), delta)],
                seen: Seen { version: RowVersion { hub, seq: work.head }, above: Vec::new() },
                closure: Vec::new(),
            };
            let arrival = Arrival { typed: change.clone(), original: change, gateway: 0, round: 0 };
            let outcomes = commit::take(&mut work, vec![arrival])?;
            match outcomes.get(&dot) {
                Some(Outcome::Applied { seq }) => Ok(*seq),
                _ => Err(StoreError::Broken("an operator's decision was not applied".into())),
            }
        })
    }
}

/// A new run of the operators' device and its first dot: a restored database can
/// then never use a number twice.
fn operator(db: &Connection) -> Result<(RunInfo, Dot), StoreError> {
    let device = operators(db)?;
    let runs = changes::runs(db, device)?;
    let is_parent = |run: &RunInfo| {
        runs.iter().any(|other| other.parent.is_some_and(|(parent, _)| parent == run.run))
    };
    let last = runs.iter().find(|run| !is_parent(run));
    let run = RunId::from_random(random_bits()?);
    let parent = last.map(|last| (last.run, 1));
    let info = RunInfo { device, run, parent, label: LABEL.into() };
    Ok((info, Dot { device, run, seq: 1 }))
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
    match decision {
        Decision::Pick(number) => {
            let candidates = candidates(db, case.key, case.field)?;
            let picked = number.checked_sub(1).and_then(|index| candidates.get(index));
            match picked.map(|candidate| &candidate.delta) {
                Some(Some(delta @ Delta::Set(_))) => Ok(delta.clone()),
                Some(_) => Err(StoreError::Refused(format!(
                    "candidate {number} is a part of the value, not a value: use --value"
                ))),
                None if candidates.is_empty() => Err(StoreError::Refused(
                    "nothing to pick from: use --value with the value that it shall have".into(),
                )),
                None => Err(StoreError::Refused(format!(
                    "no candidate {number}: there are 1 to {}, see `wadi-hub review show {}`",
                    candidates.len(),
                    case.number
                ))),
            }
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
            let value = value_of(schema, case, field, text)?;
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

/// A person's text as a value that the field may hold.
fn value_of(schema: &Schema, case: &Case, field: &Field, text: &str) -> Result<Value, StoreError> {
    let raw = match (&field.kind, text) {
        (_, "null") => Value::Null,
        (Kind::Integer | Kind::Decimal { .. }, text) => Value::Number(text.into()),
        (Kind::Boolean, "true") => Value::Bool(true),
        (Kind::Boolean, "false") => Value::Bool(false),
        (Kind::Set { .. }, text) => list(text)?,
        (_, text) if field.merge == Merge::Append => list(text)?,
        (_, text) => Value::Text(text.into()),
    };
    // Judged as a plain value: the total of a sum against its range, a list by its codes.
    let mut plain = schema.clone();
    for table in plain.tables.iter_mut().filter(|table| table.number == case.key.table) {
        for field in table.fields.iter_mut().filter(|field| field.number == case.field) {
            if !matches!(field.merge, Merge::Append) {
                field.merge = Merge::LastWrite;
            }
        }
    }
    let probe = Change {
        dot: Dot { device: DeviceId(0), run: RunId::NONE, seq: 1 },
        stamp: Default::default(),
        entered_s: 0,
        contained: None,
        schema: schema.version,
        rights: 0,
        group: None,
        table: TableRef::Number(case.key.table),
        row: case.key.row,
        op: Op::Settle,
        fields: vec![(FieldRef::Number(field.number), Delta::Set(raw))],
        seen: Seen::default(),
        closure: Vec::new(),
    };
    let typed = interpret(&plain, &probe).map_err(StoreError::Refused)?;
    if field.merge != Merge::Append {
        judge(&plain, &Change { op: Op::Update, ..typed.clone() }).map_err(StoreError::Refused)?;
    }
    match typed.delta(field.number) {
        Some(Delta::Set(value)) => Ok(value.clone()),
        _ => Err(StoreError::Broken(format!("case about field {}", case.field))),
    }
}

fn list(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map(Value::List).map_err(|_| {
        StoreError::Refused(format!("{text:?}: use a JSON list of texts such as [\"a\", \"b\"]"))
    })
}
