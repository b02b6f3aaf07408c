//! From a tree to typed values by serde, with every mistake reported at its place.
//!
//! Serde stops at the first mistake. So what is wrong is noted, left out, and the rest is read
//! again, until nothing is wrong or what is left cannot be read.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{Place, ProjectError, suggestion};
use super::source::{Entry, Node, Shape, Source};

/// Most mistakes of one file that are looked for.
const MISTAKES_MAX: usize = 40;

/// Reads `source` as a `T`. Mistakes go to `errors`; what is returned leaves them out.
pub(crate) fn read<T: DeserializeOwned>(
    source: &Source,
    errors: &mut Vec<ProjectError>,
) -> Option<T> {
    read_with::<T>(source, errors, Unknown::Refused)
}

/// Reads a file of which other programs read more keys than we do.
pub(crate) fn read_tolerant<T: DeserializeOwned>(
    source: &Source,
    errors: &mut Vec<ProjectError>,
) -> Option<T> {
    read_with::<T>(source, errors, Unknown::Ignored)
}

/// What becomes of keys that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Refused,
    Ignored,
}

fn read_with<T: DeserializeOwned>(
    source: &Source,
    errors: &mut Vec<ProjectError>,
    unknown: Unknown,
) -> Option<T> {
    let notes = RefCell::new(Notes::default());
    for _ in 0..MISTAKES_MAX {
        let reader = Reader { node: &source.root, notes: &notes, unknown };
        let fault = match T::deserialize(reader) {
            Ok(value) => {
                notes.into_inner().report(source, errors);
                return Some(value);
            }
            Err(fault) => fault,
        };
        let mut notes = notes.borrow_mut();
        let follows = matches!(&fault.kind, Kind::Missing(field)
            if notes.left_out_fields.contains(&(fault.node, (*field).to_owned())));
        let place = fault.place.unwrap_or(source.root.place);
        if !follows {
            // What is wrong with a value is told with its key, so that it reads without the file.
            let message = match (&fault.kind, &fault.within) {
                (Kind::Other(message), Some(within)) if !message.contains('`') => {
                    format!("`{}`: {message}", within.key)
                }
                (kind, _) => kind.to_string(),
            };
            notes.mistakes.push((place, message, None));
        }
        match fault.within {
            Some(within) => {
                notes.left_out.insert(within.value);
                notes.left_out_fields.insert((within.map, within.key));
            }
            None => break,
        }
    }
    notes.into_inner().report(source, errors);
    None
}

/// What is wrong so far. Nodes are told apart by where they are in memory: the tree stays put.
#[derive(Default)]
struct Notes {
    mistakes: Vec<(Place, String, Option<String>)>,
    left_out: HashSet<usize>,
    left_out_fields: HashSet<(usize, String)>,
}

impl Notes {
    fn report(self, source: &Source, errors: &mut Vec<ProjectError>) {
        errors.extend(self.mistakes.into_iter().map(|(place, message, help)| ProjectError {
            file: source.file.clone(),
            place: Some(place),
            message,
            help,
        }));
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// What serde found wrong. The place is filled in on the way up, by the innermost node.
#[derive(Debug)]
struct Fault {
    kind: Kind,
    place: Option<Place>,
    /// The innermost node that the fault lies at.
    node: usize,
    /// The innermost entry or item that can be left out.
    within: Option<Within>,
}

#[derive(Debug)]
struct Within {
    map: usize,
    key: String,
    value: usize,
}

#[derive(Debug)]
enum Kind {
    Missing(&'static str),
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "`{field}` is missing"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self { kind, place: None, node: 0, within: None }
    }

    fn at(mut self, node: &Node) -> Self {
        if self.place.is_none() {
            self.place = Some(node.place);
            self.node = address(node);
        }
        self
    }

    fn within(mut self, map: &Node, key: &str, value: &Node) -> Self {
        self.within.get_or_insert_with(|| Within {
            map: address(map),
            key: key.to_owned(),
            value: address(value),
        });
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Other(message.to_string()))
    }

    // What was found is named by its kind only: it may be a secret in the wrong place.
    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Float(value) if value.fract() == 0.0 && value.abs() > 1e15 => {
                "a number that is too large"
            }
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a mapping",
            Unexpected::Unit | Unexpected::Option => "nothing",
            _ => "text",
        };
        Self::custom(format!("expected {}, found {found}", in_words(&expected.to_string())))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Signed(value) if value < 0 => "a negative number",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number out of range",
            Unexpected::Float(_) => "a fraction",
            _ => return Self::invalid_type(found, expected),
        };
        Self::custom(format!("expected {}, found {found}", in_words(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = suggestion(variant, "choices", expected.iter().copied());
        Self::custom(format!("`{variant}` is not a choice here: {hint}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field))
    }
}

/// Says in a user's words what serde calls by Rust's names.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "path string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a mapping",
        other => other,
    }
}

/// Hands one node to serde.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    notes: &'a RefCell<Notes>,
    unknown: Unknown,
}

impl<'a> Reader<'a> {
    fn of(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn is_left_out(self, node: &Node) -> bool {
        self.notes.borrow().left_out.contains(&address(node))
    }

    fn expected(self, what: &str) -> Fault {
        let found = match &self.node.shape {
            Shape::Map(entries) => format!("a mapping of {} keys", entries.len()),
            _ => self.node.kind().to_owned(),
        };
        de::Error::custom(format!("expected {what}, found {found}"))
    }

    /// Returns the entries of a mapping that count: not left out, and something after the colon.
    fn entries(self, entries: &'a [Entry]) -> Vec<&'a Entry> {
        entries
            .iter()
            .filter(|entry| !self.is_left_out(&entry.value))
            .filter(|entry| !matches!(entry.value.shape, Shape::Null))
            .collect()
    }

    fn note_unknown(self, entry: &Entry, fields: &'static [&'static str]) {
        let help = suggestion(&entry.key, "keys here", fields.iter().copied());
        let mut notes = self.notes.borrow_mut();
        notes.left_out.insert(address(&entry.value));
        let message = format!("unknown key `{}`", entry.key);
        notes.mistakes.push((entry.key_place, message, Some(help)));
    }
}

impl<'a> de::Deserializer<'a> for Reader<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = match &self.node.shape {
            Shape::Null => visitor.visit_unit(),
            Shape::Bool(value) => visitor.visit_bool(*value),
            Shape::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Shape::Text(text) => visitor.visit_borrowed_str(text),
            Shape::List(items) => {
                visitor.visit_seq(Items { reader: self, rest: items.iter(), index: 0 })
            }
            Shape::Map(entries) => visitor.visit_map(Entries {
                reader: self,
                rest: self.entries(entries).into_iter(),
                value: None,
            }),
        };
        value.map_err(|fault| fault.at(self.node))
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.shape {
            Shape::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self).map_err(|fault| fault.at(self.node))
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Shape::Map(entries) = &self.node.shape else {
            return Err(self.expected("a mapping").at(self.node));
        };
        for entry in entries {
            let known = fields.contains(&entry.key.as_str()) || self.unknown == Unknown::Ignored;
            if !known && !self.is_left_out(&entry.value) {
                self.note_unknown(entry, fields);
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let choice = match &self.node.shape {
            Shape::Text(name) => Choice { reader: self, name, value: None },
            Shape::Map(entries) if entries.len() == 1 => {
                let Entry { key, value, .. } = &entries[0];
                Choice { reader: self, name: key, value: Some(value) }
            }
            _ => {
                let names = variants.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
                let what = match names.as_slice() {
                    [only] => only.clone(),
                    _ => format!("one of {}", names.join(", ")),
                };
                return Err(self.expected(&what).at(self.node));
            }
        };
        visitor.visit_enum(choice).map_err(|fault| fault.at(self.node))
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    rest: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'a> de::SeqAccess<'a> for Items<'a> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        for item in self.rest.by_ref() {
            self.index += 1;
            if self.reader.is_left_out(item) {
                continue;
            }
            return seed.deserialize(self.reader.of(item)).map(Some).map_err(|fault| {
                fault.at(item).within(self.reader.node, &self.index.to_string(), item)
            });
        }
        Ok(None)
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    rest: std::vec::IntoIter<&'a Entry>,
    value: Option<&'a Entry>,
}

impl<'a> de::MapAccess<'a> for Entries<'a> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(entry);
        let key = de::value::BorrowedStrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|fault: Fault| {
            let fault = Fault { place: Some(entry.key_place), ..fault };
            fault.within(self.reader.node, &entry.key, &entry.value)
        })
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(self.reader.of(&entry.value)).map_err(|fault| {
            // What lacks something is best shown by its key.
            let missing = matches!(fault.kind, Kind::Missing(_)) && fault.within.is_none();
            let fault = fault.at(&entry.value);
            let place = if missing { Some(entry.key_place) } else { fault.place };
            Fault { place, ..fault }.within(self.reader.node, &entry.key, &entry.value)
        })
    }
}

/// A unit variant as a word, or another variant as a mapping with one key.
struct Choice<'a> {
    reader: Reader<'a>,
    name: &'a str,
    value: Option<&'a Node>,
}

impl<'a> de::EnumAccess<'a> for Choice<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name = de::value::BorrowedStrDeserializer::new(self.name);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a> de::VariantAccess<'a> for Choice<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(de::Error::custom(format!("`{}` stands alone", self.name))),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Fault> {
        match self.value {
            Some(value) => seed.deserialize(self.reader.of(value)),
            None => Err(de::Error::custom(format!("`{0}` needs a value: {{ {0}: … }}", self.name))),
        }
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Some(value) => de::Deserializer::deserialize_any(self.reader.of(value), visitor),
            None => self.unit_variant().and_then(|()| visitor.visit_unit()),
        }
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.value {
            Some(value) => {
                de::Deserializer::deserialize_struct(self.reader.of(value), "", fields, visitor)
            }
            None => Err(de::Error::custom(format!("`{0}` needs a value", self.name))),
        }
    }
}
