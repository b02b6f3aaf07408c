//! How much is put before a model: the number of an agent's tools, and what they cost.

use std::collections::BTreeMap;

use crate::catalogue::{AgentEntry, Catalogue, Provider};
use crate::finding::{Finding, Severity};
use crate::lint::tool_tokens;
use crate::rule::Rule;

/// Most tools that OpenAI takes in one request.
const OPENAI_TOOLS_MAX: usize = 128;
/// Model calls that a run of an agent with tools makes, at least, for a token budget to make sense.
const CALLS: u64 = 10;

pub(crate) fn check(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    let tokens: BTreeMap<&str, u64> =
        catalogue.tools.iter().map(|tool| (tool.name.as_str(), tool_tokens(tool))).collect();
    for agent in &catalogue.agents {
        let mut own = Vec::new();
        number(catalogue, agent, &mut own);
        cost(catalogue, agent, &tokens, &mut own);
        for mut finding in own {
            finding.agent = Some(agent.name.clone());
            finding.place.clone_from(&agent.place);
            found.push(finding);
        }
    }
}

fn number(catalogue: &Catalogue, agent: &AgentEntry, found: &mut Vec<Finding>) {
    let count = agent.tools.len();
    let help = "name the tools that it needs instead of a whole server's, or part the agent in two";
    if agent.provider == Provider::OpenAi && count > OPENAI_TOOLS_MAX {
        let message = format!("it holds {count} tools; OpenAI takes {OPENAI_TOOLS_MAX}");
        let finding = Finding::new(Rule::TooManyTools, message, help);
        found.push(finding.with_severity(Severity::Error));
    } else if count > catalogue.settings.tools_max {
        let message = format!(
            "it holds {count} tools; above {} a model chooses badly",
            catalogue.settings.tools_max
        );
        found.push(Finding::new(Rule::TooManyTools, message, help));
    }
}

fn cost(
    catalogue: &Catalogue,
    agent: &AgentEntry,
    tokens: &BTreeMap<&str, u64>,
    found: &mut Vec<Finding>,
) {
    let of = |name: &String| tokens.get(name.as_str()).copied().unwrap_or(0);
    let sum: u64 = agent.tools.iter().map(of).sum();
    let mut largest: Vec<(&String, u64)> = agent.tools.iter().map(|n| (n, of(n))).collect();
    largest.sort_by_key(|(name, tokens)| (std::cmp::Reverse(*tokens), *name));
    let largest: Vec<String> =
        largest.iter().take(3).map(|(name, tokens)| format!("`{name}` {tokens}")).collect();
    let help = format!("leave out what it does not need; the largest are {}", largest.join(", "));
    let calls = agent.turns.map_or(CALLS, |turns| turns.min(CALLS));
    if sum > catalogue.settings.tool_tokens_max {
        let message = format!(
            "its tools cost about {sum} tokens with every model call; the limit is {}",
            catalogue.settings.tool_tokens_max
        );
        found.push(Finding::new(Rule::TooManyToolTokens, message, help));
    } else if let Some(budget) = agent.tokens.filter(|budget| sum.saturating_mul(calls) > *budget) {
        let message = format!(
            "its tools cost about {sum} tokens with every model call: {calls} calls use up the \
             budget of {budget} with nothing else in them"
        );
        found.push(Finding::new(Rule::TooManyToolTokens, message, help));
    }
}
