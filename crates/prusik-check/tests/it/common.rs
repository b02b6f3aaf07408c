//! Tools to be reviewed.

use std::collections::BTreeMap;

use prusik_check::{Catalogue, Finding, ToolEntry, lint};
use prusik_core::contract::{Contract, EffectClass};
use serde_json::{Value, json};

/// Returns a tool of the server `s` against which nothing can be said but what `properties` bring:
/// a read whose contract is whole.
pub fn tool(name: &str, description: &str, properties: &Value) -> ToolEntry {
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    let mut contract = Contract::of(EffectClass::Read);
    contract.failures.insert("busy".to_owned(), prusik_core::contract::FailureTerm::default());
    ToolEntry {
        name: format!("s__{name}"),
        server: Some("s".to_owned()),
        description: description.to_owned(),
        input_schema: json!({"type": "object", "properties": properties, "required": required,
                             "additionalProperties": false}),
        output_schema: Some(json!({"type": "object"})),
        hints: None,
        contract,
        declared: ["effect", "timeout_ms", "failures"].map(|key| (key.to_owned(), None)).into(),
        place: None,
        allow: BTreeMap::new(),
    }
}

pub fn catalogue(tools: Vec<ToolEntry>) -> Catalogue {
    Catalogue { tools, ..Catalogue::default() }
}

/// Returns what is found as (rule, tool, at).
pub fn found(catalogue: &Catalogue) -> Vec<(&'static str, String, String)> {
    let of = |finding: Finding| {
        let about = finding.tool.or(finding.agent).unwrap_or_default();
        (finding.rule.id(), about, finding.at)
    };
    lint(catalogue).findings.into_iter().map(of).collect()
}
