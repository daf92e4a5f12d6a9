//! `wadi-gateway schema`: the schema that the gateway holds.
use std::io::Write;
use std::path::Path;

use wadi_protocol::schema::{Field, Kind, Schema};

use super::CommandError;
use crate::store::status;

/// The schema that the gateway holds.
pub fn schema(database: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    let Some(schema) = status::schema(database)? else {
        return Ok(writeln!(out, "no schema yet: it comes with the first sync")?);
    };
    writeln!(out, "{} version {}", schema.name, schema.version)?;
    for table in &schema.tables {
        writeln!(out, "\n{}", table.name)?;
        for field in &table.fields {
            writeln!(out, "  {:<24} {}", field.name, describe(&schema, field))?;
        }
    }
    Ok(())
}

fn describe(schema: &Schema, field: &Field) -> String {
    let kind = match &field.kind {
        Kind::Integer => "integer".into(),
        Kind::Decimal { scale } => format!("decimal with {scale} places"),
        Kind::Text => "text".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Date => "date".into(),
        Kind::Timestamp => "timestamp".into(),
        Kind::Enum { values } => format!("one of {} codes", values.len()),
        Kind::Set { .. } => "set".into(),
        Kind::Reference { table, .. } => {
            let name = schema.table(*table).map_or("?", |table| table.name.as_str());
            format!("reference to {name}")
        }
    };
    let required = if field.required { ", required" } else { "" };
    format!("{kind}{required}, {:?}", field.merge)
}
