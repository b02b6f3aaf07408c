//! The review itself: every rule over every tool, and what the project accepts.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use crate::catalogue::{Allowed, Catalogue, ToolEntry};
use crate::finding::{Counts, Finding};
use crate::rule::Rule;
use crate::rules;

/// What a review found.
#[derive(Debug, Clone, Default)]
pub struct LintReport {
    /// By agent and tool, the worst first.
    pub findings: Vec<Finding>,
    /// What the project accepts, with its reasons.
    pub suppressed: Vec<Suppressed>,
    /// How many tools were looked at.
    pub tools: usize,
}

/// A finding that the project accepts.
#[derive(Debug, Clone, Serialize)]
pub struct Suppressed {
    pub finding: Finding,
    pub reason: String,
}

impl LintReport {
    pub fn counts(&self) -> Counts {
        Counts::of(&self.findings)
    }
}

/// Reviews the tools of a catalogue.
pub fn lint(catalogue: &Catalogue) -> LintReport {
    let mut all = Vec::new();
    for tool in &catalogue.tools {
        let mut found = Vec::new();
        rules::wording::check(tool, &mut found);
        rules::poison::check(tool, &mut found);
        rules::parameters::check(tool, &mut found);
        rules::quantities::check(tool, &mut found);
        rules::schema::check(tool, &mut found);
        rules::contract::check(tool, &mut found);
        rules::blast::check(tool, &mut found);
        for mut finding in found {
            finding.tool = Some(tool.name.clone());
            finding.place = finding.place.or_else(|| tool.place.clone());
            all.push(finding);
        }
    }
    rules::names::check(catalogue, &mut all);
    rules::poison::check_others(catalogue, &mut all);
    rules::overlap::check(catalogue, &mut all);
    rules::amount::check(catalogue, &mut all);
    rules::contract::check_groups(catalogue, &mut all);
    rules::context::check(catalogue, &mut all);
    rules::blast::check_agents(catalogue, &mut all);
    rules::names::check_absent(catalogue, &mut all);
    let (mut findings, mut suppressed) = accept(catalogue, all);
    findings.sort_by(|a, b| a.order().cmp(&b.order()));
    suppressed.sort_by(|a, b| a.finding.order().cmp(&b.finding.order()));
    LintReport { findings, suppressed, tools: catalogue.tools.len() }
}

/// Parts what the project accepts from the rest, and finds exceptions that nothing needs.
fn accept(catalogue: &Catalogue, all: Vec<Finding>) -> (Vec<Finding>, Vec<Suppressed>) {
    let mut findings = Vec::new();
    let mut suppressed = Vec::new();
    // Whose exceptions were needed: a tool's by its name, the project's without one.
    let mut needed: BTreeSet<(Option<&str>, Rule)> = BTreeSet::new();
    let by_name: std::collections::BTreeMap<&str, &ToolEntry> =
        catalogue.tools.iter().map(|tool| (tool.name.as_str(), tool)).collect();
    for finding in all {
        let about = finding.tool.iter().chain(&finding.others);
        let own = about
            .filter_map(|name| by_name.get(name.as_str()))
            .find_map(|tool| Some((Some(tool.name.as_str()), tool.allow.get(&finding.rule)?)));
        let common = catalogue.settings.allow.get(&finding.rule).map(|allowed| (None, allowed));
        match own.or(common) {
            Some((whose, Allowed { reason, .. })) => {
                needed.insert((whose, finding.rule));
                suppressed.push(Suppressed { finding, reason: reason.clone() });
            }
            None => findings.push(finding),
        }
    }
    let unused = |whose: Option<&str>, rule: Rule, allowed: &Allowed| {
        (!needed.contains(&(whose, rule))).then(|| {
            let mut finding = Finding::new(
                Rule::AllowUnused,
                format!("`{}` is allowed, and nothing of that kind is found", rule.id()),
                "remove the exception: it would hide the next one",
            );
            finding.tool = whose.map(str::to_owned);
            finding.place.clone_from(&allowed.place);
            finding
        })
    };
    for (rule, allowed) in &catalogue.settings.allow {
        findings.extend(unused(None, *rule, allowed));
    }
    for tool in &catalogue.tools {
        for (rule, allowed) in &tool.allow {
            findings.extend(unused(Some(&tool.name), *rule, allowed));
        }
    }
    (findings, suppressed)
}

/// Returns what a tool costs with every model call, in tokens, by estimate: a token is four bytes
/// of JSON, which for English text and JSON is within a fifth of what tokenizers count.
pub fn tool_tokens(tool: &ToolEntry) -> u64 {
    let declared = json!({
        "name": tool.name, "description": tool.description, "input_schema": tool.input_schema,
    });
    (declared.to_string().len() as u64).div_ceil(4)
}
