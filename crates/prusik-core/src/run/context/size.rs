//! How large the prompt is: counted by the provider where it has counted, else estimated.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::message::{Block, Content, Message, ToolInput};
use crate::model::Usage;

/// Bytes that one token stands for when nobody counted: low, so that estimates err upwards.
const BYTES_PER_TOKEN: u64 = 3;
/// Tokens of a KiB, at least and at most, whatever a provider counts: a server that counts nothing,
/// or counts the newest message alone, must not make the window endless.
const PER_KIB_MIN: u64 = 128;
const PER_KIB_MAX: u64 = 1024;

/// What the next prompt will measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::run) struct ContextSize {
    /// Tokens up to the last answer or compaction, as the provider counted them where it did.
    tokens: u64,
    /// Bytes that came since.
    since: u64,
    /// Bytes of the whole prompt.
    bytes: u64,
    /// Tokens of a KiB in this run, as the provider last counted them.
    per_kib: u64,
    /// Bytes of entries that are shown only behind the answer which may be under way.
    unseen: u64,
}

impl ContextSize {
    pub fn start(bytes: u64) -> Self {
        let per_kib = 1024_u64.div_ceil(BYTES_PER_TOKEN);
        Self { tokens: 0, since: bytes, bytes, per_kib, unseen: 0 }
    }

    /// Returns what the next prompt will be billed as, about.
    pub fn tokens_estimated(&self) -> u64 {
        self.tokens.saturating_add(self.since.div_ceil(BYTES_PER_TOKEN))
    }

    /// Returns what the next prompt takes of the window, about.
    pub fn in_window(&self) -> u64 {
        self.tokens_estimated().max(self.bytes.saturating_mul(PER_KIB_MIN) / 1024)
    }

    /// Returns what so many bytes are in tokens, about: by what the provider counted in this run, and
    /// a little more.
    pub fn tokens_of(&self, bytes: u64) -> u64 {
        let tokens = bytes.saturating_mul(self.per_kib).div_ceil(1024);
        tokens.saturating_add(tokens / 16)
    }

    pub fn added(&mut self, bytes: u64) {
        self.since = self.since.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub fn added_unseen(&mut self, bytes: u64) {
        self.unseen = self.unseen.saturating_add(bytes);
    }

    pub fn show_unseen(&mut self) {
        let bytes = std::mem::take(&mut self.unseen);
        self.added(bytes);
    }

    /// Takes in an answer of so many bytes, and returns the tokens of the whole call.
    pub fn answered(&mut self, written: u64, usage: &Usage) -> u64 {
        let counted = usage.total();
        // A server that counts nothing must not make the budget endless.
        let tokens = if counted > 0 {
            counted
        } else {
            self.tokens_estimated().saturating_add(written.div_ceil(BYTES_PER_TOKEN))
        };
        self.bytes = self.bytes.saturating_add(written);
        if counted > 0 {
            let per_kib = counted.saturating_mul(1024) / self.bytes.max(1);
            self.per_kib = per_kib.clamp(PER_KIB_MIN, PER_KIB_MAX);
        }
        (self.tokens, self.since) = (tokens, 0);
        tokens
    }

    pub fn compacted(&mut self, bytes: u64, tokens: u64) {
        (self.tokens, self.since, self.bytes) = (tokens, 0, bytes);
    }
}

/// Returns the bytes that a block puts into a prompt.
pub fn bytes_of(block: &Block) -> u64 {
    let bytes = match block {
        Block::Text(text) => text.len(),
        Block::Opaque(opaque) => opaque.block.to_string().len(),
        Block::ToolUse(tool_use) => match &tool_use.input {
            ToolInput::Json(value) => value.to_string().len() + tool_use.name.len(),
            ToolInput::Malformed(text) => text.len() + tool_use.name.len(),
        },
        Block::ToolResult(result) => result.content.iter().map(Content::bytes).sum(),
    };
    bytes as u64
}

/// Returns the bytes that messages put into a prompt.
pub(in crate::run) fn bytes_of_all(messages: &[Arc<Message>]) -> u64 {
    messages.iter().flat_map(|message| &message.content).map(bytes_of).sum()
}
