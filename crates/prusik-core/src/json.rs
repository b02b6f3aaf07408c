//! Canonical JSON: one byte string per value, so that equal values have equal digests.

use serde_json::Value;

use crate::ids::Digest;

/// Returns `value` as compact JSON with the keys of every object sorted.
///
/// This is RFC 8785 but for numbers, which are written as `serde_json` writes them.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

/// Returns the digest of the canonical form of `value`.
pub fn digest(value: &Value) -> Digest {
    Digest::of(canonical(value).as_bytes())
}

/// How deep a value from outside may nest. A reader of JSON gives up at 128 levels, and a record puts
/// some of its own around a value: what is deeper could be written to a journal and never read back.
pub const DEPTH_MAX: usize = 96;

/// Returns whether `value` nests no deeper than [`DEPTH_MAX`].
pub fn is_shallow(value: &Value) -> bool {
    fn within(value: &Value, left: usize) -> bool {
        match value {
            Value::Object(map) => left > 0 && map.values().all(|value| within(value, left - 1)),
            Value::Array(items) => left > 0 && items.iter().all(|value| within(value, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    within(value, DEPTH_MAX)
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(&Value::String(key.clone()), out);
                out.push(':');
                write_canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_order_does_not_matter() {
        let a = json!({"b": [1, {"y": null, "x": "é\n"}], "a": true});
        let b = json!({"a": true, "b": [1, {"x": "é\n", "y": null}]});
        assert_eq!(canonical(&a), r#"{"a":true,"b":[1,{"x":"é\n","y":null}]}"#);
        assert_eq!(digest(&a), digest(&b));
    }
}
