//! Anthropic Messages: headers, answers, streams and errors. Requests are read in `decode`.
//!
//! Source: the API reference and the streaming guide at docs.anthropic.com, version 2023-06-01.

pub mod decode;

use axum::http::HeaderMap;
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason, Usage};
use serde_json::{Value, json};

use super::pieces::{json_pieces, words};
use super::{Frame, Refusal, WireError};

/// The name under which the core keeps this provider's own blocks.
pub const PROVIDER: &str = "anthropic";

pub fn check_headers(headers: &HeaderMap, key: Option<&str>) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = text("x-api-key")
        .or_else(|| text("authorization").and_then(|value| value.strip_prefix("Bearer ")));
    match (given, key) {
        (None | Some(""), _) => return Err(Refusal::unauthorized("x-api-key header is required")),
        (Some(given), Some(key)) if given != key => {
            return Err(Refusal::unauthorized("invalid x-api-key"));
        }
        (Some(_), _) => {}
    }
    if text("anthropic-version").is_none() {
        return Err(Refusal::invalid("anthropic-version: header is required"));
    }
    if !text("content-type").is_some_and(|value| value.starts_with("application/json")) {
        return Err(Refusal::invalid("content-type: must be application/json"));
    }
    Ok(())
}

pub fn encode(answer: &Answer, n: u64) -> Value {
    let mut message = envelope(answer, n);
    message["content"] = answer.content.iter().filter_map(whole_block).collect();
    message["stop_reason"] = json!(stop_word(&answer.stop));
    message["stop_sequence"] = stop_sequence(&answer.stop);
    message["usage"] = usage_start(&answer.usage, answer.usage.output);
    message
}

pub fn encode_stream(answer: &Answer, n: u64) -> Vec<Frame> {
    let mut message = envelope(answer, n);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["stop_sequence"] = Value::Null;
    message["usage"] = usage_start(&answer.usage, 1);
    let mut frames = vec![frame("message_start", json!({ "message": message }))];
    for (index, block) in answer.content.iter().filter(|block| goes_out(block)).enumerate() {
        let (start, deltas) = block_stream(block);
        frames.push(frame("content_block_start", json!({"index": index, "content_block": start})));
        if index == 0 {
            frames.push(frame("ping", json!({})));
        }
        for delta in deltas {
            frames.push(frame("content_block_delta", json!({"index": index, "delta": delta})));
        }
        frames.push(frame("content_block_stop", json!({ "index": index })));
    }
    let delta = json!({
        "delta": {
            "stop_reason": stop_word(&answer.stop), "stop_sequence": stop_sequence(&answer.stop),
        },
        "usage": {
            "input_tokens": answer.usage.input,
            "cache_creation_input_tokens": answer.usage.cache_write,
            "cache_read_input_tokens": answer.usage.cache_read,
            "output_tokens": answer.usage.output,
        },
    });
    frames.push(frame("message_delta", delta));
    frames.push(frame("message_stop", json!({})));
    frames
}

pub fn encode_error(error: &ModelError) -> WireError {
    let (status, word) = match error.kind {
        ModelErrorKind::RateLimited => (429, "rate_limit_error"),
        ModelErrorKind::Overloaded => (529, "overloaded_error"),
        ModelErrorKind::Server
        | ModelErrorKind::Unreachable
        | ModelErrorKind::StreamCut
        | ModelErrorKind::BadResponse => (500, "api_error"),
        ModelErrorKind::Timeout => (504, "timeout_error"),
        ModelErrorKind::Authentication => (401, "authentication_error"),
        ModelErrorKind::NotFound => (404, "not_found_error"),
        ModelErrorKind::InvalidRequest | ModelErrorKind::Drift => (400, "invalid_request_error"),
        ModelErrorKind::ContextFull => {
            let message = format!("prompt is too long: {}", error.message);
            return wire_error(400, "invalid_request_error", &message, error.retry_after_ms);
        }
        ModelErrorKind::Billing => (402, "billing_error"),
    };
    wire_error(status, word, &error.message, error.retry_after_ms)
}

fn wire_error(status: u16, word: &str, message: &str, retry_after_ms: Option<u64>) -> WireError {
    let body = json!({
        "type": "error",
        "error": {"type": word, "message": message},
        "request_id": "req_scripted",
    });
    WireError { status, body, retry_after_ms }
}

fn envelope(answer: &Answer, n: u64) -> Value {
    json!({
        "id": format!("msg_{n:024}"), "type": "message", "role": "assistant",
        "model": answer.model, "content": null, "stop_reason": null, "stop_sequence": null,
        "usage": null,
    })
}

fn usage_start(usage: &Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": output,
        "service_tier": "standard",
    })
}

fn frame(event: &'static str, mut data: Value) -> Frame {
    data["type"] = json!(event);
    Frame { event: Some(event), data: data.to_string() }
}

/// Returns whether this provider would say `block`.
fn goes_out(block: &Block) -> bool {
    match block {
        Block::Text(_) | Block::ToolUse(_) => true,
        Block::Opaque(opaque) => opaque.provider == PROVIDER,
        Block::ToolResult(_) => false,
    }
}

fn whole_block(block: &Block) -> Option<Value> {
    match block {
        Block::Text(text) => Some(json!({"type": "text", "text": text})),
        Block::Opaque(opaque) => goes_out(block).then(|| opaque.block.clone()),
        Block::ToolUse(call) => {
            // What the documentation of fine-grained tool streaming does with a cut argument.
            let input = match &call.input {
                ToolInput::Json(value) => value.clone(),
                ToolInput::Malformed(text) => json!({ "INVALID_JSON": text }),
            };
            Some(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}))
        }
        Block::ToolResult(_) => None,
    }
}

/// Returns how `block` starts, and the deltas that fill it.
fn block_stream(block: &Block) -> (Value, Vec<Value>) {
    match block {
        Block::Text(text) => {
            let deltas = words(text).map(|word| json!({"type": "text_delta", "text": word}));
            (json!({"type": "text", "text": ""}), deltas.collect())
        }
        Block::ToolUse(call) => tool_stream(call),
        Block::Opaque(opaque) if opaque.block["type"] == "thinking" => {
            let text = opaque.block["thinking"].as_str().unwrap_or_default();
            let mut deltas: Vec<Value> = words(text)
                .map(|word| json!({"type": "thinking_delta", "thinking": word}))
                .collect();
            deltas.push(json!({"type": "signature_delta", "signature": opaque.block["signature"]}));
            (json!({"type": "thinking", "thinking": "", "signature": ""}), deltas)
        }
        Block::Opaque(opaque) => (opaque.block.clone(), Vec::new()),
        Block::ToolResult(_) => (Value::Null, Vec::new()),
    }
}

fn tool_stream(call: &ToolUse) -> (Value, Vec<Value>) {
    let raw = match &call.input {
        ToolInput::Json(value) => value.to_string(),
        ToolInput::Malformed(text) => text.clone(),
    };
    let delta = |piece: &str| json!({"type": "input_json_delta", "partial_json": piece});
    // The service opens with an empty piece, and sends no other for a call without arguments.
    let mut deltas = vec![delta("")];
    if raw != "{}" {
        deltas.extend(json_pieces(&raw).into_iter().map(delta));
    }
    (json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}), deltas)
}

fn stop_word(stop: &StopReason) -> &str {
    match stop {
        StopReason::EndTurn => "end_turn",
        StopReason::ToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::Refusal => "refusal",
        StopReason::PauseTurn => "pause_turn",
        StopReason::ContextFull => "model_context_window_exceeded",
        StopReason::Other(word) => word,
    }
}

fn stop_sequence(stop: &StopReason) -> Value {
    if *stop == StopReason::StopSequence { json!("\n\nHuman:") } else { Value::Null }
}
