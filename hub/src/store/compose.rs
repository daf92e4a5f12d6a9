//! Composing a repair: what a change is to carry, judged alone as any change is.
//!
//! References may be to rows that are there, or stay those of the record: else a
//! later repair could ask to take back what an earlier one has let out.
use rusqlite::Connection;
use wadi_protocol::change::{Change, Delta, FieldRef, TableRef};
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::{self, Repair};
use wadi_protocol::schema::{Field, Schema, Table};
use wadi_protocol::value::Value;

use super::entered::delta_of;
use super::kept::{self, Kept};
use super::release::{self, references};
use super::work::load;
use super::{Catalog, StoreError, changes, judge, operators, rulings, text};

/// What is to be different about a change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edits {
    /// Its table, where the schema does not know the one that it names.
    pub table: Option<String>,
    /// Fields and what they are to hold, as people type it.
    pub set: Vec<(String, String)>,
    /// Fields that it is not to touch.
    pub unset: Vec<String>,
}

/// A change that may be repaired.
pub(super) struct Subject {
    pub original: Change,
    /// The repairs of it, the one that counts first.
    pub repairs: Vec<Repair>,
    pub is_applied: bool,
}

impl Subject {
    /// What it carries, as it counts or would count.
    pub fn fields(&self) -> &[(FieldRef, Delta)] {
        self.repairs.first().map_or(&self.original.fields, |repair| &repair.fields)
    }

    /// The table that it is of, as far as the newest schema knows it.
    pub fn table_in<'c>(&self, catalog: &'c Catalog) -> Option<&'c Table> {
        let named = self.repairs.first().map_or(&self.original.table, |repair| &repair.table);
        match named {
            TableRef::Number(number) => catalog.newest()?.table(*number),
            TableRef::Name(name) => catalog.newest()?.table_named(name),
        }
    }
}

/// A change that is in quarantine under its own number, or left it.
pub(super) fn subject(db: &Connection, dot: Dot) -> Result<Subject, StoreError> {
    if dot.device == operators::device(db)? {
        return Err(StoreError::Refused(format!(
            "{dot} poses as an operator's, and those are made here: it can only be rejected"
        )));
    }
    if let Some(found) = kept::find(db, dot)? {
        return of_kept(db, found);
    }
    if !release::is_released(db, dot)? {
        let told = "it needs no repair: correct its row with a record of your own";
        return Err(not_there(db, dot, told)?);
    }
    let (Some(original), Some(stored)) = (changes::as_made(db, dot)?, changes::find(db, dot)?)
    else {
        return Err(StoreError::Broken(format!("{dot} left quarantine for nowhere")));
    };
    Ok(Subject { original, repairs: repairs(db, dot)?, is_applied: stored.seq != 0 })
}

/// A change that is in quarantine.
pub(super) fn of_kept(db: &Connection, kept: Kept) -> Result<Subject, StoreError> {
    let repairs = repairs(db, kept.change.dot)?;
    Ok(Subject { original: kept.change, repairs, is_applied: false })
}

fn repairs(db: &Connection, dot: Dot) -> Result<Vec<Repair>, StoreError> {
    let rulings = rulings::about(db, dot)?;
    Ok(ruling::repairs(&rulings).into_iter().map(|(_, repair)| repair.clone()).collect())
}

/// Why a change that is not in quarantine under its own number cannot be ruled about.
pub(super) fn not_there(
    db: &Connection,
    dot: Dot,
    committed: &str,
) -> Result<StoreError, StoreError> {
    Ok(StoreError::Refused(if kept::has_clash(db, dot)? {
        format!(
            "{dot} is the number of another change: what came under it too can only be rejected, \
             and recorded anew"
        )
    } else if changes::sequence(db, dot)?.is_some() {
        format!("{dot} is in the changelog: {committed}")
    } else {
        format!("{dot} is not in quarantine: see `wadi-hub quarantine list`")
    }))
}

/// The repair of a change by edits.
pub(super) fn compose(
    db: &Connection,
    catalog: &Catalog,
    subject: &Subject,
    edits: &Edits,
) -> Result<Repair, StoreError> {
    let refuse = |why: String| Err(StoreError::Refused(why));
    let table = match (subject.table_in(catalog), &edits.table) {
        (Some(table), Some(name)) if table.name != *name => {
            return refuse(format!(
                "it is of table {}, and a repair moves no record to another: reject it, and \
                 record it anew",
                table.name
            ));
        }
        (Some(table), _) => table,
        (None, Some(name)) => catalog.table_named(name)?,
        (None, None) => {
            let named = changes::table_text(&subject.original.table);
            return refuse(format!("table {named:?} is in no schema: say which it is by --table"));
        }
    };
    let schema = newest(catalog)?;
    let mut fields = subject.fields().to_vec();
    for name in &edits.unset {
        let number = table.field_named(name).map(|field| FieldRef::Number(field.number));
        let before = fields.len();
        fields.retain(|(at, _)| Some(at) != number.as_ref() && *at != FieldRef::Name(name.clone()));
        if fields.len() == before {
            return refuse(format!("it carries no field {name:?}"));
        }
    }
    for (name, text) in &edits.set {
        let field = known_field(table, name)?;
        let delta = delta_of(schema, table, field, text)?;
        let number = FieldRef::Number(field.number);
        fields.retain(|(at, _)| *at != number && *at != FieldRef::Name(name.clone()));
        fields.push((number, delta));
    }
    judged(db, catalog, subject, table, fields)
}

/// A repair that stands alone, its fields as the newest schema has them.
pub(super) fn judged(
    db: &Connection,
    catalog: &Catalog,
    subject: &Subject,
    table: &Table,
    fields: Vec<(FieldRef, Delta)>,
) -> Result<Repair, StoreError> {
    let schema = newest(catalog)?.version;
    let repair = Repair { schema, table: TableRef::Number(table.number), fields };
    let form = judge::typed(catalog, &ruling::repaired(&subject.original, &repair))
        .map_err(|why| StoreError::Refused(format!("it would still break the schema: {why}")))?;
    let of_record = references(table, &subject.original.fields);
    for (field, parent) in references(table, &form.fields) {
        let kept = |fields: &[_]| references(table, fields).get(&field) == Some(&parent);
        let stays = of_record.get(&field) == Some(&parent)
            && !subject.is_applied
            && subject.repairs.iter().all(|repair| kept(&repair.fields));
        if !stays && load(db, parent)?.is_none() {
            return Err(StoreError::Refused(format!(
                "{}.{}: there is no row {} to refer to; give the id of one that is there",
                table.name,
                text::field_name(table, field),
                parent.row
            )));
        }
    }
    Ok(Repair { fields: form.fields, ..repair })
}

fn newest(catalog: &Catalog) -> Result<&Schema, StoreError> {
    catalog
        .newest()
        .ok_or_else(|| StoreError::Refused("no schema: run `wadi-hub schema publish FILE`".into()))
}

/// A field of a table by the name that a person gave.
pub(super) fn known_field<'t>(table: &'t Table, name: &str) -> Result<&'t Field, StoreError> {
    table.field_named(name).ok_or_else(|| {
        let names: Vec<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
        StoreError::Refused(format!(
            "no field {name:?} in table {}; there are {}",
            table.name,
            names.join(", ")
        ))
    })
}

/// Put a code in the place of another; how often it stood there.
pub(super) fn replace(delta: &mut Delta, from: &str, to: &str) -> usize {
    let in_list = |list: &mut Vec<String>| {
        let found = list.iter_mut().filter(|entry| *entry == from);
        found.map(|entry| to.clone_into(entry)).count()
    };
    match delta {
        Delta::Set(Value::Text(code)) if code == from => {
            to.clone_into(code);
            1
        }
        Delta::Set(Value::List(list)) => in_list(list),
        Delta::Edit { add, .. } => in_list(add),
        Delta::Set(_) | Delta::Add(_) | Delta::Append(_) | Delta::Passed => 0,
    }
}
