//! Question two: what is always in an agent's context, what leaves it when, and what survives that.
//!
//! What is said here is what the run's core does; the words follow `prusik_core::run`.

use std::collections::BTreeSet;

use prusik_core::agent::Agent;

use super::{AgentReport, Fact, Question, Section};
use crate::catalogue::AgentContext;
use crate::lint::LintReport;
use crate::rule::Rule;

/// The rules whose findings leave a part of the question open.
const RULES: [Rule; 4] =
    [Rule::ContextTooSmall, Rule::DecisionsInProse, Rule::OutputUnrecorded, Rule::ResultCut];

/// Answers the question for these agents. `lint` is the review of the tools that they hold.
pub fn contexts(agents: &[Agent], lint: &LintReport) -> Section {
    let names: BTreeSet<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    let concerns = |finding: &crate::finding::Finding| {
        let is_here = finding.agent.as_deref().is_some_and(|agent| names.contains(agent));
        RULES.contains(&finding.rule) && is_here
    };
    Section {
        question: Question::Context,
        agents: agents.iter().map(report).collect(),
        findings: lint.findings.iter().filter(|finding| concerns(finding)).cloned().collect(),
        suppressed: lint.suppressed.iter().filter(|s| concerns(&s.finding)).cloned().collect(),
    }
}

fn report(agent: &Agent) -> AgentReport {
    let facts = match AgentContext::of(agent) {
        None => vec![Fact {
            about: "window",
            text: "unknown: it was defined without one, so nothing is compacted".to_owned(),
        }],
        Some(context) => facts(agent, &context),
    };
    AgentReport { agent: agent.name.clone(), facts, tools: Vec::new(), blast: None }
}

fn facts(agent: &Agent, context: &AgentContext) -> Vec<Fact> {
    let policy = &context.policy;
    let room = policy.room_tokens();
    let summarizer = policy.summary_model.as_ref().unwrap_or(&agent.model);
    let calls = context.results.len();
    let worst: u64 = context.results.iter().map(|(_, bytes)| *bytes).sum();
    let ledger = if policy.record { "its model, people" } else { "people" };
    let contracts = agent.tools.iter().filter(|tool| !tool.contract.records.is_empty());
    let contracts: Vec<String> = contracts.map(|tool| format!("`{}`", tool.name)).collect();
    let recorders = if contracts.is_empty() {
        ledger.to_owned()
    } else {
        format!("{ledger}, the contract of {}", contracts.join(", "))
    };
    let said = [
        (
            "window",
            format!(
                "{} tokens, of which {} are kept for the answer",
                policy.window_tokens, policy.reserve_tokens
            ),
        ),
        (
            "always there",
            format!(
                "system prompt and tools, about {} tokens\nthe task, word for word\nthe ledger, word for \
                 word: {} entries from the start, at most {} bytes ({} tokens); written by {recorders}",
                context.prompt_tokens,
                agent.ledger.len(),
                policy.ledger_bytes_max,
                context.ledger_tokens
            ),
        ),
        (
            "made smaller",
            format!(
                "above {} tokens ({} %), to {}\nfirst old results become handles; then a summary by `{}` \
                 of at most {} bytes stands for old turns, or a list of what was called if there is none\n\
                 the newest turns stay as they are, up to {} tokens",
                context.compact_at_tokens(),
                policy.compact_at_percent,
                context.percent(policy.target_percent),
                summarizer.alias,
                policy.summary_bytes_max,
                context.percent(policy.keep_percent)
            ),
        ),
        (
            "worst turn",
            format!(
                "every tool called once, beside each other: {worst} bytes of results by {calls} contracts; \
                 they share {} bytes ({} tokens of {room}), and what has no room is cut and can be recalled",
                context.turn_bytes(),
                context.turn_bytes() / 3
            ),
        ),
        (
            "what survives",
            "the task, the ledger, what is open (groups, failures not made good, doubts) and the newest \
             turns as they are; of the rest a checked summary, and every word by `recall`"
                .to_owned(),
        ),
    ];
    said.into_iter().map(|(about, text)| Fact { about, text }).collect()
}

#[cfg(test)]
mod tests {
    use prusik_core::agent::{ContextPolicy, Limits};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agent_is_told_by_its_window() {
        let model = json!({"alias": "m", "model": "m", "max_tokens": 1000});
        let agent = json!({
            "name": "clerk", "system": "You are a clerk.", "tools": [],
            "limits": Limits::default(), "model": model,
        });
        let agent: Agent = serde_json::from_value(agent).unwrap();
        let old = report(&agent);
        assert!(old.facts[0].text.contains("nothing is compacted"), "{old:?}");
        let context = Some(ContextPolicy::of_window(20_000, 1_000));
        let told = report(&Agent { context, ..agent }).facts;
        let of = |about: &str| &told.iter().find(|fact| fact.about == about).unwrap().text;
        assert_eq!(of("window"), "20000 tokens, of which 1000 are kept for the answer");
        assert!(of("made smaller").starts_with("above 15200 tokens (80 %), to 9500"));
        assert!(of("always there").contains("written by its model, people"));
    }
}
