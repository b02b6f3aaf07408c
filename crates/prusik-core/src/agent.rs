//! An agent's definition: what a run was started with and keeps until a person migrates it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::budget::Budget;
use crate::contract::{Contract, KeyPlace};
use crate::ids::Digest;
use crate::json;
use crate::ledger::Note;
use crate::model::{ModelSpec, ToolDecl};

/// Everything that decides how a run behaves, except the world around it. Stored by its digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub name: String,
    pub system: String,
    pub model: ModelSpec,
    /// The tools that the agent holds; others do not exist for it.
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub budget: Budget,
    /// JSON Schema that the final answer must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    pub limits: Limits,
    #[serde(default, skip_serializing_if = "OnFailure::is_default")]
    pub on_failure: OnFailure,
    /// A tool stands in one of them at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// How the context is kept within the model's window. None for agents that were defined before
    /// there was such a thing: they have no ledger and are not compacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextPolicy>,
    /// What the ledger begins with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ledger: Vec<Note>,
    /// What calls are held to once something from outside has been read. None for agents that were
    /// defined before there was such a thing, and for those whose project says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
}

/// What calls are held to once something from outside has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    /// Whether the model is given a tool to lay down a plan with.
    pub plan: bool,
    /// What becomes of a call that no plan foresees.
    pub unplanned: Unplanned,
    /// How long a question to a person is good for, in milliseconds.
    pub expires_ms: u64,
}

impl Default for Containment {
    fn default() -> Self {
        const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;
        Self { plan: true, unplanned: Unplanned::Refuse, expires_ms: WEEK_MS }
    }
}

/// What becomes of a call that no plan foresees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unplanned {
    /// It is refused, and the model is told how to go on: who can raise questions at will can have one
    /// of them answered wrongly.
    #[default]
    Refuse,
    /// A person is asked.
    Ask,
}

/// How the context is kept within the model's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContextPolicy {
    /// What the model can take, prompt and answer together, in tokens.
    pub window_tokens: u64,
    /// What is kept free for the answer, in tokens.
    pub reserve_tokens: u64,
    /// The prompt is compacted when it has more than this share of what the window has beside the
    /// reserve.
    pub compact_at_percent: u8,
    /// What it is compacted to, if that is possible.
    pub target_percent: u8,
    /// The newest turns stay as they are up to this share.
    pub keep_percent: u8,
    /// Most bytes that the entries of the ledger have together.
    pub ledger_bytes_max: u64,
    /// Longest summary, in bytes.
    pub summary_bytes_max: u64,
    /// Whether the model may record entries itself.
    pub record: bool,
    /// The model that summarizes; the agent's own if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary_model: Option<ModelSpec>,
}

impl ContextPolicy {
    /// What the results of one turn may take together of what a prompt may have.
    pub const TURN_PERCENT: u8 = 40;

    /// Returns the policy for a window when nothing else is declared.
    pub fn of_window(window_tokens: u64, answer_tokens_max: u32) -> Self {
        // A byte is a third of a token, or less.
        let bytes = |share: u64| window_tokens / share * 3;
        Self {
            window_tokens,
            reserve_tokens: u64::from(answer_tokens_max).min(window_tokens / 4),
            compact_at_percent: 80,
            target_percent: 50,
            keep_percent: 25,
            ledger_bytes_max: bytes(8).clamp(2 * 1024, 64 * 1024),
            summary_bytes_max: bytes(10).clamp(2 * 1024, 32 * 1024),
            record: true,
            summary_model: None,
        }
    }

    /// Returns what a prompt may have, in tokens.
    pub fn room_tokens(&self) -> u64 {
        self.window_tokens.saturating_sub(self.reserve_tokens)
    }
}

/// Tools whose calls take together or not at all. Those that can be undone are made at once; those
/// that cannot wait until the model commits the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub tools: Vec<String>,
}

/// What becomes of a run that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It has failed, and what it did stays.
    #[default]
    Leave,
    /// A person looks at it first.
    Park,
    /// What it did is undone.
    Compensate,
}

impl OnFailure {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Bounds of an agent's behaviour that are not money or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The same call with the same result this many times is pointed out to the model, and twice
    /// this many times parks the run.
    pub repeats_max: u32,
    /// Answers cut at the token limit that are continued in a row before the run fails.
    pub continues_max: u32,
    /// Final answers that do not fit `output` and are sent back before the run fails.
    pub repairs_max: u32,
    /// Turns in a row without a single well-formed call before the run fails.
    pub malformed_turns_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { repeats_max: 3, continues_max: 3, repairs_max: 2, malformed_turns_max: 3 }
    }
}

/// A tool that an agent holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The name in the model's schema and in the project's files; for MCP `server__tool`.
    pub name: String,
    pub description: String,
    pub input_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    pub contract: Contract,
    /// Whether the model may call it. A probe's tool is held without being shown.
    pub shown: bool,
}

impl Tool {
    /// Returns the tool as the model sees it. An argument that carries the idempotency key is
    /// left out: the runtime fills it. Keys are sorted, as they are in a definition that was stored:
    /// who takes a run up again sends the same bytes, which the provider finds in its cache.
    pub fn declaration(&self) -> ToolDecl {
        let mut input_schema = self.input_schema.clone();
        if let Some(KeyPlace::Argument(name)) = &self.contract.key {
            if let Some(Value::Object(properties)) = input_schema.get_mut("properties") {
                properties.shift_remove(name);
            }
            if let Some(Value::Array(required)) = input_schema.get_mut("required") {
                required.retain(|item| item.as_str() != Some(name));
            }
        }
        input_schema.sort_all_objects();
        ToolDecl { name: self.name.clone(), description: self.description.clone(), input_schema }
    }
}

impl Agent {
    /// Returns the bytes under which the definition is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).expect("a definition is plain data");
        json::canonical(&value).into_bytes()
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// Returns the group that calls of this tool belong to.
    pub fn group_of(&self, tool: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.tools.iter().any(|name| name == tool))
    }
}
