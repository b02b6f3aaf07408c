//! What the core asks of a model and what it can get back, whoever the provider is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{Attempt, Turn};
use crate::message::{Block, Message};

/// The model that an agent was declared with, as it is frozen into the agent's definition.
/// Addresses and keys are not part of it: they belong to the machine that drives the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The project's name for the model; the driver finds the connection by it.
    pub alias: String,
    /// The provider's name for the model.
    pub model: String,
    /// Most tokens one answer may have.
    pub max_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Tokens the model may think for before it answers; none leaves thinking off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// One call of a model. It holds the whole prompt; nothing else reaches the provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// Names this try, so that recordings and logs can tell tries apart.
    pub turn: Turn,
    pub attempt: Attempt,
    pub purpose: Purpose,
    pub model: Arc<ModelSpec>,
    /// The cap on this answer: the model's own, or less where a budget is nearly spent.
    pub max_tokens: u32,
    pub system: Arc<str>,
    pub tools: Arc<[ToolDecl]>,
    pub messages: Vec<Arc<Message>>,
}

/// What an answer is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To go on with the task.
    Turn,
    /// To stand for turns that leave the context.
    Summary,
}

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolDecl {
    pub name: String,
    pub description: String,
    /// JSON Schema of the arguments; always an object schema.
    pub input_schema: Value,
}

/// A model's complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub content: Vec<Block>,
    pub stop: StopReason,
    pub usage: Usage,
    /// The provider's name of the model that answered, which may be more exact than the one asked.
    pub model: String,
}

/// Why the model stopped. Each has its own outcome; none is taken for [`StopReason::EndTurn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    EndTurn,
    ToolUse,
    /// The answer was cut at the token limit.
    MaxTokens,
    StopSequence,
    Refusal,
    /// A server-side tool paused the turn; the same conversation goes on.
    PauseTurn,
    /// The conversation no longer fits the model's window.
    ContextFull,
    /// A reason that this version does not know, in the provider's word.
    Other(String),
}

/// Tokens of one answer, as the provider counted them. The four counts do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens that no cache held.
    #[serde(rename = "in")]
    pub input: u64,
    #[serde(rename = "out")]
    pub output: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Usage {
    /// Returns all tokens that went in, cached or not.
    pub fn input_total(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Returns all tokens, in and out.
    pub fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output)
    }
}

/// What a model costs, in nano-dollars (10⁻⁹ USD) for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

impl Price {
    /// Returns what `usage` costs in nano-dollars, rounded up.
    pub fn cost_nano_usd(&self, usage: &Usage) -> u64 {
        let total = [
            (usage.input, self.input),
            (usage.output, self.output),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
        ]
        .into_iter()
        .map(|(tokens, price)| u128::from(tokens) * u128::from(price))
        .fold(0, u128::saturating_add)
        .div_ceil(1_000_000);
        u64::try_from(total).unwrap_or(u64::MAX)
    }

    /// Returns what the cache has saved of the full price of the input, in nano-dollars, rounded
    /// down. It is below zero where the writes cost more than the reads brought.
    pub fn saved_nano_usd(&self, usage: &Usage) -> i64 {
        let more = |tokens: u64, full: u64, asked: u64| {
            i128::from(tokens).saturating_mul(i128::from(full) - i128::from(asked))
        };
        let saved = more(usage.cache_read, self.input, self.cache_read)
            .saturating_add(more(usage.cache_write, self.input, self.cache_write))
            .div_euclid(1_000_000);
        let bounded = saved.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        i64::try_from(bounded).expect("it was clamped to the type")
    }
}

/// Why a model call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    pub kind: ModelErrorKind,
    /// For people: names the address or file, what happened, and the way out.
    pub message: String,
    /// How long the provider asked us to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The kinds of [`ModelError`], and whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelErrorKind {
    /// 429: too many requests or tokens.
    RateLimited,
    /// 529, 503: the provider has too much to do.
    Overloaded,
    /// Other 5xx, or an `api_error` event in the stream.
    Server,
    /// No connection: refused, unknown host, TLS.
    Unreachable,
    /// No answer, or no next event, in time.
    Timeout,
    /// The stream ended before the answer did.
    StreamCut,
    /// What came back is not the protocol.
    BadResponse,
    /// 401, 403, or no key at all.
    Authentication,
    /// 404: no such model or address.
    NotFound,
    /// 400, 413, 422: the provider refuses the request as it stands.
    InvalidRequest,
    /// 400 that says the prompt is longer than the window.
    ContextFull,
    /// 402, or an error that says there is no credit.
    Billing,
    /// A recording does not hold this request, or a script does not say how to go on.
    Drift,
}

impl ModelErrorKind {
    /// Returns whether the same request may succeed later without anybody's doing.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::Server
            | Self::Unreachable
            | Self::Timeout
            | Self::StreamCut
            | Self::BadResponse => true,
            Self::Authentication
            | Self::NotFound
            | Self::InvalidRequest
            | Self::ContextFull
            | Self::Billing
            | Self::Drift => false,
        }
    }

    /// Returns whether the network, rather than the request, is at fault.
    pub fn is_network(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::StreamCut)
    }
}

impl ModelError {
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: None }
    }
}
