//! What of a tool's arguments can be said in Cedar, whose types are fewer than JSON Schema's.

use std::collections::BTreeMap;

use prusik_core::agent::Tool;
use prusik_core::grant::ArgumentKind;
use serde_json::{Map, Value, json};

/// How deep a schema is followed.
const DEPTH_MAX: usize = 12;
/// Most attributes that one tool's arguments have in all.
const FIELDS_MAX: usize = 2_000;

/// A type of Cedar's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Long,
    /// A number with up to four places behind the point.
    Decimal,
    String,
    Set(Box<Shape>),
    Record(Record),
}

pub(crate) type Record = BTreeMap<String, Field>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub shape: Shape,
    pub required: bool,
}

/// What a policy cannot look at, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Omitted {
    /// `args.items.price`.
    pub at: String,
    pub why: String,
}

/// Returns the arguments of a tool as Cedar has them, as the model fills them. What the contract calls
/// money is a number, also where it is written as text.
pub(crate) fn arguments(tool: &Tool) -> (Record, Vec<Omitted>) {
    let schema = tool.declaration().input_schema;
    let mut reader = Reader { root: &schema, omitted: Vec::new(), fields: 0 };
    let mut record = match reader.resolved(&schema, 0) {
        Some(schema) => reader.record(schema, "args", 0),
        None => Record::new(),
    };
    for (name, term) in &tool.contract.arguments {
        if let Some(field) = record.get_mut(name)
            && term.kind == ArgumentKind::Money
            && field.shape == Shape::String
        {
            field.shape = Shape::Decimal;
        }
    }
    (record, reader.omitted)
}

struct Reader<'a> {
    root: &'a Value,
    omitted: Vec<Omitted>,
    fields: usize,
}

/// A shape, and whether null may stand in its place.
type Read = Result<(Shape, bool), String>;

impl<'a> Reader<'a> {
    /// Follows references within the schema.
    fn resolved(&self, schema: &'a Value, depth: usize) -> Option<&'a Value> {
        match schema.get("$ref").and_then(Value::as_str) {
            None => Some(schema),
            Some(_) if depth >= DEPTH_MAX => None,
            Some(reference) => {
                let target = self.root.pointer(reference.strip_prefix('#')?)?;
                self.resolved(target, depth + 1)
            }
        }
    }

    fn record(&mut self, schema: &'a Value, at: &str, depth: usize) -> Record {
        let mut record = Record::new();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return record;
        };
        let required = schema.get("required").and_then(Value::as_array);
        let required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|of| of.as_str() == Some(name)))
        };
        for (name, property) in properties {
            let at = format!("{at}.{name}");
            self.fields += 1;
            let read = if self.fields > FIELDS_MAX {
                Err(format!("the tool has more than {FIELDS_MAX} of them"))
            } else {
                self.shape(property, &at, depth + 1)
            };
            match read {
                Ok((shape, nullable)) => {
                    let required = required(name) && !nullable;
                    record.insert(name.clone(), Field { shape, required });
                }
                Err(why) => self.omitted.push(Omitted { at, why }),
            }
        }
        record
    }

    fn shape(&mut self, schema: &'a Value, at: &str, depth: usize) -> Read {
        if depth > DEPTH_MAX {
            return Err(format!("it nests deeper than {DEPTH_MAX} levels"));
        }
        let schema =
            self.resolved(schema, depth).ok_or("its schema refers to what is not there")?;
        let Some(object) = schema.as_object() else {
            return Err("its schema says nothing of its type".to_owned());
        };
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(branches) = object.get(key).and_then(Value::as_array) {
                return self.either(branches, key, at, depth);
            }
        }
        if let Some(values) = values(object) {
            return of_values(&values);
        }
        let (names, nullable) = types(object);
        let shape = match names.as_slice() {
            ["boolean"] => Shape::Bool,
            ["integer"] => Shape::Long,
            ["number"] | ["integer", "number"] | ["number", "integer"] => Shape::Decimal,
            ["string"] => Shape::String,
            ["array"] => {
                let items = object.get("items").ok_or("its schema does not say what is in it")?;
                let (shape, nullable) = self.shape(items, &format!("{at}[]"), depth + 1)?;
                if nullable {
                    return Err("null may stand in it".to_owned());
                }
                Shape::Set(Box::new(shape))
            }
            ["object"] => match self.record(schema, at, depth) {
                record if record.is_empty() => {
                    return Err("its schema does not say what is in it".to_owned());
                }
                record => Shape::Record(record),
            },
            [] => return Err("its schema says nothing of its type".to_owned()),
            several => return Err(format!("it may be {}", several.join(" or "))),
        };
        Ok((shape, nullable))
    }

    /// Reads alternatives that are one type, but for null.
    fn either(&mut self, branches: &'a [Value], key: &str, at: &str, depth: usize) -> Read {
        let mut found: Option<Shape> = None;
        let mut nullable = false;
        for branch in branches {
            if branch.get("type").and_then(Value::as_str) == Some("null") {
                nullable = true;
                continue;
            }
            let (shape, or_null) = self.shape(branch, at, depth + 1)?;
            nullable |= or_null;
            let is_scalar = !matches!(shape, Shape::Record(_) | Shape::Set(_));
            match &found {
                None => found = Some(shape),
                Some(known) if *known == shape && is_scalar => {}
                Some(_) => return Err(format!("it may be one of several things (`{key}`)")),
            }
        }
        found.map(|shape| (shape, nullable)).ok_or_else(|| format!("its `{key}` is empty"))
    }
}

/// Returns the values that a schema lists.
fn values(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    if let Some(only) = schema.get("const") {
        return Some(vec![only]);
    }
    schema.get("enum").and_then(Value::as_array).map(|values| values.iter().collect())
}

fn of_values(values: &[&Value]) -> Read {
    let nullable = values.iter().any(|value| value.is_null());
    let rest: Vec<&&Value> = values.iter().filter(|value| !value.is_null()).collect();
    let all = |is: fn(&Value) -> bool| !rest.is_empty() && rest.iter().all(|value| is(value));
    let shape = if all(Value::is_string) {
        Shape::String
    } else if all(Value::is_boolean) {
        Shape::Bool
    } else if all(|value| value.is_i64() || value.is_u64()) {
        Shape::Long
    } else if all(Value::is_number) {
        Shape::Decimal
    } else {
        return Err("it may be values of several types".to_owned());
    };
    Ok((shape, nullable))
}

/// Returns the types that a schema names, and whether null is one.
fn types(schema: &Map<String, Value>) -> (Vec<&str>, bool) {
    let named: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        None if schema.contains_key("properties") => vec!["object"],
        Some(_) | None => Vec::new(),
    };
    let nullable = named.contains(&"null");
    (named.into_iter().filter(|name| *name != "null").collect(), nullable)
}

impl Shape {
    /// Returns the shape in Cedar's JSON form of schemas.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool => json!({"type": "Boolean"}),
            Self::Long => json!({"type": "Long"}),
            Self::Decimal => json!({"type": "Extension", "name": "decimal"}),
            Self::String => json!({"type": "String"}),
            Self::Set(of) => json!({"type": "Set", "element": of.to_json()}),
            Self::Record(record) => record_to_json(record),
        }
    }
}

pub(crate) fn record_to_json(record: &Record) -> Value {
    let attributes = record.iter().map(|(name, field)| {
        let mut shape = field.shape.to_json();
        shape["required"] = Value::Bool(field.required);
        (name.clone(), shape)
    });
    json!({"type": "Record", "attributes": attributes.collect::<Map<_, _>>()})
}
