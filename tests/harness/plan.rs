//! The schema as the tests read it: from the same file, by other code.
//!
//! Only what comparing needs: tables, fields, how a JSON value becomes a cell.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What a typed column holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cell {
    /// NULL.
    Null,
    /// Integers, scaled decimals, booleans.
    Integer(i64),
    /// Everything else.
    Text(String),
}

/// How a field's values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// As it is.
    Integer,
    /// Times ten to the scale.
    Decimal {
        /// Digits behind the point.
        scale: u32,
    },
    /// 0 or 1.
    Boolean,
    /// Text, also of dates, enums and references.
    Text,
    /// A JSON array as text.
    List,
}

/// A field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name, which is the column's.
    pub name: String,
    /// How its values are stored.
    pub kind: Kind,
    /// Whether deltas add up.
    pub sums: bool,
    /// Whether the model can foretell it: last write and sums.
    pub foretold: bool,
}

/// Tables by name, each with its fields.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The fields of each table, in the order of their names.
    pub tables: BTreeMap<String, Vec<Field>>,
    /// Tables of which a gateway holds some rows only: their scope is not `global`.
    pub partial: BTreeSet<String>,
    /// Tables that a field of some table refers to.
    pub referenced: BTreeSet<String>,
}

impl Plan {
    /// Read a schema file.
    pub fn read(text: &str) -> Result<Plan> {
        let file: toml::Table = text.parse().context("the schema is not TOML")?;
        let tables = file.get("tables").and_then(|tables| tables.as_table());
        let mut plan = Plan::default();
        for (name, table) in tables.context("the schema has no [tables]")? {
            let fields = table.get("fields").and_then(|fields| fields.as_table());
            if table.get("scope").is_some_and(|scope| scope.as_str() != Some("global")) {
                plan.partial.insert(name.clone());
            }
            let mut read = Vec::new();
            for (field, settings) in fields.with_context(|| format!("{name} has no fields"))? {
                if settings.get("type").and_then(|kind| kind.as_str()) == Some("reference") {
                    let target = settings.get("table").and_then(|table| table.as_str());
                    plan.referenced.extend(target.map(str::to_string));
                }
                read.push(Field::read(field, settings).with_context(|| format!("{name}.{field}"))?);
            }
            read.sort_by(|one, two| one.name.cmp(&two.name));
            plan.tables.insert(name.clone(), read);
        }
        Ok(plan)
    }

    /// A field of a table.
    pub fn field(&self, table: &str, field: &str) -> Option<&Field> {
        self.tables.get(table)?.iter().find(|known| known.name == field)
    }
}

impl Field {
    fn read(name: &str, settings: &toml::Value) -> Result<Field> {
        let word = |key| settings.get(key).and_then(|value: &toml::Value| value.as_str());
        let merge = word("merge").unwrap_or("last-write");
        let kind = match word("type").context("no type")? {
            "integer" => Kind::Integer,
            "decimal" => {
                let scale = settings.get("scale").and_then(|scale| scale.as_integer());
                Kind::Decimal { scale: scale.context("no scale")? as u32 }
            }
            "boolean" => Kind::Boolean,
            "set" => Kind::List,
            _ if merge == "append" => Kind::List,
            _ => Kind::Text,
        };
        let sums = merge == "sum";
        Ok(Field { name: name.into(), kind, sums, foretold: sums || merge == "last-write" })
    }

    /// The cell that a JSON value becomes.
    pub fn cell(&self, value: &Value) -> Result<Cell> {
        Ok(match (self.kind, value) {
            (_, Value::Null) => Cell::Null,
            (Kind::Integer, Value::Number(number)) => {
                Cell::Integer(scaled(&number.to_string(), 0)?)
            }
            (Kind::Decimal { scale }, Value::Number(number)) => {
                Cell::Integer(scaled(&plain(number), scale)?)
            }
            (Kind::Boolean, Value::Bool(flag)) => Cell::Integer((*flag).into()),
            (Kind::Text, Value::String(text)) => Cell::Text(text.clone()),
            (Kind::List, Value::Array(_)) => Cell::Text(value.to_string()),
            _ => bail!("{value} does not fit {:?}", self.kind),
        })
    }
}

/// Without an exponent: the shortest digits that mean the same double.
fn plain(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(double)) => format!("{double}"),
        (None, None) => number.to_string(),
    }
}

/// Decimal text times ten to the scale.
fn scaled(text: &str, scale: u32) -> Result<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part = part.trim_end_matches('0');
    if part.len() > scale as usize {
        bail!("{text} has more than {scale} digits behind the point");
    }
    let all = format!("{whole}{part:0<width$}", width = scale as usize);
    Ok(sign * all.parse::<i64>().with_context(|| format!("{text} is not a number in range"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(kind: Kind, json: &str) -> Result<Cell> {
        let field = Field { name: "f".into(), kind, sums: false, foretold: true };
        field.cell(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn json_becomes_cells() {
        let decimal = Kind::Decimal { scale: 2 };
        assert_eq!(cell(decimal, "39.02").unwrap(), Cell::Integer(3902));
        assert_eq!(cell(decimal, "-0.5").unwrap(), Cell::Integer(-50));
        assert_eq!(cell(decimal, "10").unwrap(), Cell::Integer(1000));
        assert_eq!(cell(decimal, "1e1").unwrap(), Cell::Integer(1000));
        assert_eq!(
            cell(Kind::Decimal { scale: 6 }, "-73.872608").unwrap(),
            Cell::Integer(-73_872_608)
        );
        assert!(cell(decimal, "1.005").is_err());
        assert_eq!(cell(Kind::Boolean, "true").unwrap(), Cell::Integer(1));
        assert_eq!(cell(Kind::Text, "null").unwrap(), Cell::Null);
        assert!(cell(Kind::Integer, "\"3\"").is_err());
    }

    #[test]
    fn a_schema_file() {
        let plan = Plan::read(
            "name = \"x\"\n[tables.a.fields]\nn = { type = \"integer\", merge = \"sum\" }\nd = { type = \"decimal\", scale = 3 }\n",
        )
        .unwrap();
        let names: Vec<&str> = plan.tables["a"].iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["d", "n"]);
        assert!(plan.field("a", "n").unwrap().sums);
    }
}
