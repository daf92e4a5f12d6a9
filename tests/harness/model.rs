//! What the tables must hold, computed from the records alone.
//!
//! Plain: per field the last write by `ts` (ties: the later in the stream), sums
//! by their deltas, a deleted row is gone. It knows nothing of runs, stamps, rounds
//! or candidates, so it cannot share their mistakes; it is right wherever each field
//! is written by one device, or writers had seen each other, in the order of `ts`.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::plan::{Cell, Field, Plan};
use crate::records::Record;
use crate::tables::Tables;

/// The expected tables.
#[derive(Clone, Debug)]
pub struct Model {
    plan: Plan,
    rows: BTreeMap<(String, String), BTreeMap<String, (u64, Cell)>>,
    deleted: BTreeSet<(String, String)>,
}

impl Model {
    /// Empty tables of a plan.
    pub fn new(plan: &Plan) -> Model {
        Model { plan: plan.clone(), rows: BTreeMap::new(), deleted: BTreeSet::new() }
    }

    /// The tables after these records.
    pub fn of(plan: &Plan, records: &[Record]) -> Result<Model> {
        let mut model = Model::new(plan);
        for record in records {
            model.apply(&record.json).with_context(|| record.line.clone())?;
        }
        Ok(model)
    }

    /// One record more.
    pub fn apply(&mut self, record: &Value) -> Result<()> {
        let word = |key: &str| {
            record.get(key).and_then(Value::as_str).with_context(|| format!("no {key}"))
        };
        let row = (word("table")?.to_string(), word("id")?.to_lowercase());
        let ts = record.get("ts").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let none = Map::new();
        let fields = record.get("fields").and_then(Value::as_object).unwrap_or(&none);
        match word("op")? {
            "insert" => {
                self.rows.entry(row.clone()).or_default();
                self.write(&row, ts, fields)
            }
            "update" => self.write(&row, ts, fields),
            "delete" => {
                self.deleted.insert(row);
                Ok(())
            }
            other => bail!("an op {other:?}"),
        }
    }

    fn write(
        &mut self,
        row: &(String, String),
        ts: u64,
        fields: &Map<String, Value>,
    ) -> Result<()> {
        // An update may come before its insert: the row shows up with either.
        let cells = self.rows.entry(row.clone()).or_default();
        for (name, value) in fields {
            let field =
                self.plan.field(&row.0, name).with_context(|| format!("no field {name}"))?;
            if field.sums {
                let Cell::Integer(delta) = field.cell(added(value))? else {
                    continue;
                };
                let sum = cells.entry(name.clone()).or_insert((ts, Cell::Integer(0)));
                let Cell::Integer(total) = &mut sum.1 else { bail!("a sum is a number") };
                *total += delta;
                continue;
            }
            let cell = field.cell(value)?;
            let known = cells.entry(name.clone()).or_insert((0, Cell::Null));
            if ts >= known.0 {
                *known = (ts, cell);
            }
        }
        Ok(())
    }

    /// The tables as they must be.
    pub fn tables(&self) -> Tables {
        let mut tables = Tables::empty(&self.plan);
        for ((table, id), cells) in &self.rows {
            if self.deleted.contains(&(table.clone(), id.clone())) {
                continue;
            }
            let cell = |field: &Field| match cells.get(&field.name) {
                Some((_, cell)) => cell.clone(),
                None => Cell::Null,
            };
            let row = self.plan.tables[table].iter().map(cell).collect();
            tables.insert(table, id, row);
        }
        tables
    }

    /// How many rows there must be.
    pub fn row_count(&self) -> usize {
        self.rows.keys().filter(|row| !self.deleted.contains(row)).count()
    }
}

/// `{"add":n}` or, in an insert, the value itself.
fn added(value: &Value) -> &Value {
    value.get("add").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        Plan::read(
            "[tables.t.fields]\na = { type = \"integer\" }\nb = { type = \"text\" }\nn = { type = \"integer\", merge = \"sum\" }\n",
        )
        .unwrap()
    }

    fn after(records: &[Value]) -> Vec<(String, Vec<Cell>)> {
        let records: Vec<Record> = records.iter().cloned().map(Record::of).collect();
        let tables = Model::of(&plan(), &records).unwrap().tables();
        tables.rows("t").map(|(id, row)| (id.clone(), row.clone())).collect()
    }

    #[test]
    fn the_last_write_of_each_field_counts_in_any_order() {
        let insert =
            json!({"op":"insert","table":"t","id":"X","ts":1,"fields":{"a":1,"b":"one","n":5}});
        let update =
            json!({"op":"update","table":"t","id":"x","ts":3,"fields":{"a":3,"n":{"add":2}}});
        let older = json!({"op":"update","table":"t","id":"x","ts":2,"fields":{"a":2,"b":"two","n":{"add":-4}}});
        let expected = vec![(
            "x".to_string(),
            vec![Cell::Integer(3), Cell::Text("two".into()), Cell::Integer(3)],
        )];
        assert_eq!(after(&[insert.clone(), update.clone(), older.clone()]), expected);
        assert_eq!(after(&[older, insert, update]), expected);
    }

    #[test]
    fn a_deleted_row_is_gone() {
        let insert = json!({"op":"insert","table":"t","id":"x","ts":1,"fields":{"a":1}});
        let delete = json!({"op":"delete","table":"t","id":"x","ts":2});
        assert_eq!(after(&[insert, delete]), []);
    }
}
