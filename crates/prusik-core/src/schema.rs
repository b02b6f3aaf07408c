//! JSON Schema 2020-12: arguments, results and final answers are checked against it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json;

/// Where and why a value does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON pointer into the value; empty for the whole of it.
    pub at: String,
    /// JSON pointer into the schema.
    pub schema_at: String,
    pub problem: String,
}

/// Most mismatches that are reported at once.
const MISMATCHES_MAX: usize = 8;
/// Longest description of one mismatch, in bytes.
const PROBLEM_BYTES_MAX: usize = 300;

/// A schema that was read once and can check many values.
#[derive(Debug)]
pub struct Schema(Result<jsonschema::Validator, String>);

impl Schema {
    /// Reads `schema`; nothing outside of it is fetched. A schema that is not valid lets no value
    /// pass, so that a mistake fails closed.
    pub fn new(schema: &Value) -> Self {
        if let Some(at) = loops_at(schema) {
            return Self(Err(format!(
                "at {}: it refers to itself for the same value",
                pointer(&at)
            )));
        }
        Self(jsonschema::draft202012::new(schema).map_err(|error| error.to_string()))
    }

    /// Returns everything about `value` that does not fit, up to a limit.
    pub fn mismatches(&self, value: &Value) -> Vec<Mismatch> {
        match &self.0 {
            Ok(validator) => {
                validator.iter_errors(value).take(MISMATCHES_MAX).map(Mismatch::from).collect()
            }
            Err(problem) => {
                let problem = format!("the schema itself is not valid: {problem}");
                vec![Mismatch { at: String::new(), schema_at: String::new(), problem }]
            }
        }
    }
}

/// Checks that `schema` is a JSON Schema.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    // Reading a schema checks it; it is checked again only to name the place.
    Schema::new(schema).0.map(|_| ()).map_err(|problem| {
        match jsonschema::draft202012::meta::validate(schema) {
            Err(error) => format!("at {}: {error}", pointer(&error.instance_path().to_string())),
            Ok(()) => problem,
        }
    })
}

/// Returns everything about `value` that does not fit `schema`, up to a limit.
pub fn mismatches(schema: &Value, value: &Value) -> Vec<Mismatch> {
    Schema::new(schema).mismatches(value)
}

impl From<jsonschema::ValidationError<'_>> for Mismatch {
    fn from(error: jsonschema::ValidationError<'_>) -> Self {
        let mut problem = error.to_string();
        if problem.len() > PROBLEM_BYTES_MAX {
            problem.truncate(problem.floor_char_boundary(PROBLEM_BYTES_MAX));
            problem.push('…');
        }
        Self {
            at: error.instance_path().to_string(),
            schema_at: error.schema_path().to_string(),
            problem,
        }
    }
}

/// Returns where a schema refers to itself without having gone into the value in between: the
/// specification rules that out (JSON Schema 2020-12 Core, 9.4.1), and reading several such references
/// takes time without end.
fn loops_at(root: &Value) -> Option<String> {
    let mut done = BTreeSet::new();
    let mut places = vec![(String::new(), root)];
    while let Some((at, value)) = places.pop() {
        if loops_from(root, &at, &mut Vec::new(), &mut done) {
            return Some(at);
        }
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (format!("{at}/{}", escaped(key)), value)).collect()
            }
            Value::Array(list) => {
                list.iter().enumerate().map(|(i, value)| (format!("{at}/{i}"), value)).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        places.extend(inner);
    }
    None
}

/// Follows what applies to the same value as the schema at `at`; true if that comes round.
fn loops_from(root: &Value, at: &str, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
    if path.iter().any(|before| before == at) {
        return true;
    }
    if path.len() > json::DEPTH_MAX || done.contains(at) {
        return false;
    }
    let Some(Value::Object(schema)) = root.pointer(at) else { return false };
    let mut next: Vec<String> = Vec::new();
    let local = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    next.extend(local.filter(|text| text.is_empty() || text.starts_with('/')).map(str::to_owned));
    for key in ["allOf", "anyOf", "oneOf"] {
        let count = schema.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        next.extend((0..count).map(|i| format!("{at}/{key}/{i}")));
    }
    for key in ["not", "if", "then", "else"] {
        next.extend(schema.contains_key(key).then(|| format!("{at}/{key}")));
    }
    let dependent = schema.get("dependentSchemas").and_then(Value::as_object);
    for key in dependent.into_iter().flat_map(|map| map.keys()) {
        next.push(format!("{at}/dependentSchemas/{}", escaped(key)));
    }
    path.push(at.to_owned());
    let loops = next.iter().any(|next| loops_from(root, next, path, done));
    path.pop();
    done.insert(at.to_owned());
    loops
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &str) -> &str {
    if path.is_empty() { "the top" } else { path }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mismatch_names_both_places() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let found = mismatches(&schema, &json!({"n": "x"}));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].at, "/n");
        assert_eq!(found[0].schema_at, "/properties/n/type");
    }

    #[test]
    fn a_schema_that_goes_round_without_end_is_refused() {
        let refs: Vec<Value> = (0..8).map(|_| json!({"$ref": "#"})).collect();
        let many = json!({"type": "object", "allOf": refs, "anyOf": refs});
        assert!(check_schema(&many).unwrap_err().contains("the top: it refers to itself"));
        let far = json!({
            "properties": {"a~/b": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"if": {"$ref": "#/$defs/y"}}, "y": {"not": {"$ref": "#/$defs/x"}}},
        });
        assert!(check_schema(&far).is_err());
        // A tree refers to itself, one step further into the value each time.
        let tree = json!({
            "properties": {"children": {"items": {"$ref": "#"}}, "next": {"anyOf": [
                {"$ref": "#"}, {"type": "null"},
            ]}},
        });
        assert_eq!(check_schema(&tree), Ok(()));
    }

    #[test]
    fn a_bad_schema_is_named() {
        let error = check_schema(&json!({"properties": {"n": {"type": "int"}}})).unwrap_err();
        assert!(error.contains("/properties/n/type"), "{error}");
        assert!(check_schema(&json!({"type": "object"})).is_ok());
        let remote = json!({"$ref": "https://example.com/x.json"});
        assert!(check_schema(&remote).is_err(), "nothing is fetched");
    }
}
