//! From the file to the numbered schema: numbers, references, checks.
//!
//! Collects every problem rather than the first, so that an operator mends a
//! schema in one go. What may follow what is not asked here, see
//! [`super::compat`].
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::field::{Found, one_field};
use super::file::{SchemaFile, TableFile};
use super::{Field, History, Kind, Merge, Mode, Schema, Scope, Table};
use crate::limits::{FIELDS_MAX, NAME_BYTES_MAX, TABLES_MAX};

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
        problems
            .push(format!("{name}: {} fields, 1 to {FIELDS_MAX} are allowed", file.fields.len()));
    }
    if file.retention == Some(0) {
        problems.push(format!("{name}: retention is in days, from 1; leave it out to keep all"));
    }
    if file.history == History::Latest && file.mode == Mode::Record {
        problems.push(format!(
            "{name}: history \"latest\" needs mode \"field\", for in \"record\" somebody's past is made of every step; change one of them"
        ));
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
        fields.extend(one_field(
            field_name,
            number,
            field,
            file.mode,
            old,
            &references,
            &mut found,
        ));
    }
    fields.sort_by_key(|field| field.number);
    let site =
        file.site.as_deref().and_then(|site| site_field(name, site, file, &fields, problems));
    Table {
        number,
        name: name.into(),
        fields,
        mode: file.mode,
        delete: file.delete,
        scope: file.scope,
        site,
        lane: file.lane,
        history: file.history,
        retention_days: file.retention,
    }
}

/// The number of the field that names the site of a row.
fn site_field(
    table: &str,
    site: &str,
    file: &TableFile,
    fields: &[Field],
    problems: &mut Vec<String>,
) -> Option<u16> {
    let mut refuse = |what: &str| problems.push(format!("{table}: {what}"));
    if file.scope != Scope::Site {
        refuse("`site` belongs to scope \"site\" only; change the scope, or take it out");
    }
    let Some(field) = fields.iter().find(|field| field.name == site) else {
        refuse(&format!("`site` names \"{site}\", which is no field of it; add the field"));
        return None;
    };
    let named = matches!(field.kind, Kind::Text | Kind::Enum { .. });
    if !named || field.merge == Merge::Append {
        refuse(&format!(
            "`site` names \"{site}\", which holds no one name; make it a text or an enum, without merge \"append\""
        ));
    }
    Some(field.number)
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
