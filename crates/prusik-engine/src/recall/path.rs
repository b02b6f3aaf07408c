//! Parts of a JSON value, named by a JSONPath (RFC 9535).
//!
//! A path is evaluated by lists of nodes, and some paths make lists that are far longer than the value:
//! each `[0,0]` doubles them. So what a path may cost is reckoned before it is evaluated.

use prusik_core::message::Content;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{Problem, kind, refused};

/// Largest JSON that is parsed, in bytes.
const JSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most nodes that the evaluation of a path may come to look at.
const STEPS_MAX: u64 = 20_000_000;
/// Deepest nesting within a path: its parser works by recursion.
const NESTING_MAX: usize = 8;

/// A path, and what it costs beside the size of the value.
#[derive(Debug)]
pub(super) struct Path {
    parsed: JsonPath,
    cost: Cost,
}

/// What makes a path look at a node more than once.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    /// How often lists in brackets can multiply what they are applied to.
    lists: u64,
    /// How many segments look at all descendants.
    descents: u32,
    /// How many conditions are tried on a node.
    conditions: u64,
}

impl Path {
    pub fn parse(path: &str) -> Result<Self, Problem> {
        let cost = Cost::of(path).map_err(|problem| refusal(&problem))?;
        let parsed = JsonPath::parse(path).map_err(|error| refusal(&error.to_string()))?;
        Ok(Self { parsed, cost })
    }

    /// Returns the parts of `value` that it names, in the order of the standard.
    pub fn parts<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, Problem> {
        self.check(value)?;
        Ok(self.parsed.query(value).all())
    }

    /// Returns where the parts are, as paths that name one node each.
    pub fn places(&self, value: &Value) -> Vec<String> {
        let located = self.parsed.query_located(value);
        located.locations().map(ToString::to_string).collect()
    }

    fn check(&self, value: &Value) -> Result<(), Problem> {
        let (nodes, depth) = size(value);
        let Cost { lists, descents, conditions } = self.cost;
        let steps = nodes
            .saturating_mul(lists)
            .saturating_mul(conditions)
            .saturating_mul(depth.saturating_pow(descents));
        if steps <= STEPS_MAX {
            return Ok(());
        }
        let problem = format!(
            "it would take up to {steps} steps on these {nodes} nodes; use fewer `..`, conditions and \
             lists in brackets, or `regex`"
        );
        Err(refusal(&problem))
    }
}

fn refusal(problem: &str) -> Problem {
    let message = format!(
        "The path cannot be used: {problem}. It is RFC 9535 without `match` and `search`, for example \
         `$.items[0].name`, `$..id` or `$.items[?@.open == true].id`."
    );
    refused(kind::BAD_PATH, message)
}

impl Cost {
    /// Reckons what a path costs from its text alone, so that the parser is not asked about what it
    /// would be long in parsing.
    fn of(path: &str) -> Result<Self, String> {
        let mut cost = Self { lists: 1, descents: 0, conditions: 1 };
        let mut quote = None;
        // The members of each open bracket's list; none for a parenthesis.
        let mut open: Vec<Option<u64>> = Vec::new();
        let mut nested = 0;
        let bytes = path.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match (quote, byte) {
                (Some(_), b'\\') => at += 1,
                (Some(open), byte) if open == *byte => quote = None,
                (None, b'\'' | b'"') => quote = Some(*byte),
                (None, b'[') => open.push(Some(1)),
                (None, b'(') => open.push(None),
                (None, b',') => {
                    if let Some(Some(members)) = open.last_mut() {
                        *members += 1;
                    }
                }
                (None, b']' | b')') => {
                    if let Some(Some(members)) = open.pop() {
                        cost.lists = cost.lists.saturating_mul(members);
                    }
                }
                (None, b'?') => {
                    cost.conditions += 1;
                    nested += 1;
                }
                (None, b'&' | b'|') => cost.conditions += 1,
                (None, b'.') if bytes.get(at) == Some(&b'.') => {
                    cost.descents += 1;
                    at += 1;
                }
                (None, b'$') if at > 1 => {
                    return Err("within a condition only `@` may be looked at, not `$`".to_owned());
                }
                (Some(_) | None, _) => {}
            }
            if open.len() > NESTING_MAX || nested > NESTING_MAX {
                return Err(format!(
                    "it nests deeper than {NESTING_MAX} levels, or has more conditions than that"
                ));
            }
        }
        Ok(cost)
    }
}

/// Returns how many nodes a value has, and how deep it nests.
fn size(value: &Value) -> (u64, u64) {
    let join = |(nodes, depth): (u64, u64), value: &Value| {
        let (n, d) = size(value);
        (nodes + n, depth.max(d + 1))
    };
    match value {
        Value::Array(items) => items.iter().fold((1, 1), join),
        Value::Object(members) => members.values().fold((1, 1), join),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (1, 1),
    }
}

/// Returns the JSON of a result: its structured part if it has one, else its text.
pub(super) fn json(pieces: &[Content]) -> Option<Value> {
    let structured = pieces.iter().rev().find_map(|piece| match piece {
        Content::Json(value) => Some(value.clone()),
        Content::Text(_) | Content::Image(_) => None,
    });
    structured.or_else(|| {
        let texts = pieces.iter().filter_map(|piece| match piece {
            Content::Text(text) => Some(text.as_str()),
            Content::Json(_) | Content::Image(_) => None,
        });
        texts.rev().find_map(json_of_text)
    })
}

/// Reads a text that is JSON, or whose last line is: that is where the structured part stands of a
/// result that was kept as text.
fn json_of_text(text: &str) -> Option<Value> {
    if text.len() > JSON_BYTES_MAX {
        return None;
    }
    let last = || text.trim_end().rsplit('\n').next().filter(|line| line.starts_with(['{', '[']));
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(last()?).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(path: &str, value: &Value) -> Result<Vec<Value>, Problem> {
        Ok(Path::parse(path)?.parts(value)?.into_iter().cloned().collect())
    }

    #[test]
    fn a_path_names_parts() {
        let value = json!({"items": [{"id": 1, "open": true}, {"id": 2}], "ä b": {"id": 3}});
        for (path, expected) in [
            ("$.items[0].id", json!([1])),
            ("$.items[?@.open == true].id", json!([1])),
            ("$..id", json!([1, 2, 3])),
            ("$['ä b']['id', 'no']", json!([3])),
            ("$.items[?length(@) > 1 && !@.no][*]", json!([1, true])),
            ("$.items[-1:].id", json!([2])),
            ("$.nothing", json!([])),
        ] {
            assert_eq!(json!(parts(path, &value).unwrap()), expected, "{path}");
        }
    }

    #[test]
    fn a_path_that_is_none_or_would_take_too_long_is_refused() {
        let value = json!({"a": vec![vec![0; 9]; 2], "b": vec![json!({"c": [1, 2]}); 500]});
        for path in [
            String::new(),
            "items".to_owned(),
            "$.a[".to_owned(),
            "$[?search(@.a, '(x+x+)+y')]".to_owned(),
            "$[?@.a == $.b]".to_owned(),
            format!("${}", "[0,0]".repeat(60)),
            format!("${}", "..*".repeat(60)),
            format!("$[?{}", "(".repeat(300)),
            format!("$[?@{}", "[?@".repeat(100)),
            format!("$[?count({}", "@[?count(".repeat(40)),
            format!("$[?{}@.a", "!".repeat(300)),
        ] {
            let problem = parts(&path, &value).expect_err(&path);
            assert!(matches!(problem, Problem::Refused { kind: kind::BAD_PATH, .. }), "{path}");
        }
        // What looks like it within a name is a name.
        assert_eq!(parts("$['a,[(..?$']", &json!({"a,[(..?$": 1})).unwrap(), [json!(1)]);
    }

    #[test]
    fn the_structured_part_of_a_kept_text_is_found() {
        let text = |text: &str| json(&[Content::Text(text.to_owned())]);
        assert_eq!(text("{\"a\":1}"), Some(json!({"a": 1})));
        assert_eq!(text("Found one.\n{\"a\":1}\n"), Some(json!({"a": 1})));
        assert_eq!(text("{\"a\":1}\n{\"a\":2}"), Some(json!({"a": 2})));
        assert_eq!(text("no"), None);
        assert_eq!(json(&[Content::Text("7".into()), Content::Json(json!([1]))]), Some(json!([1])));
    }
}
