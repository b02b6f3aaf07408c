//! Takes a key out of whatever a server echoed it into.

use prusik_core::message::{Block, ToolInput};
use prusik_core::model::{Answer, StopReason};
use serde_json::Value;

const SHOWN_INSTEAD: &str = "[key]";

/// Replaces `secret` wherever the answer holds it.
pub(crate) fn answer(answer: &mut Answer, secret: &str) {
    text(&mut answer.model, secret);
    if let StopReason::Other(word) = &mut answer.stop {
        text(word, secret);
    }
    for block in &mut answer.content {
        match block {
            Block::Text(said) => text(said, secret),
            Block::Opaque(opaque) => value(&mut opaque.block, secret),
            Block::ToolUse(call) => {
                text(&mut call.id, secret);
                text(&mut call.name, secret);
                match &mut call.input {
                    ToolInput::Json(input) => value(input, secret),
                    ToolInput::Malformed(raw) => text(raw, secret),
                }
            }
            // A model does not answer with results.
            Block::ToolResult(_) => {}
        }
    }
}

fn text(text: &mut String, secret: &str) {
    if text.contains(secret) {
        *text = text.replace(secret, SHOWN_INSTEAD);
    }
}

fn value(json: &mut Value, secret: &str) {
    match json {
        Value::String(held) => text(held, secret),
        Value::Array(items) => items.iter_mut().for_each(|item| value(item, secret)),
        Value::Object(map) => {
            if map.keys().any(|key| key.contains(secret)) {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(key, held)| (key.replace(secret, SHOWN_INSTEAD), held))
                    .collect();
            }
            map.values_mut().for_each(|held| value(held, secret));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
