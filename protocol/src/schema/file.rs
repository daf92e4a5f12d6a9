//! The schema file that people write, in TOML.
//!
//! ```toml
//! name = "field-survey"
//! [tables.nest]
//! delete = "review"
//! [tables.nest.fields]
//! species = { type = "enum", values = ["Adelie", "Gentoo"], required = true }
//! mass = { type = "decimal", scale = 1, min = 0, max = 99.5, unit = "kg" }
//! ```
//! Only the shape of the file is known here, in the order in which it was
//! written; [`SchemaFile::number`] checks what it says. Any serde format will
//! do: the crate itself reads no TOML.
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{DeletePolicy, History, Lane, Merge, Mode, OnDelete, Schema, Scope};

/// A schema file as written: names, nothing checked.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaFile {
    /// The schema's name.
    pub name: String,
    /// Tables by name, in the file's order.
    #[serde(deserialize_with = "in_order")]
    pub tables: Vec<(String, TableFile)>,
}

/// A table as written.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableFile {
    /// `field` or `record`.
    pub mode: Mode,
    /// `delete-wins`, `update-wins` or `review`.
    pub delete: DeletePolicy,
    /// `global`, `site` or `upload`.
    pub scope: Scope,
    /// With scope `site`: the field that names the site.
    pub site: Option<String>,
    /// `urgent` or `routine`.
    pub lane: Lane,
    /// `full` or `latest`.
    pub history: History,
    /// Days that superseded values stay queryable.
    pub retention: Option<u32>,
    /// Fields by name, in the file's order.
    #[serde(deserialize_with = "in_order")]
    pub fields: Vec<(String, FieldFile)>,
}

/// A field as written.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldFile {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: KindName,
    /// `decimal`: digits behind the point.
    pub scale: Option<u8>,
    /// `enum`, `set`: the codes.
    pub values: Option<Vec<String>>,
    /// `enum`, `set`: codes that were among them. Rows keep them, and what was written under
    /// an older version may carry them.
    #[serde(default)]
    pub retired: Vec<String>,
    /// `reference`: the table's name.
    pub table: Option<String>,
    /// `reference`: what becomes of this row when that one is deleted (`restrict` unless said).
    pub on_delete: Option<OnDelete>,
    /// Strategy (`last-write` unless said).
    #[serde(default)]
    pub merge: Merge,
    /// Whether an insert must carry a value.
    #[serde(default)]
    pub required: bool,
    /// Least value.
    pub min: Option<Bound>,
    /// Greatest value.
    pub max: Option<Bound>,
    /// Whether twins open a review.
    #[serde(default)]
    pub unique: bool,
    /// For people.
    pub label: Option<String>,
    /// For people.
    pub unit: Option<String>,
}

/// The types, by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// 64-bit.
    Integer,
    /// With a fixed scale.
    Decimal,
    /// UTF-8.
    Text,
    /// True or false.
    Boolean,
    /// ISO 8601.
    Date,
    /// ISO 8601.
    Timestamp,
    /// One of its codes.
    Enum,
    /// Any of its codes.
    Set,
    /// A row of a table.
    Reference,
}

/// A limit in decimal notation: a number of the file, or a text where the
/// format's own numbers are not exact enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound(pub String);

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Bound, D::Error> {
        from.deserialize_any(BoundVisitor)
    }
}

struct BoundVisitor;

impl Visitor<'_> for BoundVisitor {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a number as text")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Bound, E> {
        Ok(Bound(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Bound, E> {
        Ok(Bound(number.to_string()))
    }

    /// The shortest digits that give this float again are the digits that were written.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Bound, E> {
        Ok(Bound(number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bound, E> {
        Ok(Bound(text.to_string()))
    }
}

/// A map as pairs in the order of the file: numbers are given in that order.
fn in_order<'de, D, T>(from: D) -> Result<Vec<(String, T)>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_map(InOrder(PhantomData))
}

struct InOrder<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

impl SchemaFile {
    /// Number the tables and fields, resolve references, check everything.
    ///
    /// A name that `previous` knows keeps its number; new ones count on, and a
    /// number is never given twice. Codes keep their order too. The version is
    /// one more than the previous one's, or the same if nothing differs.
    ///
    /// # Errors
    /// All problems, in words: where (`table.field`), what, and what to do.
    pub fn number(&self, previous: Option<&Schema>) -> Result<Schema, Vec<String>> {
        super::number::number(self, previous)
    }

    /// The codes that the file names as retired, of a field by its names.
    pub fn retired(&self, table: &str, field: &str) -> &[String] {
        let table = self.tables.iter().find(|(name, _)| name == table);
        let field =
            table.and_then(|(_, table)| table.fields.iter().find(|(name, _)| name == field));
        field.map_or(&[], |(_, field)| &field.retired)
    }
}
