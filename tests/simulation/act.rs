//! What somebody does to a row, as records and SQL say it.
use wadi_protocol::id::RowId;

use crate::model::Key;
use crate::schema::Table;

/// What somebody is about to do to a row.
pub struct Act {
    pub op: &'static str,
    pub table: &'static Table,
    pub row: RowId,
    /// Fields and their values, as SQL and JSON write them.
    pub fields: Vec<(&'static str, String)>,
    pub add: Option<i64>,
    /// Fields of other types.
    pub more: Vec<More>,
}

/// A field and what it takes: as a record has it, and as an expression of SQL.
#[derive(Clone)]
pub struct More {
    pub field: &'static str,
    pub json: String,
    pub sql: String,
    /// Whether judges refuse it.
    pub poison: bool,
}

impl Act {
    pub fn key(&self) -> Key {
        (self.table.name, self.row)
    }

    pub fn is_poison(&self) -> bool {
        self.more.iter().any(|more| more.poison)
    }

    pub fn json(&self) -> String {
        let mut fields: Vec<String> =
            self.fields.iter().map(|(field, value)| format!("\"{field}\":\"{value}\"")).collect();
        if let Some(add) = self.add {
            // A new row's total is what it begins with.
            let value =
                if self.op == "insert" { add.to_string() } else { format!("{{\"add\":{add}}}") };
            fields.extend(self.table.sums.iter().map(|field| format!("\"{field}\":{value}")));
        }
        fields.extend(self.more.iter().map(|more| format!("\"{}\":{}", more.field, more.json)));
        let (op, table, row) = (self.op, self.table.name, self.row);
        let fields = match op {
            "delete" => String::new(),
            _ => format!(",\"fields\":{{{}}}", fields.join(",")),
        };
        format!("{{\"op\":\"{op}\",\"table\":\"{table}\",\"id\":\"{row}\"{fields}}}")
    }

    pub fn sql(&self, replace: bool) -> String {
        let (table, row) = (self.table.name, self.row);
        let mut columns: Vec<(&str, String)> =
            self.fields.iter().map(|(field, value)| (*field, format!("'{value}'"))).collect();
        if let Some(add) = self.add {
            for field in self.table.sums {
                let value = match self.op {
                    "insert" => add.to_string(),
                    _ => format!("coalesce({field}, 0) + {add}"),
                };
                columns.push((*field, value));
            }
        }
        columns.extend(self.more.iter().map(|more| (more.field, more.sql.clone())));
        match self.op {
            "delete" => format!("DELETE FROM {table} WHERE id = '{row}'"),
            "update" => {
                let sets: Vec<String> =
                    columns.iter().map(|(field, value)| format!("{field} = {value}")).collect();
                format!("UPDATE {table} SET {} WHERE id = '{row}'", sets.join(", "))
            }
            _ => {
                let names: String = columns.iter().map(|(field, _)| format!(", {field}")).collect();
                let values: String =
                    columns.iter().map(|(_, value)| format!(", {value}")).collect();
                let or = if replace { " OR REPLACE" } else { "" };
                format!("INSERT{or} INTO {table} (id{names}) VALUES ('{row}'{values})")
            }
        }
    }
}
