//! Typed tables of a schema: made anew with each version, filled from replica and outbox.
//!
//! They show, and are never written by anybody but us: triggers refuse others
//! and say what to use. Nothing durable lives in them alone.
use std::sync::Arc;

use wadi_protocol::id::RowId;
use wadi_protocol::schema::{Kind, Merge, OnDelete, Schema, Table};

use super::{StoreError, Work, encode, row_of};

impl Work<'_> {
    /// Take a newer schema: typed tables of the old one go, those of the new one come.
    pub fn install_schema(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let schema = Schema::decode(bytes)
            .map_err(|_| StoreError::Damaged("the schema from the gateway"))?;
        if let Some(old) = self.ground.schema.take() {
            for table in &old.tables {
                if old.table_named(&format!("{}_view", table.name)).is_none() {
                    self.tx.execute_batch(&format!("DROP VIEW \"{}_view\"", table.name))?;
                }
            }
            for table in &old.tables {
                self.tx.execute_batch(&format!("DROP TABLE \"{}\"", table.name))?;
            }
        }
        for table in &schema.tables {
            self.tx.execute_batch(&table_sql(&schema, table))?;
        }
        self.run(
            "UPDATE wadi_file SET schema = ?, schema_version = ?",
            (encode(&schema), schema.version),
        )?;
        self.ground.schema = Some(Arc::new(schema));
        self.touch_everything()?;
        self.show_dirty()
    }

    fn touch_everything(&mut self) -> Result<(), StoreError> {
        let fed = self.all("SELECT tbl, row FROM wadi_row", (), |row| {
            Ok((row.get::<_, u16>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        for (table, row) in fed {
            let row: RowId = row_of(row)?;
            self.touch_number(table, row);
        }
        let own =
            self.all("SELECT DISTINCT tbl, row FROM wadi_change WHERE shown = 0", (), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
        for (table, row) in own {
            let row = row_of(row)?;
            self.touch(&table, row);
        }
        Ok(())
    }
}

/// A typed table, its view for people, its guards.
fn table_sql(schema: &Schema, table: &Table) -> String {
    let name = &table.name;
    let mut columns = String::from("id TEXT PRIMARY KEY NOT NULL");
    let mut shown = String::from("id");
    let mut indexes = String::new();
    for field in &table.fields {
        let list = field.merge == Merge::Append;
        let integer =
            matches!(field.kind, Kind::Integer | Kind::Decimal { .. } | Kind::Boolean) && !list;
        columns.push_str(&format!(
            ", \"{}\" {}",
            field.name,
            if integer { "INTEGER" } else { "TEXT" }
        ));
        match field.kind {
            Kind::Decimal { scale } => {
                let unit = 10_f64.powi(scale.into());
                shown.push_str(&format!(", \"{0}\" / {unit:.1} AS \"{0}\"", field.name));
            }
            _ => shown.push_str(&format!(", \"{}\"", field.name)),
        }
        if let Kind::Reference { on_delete: OnDelete::Cascade, .. } = field.kind {
            indexes.push_str(&format!(
                "CREATE INDEX \"wadi_cascade_{name}_{0}\" ON \"{name}\" (\"{0}\");\n",
                field.name
            ));
        }
    }
    let mut sql = format!("CREATE TABLE \"{name}\" ({columns}) STRICT, WITHOUT ROWID;\n{indexes}");
    let view = format!("{name}_view");
    // A table of that name comes first.
    if schema.table_named(&view).is_none() {
        sql.push_str(&format!("CREATE VIEW \"{view}\" AS SELECT {shown} FROM \"{name}\";\n"));
    }
    for (event, letter) in [("INSERT", 'i'), ("UPDATE", 'u'), ("DELETE", 'd')] {
        sql.push_str(&format!(
            "CREATE TRIGGER \"wadi_guard_{name}_{letter}\" BEFORE {event} ON \"{name}\"\n\
             WHEN (SELECT writing FROM wadi_file) = 0\n\
             BEGIN SELECT RAISE(ABORT, 'a handheld''s tables are read-only: use wadi-handheld put or import'); END;\n"
        ));
    }
    sql
}
