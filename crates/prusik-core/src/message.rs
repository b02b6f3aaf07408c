//! The conversation as the core keeps it: neutral to providers, exact where a provider wants its
//! own bytes back.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::Digest;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Assistant,
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Block>,
}

impl Message {
    pub fn user_text(text: impl Into<String>) -> Self {
        Self { role: Role::User, content: vec![Block::Text(text.into())] }
    }
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    Text(String),
    /// What the provider wants back verbatim and nobody else may read: thinking with its
    /// signature, encrypted reasoning, server-side tool blocks.
    Opaque(OpaqueBlock),
    ToolUse(ToolUse),
    ToolResult(ToolResultBlock),
}

/// A block in the provider's own shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpaqueBlock {
    /// The provider that made it (`anthropic`, `openai`). Others must leave it out.
    pub provider: String,
    pub block: Value,
}

/// The model asks for a tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolUse {
    /// The provider's id of the call, unique within one answer.
    pub id: String,
    pub name: String,
    pub input: ToolInput,
}

/// The arguments of a call as the model wrote them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolInput {
    /// Well-formed JSON.
    Json(Value),
    /// What the model wrote instead of JSON, kept so that it can be shown what was wrong.
    Malformed(String),
}

impl ToolInput {
    /// Returns whether it is what every provider asks of arguments: a JSON object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Json(Value::Object(_)))
    }
}

/// What the model sees of a call's outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolResultBlock {
    /// The provider's id of the call that this answers.
    pub id: String,
    pub content: Vec<Content>,
    pub is_error: bool,
}

/// One piece of a tool's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text(String),
    Image(Image),
    /// A structured result (an MCP server's `structuredContent`).
    Json(Value),
}

impl Content {
    /// Returns how many bytes this piece puts into the context.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Image(image) => image.data.len(),
            Self::Json(value) => value.to_string().len(),
        }
    }
}

/// An image that a tool returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// For example `image/png`.
    pub media_type: String,
    /// Base64, standard alphabet, padded.
    pub data: String,
}

/// Names bytes kept outside the journal by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    pub digest: Digest,
    pub bytes: u64,
}

impl Handle {
    /// Returns the form in which the model and people name it: `blob:` and 64 digits.
    pub fn name(&self) -> String {
        format!("blob:{}", self.digest)
    }
}

/// Bytes on their way to the store, named by their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

impl Blob {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes }
    }

    pub fn handle(&self) -> Handle {
        Handle { digest: self.digest, bytes: self.bytes.len() as u64 }
    }
}
