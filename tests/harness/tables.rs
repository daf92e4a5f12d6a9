//! Every row and field of the typed tables of a database, and how two sets differ.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::plan::{Cell, Plan};
use crate::wait::{Look, until};

/// How many differences are told.
const DIFFERENCES_SHOWN: usize = 12;

/// Rows by table and id; cells in the order of the plan's fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    plan: BTreeMap<String, Vec<String>>,
    tables: BTreeMap<String, BTreeMap<String, Vec<Cell>>>,
}

impl Tables {
    /// No rows.
    pub fn empty(plan: &Plan) -> Tables {
        let names = |fields: &Vec<crate::plan::Field>| {
            fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>()
        };
        Tables {
            plan: plan
                .tables
                .iter()
                .map(|(table, fields)| (table.clone(), names(fields)))
                .collect(),
            tables: plan.tables.keys().map(|table| (table.clone(), BTreeMap::new())).collect(),
        }
    }

    /// What a database holds now, in one snapshot.
    pub fn read(database: &Path, plan: &Plan) -> Result<Tables> {
        let mut tables = Tables::empty(plan);
        let mut connection = open(database)?;
        let snapshot = connection.transaction()?;
        for (table, fields) in &tables.plan.clone() {
            let columns: Vec<String> = fields.iter().map(|field| format!("\"{field}\"")).collect();
            let sql = format!("SELECT id, {} FROM \"{table}\"", columns.join(", "));
            let mut statement =
                snapshot.prepare(&sql).with_context(|| format!("{}: {sql}", database.display()))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let cells = (1..=fields.len()).map(|at| Ok(cell(row.get_ref(at)?)));
                let cells = cells.collect::<Result<Vec<Cell>>>()?;
                tables.insert(table, &row.get::<_, String>(0)?, cells);
            }
        }
        Ok(tables)
    }

    /// Put a row in.
    pub fn insert(&mut self, table: &str, id: &str, cells: Vec<Cell>) {
        self.tables.entry(table.into()).or_default().insert(id.to_lowercase(), cells);
    }

    /// Rows of a table by id.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (&String, &Vec<Cell>)> {
        self.tables.get(table).into_iter().flatten()
    }

    /// How many rows each table has.
    pub fn counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.tables.iter().map(|(table, rows)| (table.as_str(), rows.len()))
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.tables.values().map(BTreeMap::len).sum()
    }

    /// Where `other` differs from this, row by row and field by field.
    pub fn differences(&self, other: &Tables) -> Vec<String> {
        self.differences_within(other, &BTreeSet::new())
    }

    /// The same; of the `partial` tables `other` may hold some rows only.
    pub fn differences_within(&self, other: &Tables, partial: &BTreeSet<String>) -> Vec<String> {
        let mut differences = Vec::new();
        for (table, fields) in &self.plan {
            let (mine, theirs) = (&self.tables[table], &other.tables[table]);
            for (id, cells) in mine {
                match theirs.get(id) {
                    None if partial.contains(table) => {}
                    None => differences.push(format!("{table} {id} is missing")),
                    Some(found) => {
                        for ((field, want), got) in fields.iter().zip(cells).zip(found) {
                            if want != got {
                                differences.push(format!(
                                    "{table} {id} {field}: {got:?} instead of {want:?}"
                                ));
                            }
                        }
                    }
                }
            }
            for id in theirs.keys().filter(|id| !mine.contains_key(*id)) {
                differences.push(format!("{table} {id} is one too many"));
            }
        }
        differences
    }
}

/// Wait until a database has the tables of the plan.
pub fn until_there(database: &Path, plan: &Plan, deadline: Duration) -> Result<()> {
    until(&format!("{} to have the schema", database.display()), deadline, || {
        match Tables::read(database, plan) {
            Ok(_) => Ok(Look::Found(())),
            Err(error) => Ok(Look::NotYet(format!("{error:#}"))),
        }
    })
}

/// Wait until a database holds exactly these tables.
pub fn until_equal(
    database: &Path,
    plan: &Plan,
    expected: &Tables,
    deadline: Duration,
) -> Result<()> {
    until(&format!("{} to equal the model", database.display()), deadline, || {
        let found = match Tables::read(database, plan) {
            Ok(found) => found,
            // The schema has not arrived yet, or the file is being created.
            Err(error) => return Ok(Look::NotYet(format!("{error:#}"))),
        };
        let differences = expected.differences(&found);
        Ok(Look::when(differences.is_empty(), || summary(&differences)))
    })
}

/// The first differences and how many there are.
pub fn summary(differences: &[String]) -> String {
    let shown = &differences[..differences.len().min(DIFFERENCES_SHOWN)];
    format!("{} differences\n  {}", differences.len(), shown.join("\n  "))
}

/// One cell asked of a running database; none = no such row (or table yet).
pub fn value(database: &Path, table: &str, id: &str, column: &str) -> Result<Option<Cell>> {
    let connection = open(database)?;
    let sql = format!("SELECT \"{column}\" FROM \"{table}\" WHERE id = ?1");
    let Ok(mut statement) = connection.prepare(&sql) else {
        return Ok(None);
    };
    let mut rows = statement.query([id])?;
    match rows.next()? {
        Some(row) => Ok(Some(cell(row.get_ref(0)?))),
        None => Ok(None),
    }
}

/// Fold a stopped store's write-ahead log into the file, so that the file alone is everything.
pub fn make_whole(database: &Path) -> Result<()> {
    let connection = Connection::open(database)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    // The last connection to close removes the log.
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// A number asked of a database.
pub fn count(database: &Path, sql: &str) -> Result<i64> {
    let connection = open(database)?;
    connection.query_row(sql, [], |row| row.get(0)).with_context(|| sql.to_string())
}

/// Open as any analyst would: to read, patiently.
fn open(database: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("{} does not open", database.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Text(format!("REAL {number}")),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Text(format!("BLOB of {} bytes", bytes.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_and_compared_field_by_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let plan = Plan::read("[tables.t.fields]\na = { type = \"integer\" }\n").unwrap();
        let connection = Connection::open(&path).unwrap();
        let setup = "CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, a INTEGER) STRICT; INSERT INTO t VALUES ('x', 1), ('y', NULL)";
        connection.execute_batch(setup).unwrap();
        let found = Tables::read(&path, &plan).unwrap();
        let mut expected = Tables::empty(&plan);
        expected.insert("t", "x", vec![Cell::Integer(2)]);
        expected.insert("t", "z", vec![Cell::Null]);
        let differences = expected.differences(&found);
        assert_eq!(
            differences,
            ["t x a: Integer(1) instead of Integer(2)", "t z is missing", "t y is one too many"]
        );
        assert_eq!(value(&path, "t", "x", "a").unwrap(), Some(Cell::Integer(1)));
        assert_eq!(value(&path, "nowhere", "x", "a").unwrap(), None);
        assert_eq!(count(&path, "SELECT count(*) FROM t").unwrap(), 2);
    }
}
