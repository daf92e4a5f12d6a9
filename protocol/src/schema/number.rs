//! From the file to the numbered schema: numbers, references, checks.
//!
//! Collects every problem rather than the first, so that an operator mends a
//! schema in one go. What may follow what is not asked here, see
//! [`super::compat`].
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::decimal::{Unfit, scaled};
use super::file::{Bound, FieldFile, KindName, SchemaFile, TableFile};
use super::{Field, Kind, Merge, Mode, OnDelete, Schema, Table};
use crate::limits::{
    ENTRIES_MAX, FIELDS_MAX, NAME_BYTES_MAX, SCALE_MAX, SCHEMA_TEXT_BYTES_MAX, TABLES_MAX,
};

/// See [`SchemaFile::number`].
pub(super) fn number(file: &SchemaFile, previous: Option<&Schema>) -> Result<Schema, Vec<String>> {
    let mut problems = Vec::new();
    if file.name.is_empty() || file.name.len() > NAME_BYTES_MAX {
        problems.push(format!("name: give the schema a name of 1 to {NAME_BYTES_MAX} bytes"));
    }
    if file.tables.len() > TABLES_MAX {
        problems.push(format!("{} tables, at most {TABLES_MAX} are allowed", file.tables.len()));
    }
    let names: Vec<&str> = file.tables.iter().map(|(name, _)| name.as_str()).collect();
    let before = previous.map_or(&[][..], |schema| &schema.tables);
    let old: Vec<_> = before.iter().map(|table| (table.name.as_str(), table.number)).collect();
    let numbers = assign(&names, &old);
    let mut tables = Vec::new();
    for ((name, table), &number) in file.tables.iter().zip(&numbers) {
        check_table_name(name, &names, &mut problems);
        let old = previous.and_then(|schema| schema.table_named(name));
        let references = |wanted: &str| {
            let place = names.iter().position(|name| *name == wanted)?;
            Some(numbers[place])
        };
        tables.push(one_table(name, number, table, old, references, &mut problems));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    tables.sort_by_key(|table| table.number);
    let version = match previous {
        Some(old) if old.name == file.name && old.tables == tables => old.version,
        Some(old) => old.version + 1,
        None => 1,
    };
    Ok(Schema { name: file.name.clone(), version, tables })
}

/// Numbers of names: known ones keep theirs, new ones count on after the greatest.
fn assign(names: &[&str], old: &[(&str, u16)]) -> Vec<u16> {
    let mut last = old.iter().map(|(_, number)| *number).max().unwrap_or(0);
    let known = |name: &str| old.iter().find(|(old, _)| *old == name).map(|(_, number)| *number);
    let mut next = || {
        // Past the limits of tables and fields this is refused anyway.
        last = last.saturating_add(1);
        last
    };
    names.iter().map(|name| known(name).unwrap_or_else(&mut next)).collect()
}

fn one_table(
    name: &str,
    number: u16,
    file: &TableFile,
    old: Option<&Table>,
    references: impl Fn(&str) -> Option<u16>,
    problems: &mut Vec<String>,
) -> Table {
    if file.fields.is_empty() || file.fields.len() > FIELDS_MAX {
        problems.push(format!(
            "{name}: {} fields, 1 to {FIELDS_MAX} are allowed",
            file.fields.len()
        ));
    }
    if file.retention == Some(0) {
        problems.push(format!("{name}: retention is in days, from 1; leave it out to keep all"));
    }
    let names: Vec<&str> = file.fields.iter().map(|(name, _)| name.as_str()).collect();
    let before = old.map_or(&[][..], |table| &table.fields);
    let known: Vec<_> = before.iter().map(|field| (field.name.as_str(), field.number)).collect();
    let numbers = assign(&names, &known);
    let mut fields = Vec::new();
    for ((field_name, field), &number) in file.fields.iter().zip(&numbers) {
        let mut found = Found { place: format!("{name}.{field_name}"), problems };
        if field_name == "id" {
            found.add("`id` is the row's own id; choose another name");
        } else if let Some(problem) = bad_name(field_name) {
            found.add(&problem);
        }
        let old = before.iter().find(|old| old.name == *field_name);
        fields.extend(one_field(field_name, number, field, file.mode, old, &references, &mut found));
    }
    fields.sort_by_key(|field| field.number);
    Table {
        number,
        name: name.into(),
        fields,
        mode: file.mode,
        delete: file.delete,
        scope: file.scope,
        lane: file.lane,
        history: file.history,
        retention_days: file.retention,
    }
}

/// Problems of one field, each led by its place.
struct Found<'a> {
    place: String,
    problems: &'a mut Vec<String>,
}

impl Found<'_> {
    fn add(&mut self, problem: &str) {
        self.problems.push(format!("{}: {problem}", self.place));
    }
}

/// The field, unless its type cannot be made.
fn one_field(
    name: &str,
    number: u16,
    file: &FieldFile,
    mode: Mode,
    old: Option<&Field>,
    references: impl Fn(&str) -> Option<u16>,
    found: &mut Found<'_>,
) -> Option<Field> {
    check_keys(file, found);
    check_merge(file, mode, found);
    for text in [&file.label, &file.unit].into_iter().flatten() {
        if text.len() > SCHEMA_TEXT_BYTES_MAX {
            found.add(&format!("label and unit may have {SCHEMA_TEXT_BYTES_MAX} bytes at most"));
        }
    }
    let min = bound("min", &file.min, file, found);
    let max = bound("max", &file.max, file, found);
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        found.add("min is greater than max; swap them");
    }
    let kind = kind(file, old, references, found)?;
    Some(Field {
        number,
        name: name.into(),
        kind,
        merge: file.merge,
        required: file.required,
        min,
        max,
        unique: file.unique,
        label: file.label.clone(),
        unit: file.unit.clone(),
    })
}

/// Keys that mean nothing for the type.
fn check_keys(file: &FieldFile, found: &mut Found<'_>) {
    let kind = file.kind;
    let numeric = matches!(kind, KindName::Integer | KindName::Decimal);
    for (key, given, fits, of) in [
        ("scale", file.scale.is_some(), kind == KindName::Decimal, "decimal"),
        ("values", file.values.is_some(), matches!(kind, KindName::Enum | KindName::Set), "enum and set"),
        ("table", file.table.is_some(), kind == KindName::Reference, "reference"),
        ("on_delete", file.on_delete.is_some(), kind == KindName::Reference, "reference"),
        ("min", file.min.is_some(), numeric, "integer and decimal"),
        ("max", file.max.is_some(), numeric, "integer and decimal"),
    ] {
        if given && !fits {
            found.add(&format!("`{key}` belongs to type {of} only; take it out"));
        }
    }
}

fn check_merge(file: &FieldFile, mode: Mode, found: &mut Found<'_>) {
    let kind = file.kind;
    let numeric = matches!(kind, KindName::Integer | KindName::Decimal);
    let (fits, of) = match file.merge {
        Merge::LastWrite | Merge::FirstWrite | Merge::Review => (true, ""),
        // Time stamps may carry offsets, so that their texts do not sort by time.
        Merge::Max | Merge::Min => (numeric || kind == KindName::Date, "integer, decimal and date"),
        Merge::Sum => (numeric, "integer and decimal"),
        Merge::Append => (kind == KindName::Text, "text"),
        Merge::Set => (kind == KindName::Set, "set"),
    };
    if !fits {
        found.add(&format!("this merge fits type {of} only; choose another merge"));
    }
    let gathers = matches!(file.merge, Merge::Sum | Merge::Append | Merge::Set);
    if gathers && mode == Mode::Record {
        found.add("merge sum, append and set need mode \"field\", this table is of mode \"record\"; change one of them");
    }
    if gathers && file.unique {
        found.add("unique does not fit merge sum, append and set; take it out");
    }
}

fn kind(
    file: &FieldFile,
    old: Option<&Field>,
    references: impl Fn(&str) -> Option<u16>,
    found: &mut Found<'_>,
) -> Option<Kind> {
    Some(match file.kind {
        KindName::Integer => Kind::Integer,
        KindName::Decimal => match file.scale {
            Some(scale) if scale <= SCALE_MAX => Kind::Decimal { scale },
            _ => {
                found.add(&format!("a decimal needs `scale`, 0 to {SCALE_MAX} digits behind the point"));
                return None;
            }
        },
        KindName::Text => Kind::Text,
        KindName::Boolean => Kind::Boolean,
        KindName::Date => Kind::Date,
        KindName::Timestamp => Kind::Timestamp,
        KindName::Enum => {
            let values = codes(file, old, found);
            if values.is_empty() {
                found.add("an enum needs `values`, the list of its codes");
            }
            Kind::Enum { values }
        }
        KindName::Set => Kind::Set { values: codes(file, old, found) },
        KindName::Reference => {
            let on_delete = file.on_delete.unwrap_or(OnDelete::Restrict);
            if on_delete == OnDelete::SetNull && file.required {
                found.add("on_delete \"set-null\" cannot be on a required field; take `required` out or choose \"restrict\" or \"cascade\"");
            }
            let Some(name) = &file.table else {
                found.add("a reference needs `table`, the name of the table it points to");
                return None;
            };
            let Some(table) = references(name) else {
                found.add(&format!("table \"{name}\" is not in this file; add it or correct the name"));
                return None;
            };
            Kind::Reference { table, on_delete }
        }
    })
}

/// The codes: those known before in their old order, then the new ones.
fn codes(file: &FieldFile, old: Option<&Field>, found: &mut Found<'_>) -> Vec<String> {
    let written = file.values.as_deref().unwrap_or(&[]);
    if written.len() > ENTRIES_MAX {
        found.add(&format!("{} codes, at most {ENTRIES_MAX} are allowed", written.len()));
        return Vec::new();
    }
    for (at, code) in written.iter().enumerate() {
        if code.is_empty() || code.len() > SCHEMA_TEXT_BYTES_MAX {
            found.add(&format!("a code has 1 to {SCHEMA_TEXT_BYTES_MAX} bytes; correct code {}", at + 1));
        }
        if written[..at].contains(code) {
            found.add(&format!("code \"{code}\" is listed twice; take one out"));
        }
    }
    let before = match old.map(|field| &field.kind) {
        Some(Kind::Enum { values } | Kind::Set { values }) => values.as_slice(),
        _ => &[],
    };
    let kept = before.iter().filter(|code| written.contains(code));
    let new = written.iter().filter(|code| !before.contains(code));
    kept.chain(new).cloned().collect()
}

fn bound(key: &str, bound: &Option<Bound>, file: &FieldFile, found: &mut Found<'_>) -> Option<i64> {
    let text = &bound.as_ref()?.0;
    let scale = match file.kind {
        KindName::Integer => 0,
        KindName::Decimal => file.scale.unwrap_or(0),
        // Named as a key that does not belong there.
        _ => return None,
    };
    let why = match scaled(text, scale) {
        Ok(number) => return Some(number),
        Err(Unfit::NotANumber) => "is not a number",
        Err(Unfit::TooFine) => "has more digits behind the point than the field",
        Err(Unfit::TooLarge) => "does not fit 64 bits",
    };
    found.add(&format!("{key} = {text} {why}; correct it"));
    None
}

fn check_table_name(name: &str, names: &[&str], problems: &mut Vec<String>) {
    let problem = bad_name(name).or_else(|| {
        if name.starts_with("wadi_") || name.starts_with("sqlite_") {
            return Some("names that start with wadi_ or sqlite_ are taken; choose another".into());
        }
        let table = name.strip_suffix("_view").filter(|table| names.contains(table))?;
        Some(format!("the view for people of table \"{table}\" has this name; choose another"))
    });
    problems.extend(problem.map(|problem| format!("{name}: {problem}")));
}

/// What is wrong with the name of a table or a field: it is a name in SQL too.
fn bad_name(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let good = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(legal)
        && name.len() <= NAME_BYTES_MAX;
    (!good).then(|| {
        format!("a name starts with a letter and has only a to z, 0 to 9 and _, at most {NAME_BYTES_MAX}; rename it")
    })
}
