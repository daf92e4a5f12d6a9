//! What schema may follow what.
//!
//! Changes written under an older schema are still on their way, for months:
//! they must stay valid and resolve to the same state under the newer one. So
//! a schema only widens. A code may retire all the same: a change is judged under the
//! version that it was written in, and no row loses what it holds.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::file::SchemaFile;
use super::{Field, Kind, Schema, Table};

/// All reasons why a file may not be published behind `old`, in words; none = it may.
/// `new` is what [`SchemaFile::number`] made of it with `old`. What nobody meant to leave
/// out is told from what retires.
pub fn check_file(old: &Schema, new: &Schema, file: &SchemaFile) -> Vec<String> {
    let mut problems = check(old, new);
    for table in &old.tables {
        for field in &table.fields {
            let after = new.table(table.number).and_then(|table| table.field(field.number));
            // Another type, a missing field, any text allowed: told of above, or no harm.
            let after = after.and_then(codes).filter(|after| !after.is_empty());
            let (Some(before), Some(after)) = (codes(field), after) else { continue };
            let retired = file.retired(&table.name, &field.name);
            let kept = |code: &&String| after.contains(code) || retired.contains(code);
            problems.extend(before.iter().filter(|code| !kept(code)).map(|code| {
                format!(
                    "{}.{}: code \"{code}\" is missing, but rows may hold it; put it back, or name it in `retired`",
                    table.name, field.name
                )
            }));
        }
    }
    problems
}

/// The codes of an enum or a set.
fn codes(field: &Field) -> Option<&[String]> {
    match &field.kind {
        Kind::Enum { values } | Kind::Set { values } => Some(values),
        _ => None,
    }
}

/// All reasons why `new` may not follow `old`, in words; none = it may. Which codes retire
/// is for whoever publishes, see [`check_file`].
///
/// Both are numbered, `new` by [`SchemaFile::number`] with `old`.
pub fn check(old: &Schema, new: &Schema) -> Vec<String> {
    let mut problems = Vec::new();
    if old.name != new.name {
        problems.push(format!(
            "name: this is schema \"{}\", the hub has \"{}\"; keep the name",
            new.name, old.name
        ));
    }
    for before in &old.tables {
        match new.table(before.number).filter(|after| after.name == before.name) {
            Some(after) => check_table(old, before, new, after, &mut problems),
            None => problems.push(format!(
                "{}: the table is missing; changes to it are still on their way, so put it back",
                before.name
            )),
        }
    }
    problems
}

fn check_table(
    old: &Schema,
    before: &Table,
    new: &Schema,
    after: &Table,
    problems: &mut Vec<String>,
) {
    let name = &before.name;
    for (key, differs, why) in [
        ("mode", before.mode != after.mode, RESOLVES),
        ("delete", before.delete != after.delete, RESOLVES),
        ("scope", before.scope != after.scope, HOLD),
        ("site", before.site != after.site, HOLD),
        ("lane", before.lane != after.lane, "gateways have passed its rows in the old one"),
    ] {
        if differs {
            problems.push(format!("{name}: `{key}` changed, but {why}; put it back"));
        }
    }
    for field in &before.fields {
        let place = format!("{name}.{}", field.name);
        match after.field(field.number).filter(|after| after.name == field.name) {
            Some(after) => check_field(&place, old, field, new, after, problems),
            None => problems.push(format!(
                "{place}: the field is missing; changes to it are still on their way, so put it back"
            )),
        }
    }
    for field in &after.fields {
        if field.required && before.field(field.number).is_none() {
            problems.push(format!(
                "{name}.{}: a new field cannot be required, since older gateways do not fill it; take `required` out",
                field.name
            ));
        }
    }
}

const HOLD: &str = "sites already hold rows by the old one";
const RESOLVES: &str = "changes made before would resolve differently";

fn check_field(
    place: &str,
    old: &Schema,
    before: &Field,
    new: &Schema,
    after: &Field,
    problems: &mut Vec<String>,
) {
    let mut refuse = |what: &str| problems.push(format!("{place}: {what}"));
    if before.merge != after.merge {
        refuse(&format!("`merge` changed, but {RESOLVES}; put it back"));
    }
    if after.required && !before.required {
        refuse("`required` was added, but inserts without it are still on their way; take it out");
    }
    if after.unique && !before.unique {
        refuse("`unique` was added, but rows already there may be twins; take it out");
    }
    let raised = after.min.is_some_and(|min| before.min.is_none_or(|was| min > was));
    let lowered = after.max.is_some_and(|max| before.max.is_none_or(|was| max < was));
    for (key, narrower) in [("min", raised), ("max", lowered)] {
        if narrower {
            refuse(&format!(
                "`{key}` became narrower, but values beyond it are there or on their way; only widen it"
            ));
        }
    }
    match (&before.kind, &after.kind) {
        (Kind::Enum { .. }, Kind::Enum { .. }) => {}
        (Kind::Set { values: before }, Kind::Set { values: after }) => {
            let narrower = before.is_empty() && !after.is_empty();
            if narrower {
                refuse("`values` was added where any text was allowed; take it out");
            }
        }
        (Kind::Decimal { scale: before }, Kind::Decimal { scale: after }) if before != after => {
            refuse(&format!(
                "scale {after}, but values are kept at scale {before}; put it back, or add a field"
            ));
        }
        (
            Kind::Reference { table: to_before, on_delete: before },
            Kind::Reference { table: to_after, on_delete: after },
        ) => {
            if to_before != to_after {
                let name = |schema: &Schema, number| {
                    schema.table(number).map_or(String::new(), |table| table.name.clone())
                };
                refuse(&format!(
                    "refers to \"{}\", before to \"{}\"; put it back, or add a field",
                    name(new, *to_after),
                    name(old, *to_before)
                ));
            }
            if before != after {
                refuse(&format!("`on_delete` changed, but {RESOLVES}; put it back"));
            }
        }
        (before, after) if before != after => {
            refuse("the type changed; put it back, or add a field of the new type");
        }
        _ => {}
    }
}
