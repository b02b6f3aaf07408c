//! How many schemas apply to one value: a schema from a stranger must not take for ever to read.
//!
//! A schema applies others to the same value through `allOf`, `$ref` and their like. If that comes
//! round to where it began, there is no end to it, which the specification rules out (JSON Schema
//! 2020-12 Core, 9.4.1); if each refers twice to the next, there is an end after more steps than
//! anybody can wait for. Both are refused before anything is read.

use std::collections::BTreeMap;

use serde_json::Value;

/// Most schemas that may apply to one value.
const STEPS_MAX: u64 = 10_000;
/// Most schemas of a document that are looked at.
const PLACES_MAX: usize = 100_000;

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// What it applies is being looked at.
    Open,
    /// So many schemas apply from here on.
    Steps(u64),
}

/// Says why a schema cannot be read in a sensible time, if that is so.
pub(super) fn check(root: &Value) -> Result<(), String> {
    let places = places(root)?;
    let names = Names::of(&places);
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for start in places.keys() {
        // A stack of our own: a chain of references may be longer than a thread's.
        let mut stack = vec![(start.clone(), false)];
        while let Some((at, entered)) = stack.pop() {
            let Some(schema) = places.get(&at) else { continue };
            if entered {
                let next = applied(&names, &at, schema);
                let steps = next.iter().map(|next| match seen.get(next) {
                    Some(Seen::Steps(steps)) => *steps,
                    Some(Seen::Open) | None => 0,
                });
                let steps = steps.fold(1_u64, u64::saturating_add);
                if steps > STEPS_MAX {
                    let at = super::pointer(&at);
                    return Err(format!(
                        "at {at}: it applies more than {STEPS_MAX} schemas to a value"
                    ));
                }
                seen.insert(at, Seen::Steps(steps));
                continue;
            }
            match seen.get(&at) {
                Some(Seen::Steps(_)) => continue,
                Some(Seen::Open) => {
                    let at = super::pointer(&at);
                    return Err(format!("at {at}: it refers to itself for the same value"));
                }
                None => {}
            }
            seen.insert(at.clone(), Seen::Open);
            let next = applied(&names, &at, schema);
            stack.push((at, true));
            for next in next {
                match seen.get(&next) {
                    Some(Seen::Open) => {
                        let at = super::pointer(&next);
                        return Err(format!("at {at}: it refers to itself for the same value"));
                    }
                    Some(Seen::Steps(_)) => {}
                    None => stack.push((next, false)),
                }
            }
        }
    }
    Ok(())
}

/// Returns every object of a document by its place, but for what is data and no schema.
fn places(root: &Value) -> Result<BTreeMap<String, &Value>, String> {
    let mut places = BTreeMap::new();
    let mut open = vec![(String::new(), root)];
    while let Some((at, value)) = open.pop() {
        match value {
            Value::Object(map) => {
                let schemas = map.iter().filter(|(key, _)| {
                    !["default", "const", "enum", "examples"].contains(&key.as_str())
                });
                open.extend(schemas.map(|(key, value)| (format!("{at}/{}", escaped(key)), value)));
                places.insert(at, value);
            }
            Value::Array(list) => {
                let numbered = list.iter().enumerate();
                open.extend(numbered.map(|(i, value)| (format!("{at}/{i}"), value)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        if places.len() > PLACES_MAX {
            return Err(format!("it holds more than {PLACES_MAX} objects"));
        }
    }
    Ok(places)
}

/// The names by which places are referred to.
#[derive(Debug, Default)]
struct Names {
    anchors: BTreeMap<String, Vec<String>>,
    /// The places with an `$id`, by its last part.
    ids: BTreeMap<String, Vec<String>>,
    /// The places with an `$id`, below the top.
    resources: Vec<String>,
}

impl Names {
    fn of(places: &BTreeMap<String, &Value>) -> Self {
        let mut names = Self::default();
        for (at, schema) in places {
            for key in ["$anchor", "$dynamicAnchor"] {
                if let Some(name) = schema[key].as_str() {
                    names.anchors.entry(name.to_owned()).or_default().push(at.clone());
                }
            }
            if let Some(id) = schema["$id"].as_str() {
                names.ids.entry(last_part(id).to_owned()).or_default().push(at.clone());
                if !at.is_empty() {
                    names.resources.push(at.clone());
                }
            }
        }
        names
    }

    /// Returns the places that a reference from `at` may mean. Where a name stands twice it may mean
    /// either.
    fn resolve(&self, at: &str, reference: &str) -> Vec<String> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let bases = if document.is_empty() {
            let inside = |base: &&String| {
                at.strip_prefix(base.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let own = self.resources.iter().filter(inside).max_by_key(|base| base.len());
            vec![own.cloned().unwrap_or_default()]
        } else {
            self.ids.get(last_part(document)).cloned().unwrap_or_default()
        };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchors.get(fragment).cloned().unwrap_or_default();
        }
        let fragment = percent_decoded(fragment);
        bases.into_iter().map(|base| format!("{base}{fragment}")).collect()
    }
}

/// Returns the places whose schemas apply to the same value as the one at `at`.
fn applied(names: &Names, at: &str, schema: &Value) -> Vec<String> {
    let mut next = Vec::new();
    for key in ["$ref", "$dynamicRef"] {
        if let Some(reference) = schema[key].as_str() {
            next.extend(names.resolve(at, reference));
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        let count = schema[key].as_array().map_or(0, Vec::len);
        next.extend((0..count).map(|i| format!("{at}/{key}/{i}")));
    }
    for key in ["not", "if", "then", "else"] {
        next.extend(schema[key].is_object().then(|| format!("{at}/{key}")));
    }
    let dependent = schema["dependentSchemas"].as_object();
    for key in dependent.into_iter().flat_map(|map| map.keys()) {
        next.push(format!("{at}/dependentSchemas/{}", escaped(key)));
    }
    next
}

fn last_part(id: &str) -> &str {
    let id = id.trim_end_matches(['#', '/']);
    id.rsplit('/').next().unwrap_or(id)
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = std::str::from_utf8(others.get(..2).unwrap_or_default()).ok();
        let code =
            code.filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &others[2..] } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check_schema;
    use super::*;

    fn many(reference: &str) -> Vec<Value> {
        (0..8).map(|_| json!({"$ref": reference})).collect()
    }

    #[test]
    fn what_comes_round_is_refused_however_it_is_written() {
        let with = |reference: &str| (many(reference), many(reference));
        let (all, any) = with("#");
        assert!(
            check_schema(&json!({"allOf": all, "anyOf": any})).unwrap_err().contains("the top")
        );
        let (all, any) = with("#a");
        assert!(check_schema(&json!({"$anchor": "a", "allOf": all, "anyOf": any})).is_err());
        let (all, any) = with("https://x.example/s");
        let named = json!({"$id": "https://x.example/s", "allOf": all, "anyOf": any});
        assert!(check_schema(&named).is_err());
        let (all, any) = with("#/%24defs/x");
        let coded = json!({"$defs": {"x": {"allOf": all, "anyOf": any}}, "$ref": "#/$defs/x"});
        assert!(check_schema(&coded).is_err());
        let far = json!({
            "properties": {"a~/b": {"$ref": "#/$defs/x"}},
            "$defs": {"x": {"if": {"$ref": "#/$defs/y"}}, "y": {"not": {"$ref": "#/$defs/x"}}},
        });
        assert!(check_schema(&far).is_err());
        let mut defs = serde_json::Map::new();
        for i in 0..2_000 {
            let next = format!("#/$defs/x{}", (i + 1) % 2_000);
            defs.insert(format!("x{i}"), json!({"allOf": [{"$ref": next}, {"$ref": next}]}));
        }
        assert!(check_schema(&json!({"$defs": defs})).is_err());
    }

    #[test]
    fn what_doubles_with_each_step_is_refused() {
        let mut defs = serde_json::Map::new();
        for i in 0..40 {
            let next = format!("#/$defs/x{}", i + 1);
            defs.insert(format!("x{i}"), json!({"allOf": [{"$ref": next}, {"$ref": next}]}));
        }
        defs.insert("x40".to_owned(), json!({"type": "object"}));
        let problem = check_schema(&json!({"$ref": "#/$defs/x0", "$defs": defs})).unwrap_err();
        assert!(problem.contains("more than 10000 schemas"), "{problem}");
    }

    #[test]
    fn what_goes_further_into_the_value_each_time_is_none_of_this() {
        let tree = json!({
            "properties": {"children": {"items": {"$ref": "#"}}, "next": {"anyOf": [
                {"$ref": "#"}, {"type": "null"},
            ]}},
        });
        assert_eq!(check_schema(&tree), Ok(()));
        let bundled = json!({
            "$ref": "#/$defs/Item",
            "$defs": {"Item": {
                "$id": "https://x.example/item",
                "$ref": "#/$defs/Item",
                "$defs": {"Item": {"type": "object"}},
            }},
        });
        assert_eq!(check_schema(&bundled), Ok(()));
        let data = json!({
            "$defs": {"x": {"default": {"$ref": "#/$defs/x"}, "examples": [{"$ref": "#"}]}},
            "$ref": "#/$defs/x",
        });
        assert_eq!(check_schema(&data), Ok(()));
        let dynamic = json!({
            "$dynamicAnchor": "node",
            "properties": {"children": {"items": {"$dynamicRef": "#node"}}},
        });
        assert_eq!(check_schema(&dynamic), Ok(()));
    }
}
