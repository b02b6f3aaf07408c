//! What the project declares of a tool, and what it leaves open.

use prusik_core::contract::EffectClass;

use crate::catalogue::{Catalogue, ToolEntry};
use crate::finding::{Finding, Severity};
use crate::rule::Rule;
use crate::words;

pub(crate) fn check(tool: &ToolEntry, found: &mut Vec<Finding>) {
    if !tool.is_declared("effect") {
        undeclared(tool, found);
        return;
    }
    let contract = &tool.contract;
    let mut push = |rule: Rule, key: &str, message: String, help: &str| {
        let mut finding = Finding::new(rule, message, help).at(format!("/contract/{key}"));
        finding.place = tool.place_of(key);
        found.push(finding);
    };
    match contract.effect {
        EffectClass::Read => {}
        EffectClass::Idempotent => {
            if !tool.is_declared("key") {
                let message = "it is idempotent, and nobody says by which key: two calls with the \
                               same arguments are taken for one";
                let help = "add `key: { argument: NAME }` or `key: { meta: NAME }`; or `key: call`, \
                            if equal arguments do mean one call";
                push(Rule::KeyUndeclared, "effect", message.to_owned(), help);
            }
        }
        EffectClass::Write => {
            if contract.probe.is_none() {
                let message = "it is a write without a probe: after a crash in the middle of a \
                               call the run waits for a person";
                let help = "name a read that tells whether it landed: `probe: { tool, arguments, \
                            landed }`; or give it a key and make it idempotent";
                push(Rule::ProbeMissing, "effect", message.to_owned(), help);
            }
            if contract.undo.is_none() {
                let message = "it is a write that nothing undoes";
                let help = "name the call that reverses it: `undo: { tool, arguments }`; or allow \
                            this, with the reason why there is none";
                push(Rule::UndoMissing, "effect", message.to_owned(), help);
            }
        }
    }
    if contract.failures.is_empty() {
        let message =
            "it declares no failures: every error reads `tool_error`, and none is retried";
        let help = "name the kinds that it reports: `failures: { KIND: { retry, tell, matches } }`";
        push(Rule::FailuresUndeclared, "effect", message.to_owned(), help);
    }
    if !tool.is_declared("timeout_ms") {
        let message = format!(
            "nobody says how long a call may take: {} ms are taken for it",
            contract.timeout_ms
        );
        let help = "add `timeout_ms`: a little more than its slowest good answer";
        push(Rule::TimeoutUndeclared, "effect", message, help);
    }
    doubtful(tool, found);
}

/// Finds groups in which a commit makes several calls that nothing takes back: if one fails, those
/// before it stay.
pub(crate) fn check_groups(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    for group in &catalogue.groups {
        let members = catalogue.tools.iter().filter(|tool| group.tools.contains(&tool.name));
        let stays = members.filter(|tool| {
            tool.contract.effect != EffectClass::Read && tool.contract.undo.is_none()
        });
        let mut stays: Vec<String> = stays.map(|tool| tool.name.clone()).collect();
        if stays.len() < 2 {
            continue;
        }
        let message = format!(
            "the group `{}` holds {} tools without an undo ({}): if the commit of one fails, what it \
             made before stays",
            group.name,
            stays.len(),
            stays.join(", ")
        );
        let help = "name what undoes them (`undo: { tool, arguments }`), or leave all but one of them \
                    out of the group";
        let mut finding = Finding::new(Rule::GroupInPart, message, help);
        finding.tool = Some(stays.remove(0));
        finding.others = stays;
        finding.place.clone_from(&group.place);
        found.push(finding);
    }
}

fn undeclared(tool: &ToolEntry, found: &mut Vec<Finding>) {
    let message = "nobody says what it does to the world: it is taken for a write that cannot be \
                   repeated, asked about or undone, with no declared failures";
    let said = |key: &str| tool.hints.as_ref().is_some_and(|hints| hints[key] == true);
    let hint = if said("readOnlyHint") {
        " (its server says that it only reads; find out whether that is true)"
    } else if said("idempotentHint") {
        " (its server says that it may be repeated; find out how)"
    } else {
        ""
    };
    let help = format!("declare `effect` under `tools: {}:` in prusik.yaml{hint}", tool.name);
    found.push(Finding::new(Rule::EffectUndeclared, message, help).at("/contract/effect"));
}

/// Finds a declared effect that the tool's name or its server contradicts.
fn doubtful(tool: &ToolEntry, found: &mut Vec<Finding>) {
    let hint = |key: &str| tool.hints.as_ref().and_then(|hints| hints[key].as_bool());
    let is_server = tool.server.is_some();
    let (message, severity) = match tool.contract.effect {
        EffectClass::Read if hint("readOnlyHint") == Some(false) => (
            "it is declared a read, and its server says that it changes something",
            Severity::Warning,
        ),
        EffectClass::Read
            if hint("destructiveHint") == Some(true) && hint("readOnlyHint").is_none() =>
        {
            (
                "it is declared a read, and its server says that it destroys something",
                Severity::Warning,
            )
        }
        EffectClass::Read if is_server && words::names_a_change(tool.own_name()) => (
            "it is declared a read, and its name says that it changes something",
            Severity::Warning,
        ),
        EffectClass::Idempotent
            if hint("idempotentHint") == Some(false) && !tool.is_declared("key") =>
        {
            (
                "it is declared idempotent without a key, and its server says that repeats count",
                Severity::Warning,
            )
        }
        EffectClass::Write if hint("readOnlyHint") == Some(true) => {
            ("it is declared a write, and its server says that it only reads", Severity::Note)
        }
        EffectClass::Read | EffectClass::Idempotent | EffectClass::Write => return,
    };
    let help = "find out which is true; a read may be repeated at any time, so a wrong `read` does \
                things twice";
    let mut finding = Finding::new(Rule::EffectDoubtful, message, help).with_severity(severity);
    "/contract/effect".clone_into(&mut finding.at);
    finding.place = tool.place_of("effect");
    found.push(finding);
}
