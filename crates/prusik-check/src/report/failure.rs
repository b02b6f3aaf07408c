//! Question one: what can fail at each tool, who is told what, and what a crash leads to.
//!
//! What is said here is what the run's core does; the words follow `prusik_core::run`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use prusik_core::agent::{Agent, Tool};
use prusik_core::contract::{Contract, EffectClass, KeyPlace};

use super::{AgentReport, Fact, Question, Section, ToolFacts};
use crate::finding::Finding;
use crate::lint::LintReport;
use crate::rule::Rule;

/// The rules whose findings leave a part of the question open.
const RULES: [Rule; 10] = [
    Rule::ToolLeftOut,
    Rule::ContractWithoutTool,
    Rule::EffectUndeclared,
    Rule::EffectDoubtful,
    Rule::KeyUndeclared,
    Rule::ProbeMissing,
    Rule::UndoMissing,
    Rule::FailuresUndeclared,
    Rule::TimeoutUndeclared,
    Rule::GroupInPart,
];

/// Answers the question for these agents. `lint` is the review of the tools that they hold.
pub fn failures(agents: &[Agent], lint: &LintReport) -> Section {
    let held: BTreeSet<&str> =
        agents.iter().flat_map(|agent| agent.tools.iter().map(|tool| tool.name.as_str())).collect();
    let concerns = |finding: &Finding| {
        let is_held = finding.tool.as_deref().is_some_and(|tool| held.contains(tool));
        let is_absent = matches!(finding.rule, Rule::ToolLeftOut | Rule::ContractWithoutTool);
        RULES.contains(&finding.rule) && (is_held || is_absent)
    };
    let mut holders: BTreeMap<&str, usize> = BTreeMap::new();
    for tool in agents.iter().flat_map(|agent| &agent.tools) {
        *holders.entry(&tool.name).or_default() += 1;
    }
    let holders = |finding: &Finding| {
        finding.tool.as_deref().and_then(|name| holders.get(name)).copied().unwrap_or(0)
    };
    let mut findings: Vec<Finding> =
        lint.findings.iter().filter(|finding| concerns(finding)).cloned().collect();
    findings.sort_by(|a, b| {
        let rank = |f: &Finding| (Reverse(f.severity), f.rule, Reverse(holders(f)));
        rank(a).cmp(&rank(b)).then_with(|| a.tool.cmp(&b.tool))
    });
    let suppressed = lint.suppressed.iter().filter(|s| concerns(&s.finding)).cloned().collect();
    let agents = agents
        .iter()
        .map(|agent| AgentReport {
            agent: agent.name.clone(),
            facts: Vec::new(),
            tools: agent.tools.iter().map(|tool| facts(agent, tool)).collect(),
            blast: None,
        })
        .collect();
    Section { question: Question::Failure, agents, findings, suppressed }
}

fn facts(agent: &Agent, tool: &Tool) -> ToolFacts {
    let contract = &tool.contract;
    ToolFacts {
        tool: tool.name.clone(),
        effect: contract.effect.as_str(),
        shown: tool.shown,
        needs_person: needs_person(contract),
        facts: [
            ("effect", effect(tool)),
            ("can fail", can_fail(tool)),
            ("the model is told", told(contract)),
            ("retried", retried(contract)),
            ("after a crash", crashed(contract)),
            ("undone by", undone(contract)),
        ]
        .into_iter()
        .chain(grouped(agent, tool).map(|text| ("in a group", text)))
        .map(|(about, text)| Fact { about, text })
        .collect(),
    }
}

/// Returns what its group means for a tool that the model may call.
fn grouped(agent: &Agent, tool: &Tool) -> Option<String> {
    let group = agent.group_of(&tool.name).filter(|_| tool.shown)?;
    let others: Vec<String> = group
        .tools
        .iter()
        .filter(|name| **name != tool.name)
        .map(|name| format!("`{name}`"))
        .collect();
    let with =
        if others.is_empty() { String::new() } else { format!(" with {}", others.join(", ")) };
    Some(match &tool.contract.undo {
        Some(undo) => format!(
            "`{}`{with}: made at once, and undone by `{}` unless the group is committed",
            group.name, undo.tool
        ),
        None => format!(
            "`{}`{with}: it waits until the group is committed, because nothing undoes it",
            group.name
        ),
    })
}

/// A read is simply made again. An idempotent call may use up its tries, and then only a probe
/// saves a person the question.
fn needs_person(contract: &Contract) -> bool {
    match contract.effect {
        EffectClass::Read => false,
        EffectClass::Idempotent | EffectClass::Write => contract.probe.is_none(),
    }
}

fn effect(tool: &Tool) -> String {
    let what = match tool.contract.effect {
        EffectClass::Read => "read: changes nothing".to_owned(),
        EffectClass::Idempotent => format!("idempotent: {}", key(&tool.contract)),
        EffectClass::Write => "write: may not be repeated".to_owned(),
    };
    if tool.shown {
        what
    } else {
        format!("{what}; held for a probe or an undo, not shown to the model")
    }
}

fn key(contract: &Contract) -> String {
    match &contract.key {
        Some(KeyPlace::Argument(name)) => {
            format!("the key of a call travels in the argument `{name}`")
        }
        Some(KeyPlace::Meta(name)) => format!("the key of a call travels in `_meta` as `{name}`"),
        Some(KeyPlace::Call) | None => "equal arguments are the same call".to_owned(),
    }
}

fn can_fail(tool: &Tool) -> String {
    let contract = &tool.contract;
    let mut kinds: Vec<String> = contract.failures.keys().map(|kind| format!("`{kind}`")).collect();
    if kinds.is_empty() {
        kinds.push("whatever it reports, as `tool_error`".to_owned());
    } else {
        kinds.push("anything else, as `tool_error`".to_owned());
    }
    // A built-in tool has no server.
    kinds.extend(tool.name.contains("__").then(|| "a server that cannot be reached".to_owned()));
    kinds.push(format!("no answer within {} ms", contract.timeout_ms));
    kinds.join(", ")
}

fn told(contract: &Contract) -> String {
    let advised: Vec<String> = contract
        .failures
        .iter()
        .filter_map(|(kind, term)| Some(format!("on `{kind}`: {}", term.tell.as_ref()?)))
        .collect();
    let base = "the kind, the tool's words, and whether trying again can help";
    std::iter::once(base.to_owned()).chain(advised).collect::<Vec<_>>().join("\n")
}

fn retried(contract: &Contract) -> String {
    let tries = contract.retry.attempts_max;
    if tries <= 1 {
        return "nothing: it is tried once".to_owned();
    }
    let mut what = vec!["what was never sent (safe: it did not begin)".to_owned()];
    let kinds: Vec<String> = contract
        .failures
        .iter()
        .filter(|(_, term)| term.retry)
        .map(|(kind, _)| format!("`{kind}`"))
        .collect();
    if !kinds.is_empty() {
        what.push(format!("{} (safe: a declared failure did not land)", kinds.join(", ")));
    }
    match contract.effect {
        EffectClass::Read => what.push("a lost answer (safe: it changes nothing)".to_owned()),
        EffectClass::Idempotent => {
            what.push(
                "a lost answer, with the same key (safe if the tool keeps its word)".to_owned(),
            );
        }
        EffectClass::Write => {}
    }
    format!("{}; {tries} tries at most", what.join(", "))
}

fn crashed(contract: &Contract) -> String {
    let asked = contract.probe.as_ref().map(|probe| {
        format!(
            "after {} ms the probe `{}` is asked: if it landed its result is taken over, if not it \
             is made",
            probe.wait_ms, probe.tool
        )
    });
    match (contract.effect, asked) {
        (EffectClass::Read, _) => "made again".to_owned(),
        (EffectClass::Idempotent, None) => {
            "made again with the same key; in doubt, and a person's to settle, once the tries are \
             used up"
                .to_owned()
        }
        (EffectClass::Idempotent, Some(asked)) => {
            format!("made again with the same key; once the tries are used up, {asked}")
        }
        (EffectClass::Write, Some(asked)) => {
            format!("{asked}; a person is asked only if the probe gives no clear answer")
        }
        (EffectClass::Write, None) => {
            "the run parks, and a person says whether it landed (`prusik settle`)".to_owned()
        }
    }
}

fn undone(contract: &Contract) -> String {
    match (&contract.undo, contract.effect) {
        (Some(undo), _) => {
            format!("`{}`, when the run is compensated", undo.tool)
        }
        (None, EffectClass::Read) => "there is nothing to undo".to_owned(),
        (None, EffectClass::Idempotent | EffectClass::Write) => {
            "nothing: what it did stays done".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use prusik_core::agent::{Group, Limits};
    use prusik_core::contract::{FailureTerm, Undo};
    use serde_json::json;

    use super::*;

    fn tool(contract: Contract) -> Tool {
        Tool {
            name: "bank__pay".to_owned(),
            description: "Pays.".to_owned(),
            input_schema: json!({"type": "object"}),
            output_schema: None,
            contract,
            shown: true,
        }
    }

    fn agent(groups: Vec<Group>) -> Agent {
        let model = json!({"alias": "m", "model": "m", "max_tokens": 100});
        let agent = json!({
            "name": "clerk", "system": "", "tools": [], "limits": Limits::default(), "model": model,
        });
        Agent { groups, ..serde_json::from_value(agent).unwrap() }
    }

    fn answer(contract: Contract, about: &str) -> String {
        let tool = tool(contract);
        let facts = facts(&agent(Vec::new()), &tool).facts;
        facts.into_iter().find(|fact| fact.about == about).unwrap().text
    }

    #[test]
    fn a_group_says_what_waits_and_what_is_undone() {
        let tools = ["bank__pay", "mail__send"].map(str::to_owned).into();
        let agent = agent(vec![Group { name: "order".to_owned(), tools }]);
        let mut pay = tool(Contract::of(EffectClass::Write));
        assert!(grouped(&agent, &pay).unwrap().contains("`order` with `mail__send`: it waits"));
        let arguments = BTreeMap::new();
        pay.contract.undo = Some(Undo { tool: "bank__recall".to_owned(), arguments });
        assert!(grouped(&agent, &pay).unwrap().contains("undone by `bank__recall` unless"));
        pay.name = "bank__find".to_owned();
        assert_eq!(grouped(&agent, &pay), None);
    }

    #[test]
    fn the_worst_instant_is_answered_by_the_effect() {
        let of = Contract::of;
        assert_eq!(answer(of(EffectClass::Read), "after a crash"), "made again");
        assert!(answer(of(EffectClass::Idempotent), "after a crash").contains("same key"));
        assert!(answer(of(EffectClass::Write), "after a crash").contains("the run parks"));
        assert!(needs_person(&of(EffectClass::Write)) && !needs_person(&of(EffectClass::Read)));
        let write = of(EffectClass::Write);
        assert!(!answer(write.clone(), "retried").contains("lost answer"));
        assert!(answer(write, "undone by").starts_with("nothing"));
    }

    #[test]
    fn what_is_declared_is_told() {
        let mut contract = Contract::of(EffectClass::Write);
        contract.failures.insert(
            "busy".to_owned(),
            FailureTerm { retry: true, tell: Some("Wait.".to_owned()), ..FailureTerm::default() },
        );
        contract.undo = Some(Undo {
            tool: "bank__recall".to_owned(),
            arguments: std::collections::BTreeMap::new(),
        });
        assert!(answer(contract.clone(), "can fail").starts_with("`busy`, anything else"));
        assert!(answer(contract.clone(), "the model is told").ends_with("on `busy`: Wait."));
        assert!(answer(contract.clone(), "retried").contains("`busy` (safe"));
        assert!(answer(contract.clone(), "undone by").contains("`bank__recall`"));
        contract.retry.attempts_max = 1;
        assert!(answer(contract, "retried").starts_with("nothing"));
    }
}
