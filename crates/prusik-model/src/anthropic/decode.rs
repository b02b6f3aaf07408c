//! The answer's wire format: events in, blocks out. No I/O.

use prusik_core::message::{Block, OpaqueBlock, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::{PROVIDER, kind_of};
use crate::stream::{Decode, Progress, ended_early, not_protocol};
use crate::{Delta, tool_input};

/// Most blocks that one answer may have.
const BLOCKS_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: WireMessage,
    },
    ContentBlockStart {
        index: u64,
        content_block: Value,
    },
    ContentBlockDelta {
        index: u64,
        delta: WireDelta,
    },
    ContentBlockStop {
        index: u64,
    },
    MessageDelta {
        delta: WireStop,
        #[serde(default)]
        usage: WireUsage,
    },
    MessageStop,
    Ping,
    Error {
        error: WireError,
    },
    /// New kinds of event may come at any time and are to be ignored.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireDelta {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default)]
    model: String,
    #[serde(default)]
    content: Vec<Value>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    usage: WireUsage,
}

#[derive(Deserialize)]
struct WireStop {
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct WireError {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// Counts so far; a later event's count replaces an earlier one.
#[derive(Deserialize, Default, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

/// An answer as far as it has come.
#[derive(Default)]
pub(super) struct Decoder {
    started: bool,
    model: String,
    blocks: Vec<(u64, Draft)>,
    stop: Option<StopReason>,
    usage: WireUsage,
    stopped: bool,
}

/// A block as far as it has come.
enum Draft {
    Text(String),
    ToolUse {
        id: String,
        name: String,
        /// What came with the start of the block: nothing but from servers that do not stream it.
        input: Value,
        json: String,
    },
    Opaque {
        block: Value,
        json: String,
    },
}

impl Decode for Decoder {
    fn event(
        &mut self,
        data: &str,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, ModelError> {
        match serde_json::from_str(data).map_err(not_protocol)? {
            Event::MessageStart { message } => {
                self.started = true;
                self.model = message.model;
                self.count(message.usage);
            }
            Event::ContentBlockStart { index, content_block } => {
                self.start(index, content_block, progress)?;
            }
            Event::ContentBlockDelta { index, delta } => {
                let draft = self.draft(index)?;
                draft.grow(delta, progress);
            }
            Event::ContentBlockStop { index } => {
                self.draft(index)?;
            }
            Event::MessageDelta { delta, usage } => {
                self.stop = delta.stop_reason.as_deref().map(stop_reason).or(self.stop.take());
                self.count(usage);
            }
            Event::MessageStop => {
                self.stopped = true;
                return Ok(Progress::Done);
            }
            Event::Error { error } => return Err(failure(&error)),
            Event::Ping | Event::Unknown => {}
        }
        Ok(Progress::Open)
    }

    fn finish(self) -> Result<Answer, ModelError> {
        if !self.started {
            return Err(ended_early("the answer began (`message_start`)"));
        }
        if !self.stopped {
            return Err(ended_early("the answer was whole (`message_stop`)"));
        }
        let Some(stop) = self.stop else {
            return Err(not_protocol("the answer has no `stop_reason`"));
        };
        Ok(Answer {
            content: self.blocks.into_iter().filter_map(|(_, draft)| draft.finish()).collect(),
            stop,
            usage: Usage {
                input: self.usage.input_tokens.unwrap_or_default(),
                output: self.usage.output_tokens.unwrap_or_default(),
                cache_read: self.usage.cache_read_input_tokens.unwrap_or_default(),
                cache_write: self.usage.cache_creation_input_tokens.unwrap_or_default(),
            },
            model: self.model,
        })
    }

    fn whole(
        mut self,
        body: &[u8],
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let body: Value = serde_json::from_slice(body).map_err(not_protocol)?;
        if body["type"] == "error" {
            let error = WireError::deserialize(&body["error"]).map_err(not_protocol)?;
            return Err(failure(&error));
        }
        if !body["content"].is_array() {
            return Err(not_protocol("the answer has no `content`"));
        }
        let message = WireMessage::deserialize(body).map_err(not_protocol)?;
        for (index, block) in (0..).zip(message.content) {
            self.start(index, block, progress)?;
        }
        self.started = true;
        self.stopped = true;
        self.model = message.model;
        self.stop = message.stop_reason.as_deref().map(stop_reason);
        self.count(message.usage);
        self.finish()
    }
}

impl Decoder {
    fn start(
        &mut self,
        index: u64,
        block: Value,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), ModelError> {
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(not_protocol(format!("the answer has more than {BLOCKS_MAX} blocks")));
        }
        if self.blocks.iter().any(|(known, _)| *known == index) {
            return Err(not_protocol(format!("the block {index} begins twice")));
        }
        let string = |name: &str| block[name].as_str().unwrap_or_default().to_owned();
        let draft = match block["type"].as_str() {
            Some("text") => {
                let text = string("text");
                if !text.is_empty() {
                    progress(Delta::Text(text.clone()));
                }
                Draft::Text(text)
            }
            Some("tool_use") => {
                let (id, name) = (string("id"), string("name"));
                if id.is_empty() || name.is_empty() {
                    return Err(not_protocol("a `tool_use` block has no `id` or no `name`"));
                }
                progress(Delta::ToolUse { name: name.clone() });
                let input = block["input"].clone();
                Draft::ToolUse { id, name, input, json: String::new() }
            }
            Some(_) => {
                if let Some(thought) = block["thinking"].as_str().filter(|text| !text.is_empty()) {
                    progress(Delta::Thinking(thought.to_owned()));
                }
                Draft::Opaque { block, json: String::new() }
            }
            None => return Err(not_protocol("a block has no `type`")),
        };
        self.blocks.push((index, draft));
        Ok(())
    }

    fn draft(&mut self, index: u64) -> Result<&mut Draft, ModelError> {
        self.blocks
            .iter_mut()
            .rev()
            .find_map(|(known, draft)| (*known == index).then_some(draft))
            .ok_or_else(|| not_protocol(format!("the block {index} never began")))
    }

    fn count(&mut self, usage: WireUsage) {
        let so_far = &mut self.usage;
        so_far.input_tokens = usage.input_tokens.or(so_far.input_tokens);
        so_far.output_tokens = usage.output_tokens.or(so_far.output_tokens);
        so_far.cache_read_input_tokens =
            usage.cache_read_input_tokens.or(so_far.cache_read_input_tokens);
        so_far.cache_creation_input_tokens =
            usage.cache_creation_input_tokens.or(so_far.cache_creation_input_tokens);
    }
}

impl Draft {
    /// Takes a delta; one that does not belong to the kind of block is left out.
    fn grow(&mut self, delta: WireDelta, progress: &mut (dyn FnMut(Delta) + Send)) {
        match (self, delta) {
            (Self::Text(so_far), WireDelta::TextDelta { text }) => {
                so_far.push_str(&text);
                progress(Delta::Text(text));
            }
            (
                Self::ToolUse { json, .. } | Self::Opaque { json, .. },
                WireDelta::InputJsonDelta { partial_json },
            ) => json.push_str(&partial_json),
            (Self::Opaque { block, .. }, WireDelta::ThinkingDelta { thinking }) => {
                append(block, "thinking", &thinking);
                progress(Delta::Thinking(thinking));
            }
            (Self::Opaque { block, .. }, WireDelta::SignatureDelta { signature }) => {
                set(block, "signature", Value::String(signature));
            }
            (Self::Text(_) | Self::ToolUse { .. } | Self::Opaque { .. }, other) => {
                drop(other);
                tracing::debug!("left out a delta of a kind that is not known here");
            }
        }
    }

    fn finish(self) -> Option<Block> {
        match self {
            // The API would refuse an empty text when it is sent back.
            Self::Text(text) => (!text.is_empty()).then_some(Block::Text(text)),
            Self::ToolUse { id, name, input, json } => {
                let input = match input {
                    Value::Object(map) if json.is_empty() => ToolInput::Json(Value::Object(map)),
                    _ => tool_input(&json),
                };
                Some(Block::ToolUse(ToolUse { id, name, input }))
            }
            Self::Opaque { mut block, json } => {
                if let Ok(input) = serde_json::from_str::<Value>(&json) {
                    set(&mut block, "input", input);
                }
                Some(Block::Opaque(OpaqueBlock { provider: PROVIDER.to_owned(), block }))
            }
        }
    }
}

fn set(block: &mut Value, name: &str, value: Value) {
    if let Some(map) = block.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
}

fn append(block: &mut Value, name: &str, text: &str) {
    if let Some(Value::String(so_far)) = block.get_mut(name) {
        so_far.push_str(text);
    } else {
        set(block, name, Value::String(text.to_owned()));
    }
}

fn failure(error: &WireError) -> ModelError {
    let kind = kind_of(&error.kind, &error.message).unwrap_or(ModelErrorKind::Server);
    ModelError::new(kind, format!("{} in the stream: {}", error.kind, error.message))
}

fn stop_reason(word: &str) -> StopReason {
    match word {
        "end_turn" => StopReason::EndTurn,
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "refusal" => StopReason::Refusal,
        "pause_turn" => StopReason::PauseTurn,
        "model_context_window_exceeded" => StopReason::ContextFull,
        other => StopReason::Other(other.to_owned()),
    }
}
