//! Calls that no client should make, from a tool's schema and a call that is in order.

use prusik_core::schema;
use serde_json::{Map, Value, json};

use super::relay::Fault;

/// Most arguments that are spoiled one by one.
const ARGUMENTS_MAX: usize = 6;
/// How large a large text is, in bytes, and how deep a deep value.
const HUGE_BYTES: usize = 1024 * 1024;
const DEEP_LEVELS: usize = 100;

/// A call that no client should make.
#[derive(Debug, Clone, PartialEq)]
pub struct Garbage {
    pub what: String,
    pub arguments: Value,
    /// What is done to the request on its way, where a client would not send it.
    pub fault: Option<Fault>,
    pub due: Due,
}

/// What is due to garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// An error.
    Error,
    /// Any answer: the schema allows it.
    Answer,
}

/// Returns garbage for a tool. `good` are arguments that fit its schema.
pub fn garbage(schema: &Value, good: &Value) -> Vec<Garbage> {
    let good = good.as_object().cloned().unwrap_or_default();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let with = |name: &str, value: Value| {
        let mut arguments = good.clone();
        arguments.insert(name.to_owned(), value);
        arguments
    };
    let mut found: Vec<(String, Map<String, Value>)> = Vec::new();
    for name in required.iter().take(ARGUMENTS_MAX) {
        let mut arguments = good.clone();
        arguments.remove(*name);
        found.push((format!("without `{name}`"), arguments));
    }
    for (name, property) in properties.iter().take(ARGUMENTS_MAX) {
        if let Some(wrong) = wrong_value(schema, property) {
            found.push((format!("`{name}` of a wrong type"), with(name, wrong)));
        }
    }
    let is_text = |(_, property): &(&String, &Value)| property["type"] == "string";
    if let Some((name, _)) = properties.iter().find(is_text) {
        let text = "x".repeat(HUGE_BYTES);
        found.push((format!("`{name}` of {HUGE_BYTES} bytes"), with(name, json!(text))));
        found.push((
            format!("`{name}` of control characters"),
            with(name, json!("\u{0}\u{1b}[2J\n")),
        ));
    }
    let mut deep = json!([]);
    for _ in 0..DEEP_LEVELS {
        deep = json!([deep]);
    }
    let name = properties.keys().next().map_or("certify", String::as_str);
    found.push((format!("`{name}` nested {DEEP_LEVELS} levels deep"), with(name, deep)));
    found.push(("an argument that nobody knows".to_owned(), with("certify_unknown", json!(1))));

    let mut all: Vec<Garbage> = found
        .into_iter()
        .map(|(what, arguments)| {
            let arguments = Value::Object(arguments);
            let fits = schema::mismatches(schema, &arguments).is_empty();
            Garbage {
                what,
                arguments,
                fault: None,
                due: if fits { Due::Answer } else { Due::Error },
            }
        })
        .collect();
    let good = Value::Object(good);
    let mut on_its_way = |what: &str, fault: Fault, due: Due| {
        let (what, arguments) = (what.to_owned(), good.clone());
        all.push(Garbage { what, arguments, fault: Some(fault), due });
    };
    let list = Fault::Rewrite { name: None, arguments: Some(json!([1, "two"])) };
    on_its_way("arguments that are a list", list, Due::Error);
    let text = Fault::Rewrite { name: None, arguments: Some(json!("text")) };
    on_its_way("arguments that are a text", text, Due::Error);
    let stranger =
        Fault::Rewrite { name: Some("certify_no_such_tool".to_owned()), arguments: None };
    on_its_way("a tool that it does not have", stranger, Due::Error);
    let broken = Fault::Before { line: "{\"jsonrpc\": \"2.0\", \"method\": \"tools/ca".to_owned() };
    on_its_way("half a message before the call", broken, Due::Answer);
    all
}

/// Returns a value that `property` forbids; none if it allows everything.
fn wrong_value(root: &Value, property: &Value) -> Option<Value> {
    let mut schema = property.clone();
    // References of the property point into the whole.
    if let (Some(schema), Some(defs)) = (schema.as_object_mut(), root.get("$defs")) {
        schema.insert("$defs".to_owned(), defs.clone());
    }
    let candidates =
        [json!({"certify": [1]}), json!(-1.5), json!("certify"), json!([{}]), json!(true)];
    candidates.into_iter().find(|value| !schema::mismatches(&schema, value).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_what_the_schema_forbids_and_more() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "tag": {"$ref": "#/$defs/tag"},
                "any": {},
            },
            "required": ["name"],
            "additionalProperties": false,
            "$defs": {"tag": {"type": ["object", "string"], "required": ["x"]}},
        });
        let good = json!({"name": "a"});
        let all = garbage(&schema, &good);
        let due = |what: &str| all.iter().find(|garbage| garbage.what.contains(what)).unwrap().due;
        assert_eq!(due("without `name`"), Due::Error);
        assert_eq!(due("`name` of a wrong type"), Due::Error);
        assert_eq!(due("`tag` of a wrong type"), Due::Error);
        assert_eq!(due("nobody knows"), Due::Error);
        assert_eq!(due("control characters"), Due::Answer);
        assert_eq!(due("half a message"), Due::Answer);
        assert!(!all.iter().any(|garbage| garbage.what.contains("`any` of a wrong type")));
        for garbage in &all {
            let fits = schema::mismatches(&schema, &garbage.arguments).is_empty();
            assert!(garbage.fault.is_some() || fits == (garbage.due == Due::Answer), "{garbage:?}");
        }
        // A tool without arguments gets its share.
        assert!(garbage(&json!({"type": "object"}), &json!({})).len() >= 5);
    }
}
