//! What can be said of an agent before it runs: the review of its tools, and the static report.

use std::collections::BTreeMap;

use prusik_check::{
    AgentContext, AgentEntry, Catalogue, Finding, LeftOut, LintReport, Report, Severity, ToolEntry,
    contexts, failures, injections, lint,
};
use prusik_core::contract::{Contract, EffectClass};

use super::agent::Agent;
use super::error::Error;
use super::workshop::{Connected, Workshop};
use crate::project::ToolFacts;

/// What `prusik lint` and `prusik check` say of an agent, for a program's own tests.
#[derive(Debug, Clone)]
pub struct Review {
    /// The review of the tools as an API.
    pub lint: LintReport,
    /// The answers to the questions that must have one before an agent runs.
    pub report: Report,
}

impl Review {
    /// Returns what is wrong, of this severity or worse.
    pub fn findings(&self, severity: Severity) -> Vec<&Finding> {
        let all = self.report.findings();
        all.filter(|finding| finding.severity >= severity).collect()
    }
}

impl Agent {
    /// Reviews the agent's tools and says what failure looks like at each of them. The servers whose
    /// tools it holds are started for it, and ended again.
    pub async fn review(&self) -> Result<Review, Error> {
        let parts = self.parts();
        let Connected { toolbox, left_out } = parts.workshop(None)?.connect(&|_| ()).await?;
        let facts = Workshop::facts_of(&toolbox, parts.own());
        let hints: BTreeMap<String, _> =
            toolbox.list().into_iter().map(|info| (info.name, info.hints)).collect();
        toolbox.shutdown().await;
        let definition = parts.definition(&facts)?;
        let held = facts.into_iter().filter(|tool| definition.tool(&tool.name).is_some());
        let tools = held.map(|tool| {
            let hints = hints.get(&tool.name).cloned().flatten();
            let contract = definition.tool(&tool.name).map(|held| held.contract.clone());
            entry(tool, contract.unwrap_or_else(|| Contract::of(EffectClass::Write)), hints)
        });
        let left_out = left_out.into_iter().map(|tool| LeftOut {
            name: format!("{}__{}", tool.server, tool.tool),
            server: tool.server,
            reason: tool.reason,
            place: None,
        });
        let catalogue = Catalogue {
            tools: tools.collect(),
            left_out: left_out.collect(),
            agents: vec![AgentEntry {
                name: definition.name.clone(),
                provider: parts.model().provider(),
                tools: definition
                    .tools
                    .iter()
                    .filter(|t| t.shown)
                    .map(|t| t.name.clone())
                    .collect(),
                tokens: definition.budget.tokens,
                turns: definition.budget.turns,
                context: AgentContext::of(&definition),
                containment: definition.containment,
                place: None,
            }],
            ..Catalogue::default()
        };
        let lint = lint(&catalogue);
        let agents = [definition];
        let [injection, confirmation] = injections(&agents, &lint, &BTreeMap::new());
        let (failure, context) = (failures(&agents, &lint), contexts(&agents, &lint));
        let report = Report { sections: vec![failure, context, injection, confirmation] };
        Ok(Review { lint, report })
    }
}

fn entry(facts: ToolFacts, contract: Contract, hints: Option<serde_json::Value>) -> ToolEntry {
    let server = facts.name.split_once("__").map(|(server, _)| server.to_owned());
    // What comes with a tool, or was given with the agent, was declared; what was not differs in
    // nothing from the strictest reading.
    let is_declared = facts.contract.is_some() || contract != Contract::of(EffectClass::Write);
    let keys = [
        ("effect", is_declared),
        ("timeout_ms", is_declared),
        ("retry", is_declared),
        ("key", contract.key.is_some()),
        ("probe", contract.probe.is_some()),
        ("undo", contract.undo.is_some()),
        ("failures", !contract.failures.is_empty()),
    ];
    let declared = keys.into_iter().filter(|(_, is_set)| *is_set);
    ToolEntry {
        declared: declared.map(|(key, _)| (key.to_owned(), None)).collect(),
        name: facts.name,
        server,
        description: facts.description,
        input_schema: facts.input_schema,
        output_schema: facts.output_schema,
        hints,
        contract,
        place: None,
        allow: BTreeMap::new(),
    }
}
