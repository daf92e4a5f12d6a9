//! What the screen shows: the replica with own changes laid over, in typed tables.
//!
//! Own changes that the replica's image does not count yet are laid over it by
//! the same rules as everywhere ([`resolve`]); a change that will not stand alone
//! (see [`judge`]) is not laid. Rows whose changes came or went are *dirty* until
//! their typed row is written, at the latest before the commit.
use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput};
use wadi_protocol::change::{Change, TableRef};
use wadi_protocol::id::RowId;
use wadi_protocol::resolve::{Image, Lines, Placed, resolve};
use wadi_protocol::schema::cell::{Cell, to_cell};
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge::judge;
use wadi_protocol::schema::{Schema, Table};
use wadi_protocol::value::Value;

use super::{Store, StoreError, Work, all, decode, one, table_of};

/// A row as the screen shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct ShownRow {
    /// The row.
    pub row: RowId,
    /// What is shown.
    pub image: Image,
    /// Where own changes are laid over: what the village shows instead.
    pub village: Option<Option<Image>>,
    /// Fields that wait for a person; 0 is the row's existence.
    pub review: Vec<u16>,
    /// Changes of the village in the row that the hub has not taken into its tables.
    pub held_back: Vec<String>,
    /// Own changes of the row that are not decided yet.
    pub undecided: u64,
    /// Own changes of the row that were put aside at the hub, and why.
    pub quarantined: Vec<String>,
}

impl Work<'_> {
    /// Note that the typed row has to be written.
    pub(super) fn touch(&mut self, table: &str, row: RowId) {
        if let Some(table) = table_of(&self.ground.schema, table) {
            self.dirty.insert((table.number, row));
        }
    }

    pub(super) fn touch_number(&mut self, table: u16, row: RowId) {
        self.dirty.insert((table, row));
    }

    /// What the screen shows of a row.
    pub(crate) fn shown(&self, table: &Table, row: RowId) -> Result<Option<Image>, StoreError> {
        let schema = self.ground.schema.as_ref().expect("a table is of the schema");
        Ok(picture(&self.tx, schema, table, row, &self.ground.lines)?.0)
    }

    /// Write the typed rows that changed.
    pub(super) fn show_dirty(&mut self) -> Result<(), StoreError> {
        let dirty = std::mem::take(&mut self.dirty);
        let Some(schema) = self.ground.schema.clone() else {
            return Ok(());
        };
        for (table, row) in dirty {
            let Some(table) = schema.table(table) else {
                continue;
            };
            match self.shown(table, row)?.filter(|image| image.live) {
                Some(image) => self.write_typed(table, row, &image)?,
                None => {
                    let sql = format!("DELETE FROM \"{}\" WHERE id = ?", table.name);
                    self.run(&sql, (row.to_string(),))?;
                }
            }
        }
        Ok(())
    }

    fn write_typed(&self, table: &Table, row: RowId, image: &Image) -> Result<(), StoreError> {
        let mut sql = format!("INSERT OR REPLACE INTO \"{}\" (id", table.name);
        for field in &table.fields {
            sql.push_str(&format!(", \"{}\"", field.name));
        }
        sql.push_str(") VALUES (?");
        sql.push_str(&", ?".repeat(table.fields.len()));
        sql.push(')');
        let mut cells = vec![SqlCell(Cell::Text(row.to_string()))];
        for field in &table.fields {
            let value = image.fields.get(&field.number).unwrap_or(&Value::Null);
            cells.push(SqlCell(to_cell(field, value)));
        }
        self.run(&sql, rusqlite::params_from_iter(cells))?;
        Ok(())
    }
}

struct SqlCell(Cell);

impl ToSql for SqlCell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            Cell::Null => ToSqlOutput::from(rusqlite::types::Null),
            Cell::Int(number) => ToSqlOutput::from(*number),
            Cell::Text(text) => ToSqlOutput::from(text.as_str()),
        })
    }
}

/// A row as the village shows it, if the feed brought it.
fn fed(db: &Connection, table: u16, row: RowId) -> Result<Option<Image>, StoreError> {
    let found = one(
        db,
        "SELECT live, fields FROM wadi_row WHERE tbl = ? AND row = ?",
        (table, row.0),
        |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Vec<u8>>(1)?)),
    )?;
    let Some((live, fields)) = found else {
        return Ok(None);
    };
    let fields: Vec<(u16, Value)> = decode(&fields, "a row of the replica")?;
    Ok(Some(Image { live, fields: fields.into_iter().collect() }))
}

/// What is shown of a row, and whether own changes are laid over it.
fn picture(
    db: &Connection,
    schema: &Schema,
    table: &Table,
    row: RowId,
    lines: &Lines,
) -> Result<(Option<Image>, bool), StoreError> {
    let base = fed(db, table.number, row)?;
    let laid = laid(db, schema, table, row)?;
    if laid.is_empty() {
        return Ok((base, false));
    }
    let placed: Vec<Placed<'_>> = laid
        .iter()
        .map(|change| Placed { change, seq: 0, seen_seq: change.seen.version.seq })
        .collect();
    let resolved = resolve(table, base.as_ref(), &placed, lines);
    let live = resolved.existence.live();
    let fields = resolved.fields.into_iter().filter(|field| live && !field.value.is_null());
    let fields: BTreeMap<u16, Value> = fields.map(|field| (field.field, field.value)).collect();
    Ok((Some(Image { live, fields }), true))
}

/// Own changes of a row that the replica does not count, typed; those that
/// will not stand alone are left out.
fn laid(
    db: &Connection,
    schema: &Schema,
    table: &Table,
    row: RowId,
) -> Result<Vec<Change>, StoreError> {
    let bodies = all(
        db,
        "SELECT body FROM wadi_change WHERE shown = 0 AND tbl = ? AND row = ? ORDER BY place",
        (&table.name, row.0),
        |row| row.get::<_, Vec<u8>>(0),
    )?;
    let mut laid = Vec::with_capacity(bodies.len());
    for body in bodies {
        let change: Change = decode(&body, "a change")?;
        // The name is what the outbox goes by; the number may be of an older version.
        let change = Change { table: TableRef::Number(table.number), ..change };
        if judge(schema, &change).is_ok() {
            laid.extend(interpret(schema, &change));
        }
    }
    Ok(laid)
}

impl Store {
    /// The rows of a table as the screen shows them, by id, one after another.
    pub fn list(
        &self,
        table: &Table,
        mut each: impl FnMut(ShownRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT id FROM \"{}\" ORDER BY id", table.name);
        let mut statement = self.db.prepare(&sql)?;
        let mut ids = statement.query(())?;
        while let Some(id) = ids.next()? {
            let id: String = id.get(0)?;
            let row = id.parse().map_err(|_| StoreError::Damaged("the id of a typed row"))?;
            each(self.shown_row(table, row)?)?;
        }
        Ok(())
    }

    fn shown_row(&self, table: &Table, row: RowId) -> Result<ShownRow, StoreError> {
        let schema = self.ground.schema.as_ref().expect("a table is of the schema");
        let (image, laid) = picture(&self.db, schema, table, row, &self.ground.lines)?;
        let village = if laid { Some(fed(&self.db, table.number, row)?) } else { None };
        let sql = "SELECT review, marked FROM wadi_row WHERE tbl = ? AND row = ?";
        let marks = one(&self.db, sql, (table.number, row.0), |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let (review, marked) = match marks {
            Some((review, marked)) => (decode(&review, "marks")?, decode(&marked, "marks")?),
            None => (Vec::new(), Vec::<wadi_protocol::id::Dot>::new()),
        };
        let sql = "SELECT custody, reason FROM wadi_change
                   WHERE tbl = ? AND row = ? AND custody <> 'durable' ORDER BY place";
        let own = all(&self.db, sql, (&table.name, row.0), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        })?;
        let aside = |custody: &String| custody == "quarantined";
        Ok(ShownRow {
            row,
            image: image.unwrap_or_default(),
            village,
            review,
            held_back: marked.iter().map(ToString::to_string).collect(),
            undecided: own.iter().filter(|(custody, _)| !aside(custody)).count() as u64,
            quarantined: own
                .into_iter()
                .filter(|(custody, _)| aside(custody))
                .map(|(_, reason)| reason.unwrap_or_default())
                .collect(),
        })
    }
}
