//! Decoding hostile bytes within a budget of memory.
//!
//! A sequence makes much of few bytes: an empty text takes one byte on the wire
//! and 24 in memory. So every element of every sequence is charged with its size
//! in memory before it is made; what texts hold is no longer than the bytes they
//! came in. A growing sequence may take up to three times what it is charged.
//!
//! This wraps postcard's deserializer and knows nothing of what is decoded.
use core::cell::Cell;
use core::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, SeqAccess, VariantAccess, Visitor,
};

/// Bytes that were not decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// They are not what they should be, or more.
    Malformed,
    /// What they say would take more memory than allowed.
    Memory,
}

/// Decode all of `bytes`, its sequences taking `memory_bytes_max` bytes at most.
pub(crate) fn decode<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    memory_bytes_max: usize,
) -> Result<T, Fault> {
    match take(bytes, memory_bytes_max)? {
        (value, []) => Ok(value),
        _ => Err(Fault::Malformed),
    }
}

/// Decode what `bytes` begin with, and give the rest of them.
pub(crate) fn take<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    memory_bytes_max: usize,
) -> Result<(T, &'de [u8]), Fault> {
    let purse = Purse(Cell::new(Some(memory_bytes_max)));
    let mut from = postcard::Deserializer::from_bytes(bytes);
    let decoded = T::deserialize(Charged { inner: &mut from, purse: &purse });
    match (decoded, from.finalize()) {
        (Ok(value), Ok(rest)) => Ok((value, rest)),
        _ if purse.0.get().is_none() => Err(Fault::Memory),
        _ => Err(Fault::Malformed),
    }
}

/// What is left; none once it did not suffice.
struct Purse(Cell<Option<usize>>);

impl Purse {
    fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(bytes)));
        self.0.get().map(drop).ok_or_else(|| E::custom("out of memory"))
    }
}

/// A deserializer or a variant whose sequences are charged.
struct Charged<'a, X> {
    inner: X,
    purse: &'a Purse,
}

macro_rules! plain {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$name(visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Charged<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Inside::new(visitor, self.purse))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, Inside::new(visitor, self.purse))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let inside = Inside { grows: true, ..Inside::new(visitor, self.purse) };
        self.inner.deserialize_seq(inside)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple(len, Inside::new(visitor, self.purse))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple_struct(name, len, Inside::new(visitor, self.purse))
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(D::Error::custom("no format of ours has maps"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, Inside::new(visitor, self.purse))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, Inside::new(visitor, self.purse))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Charged<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(Charged { inner: seed, purse: self.purse })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Inside::new(visitor, self.purse))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Inside::new(visitor, self.purse))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Charged<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Charged { inner: from, purse: self.purse })
    }
}

/// What looks into something composed; `grows` where it is a sequence of any length.
struct Inside<'a, X> {
    inner: X,
    purse: &'a Purse,
    grows: bool,
}

impl<'a, X> Inside<'a, X> {
    fn new(inner: X, purse: &'a Purse) -> Inside<'a, X> {
        Inside { inner, purse, grows: false }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Charged { inner: from, purse: self.purse })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Charged { inner: from, purse: self.purse })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        let elements = Inside { inner: from, purse: self.purse, grows: self.grows };
        self.inner.visit_seq(elements)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Charged { inner: from, purse: self.purse })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        if self.grows && self.inner.size_hint() != Some(0) {
            self.purse.charge(size_of::<T::Value>())?;
        }
        self.inner.next_element_seed(Charged { inner: seed, purse: self.purse })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Charged<'a, A> {
    type Error = A::Error;
    type Variant = Charged<'a, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Charged { inner: variant, purse: self.purse }))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// What takes memory, in all the ways that our formats have.
    type Nest = Option<Vec<(u16, Result<Vec<String>, [u8; 2]>)>>;

    fn nest() -> Nest {
        Some(vec![(1, Ok(vec!["a".into(), String::new()])), (2, Err([3, 4])), (3, Ok(vec![]))])
    }

    #[test]
    fn what_fits_the_budget_comes_back_as_it_was() {
        let bytes = postcard::to_allocvec(&nest()).unwrap();
        let element = size_of::<(u16, Result<Vec<String>, [u8; 2]>)>();
        let takes = 3 * element + 2 * size_of::<String>();
        assert_eq!(decode::<Nest>(&bytes, takes), Ok(nest()));
        assert_eq!(decode::<Nest>(&bytes, takes - 1), Err(Fault::Memory));
    }

    #[test]
    fn torn_bytes_and_bytes_left_over_are_malformed() {
        let mut bytes = postcard::to_allocvec(&nest()).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode::<Nest>(&bytes[..end], 1000), Err(Fault::Malformed));
        }
        bytes.push(0);
        assert_eq!(decode::<Nest>(&bytes, 1000), Err(Fault::Malformed));
    }

    #[test]
    fn few_bytes_that_say_much_stop_at_the_budget() {
        let empty = vec![String::new(); 10_000];
        let bytes = postcard::to_allocvec(&empty).unwrap();
        assert_eq!(bytes.len(), 10_002);
        assert_eq!(decode::<Vec<String>>(&bytes, 100_000), Err(Fault::Memory));
    }
}
