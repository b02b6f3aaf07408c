//! The parameters of a tool: every named property of its input schema, however deep it lies.

use serde_json::{Map, Value};

/// Deepest that is looked; a schema that refers to itself has no bottom.
const DEPTH_MAX: usize = 12;
/// Most parameters of one tool that are looked at.
const PARAMS_MAX: usize = 400;
/// Most schemas of one tool that are looked at: one that refers to itself at several places has
/// more ways through it than there is time.
const VISITS_MAX: usize = 20_000;
/// Most choices and references that are followed in a row.
const STEPS_MAX: usize = 40;

/// A named property.
#[derive(Debug, Clone)]
pub(crate) struct Param<'a> {
    pub name: &'a str,
    /// JSON pointer from the input schema's root.
    pub pointer: String,
    /// The schema as it stands at the property: a description beside a `$ref` counts.
    pub schema: &'a Value,
    /// The schema that a local `$ref` leads to; the same as `schema` without one.
    pub target: &'a Value,
    pub required: bool,
    /// All properties of the same object.
    pub siblings: &'a Map<String, Value>,
}

impl<'a> Param<'a> {
    /// Returns a keyword's value, beside the reference or behind it.
    pub fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.schema.get(keyword).or_else(|| self.target.get(keyword))
    }

    pub fn has(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.get(keyword).is_some())
    }

    pub fn description(&self) -> &'a str {
        self.get("description").and_then(Value::as_str).unwrap_or_default().trim()
    }

    /// Returns whether the value may be of that type; alternatives count, too.
    pub fn is(&self, kind: &str) -> bool {
        may_be(self.target, kind)
    }

    pub fn is_number(&self) -> bool {
        self.is("integer") || self.is("number")
    }

    /// Returns the alternatives of a choice, without null; the schema itself where it is none.
    pub fn shapes(&self) -> Vec<&'a Value> {
        let choices = ["anyOf", "oneOf"].iter().find_map(|key| self.target.get(*key)?.as_array());
        match choices {
            Some(choices) => choices.iter().filter(|choice| choice["type"] != "null").collect(),
            None => vec![self.target],
        }
    }
}

fn may_be(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(name) => name == kind,
        Value::Array(names) => names.iter().any(|name| name == kind),
        _ => ["anyOf", "oneOf"]
            .iter()
            .filter_map(|key| schema.get(*key)?.as_array())
            .flatten()
            .any(|choice| choice["type"] == kind),
    }
}

/// Follows a reference inside of the same schema, once.
pub(crate) fn follow<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// Returns the parameters, outer ones first.
pub(crate) fn params(root: &Value) -> Vec<Param<'_>> {
    let mut walk = Walk { root, found: Vec::new(), visits: 0 };
    walk.collect(root, "", 0);
    walk.found
}

/// A way through a schema.
struct Walk<'a> {
    root: &'a Value,
    found: Vec<Param<'a>>,
    visits: usize,
}

impl<'a> Walk<'a> {
    fn collect(&mut self, schema: &'a Value, pointer: &str, depth: usize) {
        self.visits += 1;
        if depth > DEPTH_MAX || self.visits > VISITS_MAX {
            return;
        }
        let schema = follow(self.root, schema);
        if let Some(properties) = schema["properties"].as_object() {
            let required = schema["required"].as_array();
            let is_required = |name: &str| {
                required.is_some_and(|names| names.iter().any(|item| item.as_str() == Some(name)))
            };
            for (name, property) in properties {
                if self.found.len() >= PARAMS_MAX {
                    return;
                }
                let pointer = format!("{pointer}/properties/{}", escaped(name));
                self.found.push(Param {
                    name,
                    pointer: pointer.clone(),
                    schema: property,
                    target: follow(self.root, property),
                    required: is_required(name),
                    siblings: properties,
                });
                self.collect(property, &pointer, depth + 1);
            }
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
                self.collect(inner, &format!("{pointer}/{key}"), depth + 1);
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            for (index, inner) in schema[key].as_array().into_iter().flatten().enumerate() {
                self.collect(inner, &format!("{pointer}/{key}/{index}"), depth + 1);
            }
        }
    }
}

/// Returns a name as a part of a JSON pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Returns how many objects and lists lie within each other; more than [`DEPTH_MAX`] where there
/// is no end.
pub(crate) fn nesting(root: &Value) -> usize {
    nested(root, root, 0, 0, &mut 0)
}

fn nested(root: &Value, schema: &Value, depth: usize, steps: usize, visits: &mut usize) -> usize {
    *visits += 1;
    if depth > DEPTH_MAX || steps > STEPS_MAX || *visits > VISITS_MAX {
        return depth;
    }
    let schema = follow(root, schema);
    let mut deepest = depth;
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::values);
    for inner in properties.chain(schema.get("items")) {
        deepest = deepest.max(nested(root, inner, depth + 1, steps + 1, visits));
        if deepest > DEPTH_MAX {
            return deepest;
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for inner in schema[key].as_array().into_iter().flatten() {
            deepest = deepest.max(nested(root, inner, depth, steps + 1, visits));
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_found_wherever_they_lie() {
        let schema = json!({
            "type": "object",
            "properties": {
                "a/b": {"type": "array", "items": {"properties": {"c": {"type": "string"}}}},
                "d": {"$ref": "#/$defs/D", "description": "Beside."},
                "e": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            },
            "required": ["d"],
            "$defs": {"D": {"type": "object", "properties": {"self": {"$ref": "#/$defs/D"}}}},
        });
        let found = params(&schema);
        let at = |pointer: &str| found.iter().find(|param| param.pointer == pointer).unwrap();
        assert_eq!(at("/properties/a~1b/items/properties/c").name, "c");
        assert!(at("/properties/d").required && at("/properties/d").description() == "Beside.");
        assert!(at("/properties/e").is_number() && !at("/properties/e").is("string"));
        assert!(found.len() > 5 && found.len() < 40, "{}", found.len());
        assert_eq!(nesting(&json!({"properties": {"x": {"items": {}}}})), 2);
        assert!(nesting(&schema) > DEPTH_MAX);
    }
}
