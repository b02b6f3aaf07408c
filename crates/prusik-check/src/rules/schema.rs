//! The schemas themselves: valid, acceptable to providers, not too deep.

use std::collections::BTreeSet;

use prusik_core::schema::check_schema;
use serde_json::Value;

use crate::catalogue::ToolEntry;
use crate::finding::Finding;
use crate::params::{escaped, nesting};
use crate::rule::Rule;

/// Deepest nesting of objects and lists. OpenAI's structured outputs took five levels for long, and
/// what models fill in below that is rarely right.
const NESTING_MAX: usize = 5;
/// Keywords that OpenAI's strict mode refuses.
///
/// Source: OpenAI, "Structured Outputs", section "Supported schemas", read in November 2026.
const NOT_STRICT: [&str; 14] = [
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "unevaluatedProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "uniqueItems",
];

pub(crate) fn check(tool: &ToolEntry, found: &mut Vec<Finding>) {
    if let Err(problem) = check_schema(&tool.input_schema) {
        let message = format!("its input schema is not valid JSON Schema: {problem}");
        let help = "the server has to mend it: a tool with such a schema is offered to no model";
        found.push(Finding::new(Rule::SchemaInvalid, message, help).at("/input"));
        return;
    }
    match tool.output_schema.as_ref().map(|schema| (schema, check_schema(schema))) {
        Some((_, Err(problem))) => {
            let message = format!("its output schema is not valid JSON Schema: {problem}");
            let help = "the server has to mend it, or leave it out";
            found.push(Finding::new(Rule::SchemaInvalid, message, help).at("/output"));
        }
        // A built-in tool is not the project's to mend.
        Some((_, Ok(()))) | None if tool.server.is_none() => {}
        Some((_, Ok(()))) => {}
        None => {
            let message = "it declares no output schema: nobody can check what it returns";
            let help = "give the server an `outputSchema`, so that results are validated and a \
                        probe or an undo can name their fields";
            found.push(Finding::new(Rule::OutputSchemaMissing, message, help).at("/output"));
        }
    }
    root(&tool.input_schema, found);
    let depth = nesting(&tool.input_schema);
    if depth > NESTING_MAX {
        let message = format!("its input nests {} deep", levels(depth));
        let help = "flatten it: a list of small objects, or two tools";
        found.push(Finding::new(Rule::SchemaTooDeep, message, help).at("/input"));
    }
    if tool.server.is_some() {
        strict(&tool.input_schema, found);
    }
}

fn levels(depth: usize) -> String {
    // A schema that contains itself is followed to a bound only.
    if depth > 12 { "without end".to_owned() } else { format!("{depth} levels") }
}

fn root(schema: &Value, found: &mut Vec<Finding>) {
    let combined = ["anyOf", "oneOf", "allOf"].into_iter().find(|key| !schema[*key].is_null());
    let message = match (&schema["type"], combined) {
        (Value::String(kind), None) if kind == "object" => return,
        (_, Some(key)) => format!("the root of its input is `{key}`, which providers refuse"),
        (Value::Null, None) => "the root of its input does not say `type: object`".to_owned(),
        (kind, None) => format!("the root of its input is {kind}, not an object"),
    };
    let help = "arguments are an object: `type: object` with one property for each; put a choice \
                into a property";
    found.push(Finding::new(Rule::SchemaRoot, message, help).at("/input"));
}

fn strict(schema: &Value, found: &mut Vec<Finding>) {
    let mut reasons = BTreeSet::new();
    not_strict(schema, 0, &mut reasons);
    if reasons.is_empty() {
        return;
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    let message = format!("strict mode would refuse its input: {}", reasons.join("; "));
    let help = "close every object, require every property (an optional one may be null), and keep \
                to the keywords of strict mode; or accept arguments that are only mostly right";
    found.push(Finding::new(Rule::StrictModeRefused, message, help).at("/input"));
}

fn not_strict(schema: &Value, depth: usize, reasons: &mut BTreeSet<String>) {
    const DEPTH_MAX: usize = 40;
    let Some(map) = schema.as_object().filter(|_| depth <= DEPTH_MAX) else { return };
    for key in NOT_STRICT.iter().filter(|key| map.contains_key(**key)) {
        reasons.insert(format!("`{key}` is not supported"));
    }
    let is_object = map.get("type").is_some_and(|kind| kind == "object");
    let properties = map.get("properties").and_then(Value::as_object);
    if is_object && map.get("additionalProperties") != Some(&Value::Bool(false)) {
        reasons.insert("an object is not closed by `additionalProperties: false`".to_owned());
    }
    if let Some(properties) = properties {
        let required = map.get("required").and_then(Value::as_array);
        let is_required = |name: &String| required.is_some_and(|r| r.iter().any(|n| n == name));
        let optional: Vec<&String> = properties.keys().filter(|name| !is_required(name)).collect();
        if let Some(first) = optional.first() {
            reasons.insert(format!("`{}` is not in `required`", escaped(first)));
        }
        for property in properties.values() {
            not_strict(property, depth + 1, reasons);
        }
    }
    for key in ["items", "additionalProperties"] {
        map.get(key).into_iter().for_each(|inner| not_strict(inner, depth + 1, reasons));
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let choices = map.get(key).and_then(Value::as_array).into_iter().flatten();
        choices.for_each(|inner| not_strict(inner, depth + 1, reasons));
    }
    for key in ["$defs", "definitions"] {
        let defs = map.get(key).and_then(Value::as_object).into_iter().flat_map(|d| d.values());
        defs.for_each(|inner| not_strict(inner, depth + 1, reasons));
    }
}
