//! SARIF 2.1.0, the format that code hosts show findings from.
//!
//! Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020.

use prusik_core::ids::Digest;
use serde_json::{Value, json};

use crate::catalogue::Place;
use crate::finding::{Finding, Severity};
use crate::lint::Suppressed;
use crate::rule::Rule;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const HOME: &str = "https://github.com/prusik-rs/prusik";

/// What was checked, for the file's head.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    pub version: &'a str,
    pub findings: &'a [Finding],
    pub suppressed: &'a [Suppressed],
    /// What could not be looked at, such as a server that does not answer.
    pub problems: &'a [String],
    /// The file that stands for what has no place of its own.
    pub default_file: &'a str,
}

/// Returns the findings as a SARIF log.
pub fn sarif(checked: &Checked<'_>) -> Value {
    let rules: Vec<Value> = Rule::all().map(rule).collect();
    let own = checked.findings.iter().map(|finding| result(finding, None, checked.default_file));
    let accepted = checked
        .suppressed
        .iter()
        .map(|s| result(&s.finding, Some(&s.reason), checked.default_file));
    let results: Vec<Value> = own.chain(accepted).collect();
    let notifications: Vec<Value> = checked
        .problems
        .iter()
        .map(|text| json!({"level": "error", "message": {"text": without_links(text)}}))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "prusik",
                "semanticVersion": checked.version,
                "informationUri": HOME,
                "rules": rules,
            }},
            "invocations": [{
                "executionSuccessful": checked.problems.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(rule: Rule) -> Value {
    json!({
        "id": rule.id(),
        "shortDescription": {"text": rule.title()},
        "help": {"text": rule.explained(), "markdown": rule.explained()},
        "helpUri": format!("{HOME}/blob/main/docs/src/{}", rule.page()),
        "defaultConfiguration": {"level": level(rule.severity())},
    })
}

fn level(severity: Severity) -> &'static str {
    severity.as_str()
}

fn result(finding: &Finding, accepted: Option<&str>, default_file: &str) -> Value {
    let about = finding.tool.as_ref().or(finding.agent.as_ref());
    let name = about.map_or(String::new(), |name| format!("`{name}`: "));
    let text = format!("{name}{}. {}.", finding.message, capital(&finding.help));
    let text = without_links(&text);
    let (file, region) = match &finding.place {
        Some(Place { file, line, column }) => {
            (file.as_str(), json!({"startLine": line, "startColumn": column}))
        }
        None => (default_file, json!({"startLine": 1})),
    };
    let kind = if finding.tool.is_some() { "function" } else { "module" };
    let logical: Vec<Value> = about
        .map(|name| {
            let whole = format!("{name}{}", finding.at);
            json!({"name": name, "fullyQualifiedName": whole, "kind": kind})
        })
        .into_iter()
        .collect();
    let parts =
        [finding.rule.id(), about.map_or("", String::as_str), &finding.at, &finding.message];
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let mut result = json!({
        "ruleId": finding.rule.id(),
        "ruleIndex": finding.rule as usize,
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(file), "uriBaseId": "%SRCROOT%"},
                "region": region,
            },
            "logicalLocations": logical,
        }],
        "partialFingerprints": {"prusik/v1": Digest::of_parts(&parts).to_string()},
    });
    if let Some(reason) = accepted {
        result["suppressions"] = json!([{"kind": "inSource", "justification": reason}]);
    }
    result
}

/// Returns a path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                uri.push(char::from(byte));
            }
            b'\\' => uri.push('/'),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// Returns a text in which nothing is a link (SARIF 2.1.0, 3.11.6): it quotes what servers say, and a
/// viewer would show `[text](address)` as one of ours.
fn without_links(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '\\' | '[' | ']') {
            plain.push('\\');
        }
        plain.push(char);
    }
    plain
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
