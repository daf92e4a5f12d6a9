//! How the protocol's types lie in SQLite's columns.
//!
//! 64-bit ids become signed integers bit by bit, row ids 16 bytes, everything
//! composed postcard. A column that does not read back is a broken store: the
//! process stops rather than guess.
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};

use super::StoreError;

/// A row of a table: what references point to and the log speaks of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RowKey {
    /// The table's number.
    pub table: u16,
    /// The row.
    pub row: RowId,
}

/// An unsigned 64-bit number in a signed column, bit by bit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Bits(pub u64);

impl ToSql for Bits {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.cast_signed()))
    }
}

impl FromSql for Bits {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Bits> {
        Ok(Bits(value.as_i64()?.cast_unsigned()))
    }
}

/// A row id in a BLOB column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Id(pub RowId);

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.0.as_slice()))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Id> {
        let bytes = value.as_blob()?;
        let bytes = bytes.try_into().map_err(|_| FromSqlError::InvalidBlobSize {
            expected_size: 16,
            blob_size: bytes.len(),
        })?;
        Ok(Id(RowId(bytes)))
    }
}

/// Postcard of anything.
pub(super) fn pack<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our own types always encode")
}

/// How many bytes [`pack`] gives.
pub(super) fn packed_len<T: Serialize + ?Sized>(value: &T) -> usize {
    postcard::serialize_with_flavor(value, postcard::ser_flavors::Size::default())
        .expect("our own types always encode")
}

/// The inverse of [`pack`]; `what` names the column for the error.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Broken(format!("{what} does not decode")))
}

/// The three columns of a dot from column `at` on.
pub(super) fn dot_at(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Dot> {
    let Bits(device) = row.get(at)?;
    let Bits(run) = row.get(at + 1)?;
    let Bits(seq) = row.get(at + 2)?;
    Ok(Dot { device: DeviceId(device), run: RunId(run), seq })
}

/// A row key from column `at` on.
pub(super) fn key_at(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<RowKey> {
    let Id(id) = row.get(at + 1)?;
    Ok(RowKey { table: row.get(at)?, row: id })
}

/// An unsigned number that SQLite keeps as it is (sequences, seconds).
pub(super) fn number_at(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, Bits>(at).map(|Bits(number)| number)
}
