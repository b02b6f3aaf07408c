//! Reading a file of the project into a tree whose every node knows its place.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::error::{Place, ProjectError};

/// Largest file of a project that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Deepest nesting of a YAML or JSON file. Each level takes stack; half again as many still fit
/// into the 2 MiB of a thread in a build without optimization.
const DEPTH_MAX: usize = 32;
/// Most nodes of a file, those that aliases repeat included.
const NODES_MAX: usize = 20_000;

/// A file of the project as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// As people are told of it: relative to the project's folder.
    pub file: PathBuf,
    pub root: Node,
}

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub shape: Shape,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

impl Source {
    /// Parses YAML. `first_line` is the line of the file on which `text` begins. None if it cannot
    /// be read at all; a key that is set twice is reported and counts as it was set first.
    pub fn yaml(
        file: PathBuf,
        text: &str,
        first_line: u32,
        errors: &mut Vec<ProjectError>,
    ) -> Option<Self> {
        let root = match parse(text) {
            Ok(Some(mut root)) => {
                root.shift(first_line.saturating_sub(1));
                root
            }
            // An empty file is an empty mapping: all that is missing is named later.
            Ok(None) => {
                Node { place: Place { line: first_line, column: 1 }, shape: Shape::Map(Vec::new()) }
            }
            Err((place, message)) => {
                let line = place.line.saturating_add(first_line.saturating_sub(1));
                let place = Some(Place { line, ..place });
                errors.push(ProjectError { place, ..ProjectError::of_file(file, message) });
                return None;
            }
        };
        let mut source = Self { file, root };
        remove_duplicates(&mut source.root, &mut |place, message| {
            let place = Some(place);
            errors.push(ProjectError { place, ..ProjectError::of_file(&source.file, message) });
        });
        Some(source)
    }

    /// Parses JSON. JSON is read as such first, so that YAML's liberties are not taken.
    pub fn json(file: PathBuf, text: &str, errors: &mut Vec<ProjectError>) -> Option<Self> {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                let place = Place {
                    line: u32::try_from(error.line()).unwrap_or(u32::MAX),
                    column: u32::try_from(error.column()).unwrap_or(u32::MAX).max(1),
                };
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or(&text);
                let message = format!("not JSON: {text}");
                let place = Some(place);
                errors.push(ProjectError { place, ..ProjectError::of_file(file, message) });
                return None;
            }
        };
        if depth(&value) > DEPTH_MAX {
            let message = format!("is nested more than {DEPTH_MAX} levels deep");
            errors.push(ProjectError::of_file(file, message));
            return None;
        }
        match parse(text) {
            Ok(Some(root)) => Some(Self { file, root }),
            // What JSON allows and YAML does not has no places, but it still counts.
            Ok(None) | Err(_) => Some(Self { file, root: Node::from_value(value) }),
        }
    }

    /// Returns an error at the deepest node on `path` that exists.
    pub fn error(&self, path: &[&str], message: impl Into<String>) -> ProjectError {
        ProjectError {
            file: self.file.clone(),
            place: Some(self.root.locate(path)),
            message: message.into(),
            help: None,
        }
    }
}

impl Node {
    /// Returns the place of the value at `path`, or of the deepest value on the way that exists.
    pub fn locate(&self, path: &[&str]) -> Place {
        let Some((first, rest)) = path.split_first() else { return self.place };
        match &self.shape {
            Shape::Map(entries) => match entries.iter().find(|entry| entry.key == *first) {
                // A mapping is best shown by its key, a scalar by itself.
                Some(entry) if rest.is_empty() && entry.value.is_block() => entry.key_place,
                Some(entry) => match &entry.value.shape {
                    Shape::Map(_) | Shape::List(_) if !entry.value.has(rest) => entry.key_place,
                    _ => entry.value.locate(rest),
                },
                None => self.place,
            },
            Shape::List(items) => {
                match first.parse::<usize>().ok().and_then(|index| items.get(index)) {
                    Some(item) => item.locate(rest),
                    None => self.place,
                }
            }
            Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::Text(_) => self.place,
        }
    }

    fn has(&self, path: &[&str]) -> bool {
        let Some(first) = path.first() else { return true };
        match &self.shape {
            Shape::Map(entries) => entries.iter().any(|entry| entry.key == *first),
            Shape::List(items) => first.parse::<usize>().is_ok_and(|index| index < items.len()),
            Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::Text(_) => false,
        }
    }

    fn is_block(&self) -> bool {
        matches!(self.shape, Shape::Map(_) | Shape::List(_))
    }

    /// Returns what the node is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.shape {
            Shape::Null => "nothing",
            Shape::Bool(_) => "true or false",
            Shape::Number(_) => "a number",
            Shape::Text(_) => "text",
            Shape::List(_) => "a list",
            Shape::Map(_) => "a mapping",
        }
    }

    fn from_value(value: Value) -> Self {
        let shape = match value {
            Value::Null => Shape::Null,
            Value::Bool(value) => Shape::Bool(value),
            Value::Number(value) => Shape::Number(value),
            Value::String(value) => Shape::Text(value),
            Value::Array(items) => Shape::List(items.into_iter().map(Self::from_value).collect()),
            Value::Object(map) => Shape::Map(
                map.into_iter()
                    .map(|(key, value)| Entry {
                        key,
                        key_place: Place { line: 1, column: 1 },
                        value: Self::from_value(value),
                    })
                    .collect(),
            ),
        };
        Self { place: Place { line: 1, column: 1 }, shape }
    }

    pub fn to_value(&self) -> Value {
        match &self.shape {
            Shape::Null => Value::Null,
            Shape::Bool(value) => Value::Bool(*value),
            Shape::Number(value) => Value::Number(value.clone()),
            Shape::Text(value) => Value::String(value.clone()),
            Shape::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Shape::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    fn shift(&mut self, lines: u32) {
        if lines == 0 {
            return;
        }
        self.place.line = self.place.line.saturating_add(lines);
        match &mut self.shape {
            Shape::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Shape::Map(entries) => {
                for entry in entries {
                    entry.key_place.line = entry.key_place.line.saturating_add(lines);
                    entry.value.shift(lines);
                }
            }
            Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::Text(_) => {}
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn remove_duplicates(node: &mut Node, report: &mut dyn FnMut(Place, String)) {
    match &mut node.shape {
        Shape::List(items) => items.iter_mut().for_each(|item| remove_duplicates(item, report)),
        Shape::Map(entries) => {
            let mut seen: HashMap<String, Place> = HashMap::new();
            entries.retain(|entry| match seen.get(&entry.key) {
                None => {
                    seen.insert(entry.key.clone(), entry.key_place);
                    true
                }
                Some(first) => {
                    let message =
                        format!("`{}` is set twice; first on line {}", entry.key, first.line);
                    report(entry.key_place, message);
                    false
                }
            });
            for entry in entries {
                remove_duplicates(&mut entry.value, report);
            }
        }
        Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::Text(_) => {}
    }
}

/// Reads a file of the project as text, within [`FILE_BYTES_MAX`]. `shown` is its name for people.
pub(crate) fn read_text(path: &Path, shown: &Path) -> Result<String, ProjectError> {
    let fail = |message: String| ProjectError::of_file(shown, message);
    let metadata =
        std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    if !metadata.is_file() {
        // A pipe or a device would be waited for without end.
        return Err(fail("cannot be read: it is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| fail(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fail(format!("is larger than the {FILE_BYTES_MAX} bytes that are read")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let lines = good.split(|byte| *byte == b'\n').count() - 1;
        let column =
            good.len() - good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        ProjectError {
            place: Some(Place {
                line: u32::try_from(lines + 1).unwrap_or(u32::MAX),
                column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            }),
            ..fail("is not UTF-8 text".to_owned())
        }
        .with_help("save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn parse(text: &str) -> Result<Option<Node>, (Place, String)> {
    let blank = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#')
    });
    if blank {
        return Ok(None);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            max_documents: 1,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 1_000,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Spanned<Shape>>(text, options)
        .map(|root| Some(Node::from(root)))
        .map_err(|error| {
            let place = error.location().map_or(Place { line: 1, column: 1 }, place);
            (place, syntax_message(&error.without_snippet().to_string()))
        })
}

/// Drops the parser's own mention of the place: the error shows it in front.
fn syntax_message(text: &str) -> String {
    let first = text.lines().next().unwrap_or(text);
    let end = first.find(" at line ").unwrap_or(first.len());
    let start = first.strip_prefix("error: ").map_or(0, |_| "error: ".len()).min(end);
    format!("not YAML: {}", first[start..end].trim_end_matches(':'))
}

fn place(location: serde_saphyr::Location) -> Place {
    Place {
        line: u32::try_from(location.line()).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX).max(1),
    }
}

impl From<Spanned<Shape>> for Node {
    fn from(spanned: Spanned<Shape>) -> Self {
        Self { place: place(spanned.referenced), shape: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Number(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Shape, E> {
        Err(E::custom(format!("the number {value} is too large")))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Shape, E> {
        Err(E::custom(format!("the number {value} is too large")))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Shape, E> {
        Number::from_f64(value)
            .map(Shape::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Shape, E> {
        Ok(Shape::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Shape>>()? {
            items.push(item.into());
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Shape>>()? {
            let key_place = place(key.referenced);
            let key = match key.value {
                Shape::Text(text) => text,
                Shape::Number(number) => number.to_string(),
                Shape::Bool(value) => value.to_string(),
                Shape::Null | Shape::List(_) | Shape::Map(_) => {
                    let Place { line, .. } = key_place;
                    return Err(A::Error::custom(format!("a key on line {line} is not text")));
                }
            };
            let value = map.next_value::<Spanned<Shape>>()?.into();
            entries.push(Entry { key, key_place, value });
        }
        Ok(Shape::Map(entries))
    }
}
