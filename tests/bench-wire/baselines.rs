//! What others would send: JSON, MessagePack, and the SQLite session extension's
//! patchset, each packed by zstd at its strongest.
use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value as Json;
use wadi_protocol::change::Op;

use crate::records::Record;

/// The strongest of the usual levels.
const LEVEL: i32 = 19;

/// Packed, alone: a message carries no dictionary.
pub fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(zstd::bulk::compress(bytes, LEVEL)?)
}

/// The whole row after each change, as JSON.
pub fn json(records: &[Record]) -> Vec<u8> {
    let whole: Vec<String> = records.iter().map(Record::whole).collect();
    format!(r#"{{"site":"village-7","changes":[{}]}}"#, whole.join(",")).into_bytes()
}

/// The changed fields by name, the id of the row as 16 bytes.
pub fn message_pack(records: &[Record]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    rmp::encode::write_array_len(&mut out, records.len() as u32)?;
    for record in records {
        rmp::encode::write_array_len(&mut out, 6)?;
        rmp::encode::write_str(&mut out, record.word())?;
        rmp::encode::write_str(&mut out, &record.table)?;
        rmp::encode::write_bin(&mut out, &id(&record.id).unwrap_or_default())?;
        rmp::encode::write_uint(&mut out, record.ts_ms)?;
        rmp::encode::write_str(&mut out, &record.device)?;
        rmp::encode::write_map_len(&mut out, record.fields.len() as u32)?;
        for (name, value) in &record.fields {
            rmp::encode::write_str(&mut out, name)?;
            out.extend(rmp_serde::to_vec(value)?);
        }
    }
    Ok(out)
}

/// The 16 bytes of a UUID.
fn id(text: &str) -> Option<[u8; 16]> {
    let row: wadi_protocol::id::RowId = text.parse().ok().filter(|_| text.len() == 36)?;
    Some(row.0)
}

/// The patchset that the session extension of SQLite would write, byte for byte as
/// <https://www.sqlite.org/session/c_changeset.html> says: written here, since the
/// extension would have to be compiled into the SQLite of the whole workspace.
///
/// Changes of one row are one, as in a session; ids are text, and lead each row. It
/// carries neither devices nor times.
pub fn patchset(records: &[Record]) -> Vec<u8> {
    let mut tables: BTreeMap<&str, Vec<Net<'_>>> = BTreeMap::new();
    for record in records {
        let nets = tables.entry(&record.table).or_default();
        match nets.iter_mut().find(|net| net.last.id == record.id) {
            Some(net) => net.then(record),
            None => nets.push(Net::of(record)),
        }
    }
    let mut out = Vec::new();
    for (table, nets) in tables {
        let width = nets.iter().map(|net| net.width()).max().unwrap_or(0);
        out.push(b'P');
        varint(&mut out, width as u64 + 1);
        out.push(1);
        out.extend(std::iter::repeat_n(0, width));
        out.extend(table.as_bytes());
        out.push(0);
        for net in nets {
            net.write(&mut out);
        }
    }
    out
}

const INSERT: u8 = 18;
const UPDATE: u8 = 23;
const DELETE: u8 = 9;

/// What became of one row.
struct Net<'a> {
    op: u8,
    last: &'a Record,
    /// Names of fields that were changed.
    touched: Vec<&'a str>,
}

impl<'a> Net<'a> {
    fn of(record: &'a Record) -> Net<'a> {
        let op = match record.op {
            Op::Insert => INSERT,
            Op::Update => UPDATE,
            _ => DELETE,
        };
        let touched = record.fields.iter().map(|(name, _)| name.as_str()).collect();
        Net { op, last: record, touched }
    }

    fn then(&mut self, record: &'a Record) {
        let next = Net::of(record);
        self.last = record;
        if next.op == DELETE {
            self.op = DELETE;
        }
        self.touched.extend(next.touched);
    }

    fn width(&self) -> usize {
        self.last.row.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.op, 0]);
        text(out, &self.last.id);
        for (name, field) in &self.last.row {
            match self.op {
                UPDATE if !self.touched.contains(&name.as_str()) => out.push(0),
                _ => value(out, field),
            }
        }
    }
}

fn value(out: &mut Vec<u8>, field: &Json) {
    match field {
        Json::Null => out.push(5),
        Json::Bool(flag) => integer(out, i64::from(*flag)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => integer(out, number),
            None => {
                out.push(2);
                out.extend(number.as_f64().unwrap_or_default().to_be_bytes());
            }
        },
        Json::String(field) => text(out, field),
        other => text(out, &other.to_string()),
    }
}

fn integer(out: &mut Vec<u8>, number: i64) {
    out.push(1);
    out.extend(number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(3);
    varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// SQLite's own: seven bits a byte, the greatest first.
fn varint(out: &mut Vec<u8>, number: u64) {
    let groups = (64 - number.leading_zeros()).div_ceil(7).max(1);
    for at in (0..groups).rev() {
        let more = if at > 0 { 0x80 } else { 0 };
        out.push((number >> (7 * at)) as u8 & 0x7f | more);
    }
}
