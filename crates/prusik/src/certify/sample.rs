//! Arguments that fit a schema, made up without anybody's help.

use prusik_core::schema;
use serde_json::{Map, Value, json};

/// How deep a schema is followed.
const DEPTH_MAX: usize = 16;
/// The longest text and list that is made up because a schema asks for that much.
const LENGTH_MAX: usize = 10_000;

/// Returns the least that a call of `schema` can be made with: what is required, and of that the
/// schema's own examples, defaults and choices where it has some. The error says what is in the way.
pub fn arguments(schema: &Value) -> Result<Value, String> {
    let made = value(schema, schema, 0).ok_or("its schema cannot be followed")?;
    match schema::mismatches(schema, &made).first() {
        None if made.is_object() => Ok(made),
        None => Err("its arguments are no object".to_owned()),
        Some(mismatch) => {
            let at = if mismatch.at.is_empty() { "the top" } else { &mismatch.at };
            Err(format!("what fits its schema could not be made up at {at}"))
        }
    }
}

fn value(root: &Value, schema: &Value, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let Value::Object(keys) = schema else { return Some(json!("x")) };
    for key in ["const", "default"] {
        if let Some(value) = keys.get(key) {
            return Some(value.clone());
        }
    }
    for key in ["examples", "enum"] {
        if let Some(first) = keys.get(key).and_then(|list| list.get(0)) {
            return Some(first.clone());
        }
    }
    if let Some(target) = keys.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(target.strip_prefix('#')?)?;
        return value(root, target, depth + 1);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let choices = keys.get(key).and_then(Value::as_array).into_iter().flatten();
        let mut some = choices.filter(|choice| choice["type"] != "null");
        if let Some(first) = some.next() {
            return value(root, first, depth + 1);
        }
    }
    let kind = match keys.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
        }
        Some(_) | None if keys.contains_key("properties") || depth == 0 => "object",
        Some(_) | None if keys.contains_key("items") => "array",
        Some(_) | None => "string",
    };
    match kind {
        "object" => object(root, schema, depth),
        "array" => {
            let item = schema.get("items").unwrap_or(&Value::Bool(true));
            // An empty list is a call that does nothing.
            let length = length(schema, "minItems").max(1);
            let item = value(root, item, depth + 1)?;
            Some(Value::Array(vec![item; length]))
        }
        "integer" => Some(integer(schema)),
        "number" => Some(schema.get("minimum").cloned().unwrap_or_else(|| integer(schema))),
        "boolean" => Some(json!(true)),
        "null" => Some(Value::Null),
        _ => Some(Value::String(text(schema))),
    }
}

fn object(root: &Value, schema: &Value, depth: usize) -> Option<Value> {
    let mut made = Map::new();
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let property = &schema["properties"][name];
        made.insert(name.to_owned(), value(root, property, depth + 1)?);
    }
    Some(Value::Object(made))
}

fn length(schema: &Value, key: &str) -> usize {
    let length = schema.get(key).and_then(Value::as_u64).unwrap_or(0);
    usize::try_from(length).unwrap_or(LENGTH_MAX).min(LENGTH_MAX)
}

fn integer(schema: &Value) -> Value {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|bound| bound.saturating_add(1)));
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|bound| bound.saturating_sub(1)));
    let wanted = match (least, most) {
        (Some(least), _) => least.max(1).min(most.unwrap_or(i64::MAX)).max(least),
        (None, Some(most)) => most.min(1),
        (None, None) => 1,
    };
    match bound("multipleOf") {
        Some(step) if step > 0 => json!(wanted.saturating_add(step - 1) / step * step),
        Some(_) | None => json!(wanted),
    }
}

fn text(schema: &Value) -> String {
    let text = match schema["format"].as_str() {
        Some("date") => "2026-01-31",
        Some("time") => "12:00:00Z",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("email") => "someone@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("uuid") => "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        Some(_) | None => "certify",
    };
    let mut text = text.to_owned();
    while text.chars().count() < length(schema, "minLength") {
        text.push('x');
    }
    if schema.get("maxLength").is_some() {
        text = text.chars().take(length(schema, "maxLength")).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_required_is_made_up() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 9},
                "kind": {"enum": ["card", "cash"]},
                "day": {"type": "string", "format": "date"},
                "count": {"type": "integer", "minimum": 3, "multipleOf": 5},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
                "either": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
                "limit": {"type": "integer", "default": 20},
                "note": {"type": "string"},
            },
            "required": ["name", "kind", "day", "count", "tags", "either", "limit"],
            "$defs": {"tag": {"type": "string", "maxLength": 2}},
        });
        let made = arguments(&schema).unwrap();
        let expected = json!({
            "name": "certifyxx", "kind": "card", "day": "2026-01-31", "count": 5, "tags": ["ce"],
            "either": true, "limit": 20,
        });
        assert_eq!(made, expected);
        assert_eq!(arguments(&json!({"type": "object"})).unwrap(), json!({}));
        assert_eq!(arguments(&json!({})).unwrap(), json!({}));
    }

    #[test]
    fn what_cannot_be_made_up_is_named() {
        let schema = json!({
            "type": "object",
            "properties": {"iban": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{13}$"}},
            "required": ["iban"],
        });
        let error = arguments(&schema).unwrap_err();
        assert!(error.contains("/iban"), "{error}");
        let endless = json!({"$ref": "#"});
        assert!(arguments(&endless).is_err());
    }

    #[test]
    fn bounds_are_kept() {
        for (schema, expected) in [
            (json!({"type": "integer", "maximum": -3}), json!(-3)),
            (json!({"type": "integer", "exclusiveMinimum": 4, "maximum": 5}), json!(5)),
            (json!({"type": "number", "minimum": 0.5}), json!(0.5)),
            (json!({"type": "integer", "minimum": -9}), json!(1)),
            (json!({"type": ["null", "integer"]}), json!(1)),
        ] {
            assert_eq!(value(&schema, &schema, 1), Some(expected), "{schema}");
        }
    }
}
