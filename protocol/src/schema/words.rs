//! How a reason names a place and a value.
use alloc::format;
use alloc::string::String;

use super::decimal::unscaled;
use super::{Field, Kind};
use crate::limits::REASON_BYTES_MAX;
use crate::value::Value;

/// Bytes of an offending value that a reason repeats.
const QUOTED_BYTES_MAX: usize = 48;

/// A reason, within its limit.
pub(super) fn reason(text: String) -> String {
    cut(&text, REASON_BYTES_MAX)
}

/// A name or a text from a record, cut.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", cut(text, QUOTED_BYTES_MAX))
}

/// A value as people wrote it, cut: decimals with their point, texts in quotes.
pub(super) fn shown(field: &Field, value: &Value) -> String {
    match value {
        Value::Int(number) => unscaled(*number, scale(field)),
        Value::Text(text) => quote(text),
        Value::List(_) => cut(&format!("{value}"), QUOTED_BYTES_MAX),
        other => format!("{other}"),
    }
}

/// Digits behind the point of a field's numbers.
pub(super) fn scale(field: &Field) -> u8 {
    match field.kind {
        Kind::Decimal { scale } => scale,
        _ => 0,
    }
}

/// At most `bytes_max` bytes of a text, marked if cut, characters whole.
fn cut(text: &str, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes_max {
        return text.into();
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(bytes_max - MARK.len())])
}
