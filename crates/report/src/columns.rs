//! The columns of a row type, found by running its `Deserialize` on placeholders.
//!
//! A derived `Deserialize` asks for each field by name and then for a value of its type; which question
//! it asks is the kind of the column. The row that comes out is thrown away.

use serde::de::value::{Error as Reason, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use crate::{Column, Kind};

/// The columns of `T`, or why it is no row.
pub(crate) fn of<T: DeserializeOwned>() -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    T::deserialize(Fields { columns: &mut columns, names: &[] }).map_err(|it| it.to_string())?;
    Ok(columns)
}

/// Stands for a row, and then for its fields: those in `names` are still to come.
struct Fields<'a> {
    columns: &'a mut Vec<Column>,
    names: &'static [&'static str],
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Reason;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        visitor.visit_map(Self { names, ..self })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Reason> {
        Err(Reason::custom("it is not a struct of named fields"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Reason;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Reason> {
        let Some(&name) = self.names.first() else { return Ok(None) };
        let name: StrDeserializer<Reason> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Reason> {
        let [name, rest @ ..] = self.names else { unreachable!("asked for after its key") };
        self.names = rest;
        let mut kind = None;
        let value = seed.deserialize(Placeholder { kind: &mut kind });
        let kind = kind.ok_or_else(|| {
            Reason::custom(format!("field `{name}` is no text, number or boolean"))
        })?;
        let value = value.map_err(|it| Reason::custom(format!("field `{name}`: {it}")))?;
        self.columns.push(Column { name: (*name).to_owned(), kind });
        Ok(value)
    }
}

/// Stands for the value of a field, and notes what it is asked for.
struct Placeholder<'a> {
    kind: &'a mut Option<Kind>,
}

macro_rules! placeholders {
    ($($method:ident => $kind:ident, $visit:ident($value:expr);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
            *self.kind = Some(Kind::$kind);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Placeholder<'_> {
    type Error = Reason;

    placeholders! {
        deserialize_bool => Boolean, visit_bool(false);
        deserialize_i8 => Integer, visit_i8(1);
        deserialize_i16 => Integer, visit_i16(1);
        deserialize_i32 => Integer, visit_i32(1);
        deserialize_i64 => Integer, visit_i64(1);
        deserialize_u8 => Integer, visit_u8(1);
        deserialize_u16 => Integer, visit_u16(1);
        deserialize_u32 => Integer, visit_u32(1);
        deserialize_u64 => Integer, visit_u64(1);
        deserialize_f32 => Float, visit_f32(1.0);
        deserialize_f64 => Float, visit_f64(1.0);
        deserialize_char => Text, visit_char('-');
        deserialize_str => Text, visit_str("");
        deserialize_string => Text, visit_str("");
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Reason> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        *self.kind = Some(Kind::Text);
        let first = variants.first().copied().unwrap_or_default();
        let first: StrDeserializer<Reason> = first.into_deserializer();
        visitor.visit_enum(first)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Reason> {
        Err(Reason::custom("it is no text, number or boolean"))
    }

    forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
