//! The usage of an answer whose script does not say any: by the bytes of the whole request.

use std::io;

use prusik_core::message::{Block, Content, Message, Role, ToolInput};
use prusik_core::model::{ModelRequest, Usage};
use serde_json::Value;

/// Bytes that the estimate takes for one token.
const TOKEN_BYTES: usize = 4;

/// Returns what a provider with a perfect cache would count: all that stood before the newest
/// message of the user is read from it, that message is fresh. In the first turn everything is.
pub(super) fn estimate(request: &ModelRequest, content: &[Block]) -> Usage {
    let tools = request
        .tools
        .iter()
        .map(|tool| tool.name.len() + tool.description.len() + json_bytes(&tool.input_schema));
    let head = request.system.len() + tools.sum::<usize>();
    let messages = &request.messages;
    let newest = messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
    let (before, fresh) = messages.split_at(newest);
    let bytes = |part: &[std::sync::Arc<Message>]| {
        part.iter().map(|message| blocks_bytes(&message.content)).sum::<usize>()
    };
    let (before, fresh) = (head + bytes(before), bytes(fresh));
    let output = tokens(blocks_bytes(content));
    if messages.len() > 1 {
        let (cache_read, input) = (tokens(before), tokens(fresh));
        Usage { input, output, cache_read, ..Usage::default() }
    } else {
        Usage { input: tokens(before + fresh), output, ..Usage::default() }
    }
}

fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX)
}

fn blocks_bytes(blocks: &[Block]) -> usize {
    let bytes = |block: &Block| match block {
        Block::Text(text) => text.len(),
        Block::Opaque(opaque) => json_bytes(&opaque.block),
        Block::ToolUse(call) => match &call.input {
            ToolInput::Json(value) => call.name.len() + json_bytes(value),
            ToolInput::Malformed(text) => call.name.len() + text.len(),
        },
        Block::ToolResult(result) => result.content.iter().map(content_bytes).sum(),
    };
    blocks.iter().map(bytes).sum()
}

fn content_bytes(content: &Content) -> usize {
    match content {
        Content::Text(text) => text.len(),
        Content::Image(image) => image.data.len(),
        Content::Json(value) => json_bytes(value),
    }
}

/// Returns how long `value` is as JSON, without writing it anywhere: this is done for the whole
/// conversation in every turn.
fn json_bytes(value: &Value) -> usize {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).expect("counting takes everything that is written");
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
