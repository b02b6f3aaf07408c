//! What is reviewed: a project's tools, what is declared of them, and who holds them.

use std::collections::BTreeMap;

use prusik_core::agent::{Agent, Containment, ContextPolicy};
use prusik_core::contract::Contract;
use prusik_core::run::context_tools;
use serde::Serialize;
use serde_json::Value;

use crate::rule::Rule;

/// A place in a file, line and column counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Relative to the project's folder.
    pub file: String,
    pub line: u32,
    pub column: u32,
}

/// Everything that a review looks at.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    pub tools: Vec<ToolEntry>,
    /// Tools that a server lists and that cannot be offered to a model.
    pub left_out: Vec<LeftOut>,
    /// Contracts of tools that their server does not have.
    pub strays: Vec<Stray>,
    /// Tools that are not as they were locked.
    pub drifts: Vec<Drift>,
    pub agents: Vec<AgentEntry>,
    pub groups: Vec<GroupEntry>,
    pub settings: Settings,
}

/// A tool: what it says of itself, and what the project declares.
#[derive(Debug, Clone)]
pub struct ToolEntry {
    /// The name that the model sees: a built-in tool's, or `server__tool`.
    pub name: String,
    /// None for a built-in tool.
    pub server: Option<String>,
    pub description: String,
    pub input_schema: Value,
    pub output_schema: Option<Value>,
    /// The MCP annotations: shown to people, never trusted.
    pub hints: Option<Value>,
    /// What holds, whether it was declared or not.
    pub contract: Contract,
    /// The contract's keys that the project (or Prusik, for a built-in tool) declares, by where.
    pub declared: BTreeMap<String, Option<Place>>,
    /// Where the tool is best pointed at: its contract, else its server.
    pub place: Option<Place>,
    pub allow: BTreeMap<Rule, Allowed>,
}

/// A finding that the project's people have seen and accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub reason: String,
    pub place: Option<Place>,
}

/// A tool that a server lists and that cannot be offered to a model.
#[derive(Debug, Clone)]
pub struct LeftOut {
    /// As the model would see it: `server__tool`.
    pub name: String,
    pub server: String,
    pub reason: String,
    pub place: Option<Place>,
}

/// A contract without a tool.
#[derive(Debug, Clone)]
pub struct Stray {
    pub name: String,
    pub server: String,
    pub place: Option<Place>,
}

/// A tool that is not as it was locked.
#[derive(Debug, Clone)]
pub struct Drift {
    /// `server__tool`.
    pub name: String,
    /// What became of it, such as “its description changed”.
    pub what: String,
    pub place: Option<Place>,
}

/// An agent: what it puts before its model.
#[derive(Debug, Clone)]
pub struct AgentEntry {
    pub name: String,
    pub provider: Provider,
    /// The names of the tools that the model is shown.
    pub tools: Vec<String>,
    /// The ceiling of a run's tokens, if there is one.
    pub tokens: Option<u64>,
    /// The ceiling of a run's turns, if there is one.
    pub turns: Option<u64>,
    /// What its context has room for, if it is kept within a window.
    pub context: Option<AgentContext>,
    /// What its calls are held to once something from outside has been read.
    pub containment: Option<Containment>,
    pub place: Option<Place>,
}

/// What an agent's context has room for, by estimate: four bytes of prompt are a token, and three of
/// what comes later, so that it errs upwards.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentContext {
    pub policy: ContextPolicy,
    /// System prompt and tools.
    pub prompt_tokens: u64,
    /// The most that the ledger may take.
    pub ledger_tokens: u64,
    /// Whether the model or a contract writes into the ledger.
    pub is_recorded: bool,
    /// What the final answer must hold, where that is declared.
    pub outputs: Vec<String>,
    /// The largest result of each tool that the model is shown, in bytes.
    pub results: Vec<(String, u64)>,
}

impl AgentContext {
    /// Returns what is known of an agent's context; none if it is not kept within a window.
    pub fn of(agent: &Agent) -> Option<Self> {
        let policy = agent.context.clone()?;
        let required = agent.output.as_ref().and_then(|schema| schema["required"].as_array());
        let outputs = required.into_iter().flatten().filter_map(|name| name.as_str());
        let records = agent.tools.iter().any(|tool| !tool.contract.records.is_empty());
        let shown = || agent.tools.iter().filter(|tool| tool.shown);
        let of_context = context_tools(Some(&policy));
        let tools = shown().chain(&of_context).map(|tool| {
            tool.name.len() + tool.description.len() + tool.input_schema.to_string().len()
        });
        let prompt_bytes = (agent.system.len() + tools.sum::<usize>()) as u64;
        Some(Self {
            prompt_tokens: prompt_bytes.div_ceil(4),
            ledger_tokens: policy.ledger_bytes_max.div_ceil(3),
            is_recorded: policy.record || records,
            outputs: outputs.map(str::to_owned).collect(),
            results: shown()
                .map(|tool| (tool.name.clone(), tool.contract.result_bytes_max))
                .collect(),
            policy,
        })
    }

    /// Returns a share of what a prompt may have, in tokens.
    pub fn percent(&self, percent: u8) -> u64 {
        self.policy.room_tokens() * u64::from(percent) / 100
    }

    /// Returns from which size on the context is made smaller, in tokens.
    pub fn compact_at_tokens(&self) -> u64 {
        self.percent(self.policy.compact_at_percent)
    }

    /// Returns what is always in the context, in tokens.
    pub fn always_tokens(&self) -> u64 {
        self.prompt_tokens + self.ledger_tokens
    }

    /// Returns what the results of one turn have room for together, in bytes.
    pub fn turn_bytes(&self) -> u64 {
        self.percent(ContextPolicy::TURN_PERCENT) * 3
    }
}

/// Tools whose calls take together or not at all.
#[derive(Debug, Clone)]
pub struct GroupEntry {
    pub name: String,
    pub tools: Vec<String>,
    pub place: Option<Place>,
}

/// Whose limits a model's schema must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Anthropic,
    OpenAi,
    /// A script or a recording: no limits of its own.
    Offline,
}

/// What the project sets for all of its tools.
#[derive(Debug, Clone)]
pub struct Settings {
    pub allow: BTreeMap<Rule, Allowed>,
    /// Most tools that one agent may be shown before it is told to part them.
    pub tools_max: usize,
    /// Most tokens, by estimate, that the tools of one agent may cost with every model call.
    pub tool_tokens_max: u64,
}

impl Settings {
    /// Choosing well among more gets harder. Source: OpenAI's function calling guide advises fewer
    /// than 20; twice that is where a warning is worth its line.
    pub const TOOLS_MAX: usize = 40;
    /// A twentieth of a window of 200,000 tokens.
    pub const TOOL_TOKENS_MAX: u64 = 10_000;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow: BTreeMap::new(),
            tools_max: Self::TOOLS_MAX,
            tool_tokens_max: Self::TOOL_TOKENS_MAX,
        }
    }
}

impl ToolEntry {
    pub fn is_declared(&self, key: &str) -> bool {
        self.declared.contains_key(key)
    }

    /// Returns the name that the server gives the tool, without the server's.
    pub fn own_name(&self) -> &str {
        let own = self.server.as_deref().and_then(|server| self.name.strip_prefix(server));
        own.and_then(|rest| rest.strip_prefix("__")).unwrap_or(&self.name)
    }

    /// Returns where a contract's key stands, else where the tool does.
    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.declared.get(key).cloned().flatten().or_else(|| self.place.clone())
    }
}
