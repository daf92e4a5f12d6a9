//! One field of the schema file: whether its keys fit its type and each other.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::decimal::{Unfit, scaled};
use super::file::{Bound, FieldFile, KindName};
use super::{Field, Kind, Merge, Mode, OnDelete};
use crate::limits::{ENTRIES_MAX, SCALE_MAX, SCHEMA_TEXT_BYTES_MAX};

/// Problems of one field, each led by its place.
pub(super) struct Found<'a> {
    pub(super) place: String,
    pub(super) problems: &'a mut Vec<String>,
}

impl Found<'_> {
    pub(super) fn add(&mut self, problem: &str) {
        self.problems.push(format!("{}: {problem}", self.place));
    }
}

/// The field, unless its type cannot be made.
pub(super) fn one_field(
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
        (
            "values",
            file.values.is_some(),
            matches!(kind, KindName::Enum | KindName::Set),
            "enum and set",
        ),
        (
            "retired",
            !file.retired.is_empty(),
            matches!(kind, KindName::Enum | KindName::Set),
            "enum and set",
        ),
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
                found.add(&format!(
                    "a decimal needs `scale`, 0 to {SCALE_MAX} digits behind the point"
                ));
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
                found.add(&format!(
                    "table \"{name}\" is not in this file; add it or correct the name"
                ));
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
            found.add(&format!(
                "a code has 1 to {SCHEMA_TEXT_BYTES_MAX} bytes; correct code {}",
                at + 1
            ));
        }
        if written[..at].contains(code) {
            found.add(&format!("code \"{code}\" is listed twice; take one out"));
        }
    }
    if let Some(code) = file.retired.iter().find(|code| written.contains(code)) {
        found.add(&format!("code \"{code}\" is in `values` and in `retired`; take one out"));
    }
    if file.kind == KindName::Set && written.is_empty() && !file.retired.is_empty() {
        found.add("a set without `values` takes any text; leave a code or take `retired` out");
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
