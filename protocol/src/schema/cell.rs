//! Values in the columns of a typed table, and back.
//!
//! Integers, scaled decimals and booleans (0 or 1) are INTEGER; everything
//! else is TEXT: a reference its UUID, a list a JSON array of texts. Other
//! programs write these columns too, so any JSON writer's array is read.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use core::str::Chars;

use super::words::quote;
use super::{Field, Kind, Merge};
use crate::value::Value;

/// What a column of a typed table holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// NULL.
    Null,
    /// INTEGER.
    Int(i64),
    /// TEXT.
    Text(String),
}

/// The cell of a value that fits the field.
pub fn to_cell(_field: &Field, value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Int(number) => Cell::Int(*number),
        Value::Bool(flag) => Cell::Int(i64::from(*flag)),
        Value::Text(text) | Value::Number(text) => Cell::Text(text.clone()),
        Value::Row(row) => Cell::Text(row.to_string()),
        Value::List(entries) => Cell::Text(to_json(entries)),
    }
}

/// The value of a cell. Ranges, codes and dates are not judged here.
///
/// # Errors
/// What the column should hold. Whoever captures such a cell keeps it raw, as
/// [`Value::Text`] or [`Value::Int`], for the hub to judge.
pub fn from_cell(field: &Field, cell: &Cell) -> Result<Value, String> {
    let bad = |cell: &str, wanted: &str| Err(format!("{}: {cell} is not {wanted}", field.name));
    let list = matches!(field.kind, Kind::Set { .. }) || field.merge == Merge::Append;
    match (&field.kind, cell) {
        (_, Cell::Null) => Ok(Value::Null),
        (Kind::Integer | Kind::Decimal { .. }, Cell::Int(number)) => Ok(Value::Int(*number)),
        (Kind::Integer | Kind::Decimal { .. }, Cell::Text(text)) => bad(&quote(text), "an INTEGER"),
        (Kind::Boolean, Cell::Int(0)) => Ok(Value::Bool(false)),
        (Kind::Boolean, Cell::Int(1)) => Ok(Value::Bool(true)),
        (Kind::Boolean, Cell::Int(number)) => bad(&number.to_string(), "0 or 1"),
        (Kind::Boolean, Cell::Text(text)) => bad(&quote(text), "0 or 1"),
        (_, Cell::Int(number)) => bad(&number.to_string(), "a TEXT"),
        (Kind::Reference { .. }, Cell::Text(text)) => match text.parse() {
            Ok(row) => Ok(Value::Row(row)),
            Err(_) => bad(&quote(text), "the id (a UUID) of a row"),
        },
        (_, Cell::Text(text)) if list => match from_json(text) {
            Some(mut entries) => {
                if field.merge != Merge::Append {
                    entries.sort();
                    entries.dedup();
                }
                Ok(Value::List(entries))
            }
            None => bad(&quote(text), "a JSON array of texts"),
        },
        (_, Cell::Text(text)) => Ok(Value::Text(text.clone())),
    }
}

/// A JSON array of strings, without spaces.
fn to_json(entries: &[String]) -> String {
    let mut json = String::from("[");
    for (at, entry) in entries.iter().enumerate() {
        json.push_str(if at == 0 { "\"" } else { ",\"" });
        for letter in entry.chars() {
            match letter {
                '"' => json.push_str("\\\""),
                '\\' => json.push_str("\\\\"),
                '\n' => json.push_str("\\n"),
                '\t' => json.push_str("\\t"),
                control if control < ' ' => {
                    write!(json, "\\u{:04x}", u32::from(control)).expect("a String takes all");
                }
                plain => json.push(plain),
            }
        }
        json.push('"');
    }
    json.push(']');
    json
}

/// The strings of a JSON array, if the text is one.
fn from_json(text: &str) -> Option<Vec<String>> {
    let inner = text.trim_matches(JSON_SPACE).strip_prefix('[')?.strip_suffix(']')?;
    let mut entries = Vec::new();
    let mut rest = inner.trim_matches(JSON_SPACE);
    while !rest.is_empty() {
        let mut letters = rest.strip_prefix('"')?.chars();
        entries.push(string(&mut letters)?);
        rest = letters.as_str().trim_start_matches(JSON_SPACE);
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start_matches(JSON_SPACE);
            // A comma is followed by another string.
            rest.strip_prefix('"')?;
        }
    }
    Some(entries)
}

const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A JSON string, from behind its first quote through its last.
fn string(letters: &mut Chars<'_>) -> Option<String> {
    let mut entry = String::new();
    loop {
        entry.push(match letters.next()? {
            '"' => return Some(entry),
            '\\' => match letters.next()? {
                same @ ('"' | '\\' | '/') => same,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => escaped(letters)?,
                _ => return None,
            },
            control if control < ' ' => return None,
            plain => plain,
        });
    }
}

/// The letter of `\uXXXX`, or of a pair of them beyond the 16-bit letters.
fn escaped(letters: &mut Chars<'_>) -> Option<char> {
    let first = unit(letters)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    if letters.next()? != '\\' || letters.next()? != 'u' {
        return None;
    }
    let low = unit(letters)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + low)
}

/// Four hexadecimal digits.
fn unit(letters: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |unit, _| Some(unit * 16 + letters.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn lists_survive_their_json() {
        for list in [vec![], vec![""], vec!["a", "b\"\\\n\u{1}", "é\u{1f600}"]] {
            let list: Vec<String> = list.into_iter().map(String::from).collect();
            assert_eq!(from_json(&to_json(&list)), Some(list));
        }
    }

    #[test]
    fn any_writers_array_is_read() {
        let read = from_json(" [ \"a\\/b\" ,\n\"\\ud83d\\ude00\\u00e9\\t\" ] ");
        assert_eq!(read, Some(vec!["a/b".into(), "\u{1f600}é\t".into()]));
    }

    #[test]
    fn other_texts_are_no_arrays() {
        for text in [
            "",
            "[",
            "a",
            "\"a\"",
            "[a]",
            "[1]",
            "[\"a\",]",
            "[,\"a\"]",
            "[\"a\" \"b\"]",
            "[\"a]",
            "[\"\\x\"]",
            "[\"\\ud83d\"]",
            "[\"\\ude00\"]",
            "[\"\\ud83d\\u0041\"]",
            "[\"\n\"]",
            "[\"a\"]]",
            "[[\"a\"]]",
            "null",
        ] {
            assert_eq!(from_json(text), None, "{text}");
        }
    }
}
