//! Models: what answers a prompt. Each provider's wire format ends here.

mod anthropic;
mod cassette;
mod config;
mod http;
mod openai;
mod redact;
mod script;
mod stream;
#[cfg(test)]
mod tests;
mod windows;

use async_trait::async_trait;
use prusik_core::message::ToolInput;
use prusik_core::model::{Answer, ModelError, ModelRequest};

pub use anthropic::DEFAULT_BASE_URL as ANTHROPIC_BASE_URL;
pub use cassette::{Cassette, CassetteError, CassetteMode};
pub use config::{ConnectError, DEFAULT_IDLE_TIMEOUT_MS, KeyRef, ModelConfig, Server};
pub use openai::{DEFAULT_BASE_URL as OPENAI_BASE_URL, MaxTokensField};
pub use script::{Played, Script, ScriptError, ScriptedModel, UsageSource, purpose_of, turn_asked};
pub use windows::{Window, window_of};

/// Answers prompts.
///
/// The contract:
///
/// - One call is one attempt: nothing is retried here; [`ModelError`] says whether that may help.
/// - An answer is returned whole or not at all: a stream cut in the middle is an error.
/// - Dropping the future gives the attempt up and closes the connection.
/// - No key appears in an answer, an error or a log.
#[async_trait]
pub trait Model: Send + Sync {
    /// Answers `request`, telling `progress` what arrives on the way.
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError>;

    /// Counts the tokens that `request` would put into the model, cached or not; none where
    /// nobody counts them. It costs nothing and asks for no answer, but may take a request.
    ///
    /// A count may differ a little from what the answer is charged for.
    async fn count_tokens(&self, request: &ModelRequest) -> Result<Option<u64>, ModelError> {
        let _ = request;
        Ok(None)
    }
}

/// Something of an answer that has just arrived, for people to watch. It is not the answer: a
/// failed attempt's deltas are void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    Text(String),
    Thinking(String),
    /// The model has begun to write a call of this tool.
    ToolUse {
        name: String,
    },
}

/// Reads the arguments of a call as a model wrote them; nothing at all stands for no arguments.
fn tool_input(raw: &str) -> ToolInput {
    if raw.trim().is_empty() {
        return ToolInput::Json(serde_json::Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_str(raw) {
        Ok(value) => ToolInput::Json(value),
        Err(_) => ToolInput::Malformed(raw.to_owned()),
    }
}

/// Returns arguments that are not a JSON object as one: servers take nothing else, and the model
/// is to see what it wrote.
fn as_object(input: &ToolInput) -> serde_json::Value {
    match input {
        ToolInput::Json(value @ serde_json::Value::Object(_)) => value.clone(),
        ToolInput::Json(value) => serde_json::json!({ "not_an_object": value }),
        ToolInput::Malformed(text) => serde_json::json!({ "not_json": text }),
    }
}
