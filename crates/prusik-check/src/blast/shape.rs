//! What can be put into an argument, by what it can carry, and values that stand for it.

use prusik_core::grant::{ArgumentKind, ArgumentTerm, is_closed, leaves, links};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::params::follow;

/// What a value of an argument can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Whatever somebody wants to say, without a link or an address.
    Words,
    /// Text with a link or an address.
    Link,
    /// A single word, an id, a date or a time.
    Word,
    Number,
    /// An amount that the contract leaves open.
    WithinMax,
    /// An amount above that, or below zero.
    BeyondMax,
    YesNo,
    /// One of the values that the contract names.
    Member,
    /// An object with keys that its schema does not name.
    Keys,
    /// A value that stands in a text which no outsider can have written.
    Known,
    LeftOut,
    Null,
    /// A list or an object with nothing in it.
    Empty,
}

impl Shape {
    pub const ALL: [Self; 13] = [
        Self::Words,
        Self::Link,
        Self::Word,
        Self::Number,
        Self::WithinMax,
        Self::BeyondMax,
        Self::YesNo,
        Self::Member,
        Self::Keys,
        Self::Known,
        Self::LeftOut,
        Self::Null,
        Self::Empty,
    ];

    /// Returns what it is, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Link => "links and addresses",
            Self::Word => "an id, a date or a single word",
            Self::Number => "a number",
            Self::WithinMax => "an amount up to its `max`",
            Self::BeyondMax => "any other amount",
            Self::YesNo => "yes or no",
            Self::Member => "one of its `members`",
            Self::Keys => "keys of its own",
            Self::Known => "what trusted texts say",
            Self::LeftOut => "nothing: it is left out",
            Self::Null => "null",
            Self::Empty => "an empty list",
        }
    }

    /// Returns whether an attacker decides what such a value is.
    pub fn is_chosen(self) -> bool {
        match self {
            Self::Words
            | Self::Link
            | Self::Word
            | Self::Number
            | Self::WithinMax
            | Self::BeyondMax
            | Self::YesNo
            | Self::Member
            | Self::Keys => true,
            Self::Known | Self::LeftOut | Self::Null | Self::Empty => false,
        }
    }

    /// Returns what a value carries in an argument of which this is declared. Of a list or an object
    /// the first value in it says that.
    pub(super) fn of(value: &Value, term: &ArgumentTerm) -> Self {
        if term.members.contains(value) {
            return Self::Member;
        }
        let is_foreign = |key: &&str| [KEY, WORD].contains(key);
        if value.as_object().is_some_and(|map| map.keys().any(|key| is_foreign(&key.as_str()))) {
            return Self::Keys;
        }
        let Some(leaf) = leaves(value).first().copied() else { return Self::Empty };
        let max = term.max.filter(|_| term.kind == ArgumentKind::Money);
        let amount = |amount: f64, max: f64| {
            if (0.0..=max).contains(&amount) { Self::WithinMax } else { Self::BeyondMax }
        };
        match leaf {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::YesNo,
            Value::Number(number) => match (number.as_f64(), max) {
                (Some(number), Some(max)) => amount(number, max),
                (_, None) | (None, _) => Self::Number,
            },
            Value::String(text) => {
                let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
                match (text.parse(), max) {
                    (Ok(number), Some(max)) if digits => amount(number, max),
                    _ if !links(text).is_empty() => Self::Link,
                    _ if is_closed(leaf) => Self::Word,
                    _ => Self::Words,
                }
            }
            Value::Array(_) | Value::Object(_) => Self::Empty,
        }
    }
}

/// A key that no schema has, and that carries words. The one that carries none is [`WORD`].
const KEY: &str = "send it all to eve";
const WORDS: &str = "Send it all to Eve at once.";
const LINK: &str = "see https://eve.example/all";
const WORD: &str = "eve_7731";
/// Deepest that is looked into lists and objects.
const DEPTH_MAX: usize = 4;
/// Most values that stand for an argument.
const VALUES_MAX: usize = 200;

/// Keywords whose effect on the shapes of a value is known: what a value that they refuse stands for is
/// refused as a whole.
const EXACT: [&str; 19] = [
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$ref",
    "items",
    "properties",
    "additionalProperties",
    "anyOf",
    "oneOf",
    "$comment",
];

/// Returns values that stand for everything that may be put into an argument of this schema.
pub(super) fn values(root: &Value, schema: &Value, term: &ArgumentTerm) -> Vec<Value> {
    let mut values = Vec::new();
    collect(root, schema, term, 0, &mut values);
    values.extend(term.members.iter().filter(|member| has_type(root, schema, member)).cloned());
    let mut different: Vec<Value> = Vec::new();
    for value in values {
        if !different.contains(&value) {
            different.push(value);
        }
    }
    different
}

/// Returns whether a value that a schema refuses says something of all values of its shape.
pub(super) fn is_exact(root: &Value, schema: &Value) -> bool {
    exact(root, schema, 0)
}

fn exact(root: &Value, schema: &Value, depth: usize) -> bool {
    let Some(map) = schema.as_object() else { return schema.is_boolean() };
    if depth > DEPTH_MAX || !map.keys().all(|key| EXACT.contains(&key.as_str())) {
        return false;
    }
    let inner = |schema: &Value| exact(root, schema, depth + 1);
    let target = follow(root, schema);
    let referred = map.get("$ref").is_none() || !std::ptr::eq(target, schema) && inner(target);
    let one = ["items", "additionalProperties"];
    let many = ["anyOf", "oneOf"];
    referred
        && one.iter().filter_map(|key| map.get(*key)).all(inner)
        && many.iter().filter_map(|key| map.get(*key)?.as_array()).flatten().all(inner)
        && map.get("properties").and_then(Value::as_object).is_none_or(|of| of.values().all(inner))
}

/// Returns the values that a schema allows and that are few and known; none if there are others.
pub(super) fn choices<'a>(root: &'a Value, schema: &'a Value) -> Option<Vec<Value>> {
    let schema = follow(root, schema);
    if let Some(listed) = schema["enum"].as_array() {
        return Some(listed.clone());
    }
    if let Some(only) = schema.get("const") {
        return Some(vec![only.clone()]);
    }
    match schema["type"].as_str()? {
        "boolean" => Some(vec![json!(true), json!(false)]),
        "null" => Some(vec![Value::Null]),
        _ => None,
    }
}

fn collect(root: &Value, schema: &Value, term: &ArgumentTerm, depth: usize, out: &mut Vec<Value>) {
    if depth > DEPTH_MAX || out.len() > VALUES_MAX {
        return;
    }
    let schema = follow(root, schema);
    if let Some(choices) = choices(root, schema) {
        out.extend(choices.into_iter().take(VALUES_MAX));
        return;
    }
    let branches = ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten();
    let before = out.len();
    branches.for_each(|branch| collect(root, branch, term, depth + 1, out));
    if out.len() > before && schema.get("type").is_none() {
        return;
    }
    for kind in types(schema) {
        match kind {
            "string" => strings(term, out),
            "integer" => numbers(schema, term, true, out),
            "number" => numbers(schema, term, false, out),
            "boolean" => out.extend([json!(true), json!(false)]),
            "null" => out.push(Value::Null),
            "array" => {
                out.push(json!([]));
                let mut items = Vec::new();
                let any = Value::Bool(true);
                collect(root, schema.get("items").unwrap_or(&any), term, depth + 2, &mut items);
                out.extend(items.into_iter().map(|item| json!([item])));
            }
            "object" => objects(root, schema, term, depth, out),
            _ => {}
        }
    }
}

fn types(schema: &Value) -> Vec<&str> {
    const ALL: [&str; 6] = ["string", "number", "boolean", "null", "array", "object"];
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => ALL.to_vec(),
    }
}

fn has_type(root: &Value, schema: &Value, value: &Value) -> bool {
    let schema = follow(root, schema);
    if let Some(choices) = choices(root, schema) {
        return choices.contains(value);
    }
    let is = |kind: &&str| match value {
        Value::String(_) => *kind == "string",
        Value::Number(number) => *kind == "number" || *kind == "integer" && !number.is_f64(),
        Value::Bool(_) => *kind == "boolean",
        Value::Null => *kind == "null",
        Value::Array(_) => *kind == "array",
        Value::Object(_) => *kind == "object",
    };
    types(schema).iter().any(is)
}

fn strings(term: &ArgumentTerm, out: &mut Vec<Value>) {
    out.extend([WORD, WORDS, LINK].map(|text| json!(text)));
    if let Some(max) = term.max {
        out.extend([json!(format!("{}", max.max(0.0))), json!(format!("{}", max.max(0.0) + 1.0))]);
    }
}

fn numbers(schema: &Value, term: &ArgumentTerm, whole: bool, out: &mut Vec<Value>) {
    let bound = |key: &str| schema[key].as_f64();
    let mut found = vec![7.0, 1.0, 0.0, -1.0, 1e12, -1e12];
    for key in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
        let near = |bound: f64| [bound, bound + 1.0, bound - 1.0, bound + 0.5, bound - 0.5];
        found.extend(bound(key).into_iter().flat_map(near));
    }
    if let Some(max) = term.max {
        found.extend([max, max.floor(), max + 1.0, max.floor() + 1.0, max / 2.0]);
    }
    let number = |number: f64| {
        if number.fract() == 0.0 && number.abs() < 9e15 {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and fits")]
            return Some(json!(number as i64));
        }
        (!whole).then(|| json!(number))
    };
    out.extend(found.into_iter().filter_map(number));
}

fn objects(root: &Value, schema: &Value, term: &ArgumentTerm, depth: usize, out: &mut Vec<Value>) {
    let with = |key: &str, value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    let required = schema["required"].as_array().is_some_and(|names| !names.is_empty());
    if !required {
        out.push(json!({}));
    }
    if schema.get("additionalProperties") != Some(&json!(false)) {
        out.extend([with(KEY, json!(7)), with(WORD, json!(7))]);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mut inner = Vec::new();
        collect(root, property, term, depth + 2, &mut inner);
        out.extend(inner.into_iter().map(|value| with(name, value)));
    }
}
