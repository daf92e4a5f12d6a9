//! The value columns: all deltas of one field of one table.
//!
//! ```text
//! column = kind (1 byte) | deltas
//! ```
//! A column whose deltas all set values of one kind holds only the values;
//! otherwise each delta is led by its tag.
use alloc::string::String;
use alloc::vec::Vec;

use super::BatchError;
use super::rows::Rows;
use super::stream::{Reader, Writer, apart, together};
use super::texts::Texts;
use crate::change::Delta;
use crate::value::Value;

/// Deltas with tags.
const MIXED: u64 = 0;
/// Integers.
const INTS: u64 = 1;
/// Integers, each as its distance from the one before.
const INTS_APART: u64 = 2;
/// Texts.
const TEXTS: u64 = 3;
/// Rows.
const ROWS: u64 = 4;

// Tags of MIXED.
const SET_NULL: u64 = 0;
const SET_INT: u64 = 1;
const SET_FALSE: u64 = 2;
const SET_TRUE: u64 = 3;
const SET_TEXT: u64 = 4;
const SET_ROW: u64 = 5;
const SET_LIST: u64 = 6;
const SET_NUMBER: u64 = 7;
const ADD: u64 = 8;
const APPEND: u64 = 9;
const EDIT: u64 = 10;
const PASSED: u64 = 11;

/// Write one column.
pub(super) fn put(out: &mut Writer, rows: &mut Rows, deltas: &[&Delta]) {
    let ints: Option<Vec<i64>> = of_one_kind(deltas, |value| match value {
        Value::Int(number) => Some(*number),
        _ => None,
    });
    if let Some(ints) = ints {
        return put_ints(out, &ints);
    }
    let mut texts = Texts::default();
    let same: Option<Vec<&String>> = of_one_kind(deltas, |value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    });
    if let Some(same) = same {
        out.number(TEXTS);
        return same.iter().for_each(|text| texts.put(out, text));
    }
    let same = of_one_kind(deltas, |value| match value {
        Value::Row(row) => Some(*row),
        _ => None,
    });
    if let Some(same) = same {
        out.number(ROWS);
        return same.iter().for_each(|row| rows.put(out, *row));
    }
    out.number(MIXED);
    deltas.iter().for_each(|delta| put_delta(out, &mut texts, rows, delta));
}

fn of_one_kind<'a, T>(
    deltas: &[&'a Delta],
    pick: impl Fn(&'a Value) -> Option<T>,
) -> Option<Vec<T>> {
    let picked = deltas.iter().map(|delta| match delta {
        Delta::Set(value) => pick(value),
        _ => None,
    });
    picked.collect()
}

fn put_ints(out: &mut Writer, ints: &[i64]) {
    let mut plain = Writer::default();
    ints.iter().for_each(|number| plain.signed(*number));
    let mut distances = Writer::default();
    let mut last = 0;
    for number in ints {
        distances.number(apart(number.cast_unsigned(), last));
        last = number.cast_unsigned();
    }
    let (kind, body) = match distances.out.len() < plain.out.len() {
        true => (INTS_APART, distances),
        false => (INTS, plain),
    };
    out.number(kind);
    out.bytes(&body.out);
}

fn put_delta(out: &mut Writer, texts: &mut Texts, rows: &mut Rows, delta: &Delta) {
    match delta {
        Delta::Set(Value::Null) => out.number(SET_NULL),
        Delta::Set(Value::Int(number)) => {
            out.number(SET_INT);
            out.signed(*number);
        }
        Delta::Set(Value::Bool(flag)) => out.number(if *flag { SET_TRUE } else { SET_FALSE }),
        Delta::Set(Value::Text(text)) => put_text(out, texts, SET_TEXT, text),
        Delta::Set(Value::Row(row)) => {
            out.number(SET_ROW);
            rows.put(out, *row);
        }
        Delta::Set(Value::List(entries)) => {
            out.number(SET_LIST);
            put_list(out, texts, entries);
        }
        Delta::Set(Value::Number(text)) => put_text(out, texts, SET_NUMBER, text),
        Delta::Add(number) => {
            out.number(ADD);
            out.signed(*number);
        }
        Delta::Append(entry) => put_text(out, texts, APPEND, entry),
        Delta::Edit { add, remove } => {
            out.number(EDIT);
            put_list(out, texts, add);
            put_list(out, texts, remove);
        }
        Delta::Passed => out.number(PASSED),
    }
}

fn put_text(out: &mut Writer, texts: &mut Texts, tag: u64, text: &str) {
    out.number(tag);
    texts.put(out, text);
}

fn put_list(out: &mut Writer, texts: &mut Texts, entries: &[String]) {
    out.count(entries.len());
    entries.iter().for_each(|entry| texts.put(out, entry));
}

/// Read one column of `count` deltas, whose memory has been charged.
pub(super) fn take(
    from: &mut Reader<'_>,
    rows: &mut Rows,
    count: usize,
) -> Result<Vec<Delta>, BatchError> {
    let kind = from.number()?;
    let mut texts = Texts::default();
    let mut last = 0;
    let deltas = (0..count).map(|_| {
        Ok(Delta::Set(match kind {
            MIXED => return take_delta(from, &mut texts, rows),
            INTS => Value::Int(from.signed()?),
            INTS_APART => {
                last = together(from.number()?, last);
                Value::Int(last.cast_signed())
            }
            TEXTS => Value::Text(texts.take(from)?),
            ROWS => Value::Row(rows.take(from)?),
            _ => return Err(BatchError::Malformed("kind of a value column")),
        }))
    });
    deltas.collect()
}

fn take_delta(
    from: &mut Reader<'_>,
    texts: &mut Texts,
    rows: &mut Rows,
) -> Result<Delta, BatchError> {
    Ok(match from.number()? {
        SET_NULL => Delta::Set(Value::Null),
        SET_INT => Delta::Set(Value::Int(from.signed()?)),
        SET_FALSE => Delta::Set(Value::Bool(false)),
        SET_TRUE => Delta::Set(Value::Bool(true)),
        SET_TEXT => Delta::Set(Value::Text(texts.take(from)?)),
        SET_ROW => Delta::Set(Value::Row(rows.take(from)?)),
        SET_LIST => Delta::Set(Value::List(take_list(from, texts)?)),
        SET_NUMBER => Delta::Set(Value::Number(texts.take(from)?)),
        ADD => Delta::Add(from.signed()?),
        APPEND => Delta::Append(texts.take(from)?),
        EDIT => {
            let add = take_list(from, texts)?;
            let remove = take_list(from, texts)?;
            Delta::Edit { add, remove }
        }
        PASSED => Delta::Passed,
        _ => return Err(BatchError::Malformed("tag of a delta")),
    })
}

fn take_list(from: &mut Reader<'_>, texts: &mut Texts) -> Result<Vec<String>, BatchError> {
    let count = from.many("entries of a list")?;
    from.charge(count * size_of::<String>())?;
    (0..count).map(|_| texts.take(from)).collect()
}
