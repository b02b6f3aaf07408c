//! The two wire formats that the scripted server speaks, and what they share.
//!
//! Decoding is as strict as the real services are, so that a client that passes here sends what
//! they take. Encoding follows their documentation to the event.

pub mod anthropic;
pub mod openai;
mod pieces;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;
use prusik_core::message::Message;
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};
use serde_json::{Map, Value};

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions.
    OpenAi,
}

/// A request that was understood.
#[derive(Debug)]
pub struct Decoded {
    pub request: ModelRequest,
    pub shape: Shape,
}

/// How the client wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub stream: bool,
    /// OpenAI's `stream_options.include_usage`; Anthropic always tells.
    pub stream_usage: bool,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub event: Option<&'static str>,
    pub data: String,
}

impl Frame {
    /// Returns the event as it goes over the wire.
    pub fn encode(&self) -> String {
        match self.event {
            Some(event) => format!("event: {event}\ndata: {}\n\n", self.data),
            None => format!("data: {}\n\n", self.data),
        }
    }
}

/// A request that is refused, as the service words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: ModelErrorKind,
    pub message: String,
    /// The HTTP status, where it is not the usual one of the kind.
    pub status: Option<u16>,
}

impl Refusal {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { kind: ModelErrorKind::InvalidRequest, message: message.into(), status: None }
    }

    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self { kind: ModelErrorKind::Authentication, message: message.into(), status: None }
    }
}

impl From<Refusal> for ModelError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.message)
    }
}

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct WireError {
    pub status: u16,
    pub body: Value,
    pub retry_after_ms: Option<u64>,
}

impl Protocol {
    /// Checks the key and the headers that the service insists on.
    pub fn check_headers(self, headers: &HeaderMap, key: Option<&str>) -> Result<(), Refusal> {
        match self {
            Self::Anthropic => anthropic::check_headers(headers, key),
            Self::OpenAi => openai::check_headers(headers, key),
        }
    }

    pub fn decode(self, body: &Value) -> Result<Decoded, Refusal> {
        match self {
            Self::Anthropic => anthropic::decode::decode(body),
            Self::OpenAi => openai::decode::decode(body),
        }
    }

    /// Returns the answer as one JSON document; `n` numbers it.
    pub fn encode(self, answer: &Answer, n: u64) -> Value {
        match self {
            Self::Anthropic => anthropic::encode(answer, n),
            Self::OpenAi => openai::encode(answer, n),
        }
    }

    /// Returns the answer as a stream of events.
    pub fn encode_stream(self, answer: &Answer, shape: Shape, n: u64) -> Vec<Frame> {
        match self {
            Self::Anthropic => anthropic::encode_stream(answer, n),
            Self::OpenAi => openai::encode_stream(answer, shape, n),
        }
    }

    pub fn encode_error(self, error: &ModelError) -> WireError {
        match self {
            Self::Anthropic => anthropic::encode_error(error),
            Self::OpenAi => openai::encode_error(error),
        }
    }

    /// Returns the event that reports `error` when the stream has already begun.
    pub fn error_frame(self, error: &ModelError) -> Frame {
        let data = self.encode_error(error).body.to_string();
        match self {
            Self::Anthropic => Frame { event: Some("error"), data },
            Self::OpenAi => Frame { event: None, data },
        }
    }
}

/// Returns the object that `body` must be, if it holds no key outside `known`.
fn object_of<'a>(
    body: &'a Value,
    known: &[&str],
    word: impl Fn(&str) -> String,
) -> Result<&'a Map<String, Value>, Refusal> {
    let object =
        body.as_object().ok_or_else(|| Refusal::invalid("the body must be a JSON object"))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::invalid(word(key))),
        None => Ok(object),
    }
}

/// Returns whether `name` can name a tool.
fn is_tool_name(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Appends `message`, joined to the one before it where the same side goes on speaking.
fn push_message(messages: &mut Vec<Message>, message: Message) {
    match messages.last_mut() {
        Some(last) if last.role == message.role => last.content.extend(message.content),
        Some(_) | None => messages.push(message),
    }
}
