//! The answer's wire format: chunks in, blocks out. No I/O.

use prusik_core::ids::Turn;
use prusik_core::message::{Block, OpaqueBlock};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest, StopReason, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::calls::{Calls, Fragment, Function};
use super::{PROVIDER, kind_of};
use crate::Delta;
use crate::http::read_error_body;
use crate::stream::{Decode, Progress, ended_early, not_protocol};

/// What ends a stream.
const END: &str = "[DONE]";
/// Bytes that the estimate of a usage takes for one token.
const TOKEN_BYTES: usize = 4;

/// A chunk of a stream, or a whole answer: they differ in the name of one field.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default, alias = "message")]
    delta: Option<WireDelta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct WireDelta {
    /// A string; some servers send a list of parts.
    #[serde(default)]
    content: Value,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Value,
    #[serde(default)]
    tool_calls: Option<Vec<Fragment>>,
    #[serde(default)]
    function_call: Option<Function>,
}

#[derive(Deserialize, Clone, Copy)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize, Clone, Copy)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    /// What was written to the cache. Newer models of OpenAI charge more for it, and so do
    /// gateways to models of others; it is part of the prompt, as what was read is.
    #[serde(default)]
    cache_write_tokens: Option<u64>,
}

/// An answer as far as it has come.
pub(super) struct Decoder {
    turn: Turn,
    /// What the model is called if the server does not say.
    model: String,
    request_bytes: usize,
    text: String,
    refusal: String,
    /// Reasoning, and the name that the server has for it.
    reasoning: Option<(&'static str, String)>,
    calls: Calls,
    finish: Option<String>,
    usage: Option<WireUsage>,
}

impl Decoder {
    pub(super) fn new(request: &ModelRequest, request_bytes: usize) -> Self {
        Self {
            turn: request.turn,
            model: request.model.model.clone(),
            request_bytes,
            text: String::new(),
            refusal: String::new(),
            reasoning: None,
            calls: Calls::default(),
            finish: None,
            usage: None,
        }
    }

    fn chunk(
        &mut self,
        chunk: Chunk,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), ModelError> {
        if !chunk.error.is_null() {
            return Err(failure(&chunk.error));
        }
        if let Some(model) = chunk.model.filter(|model| !model.is_empty()) {
            self.model = model;
        }
        self.usage = chunk.usage.or(self.usage);
        // Only one choice is asked for.
        let choices = chunk.choices.into_iter().flatten().filter(|choice| choice.index == 0);
        for choice in choices {
            if let Some(delta) = choice.delta {
                self.delta(delta, progress)?;
            }
            self.finish =
                choice.finish_reason.filter(|word| !word.is_empty()).or(self.finish.take());
        }
        Ok(())
    }

    fn delta(
        &mut self,
        delta: WireDelta,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), ModelError> {
        let reasoning = match (delta.reasoning_content, delta.reasoning) {
            (Some(text), _) => Some(("reasoning_content", text)),
            (None, Value::String(text)) => Some(("reasoning", text)),
            (None, _) => None,
        };
        if let Some((name, text)) = reasoning.filter(|(_, text)| !text.is_empty()) {
            let (_, so_far) = self.reasoning.get_or_insert_with(|| (name, String::new()));
            so_far.push_str(&text);
            progress(Delta::Thinking(text));
        }
        let text = text_of(&delta.content);
        if !text.is_empty() {
            self.text.push_str(&text);
            progress(Delta::Text(text));
        }
        if let Some(refusal) = delta.refusal.filter(|text| !text.is_empty()) {
            self.refusal.push_str(&refusal);
            progress(Delta::Text(refusal));
        }
        let legacy = delta.function_call.map(Fragment::legacy);
        for fragment in delta.tool_calls.into_iter().flatten().chain(legacy) {
            self.calls.add(fragment, progress)?;
        }
        Ok(())
    }

    fn stop(&self, finish: &str) -> StopReason {
        match finish {
            "length" | "max_tokens" => StopReason::MaxTokens,
            "content_filter" => StopReason::Refusal,
            // Servers say `stop` after calls, and `tool_calls` without any: the calls decide.
            "stop" | "tool_calls" | "function_call" | "eos" | "eos_token" | "end_turn" => {
                if !self.calls.is_empty() {
                    StopReason::ToolUse
                } else if self.refusal.is_empty() {
                    StopReason::EndTurn
                } else {
                    StopReason::Refusal
                }
            }
            other => StopReason::Other(other.to_owned()),
        }
    }

    /// Returns the server's counts; where it gives none, an estimate, since budgets count on it.
    fn usage(&self) -> Usage {
        let reasoning = self.reasoning.as_ref().map_or(0, |(_, text)| text.len());
        let out = self.text.len() + self.refusal.len() + reasoning + self.calls.bytes();
        let estimate =
            |bytes: usize| u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX);
        let usage = self.usage;
        let details = usage.and_then(|usage| usage.prompt_tokens_details);
        let cached = details.and_then(|details| details.cached_tokens).unwrap_or_default();
        let written = details.and_then(|details| details.cache_write_tokens).unwrap_or_default();
        let prompt = usage
            .and_then(|usage| usage.prompt_tokens)
            .unwrap_or_else(|| estimate(self.request_bytes));
        let cache_read = cached.min(prompt);
        let cache_write = written.min(prompt - cache_read);
        Usage {
            input: prompt - cache_read - cache_write,
            output: usage
                .and_then(|usage| usage.completion_tokens)
                .unwrap_or_else(|| estimate(out)),
            cache_read,
            cache_write,
        }
    }
}

impl Decode for Decoder {
    fn event(
        &mut self,
        data: &str,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, ModelError> {
        if data.trim() == END {
            return Ok(Progress::Done);
        }
        if !data.trim().is_empty() {
            self.chunk(serde_json::from_str(data).map_err(not_protocol)?, progress)?;
        }
        Ok(match (&self.finish, &self.usage) {
            (None, _) => Progress::Open,
            (Some(_), _) => Progress::Complete,
        })
    }

    fn finish(self) -> Result<Answer, ModelError> {
        let Some(finish) = &self.finish else {
            return Err(ended_early("the answer was whole (`finish_reason`)"));
        };
        let stop = self.stop(finish);
        let usage = self.usage();
        let mut content = Vec::new();
        if let Some((name, text)) = self.reasoning {
            let block = Value::Object(Map::from_iter([(name.to_owned(), Value::String(text))]));
            content.push(Block::Opaque(OpaqueBlock { provider: PROVIDER.to_owned(), block }));
        }
        content.extend(
            [self.text, self.refusal].into_iter().filter(|t| !t.is_empty()).map(Block::Text),
        );
        content.extend(self.calls.finish(self.turn)?);
        Ok(Answer { content, stop, usage, model: self.model })
    }

    fn whole(
        mut self,
        body: &[u8],
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let chunk: Chunk = serde_json::from_slice(body).map_err(not_protocol)?;
        if chunk.error.is_null() && chunk.choices.as_ref().is_none_or(Vec::is_empty) {
            return Err(not_protocol("the answer has no `choices`"));
        }
        self.chunk(chunk, progress)?;
        self.finish()
    }
}

/// Returns the text of a message's content, which is a string, a list of parts, or nothing.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn failure(error: &Value) -> ModelError {
    let (_, words) = read_error_body(
        &Value::Object(Map::from_iter([("error".to_owned(), error.clone())])).to_string(),
    );
    let kind = kind_of(error, &words).unwrap_or(ModelErrorKind::Server);
    ModelError::new(kind, format!("an error in the stream: {words}"))
}
