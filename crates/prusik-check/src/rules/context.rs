//! What an agent's context has room for, and what of it outlives a summary.

use crate::catalogue::{AgentContext, AgentEntry, Catalogue};
use crate::finding::Finding;
use crate::rule::Rule;

pub(crate) fn check(catalogue: &Catalogue, found: &mut Vec<Finding>) {
    for agent in &catalogue.agents {
        let Some(context) = &agent.context else { continue };
        let mut own = Vec::new();
        room(context, &mut own);
        memory(context, &mut own);
        results(agent, context, &mut own);
        for mut finding in own {
            finding.agent = Some(agent.name.clone());
            finding.place.clone_from(&agent.place);
            found.push(finding);
        }
    }
}

/// What is always there must leave room for the work.
fn room(context: &AgentContext, found: &mut Vec<Finding>) {
    let (always, from) = (context.always_tokens(), context.compact_at_tokens());
    if always >= from {
        let message = format!(
            "system prompt and tools have about {} tokens, and the ledger may have {}: of the {from} \
             that fill the context before it is compacted, nothing is left for the work",
            context.prompt_tokens, context.ledger_tokens
        );
        let help = "a model with a larger window, fewer tools, or a smaller `ledger_bytes_max`";
        found.push(Finding::new(Rule::ContextTooSmall, message, help));
    }
}

/// What nobody records stands in prose, and a summary may lose it.
fn memory(context: &AgentContext, found: &mut Vec<Finding>) {
    if context.is_recorded {
        return;
    }
    let help = "leave `context.record` on, or let a contract record it: `records` of a tool";
    let message = "its model cannot record anything, and no contract does: a decision that it makes is \
                   only in prose, and a summary may lose it";
    found.push(Finding::new(Rule::DecisionsInProse, message, help));
    if !context.outputs.is_empty() {
        let outputs: Vec<String> = context.outputs.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "its answer must hold {}, and nobody records what is found of that on the way",
            outputs.join(", ")
        );
        found.push(Finding::new(Rule::OutputUnrecorded, message, help));
    }
}

fn results(agent: &AgentEntry, context: &AgentContext, found: &mut Vec<Finding>) {
    for (tool, bytes) in &context.results {
        let room = context.turn_bytes();
        if *bytes > room && agent.tools.contains(tool) {
            let message = format!(
                "a result may have {bytes} bytes, and the results of one turn have room for {room}: it \
                 is cut, and the model has to recall the rest"
            );
            let help = "a smaller `result_bytes_max`, a tool that pages, or a larger window";
            let mut finding = Finding::new(Rule::ResultCut, message, help);
            finding.tool = Some(tool.clone());
            found.push(finding);
        }
    }
}
