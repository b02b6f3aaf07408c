//! An agent's definition with what is computed from it once and used on every turn.

use std::sync::Arc;

use super::contain::Trust;
use crate::agent::{Agent, Tool};
use crate::contract::EffectClass;
use crate::ids::Digest;
use crate::model::{ModelSpec, ToolDecl};
use crate::schema::Schema;

/// A definition, ready to drive runs. Shared by all runs of the same agent.
#[derive(Debug)]
pub struct Definition {
    agent: Agent,
    digest: Digest,
    tools: Vec<Held>,
    output: Option<Schema>,
    pub(super) model: Arc<ModelSpec>,
    summarizer: Arc<ModelSpec>,
    pub(super) trust: Arc<Trust>,
    pub(super) system: Arc<str>,
    pub(super) declarations: Arc<[ToolDecl]>,
}

/// A tool that the agent holds, with the schema that its arguments are checked against.
#[derive(Debug)]
pub(super) struct Held {
    pub tool: Tool,
    pub arguments: Schema,
}

impl Definition {
    pub fn new(agent: Agent) -> Self {
        let closers = super::group::closers(&agent.groups);
        let of_context = super::context::tools(agent.context.as_ref());
        let plan = super::contain::tool(&agent);
        let tools = agent.tools.iter().chain(&closers).chain(&of_context).chain(&plan);
        let shown = tools.clone().filter(|tool| tool.shown);
        let declarations = shown.map(Tool::declaration).collect();
        let tools = tools
            .map(|tool| Held {
                arguments: Schema::new(&tool.declaration().input_schema),
                tool: tool.clone(),
            })
            .collect();
        let model = Arc::new(agent.model.clone());
        let summarizer = agent.context.as_ref().and_then(|policy| policy.summary_model.clone());
        Self {
            digest: agent.digest(),
            tools,
            output: agent.output.as_ref().map(Schema::new),
            summarizer: summarizer.map_or_else(|| Arc::clone(&model), Arc::new),
            model,
            trust: Arc::new(Trust::of(&agent)),
            system: Arc::from(agent.system.as_str()),
            declarations,
            agent,
        }
    }

    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn held(&self, name: &str) -> Option<&Held> {
        self.tools.iter().find(|held| held.tool.name == name)
    }

    pub(super) fn changes_something(&self, tool: &str) -> bool {
        self.held(tool).is_some_and(|held| held.tool.contract.effect != EffectClass::Read)
    }

    /// Returns the model that writes summaries.
    pub(super) fn summarizer(&self) -> &Arc<ModelSpec> {
        &self.summarizer
    }

    pub(super) fn output(&self) -> Option<&Schema> {
        self.output.as_ref()
    }

    /// Returns the bytes of a prompt that hold neither the task nor the conversation.
    pub(super) fn prompt_bytes(&self) -> u64 {
        let tools: usize = self
            .declarations
            .iter()
            .map(|tool| {
                tool.name.len() + tool.description.len() + tool.input_schema.to_string().len()
            })
            .sum();
        (self.system.len() + tools) as u64
    }
}
