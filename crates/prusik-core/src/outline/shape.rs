//! The outermost shape of a JSON value, read without keeping what is in it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{counted, list, name};

/// Names that are kept of an object: more than an outline has room for.
const KEYS_KEPT: usize = 48;

/// What a value is, two levels deep.
#[derive(Debug)]
pub(super) enum Shape {
    Object(Keys<Inner>),
    Array(Items),
    Scalar(Kind),
}

/// The names of an object's members.
#[derive(Debug)]
pub(super) struct Keys<T> {
    kept: Vec<(String, T)>,
    len: usize,
}

#[derive(Debug)]
pub(super) struct Items {
    len: usize,
    /// What all of them are; none if they are not all the same.
    kind: Option<Kind>,
    /// The keys of the first one that is an object.
    keys: Option<Keys<Nothing>>,
}

/// What a member is, as far as it is told.
#[derive(Debug)]
pub(super) enum Inner {
    Array(usize),
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

/// A value that is not looked at.
#[derive(Debug)]
pub(super) struct Nothing;

impl Shape {
    pub fn of(value: &Value) -> Self {
        Self::deserialize(value).expect("every JSON value has a shape")
    }

    /// Returns the shape of a text that is a JSON object or array.
    pub fn of_text(text: &str) -> Option<Self> {
        if !text.trim_start().starts_with(['{', '[']) {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Object(keys) if keys.len == 0 => "JSON object without keys".to_owned(),
            Self::Object(keys) => format!("JSON object with {}", keys.describe()),
            Self::Array(items) if items.len == 0 => "empty JSON array".to_owned(),
            Self::Array(items) => format!("JSON array of {}", items.describe()),
            Self::Scalar(kind) => format!("JSON {}", kind.word(1)),
        }
    }
}

impl<T: Note> Keys<T> {
    fn describe(&self) -> String {
        let named = |(key, inner): &(String, T)| format!("{}{}", name(key), inner.note());
        let names: Vec<String> = self.kept.iter().map(named).collect();
        let word = if self.len == 1 { "key" } else { "keys" };
        format!("{word} {}", list(&names, self.len))
    }
}

impl Items {
    fn describe(&self) -> String {
        let things = match self.kind {
            Some(kind) => format!("{} {}", self.len, kind.word(self.len)),
            None => counted(self.len, "value", "values"),
        };
        match &self.keys {
            Some(keys) if keys.len > 0 && self.kind.is_some() => {
                format!("{things} with {}", keys.describe())
            }
            Some(keys) if keys.len > 0 => format!("{things}, some with {}", keys.describe()),
            Some(_) | None => things,
        }
    }
}

impl Kind {
    fn word(self, n: usize) -> &'static str {
        match (self, n) {
            (Self::Null, 1) => "null",
            (Self::Null, _) => "nulls",
            (Self::Bool, 1) => "boolean",
            (Self::Bool, _) => "booleans",
            (Self::Number, 1) => "number",
            (Self::Number, _) => "numbers",
            (Self::Text, 1) => "string",
            (Self::Text, _) => "strings",
            (Self::Array, 1) => "array",
            (Self::Array, _) => "arrays",
            (Self::Object, 1) => "object",
            (Self::Object, _) => "objects",
        }
    }
}

/// What is said behind a key.
pub(super) trait Note {
    fn note(&self) -> String;
}

impl Note for Inner {
    fn note(&self) -> String {
        match self {
            Self::Array(len) => format!(" (array of {len})"),
            Self::Other => String::new(),
        }
    }
}

impl Note for Nothing {
    fn note(&self) -> String {
        String::new()
    }
}

/// What is made of each kind of value. A reader of JSON drives it.
trait Read: Sized {
    fn scalar(kind: Kind) -> Self;

    fn array<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut len = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            len += 1;
        }
        Ok(Self::counted(len))
    }

    fn counted(len: usize) -> Self;

    fn object<'de, A: MapAccess<'de>>(mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::scalar(Kind::Object))
    }
}

impl Read for Shape {
    fn scalar(kind: Kind) -> Self {
        Self::Scalar(kind)
    }

    fn counted(len: usize) -> Self {
        Self::Array(Items { len, kind: None, keys: None })
    }

    fn array<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let (mut len, mut kind, mut same, mut keys) = (0, None, true, None);
        loop {
            // The keys of one item are enough.
            let item = match &keys {
                None => items.next_element::<Item>()?,
                Some(_) => items.next_element::<Kind>()?.map(Item::scalar),
            };
            let Some(item) = item else { break };
            len += 1;
            same &= kind.is_none_or(|kind| kind == item.kind);
            kind = Some(item.kind);
            keys = keys.or(item.keys);
        }
        Ok(Self::Array(Items { len, kind: kind.filter(|_| same), keys }))
    }

    fn object<'de, A: MapAccess<'de>>(members: A) -> Result<Self, A::Error> {
        keys_of(members).map(Self::Object)
    }
}

/// A value within an array.
struct Item {
    kind: Kind,
    keys: Option<Keys<Nothing>>,
}

impl Read for Item {
    fn scalar(kind: Kind) -> Self {
        Self { kind, keys: None }
    }

    fn counted(_len: usize) -> Self {
        Self::scalar(Kind::Array)
    }

    fn object<'de, A: MapAccess<'de>>(members: A) -> Result<Self, A::Error> {
        Ok(Self { kind: Kind::Object, keys: Some(keys_of(members)?) })
    }
}

impl Read for Kind {
    fn scalar(kind: Kind) -> Self {
        kind
    }

    fn counted(_len: usize) -> Self {
        Self::Array
    }
}

impl Read for Inner {
    fn scalar(_kind: Kind) -> Self {
        Self::Other
    }

    fn counted(len: usize) -> Self {
        Self::Array(len)
    }
}

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

fn keys_of<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    mut members: A,
) -> Result<Keys<T>, A::Error> {
    let (mut kept, mut len) = (Vec::new(), 0);
    loop {
        if kept.len() < KEYS_KEPT {
            let Some(member) = members.next_entry::<String, T>()? else { break };
            kept.push(member);
        } else if members.next_entry::<IgnoredAny, IgnoredAny>()?.is_none() {
            break;
        }
        len += 1;
    }
    Ok(Keys { kept, len })
}

struct Reader<T>(std::marker::PhantomData<T>);

impl<'de, T: Read> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::scalar(Kind::Null))
    }

    fn visit_bool<E>(self, _value: bool) -> Result<T, E> {
        Ok(T::scalar(Kind::Bool))
    }

    fn visit_i64<E>(self, _value: i64) -> Result<T, E> {
        Ok(T::scalar(Kind::Number))
    }

    fn visit_u64<E>(self, _value: u64) -> Result<T, E> {
        Ok(T::scalar(Kind::Number))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<T, E> {
        Ok(T::scalar(Kind::Number))
    }

    fn visit_str<E>(self, _value: &str) -> Result<T, E> {
        Ok(T::scalar(Kind::Text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::array(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::object(members)
    }
}

macro_rules! deserialize_by_reading {
    ($($name:ident),*) => {
        $(impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader(std::marker::PhantomData))
            }
        })*
    };
}

deserialize_by_reading!(Shape, Item, Kind, Inner);
