//! `prusik-yaml.md` and `agent-files.md`: the keys, from the JSON Schemas of the files.

use anyhow::{Context, Result};
use prusik::project::{SchemaOf, schema};
use prusik_core::agent::Limits;
use prusik_core::contract::{Contract, EffectClass, RetryPolicy};
use serde_json::{Map, Value};

use super::{sentence, table};

pub fn project_page() -> Result<String> {
    let keys = keys(&schema(SchemaOf::Project))?;
    Ok(format!(
        "# prusik.yaml\n\nThe file that makes a folder a project. An unknown key, a wrong type or a \
         missing file is an error that names the line. Paths are relative to the project's folder. \
         Editors read the [JSON Schema](prusik.schema.json), which `prusik schema` prints. Defaults under `tools` \
         are those of a server's tool; the [built-in ones](../concepts/tools.md) come with contracts of \
         their own.\n{keys}"
    ))
}

pub fn agent_page() -> Result<String> {
    let keys = keys(&schema(SchemaOf::Agent))?;
    Ok(format!(
        "# Agent files\n\nAn agent is a file `agents/NAME.md`: between two lines `---` its keys in \
         YAML, below them its system prompt. Editors read the [JSON Schema](agent.schema.json), \
         which `prusik schema agent` prints.\n{keys}"
    ))
}

/// Returns a section for the root and for each mapping inside of it.
fn keys(root: &Value) -> Result<String> {
    let mut text = String::new();
    section(root, root, "", &mut text)?;
    Ok(text)
}

fn section(root: &Value, schema: &Value, path: &str, text: &mut String) -> Result<()> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().context("a mapping without keys")?;
    if path.is_empty() {
        text.push_str("\n## Keys\n\n");
    } else {
        let about = sentence(&comment(schema));
        text.push_str(&format!("\n## `{path}`\n\n{about}\n\n"));
    }
    let mut rows = Vec::new();
    let mut inner = Vec::new();
    for (key, property) in properties {
        let found = resolve(root, property);
        let default = match &property["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => default_of(path, key).map_or(String::new(), |text| format!("`{text}`")),
            default => format!("`{}`", plain(default)),
        };
        let mut meaning = sentence(&comment(property));
        for choice in choices(found) {
            meaning.push_str(&format!(" {choice}"));
        }
        rows.push(vec![format!("`{key}`"), kind(root, property), default, meaning]);
        let within = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if found["properties"].is_object() {
            inner.push((within, found));
        } else if let Some(values) = values_of(root, found) {
            inner.push((format!("{within}.NAME"), values));
        }
    }
    text.push_str(&table(&["key", "type", "default", "meaning"], &rows));
    for (path, schema) in inner {
        section(root, schema, &path, text)?;
    }
    Ok(())
}

/// Returns what holds for a key that may be left out and whose default is applied after loading.
fn default_of(path: &str, key: &str) -> Option<String> {
    let retry = RetryPolicy::TOOL;
    let limits = Limits::default();
    let number = match (path, key) {
        ("tools.NAME", "effect") => return Some(EffectClass::default().as_str().to_owned()),
        ("models.NAME", "mode") => return Some("replay".to_owned()),
        ("tools.NAME", "timeout_ms") => Contract::TIMEOUT_MS,
        ("tools.NAME", "result_bytes_max") => Contract::RESULT_BYTES_MAX,
        ("tools.NAME.retry", "attempts_max") => retry.attempts_max.into(),
        ("tools.NAME.retry", "backoff_ms") => retry.backoff_ms,
        ("tools.NAME.retry", "backoff_ms_max") => retry.backoff_ms_max,
        ("limits", "repeats_max") => limits.repeats_max.into(),
        ("limits", "continues_max") => limits.continues_max.into(),
        ("limits", "repairs_max") => limits.repairs_max.into(),
        ("limits", "malformed_turns_max") => limits.malformed_turns_max.into(),
        _ => return None,
    };
    Some(number.to_string())
}

/// Returns what the values of a mapping with free keys are, if they are mappings themselves.
fn values_of<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let values = schema.get("additionalProperties").filter(|values| values.is_object())?;
    Some(resolve(root, values)).filter(|values| values["properties"].is_object())
}

/// Follows references, and leaves out that a value may be missing.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        return root.pointer(pointer).map_or(schema, |found| resolve(root, found));
    }
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    match choices.filter(|choice| choice["type"] != "null").collect::<Vec<_>>().as_slice() {
        [only] => resolve(root, only),
        _ => schema,
    }
}

/// Returns the type in a user's words.
fn kind(root: &Value, schema: &Value) -> String {
    let found = resolve(root, schema);
    if let Some(choices) = found["oneOf"].as_array() {
        let names: Vec<String> = choices.iter().map(|choice| choice_name(root, choice)).collect();
        return names.join(" or ");
    }
    let names: Vec<&str> = match &found["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return "anything".to_owned(),
    };
    let words: Vec<String> = names
        .into_iter()
        .filter(|name| *name != "null")
        .map(|name| match name {
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => format!("list of {}", kind(root, &found["items"])),
            "object" if found["properties"].is_object() => "mapping, see below".to_owned(),
            "object" => match found.get("additionalProperties").filter(|v| v.is_object()) {
                Some(values) if values_of(root, found).is_none() => {
                    format!("mapping of names to {}", kind(root, values))
                }
                Some(_) => "mapping of names to mappings, see below".to_owned(),
                None => "mapping".to_owned(),
            },
            other => other.to_owned(),
        })
        .collect();
    words.join(" or ")
}

fn choice_name(root: &Value, choice: &Value) -> String {
    match (choice["const"].as_str(), choice["properties"].as_object()) {
        (Some(word), _) => format!("`{word}`"),
        (None, Some(keys)) => format!("`{{ {} }}`", shape(root, keys)),
        (None, None) => kind(root, choice),
    }
}

fn shape(root: &Value, keys: &Map<String, Value>) -> String {
    let keys: Vec<String> =
        keys.iter().map(|(key, schema)| format!("{key}: {}", kind(root, schema))).collect();
    keys.join(", ")
}

/// Returns a sentence for each choice that says what it means.
fn choices(schema: &Value) -> Vec<String> {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    choices
        .filter(|choice| !comment(choice).is_empty())
        .map(|choice| {
            let word = choice["const"].as_str().or_else(|| {
                choice["properties"]
                    .as_object()
                    .and_then(|keys| keys.keys().next().map(String::as_str))
            });
            format!("`{}`: {}", word.unwrap_or_default(), sentence(&comment(choice)))
        })
        .collect()
}

fn comment(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_told_with_type_default_and_choices() {
        let schema = json!({
            "properties": {
                "name": { "type": ["string", "null"], "description": "Its\nname", "default": null },
                "parts": {
                    "type": "object",
                    "additionalProperties": { "$ref": "#/$defs/Part" },
                    "description": "The parts."
                },
                "how": { "anyOf": [{ "$ref": "#/$defs/How" }, { "type": "null" }] }
            },
            "required": ["name"],
            "$defs": {
                "Part": {
                    "description": "A part.",
                    "properties": { "size": { "type": "integer", "default": 7 } }
                },
                "How": { "oneOf": [
                    { "const": "fast", "description": "At once" },
                    { "properties": { "slowly": { "type": "string" } } }
                ] }
            }
        });
        let told = keys(&schema).unwrap();
        for line in [
            "| `name` | text | required | Its name. |",
            "| `parts` | mapping of names to mappings, see below | – | The parts. |",
            "| `how` | `fast` or `{ slowly: text }` | – | `fast`: At once. |",
            "## `parts.NAME`\n\nA part.",
            "| `size` | whole number | `7` | – |",
        ] {
            assert!(told.contains(line), "{line} is missing: {told}");
        }
    }
}
