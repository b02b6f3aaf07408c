//! Parameters: whether a model can know what to put there.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::catalogue::ToolEntry;
use crate::finding::{Finding, Severity};
use crate::params::{Param, params};
use crate::rule::Rule;
use crate::words;

/// Names that stand for anything.
const ANYTHING: [&str; 17] = [
    "options",
    "opts",
    "data",
    "input",
    "inputs",
    "params",
    "parameters",
    "args",
    "arguments",
    "payload",
    "config",
    "configuration",
    "body",
    "extra",
    "settings",
    "metadata",
    "kwargs",
];
/// Names whose values are few and known.
const CLOSED: [&str; 19] = [
    "status",
    "state",
    "type",
    "kind",
    "mode",
    "level",
    "format",
    "priority",
    "sort",
    "direction",
    "role",
    "severity",
    "currency",
    "unit",
    "units",
    "method",
    "action",
    "encoding",
    "visibility",
];
/// Names whose values have a format that JSON Schema knows.
const FORMATS: [(&str, &str); 11] = [
    ("email", "email"),
    ("url", "uri"),
    ("uri", "uri"),
    ("uuid", "uuid"),
    ("guid", "uuid"),
    ("ip", "ipv4"),
    ("ipv4", "ipv4"),
    ("ipv6", "ipv6"),
    ("hostname", "hostname"),
    ("webhook", "uri"),
    ("homepage", "uri"),
];
/// Names of numbers that no tool takes without bounds.
const BOUNDED: [&str; 16] = [
    "limit",
    "count",
    "page",
    "size",
    "offset",
    "top",
    "depth",
    "retries",
    "attempts",
    "percent",
    "percentage",
    "port",
    "latitude",
    "longitude",
    "lines",
    "quality",
];
/// Names of texts in a language of their own, of which one example says more than a sentence.
const LANGUAGES: [&str; 14] = [
    "sql",
    "jql",
    "cql",
    "cron",
    "schedule",
    "regex",
    "regexp",
    "expression",
    "selector",
    "xpath",
    "jsonpath",
    "template",
    "where",
    "filter",
];
const BOUNDS: [&str; 7] =
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const", "multipleOf"];
const CLOSES: [&str; 4] = ["enum", "const", "format", "pattern"];

/// A description that lists the choices in words: `one of a, b`, `'asc' or 'desc'`, `(a|b|c)`.
static LISTS_CHOICES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?i)\b(one of|allowed values|valid values|possible values|must be either)\b"#,
        r#"|["'`][\w-]+["'`],? (or|and|\|) ["'`][\w-]+["'`]|\([\w-]+(\|[\w-]+)+\)"#,
        r#"|\(["'`][\w-]+["'`]\).*\(["'`][\w-]+["'`]\)"#,
    ))
    .expect("the pattern is fixed, and the tests read it")
});
/// A description with an example in it.
static SHOWS_EXAMPLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b(such as|for example|example|e\.g\.|like)\b|["'`“][^"'`”]{2,}["'`”]"#)
        .expect("the pattern is fixed, and the tests read it")
});
static IS_JSON: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\bjson\b|\bserialized\b|\bkey[- ]value\b|\bdictionary\b")
        .expect("the pattern is fixed, and the tests read it")
});

pub(crate) fn check(tool: &ToolEntry, found: &mut Vec<Finding>) {
    let params = params(&tool.input_schema);
    undescribed(&params, found);
    for param in &params {
        let before = found.len();
        shapeless(param, found);
        free_text(param, found);
        unbounded(param, found);
        contradicts(param, found);
        for finding in &mut found[before..] {
            finding.at = format!("/input{}", param.pointer);
        }
    }
    missing_properties(&tool.input_schema, "/input", 0, found);
}

/// One finding for all of a tool: whoever mends one mends the others.
fn undescribed(params: &[Param<'_>], found: &mut Vec<Finding>) {
    let says_nothing = |param: &&Param<'_>| {
        let text = param.description();
        let explains_itself =
            param.has(&["const"]) || !param.schema.is_object() || has_described_items(param);
        !explains_itself
            && (text.is_empty()
                || (!param.has(&["enum"]) && !has_shape(param) && restates(param.name, text)))
    };
    let silent: Vec<&Param<'_>> = params.iter().filter(says_nothing).collect();
    let Some(first) = silent.first() else { return };
    let names: Vec<String> = silent.iter().take(6).map(|p| format!("`{}`", p.name)).collect();
    let more = silent.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if silent.len() == 1 { "has" } else { "have" };
    let message =
        format!("{}{more} {verb} no description that says more than the name", names.join(", "));
    let help = "say what each is, in which form, and what happens when it is left out";
    found.push(
        Finding::new(Rule::ParameterUndescribed, message, help)
            .at(format!("/input{}", first.pointer)),
    );
}

/// A parameter's description may be short; only the bare name again is nothing.
fn restates(name: &str, text: &str) -> bool {
    let known = words::name_words(name);
    let said = words::name_words(text);
    said.iter().all(|word| known.contains(word) || word == "parameter" || word == "value")
}

/// A list of objects whose properties are described says what it is.
fn has_described_items(param: &Param<'_>) -> bool {
    let properties = param.target["items"]["properties"].as_object();
    properties.is_some_and(|map| {
        !map.is_empty() && map.values().all(|property| property["description"].is_string())
    })
}

fn has_shape(param: &Param<'_>) -> bool {
    param.has(&["properties", "format", "pattern"])
}

fn shapeless(param: &Param<'_>, found: &mut Vec<Finding>) {
    let name = last_word(param.name);
    let is_anything = ANYTHING.contains(&name.as_str());
    let is_open = |shape: &Value| {
        let typed = !shape["type"].is_null();
        let closed = ["$ref", "enum", "const", "anyOf", "oneOf", "allOf"];
        let is_closed = closed.iter().any(|key| !shape[*key].is_null());
        let is_object = shape["type"] == "object"
            && ["properties", "patternProperties", "propertyNames"]
                .iter()
                .all(|k| shape[*k].is_null())
            && shape["additionalProperties"].as_object().is_none_or(serde_json::Map::is_empty);
        let is_list = shape["type"] == "array"
            && shape["items"].as_object().is_none_or(serde_json::Map::is_empty)
            && shape["prefixItems"].is_null();
        !is_closed && (!typed || is_object || is_list)
    };
    let is_open = param.schema.is_boolean() || param.shapes().iter().any(|shape| is_open(shape));
    // Text that is to hold an object is an object whose shape nobody checks.
    let is_packed = is_anything
        && param.is("string")
        && !param.has(&CLOSES)
        && !param.has(&["contentMediaType"])
        && (param.description().is_empty() || IS_JSON.is_match(param.description()));
    if is_open || is_packed {
        let what = if is_packed { "text for anything" } else { "for anything" };
        let message = format!("`{}` is {what}: its schema has no shape", param.name);
        let help = "list its properties with their types, and close it with \
                    `additionalProperties: false`; or make each of them a parameter";
        let severity = if is_anything { Severity::Warning } else { Severity::Note };
        found.push(Finding::new(Rule::ParameterShapeless, message, help).with_severity(severity));
    }
}

fn free_text(param: &Param<'_>, found: &mut Vec<Finding>) {
    let closes = |shape: &&Value| CLOSES.iter().any(|key| !shape[*key].is_null());
    if !param.is("string") || param.has(&CLOSES) || param.shapes().iter().any(closes) {
        return;
    }
    let last = last_word(param.name);
    let whole = words::split(param.name).join("_");
    let format = FORMATS.iter().find(|(name, _)| last == *name).map(|(_, format)| format);
    let (message, help, severity) = if LISTS_CHOICES.is_match(param.description()) {
        let message =
            format!("`{}` is free text, and its description lists the choices", param.name);
        (message, "make them an `enum`: then no other value can come".to_owned(), Severity::Warning)
    } else if let Some(format) = format {
        let message =
            format!("`{}` is free text, and stands for something with a format", param.name);
        (message, format!("add `format: {format}`, or a `pattern`"), Severity::Note)
    } else if CLOSED.contains(&whole.as_str()) && !param.has(&["examples"]) {
        let message = format!("`{}` is free text, and takes only a few values", param.name);
        (
            message,
            "list them as an `enum`, or give a `pattern` or `examples`".to_owned(),
            Severity::Note,
        )
    } else if LANGUAGES.contains(&last.as_str())
        && !param.has(&["examples", "default"])
        && !SHOWS_EXAMPLE.is_match(param.description())
    {
        let message = format!("`{}` is text in a language, and no example shows which", param.name);
        (message, "give `examples`, or one in the description".to_owned(), Severity::Note)
    } else {
        return;
    };
    found.push(Finding::new(Rule::ParameterFreeText, message, help).with_severity(severity));
}

fn unbounded(param: &Param<'_>, found: &mut Vec<Finding>) {
    let words = words::split(param.name);
    let first = words.first().map_or("", String::as_str);
    let named = BOUNDED.contains(&last_word(param.name).as_str()) || matches!(first, "max" | "min");
    let is_bounded = |shape: &&Value| BOUNDS.iter().any(|key| !shape[*key].is_null());
    if named && param.is_number() && !param.has(&BOUNDS) && !param.shapes().iter().any(is_bounded) {
        let message = format!("`{}` takes any number", param.name);
        let help = "give `minimum` and `maximum`: a model asks for -1 and for a million, too";
        found.push(Finding::new(Rule::ParameterUnbounded, message, help));
    }
}

fn contradicts(param: &Param<'_>, found: &mut Vec<Finding>) {
    let mut push = |message: String, help: &str, severity: Severity| {
        let finding = Finding::new(Rule::RequiredContradicts, message, help);
        found.push(finding.with_severity(severity));
    };
    let name = param.name;
    let text = param.description().to_lowercase();
    if param.required && param.has(&["default"]) {
        let message = format!("`{name}` is required and has a default, which is never used");
        push(message, "take it out of `required`, or remove the default", Severity::Warning);
    }
    let says_optional = ["(optional", "[optional", "optional:", "optional.", "optional,"];
    let says_optional =
        says_optional.iter().any(|s| text.starts_with(s) || text.contains(&format!(" {s}")))
            || text.starts_with("optional ");
    if param.required && says_optional {
        let message = format!("`{name}` is required, and its description says optional");
        push(message, "say the same in both places", Severity::Warning);
    }
    let says_required = text.contains("(required") || text.starts_with("required");
    if !param.required
        && says_required
        && !text.contains("required if")
        && !text.contains("required when")
    {
        let message = format!("the description of `{name}` says required, and the schema does not");
        push(message, "add it to `required`", Severity::Warning);
    }
    let number = |key: &str| param.get(key).and_then(Value::as_f64);
    for (low, high) in
        [("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")]
    {
        if let (Some(least), Some(most)) = (number(low), number(high))
            && least > most
        {
            let message = format!("no value of `{name}` fits: `{low}` is above `{high}`");
            push(message, "swap them, or mend the one that is wrong", Severity::Error);
        }
    }
    if let Some(default) = param.get("default").filter(|default| !default.is_null())
        && !default_fits(param, default)
    {
        let message = format!("the default of `{name}` does not fit its own schema: {default}");
        push(message, "give a default that fits, or none", Severity::Error);
    }
}

fn default_fits(param: &Param<'_>, default: &Value) -> bool {
    let fits = |shape: &Value| {
        let in_enum = shape["enum"].as_array().is_none_or(|choices| choices.contains(default));
        let kind = match default {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|n| n.fract() != 0.0) => {
                "number"
            }
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is = |name: &Value| name == kind || (kind == "integer" && name == "number");
        let typed = match &shape["type"] {
            Value::Null => true,
            Value::Array(names) => names.iter().any(is),
            name => is(name),
        };
        let number = |key: &str| shape[key].as_f64();
        let bounded = default.as_f64().is_none_or(|value| {
            number("minimum").is_none_or(|least| value >= least)
                && number("maximum").is_none_or(|most| value <= most)
        });
        in_enum && typed && bounded
    };
    param.has(&["$ref"]) || param.shapes().iter().any(|shape| fits(shape))
}

/// Finds names in `required` that no property has.
fn missing_properties(schema: &Value, at: &str, depth: usize, found: &mut Vec<Finding>) {
    const DEPTH_MAX: usize = 12;
    if depth > DEPTH_MAX {
        return;
    }
    let properties = schema["properties"].as_object();
    let refers = ["$ref", "allOf", "anyOf", "oneOf", "patternProperties"];
    let is_whole = refers.iter().all(|key| schema[*key].is_null());
    if is_whole {
        let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in names.filter(|name| !properties.is_some_and(|map| map.contains_key(*name))) {
            let message = format!("`{name}` is required, and no property is called so");
            let near = properties
                .into_iter()
                .flat_map(|map| map.keys())
                .find(|key| strsim::jaro_winkler(&key.to_lowercase(), &name.to_lowercase()) > 0.85);
            let help = match near {
                Some(near) => format!("it is probably `{near}` that is meant"),
                None => "describe the property, or take it out of `required`".to_owned(),
            };
            found.push(
                Finding::new(Rule::RequiredContradicts, message, help).at(format!("{at}/required")),
            );
        }
    }
    for (name, property) in properties.into_iter().flatten() {
        let at = format!("{at}/properties/{}", crate::params::escaped(name));
        missing_properties(property, &at, depth + 1, found);
    }
    if let Some(items) = schema.get("items") {
        missing_properties(items, &format!("{at}/items"), depth + 1, found);
    }
}

pub(crate) fn last_word(name: &str) -> String {
    words::split(name).pop().unwrap_or_default()
}
