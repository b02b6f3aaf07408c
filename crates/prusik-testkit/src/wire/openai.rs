//! OpenAI chat completions: headers, answers, streams and errors. Requests are read in `decode`.
//!
//! Source: the API reference at platform.openai.com/docs/api-reference/chat.

pub mod decode;

use axum::http::HeaderMap;
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason, Usage};
use serde_json::{Value, json};

use super::pieces::{json_pieces, words};
use super::{Frame, Refusal, Shape, WireError};

/// The time that every answer claims to be made at, so that equal requests get equal answers.
const CREATED_S: u64 = 1_790_000_000;

pub fn check_headers(headers: &HeaderMap, key: Option<&str>) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match (given, key) {
        (None | Some(""), _) => Err(Refusal::unauthorized(
            "You didn't provide an API key. You need to provide your API key in an Authorization \
             header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )),
        (Some(given), Some(key)) if given != key => {
            Err(Refusal::unauthorized("Incorrect API key provided."))
        }
        (Some(_), _) => Ok(()),
    }
}

pub fn encode(answer: &Answer, n: u64) -> Value {
    let said = Said::of(answer);
    let calls: Vec<Value> = said.calls.iter().map(|call| whole_call(call)).collect();
    let mut message = json!({
        "role": "assistant", "content": said.text, "refusal": said.refusal, "annotations": [],
    });
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    if !said.reasoning.is_empty() {
        message["reasoning_content"] = json!(said.reasoning);
    }
    json!({
        "id": id(n), "object": "chat.completion", "created": CREATED_S, "model": answer.model,
        "choices": [{
            "index": 0, "message": message, "logprobs": null,
            "finish_reason": stop_word(&answer.stop),
        }],
        "usage": usage(&answer.usage),
        "service_tier": "default", "system_fingerprint": "fp_scripted",
    })
}

pub fn encode_stream(answer: &Answer, shape: Shape, n: u64) -> Vec<Frame> {
    let said = Said::of(answer);
    let mut deltas = vec![json!({"role": "assistant", "content": "", "refusal": null})];
    deltas.extend(words(&said.reasoning).map(|word| json!({ "reasoning_content": word })));
    let text = said.text.as_deref().unwrap_or_default();
    deltas.extend(words(text).map(|word| json!({ "content": word })));
    let refusal = said.refusal.as_deref().unwrap_or_default();
    deltas.extend(words(refusal).map(|word| json!({ "refusal": word })));
    for (index, call) in said.calls.iter().enumerate() {
        let mut start = whole_call(call);
        start["index"] = json!(index);
        start["function"]["arguments"] = json!("");
        deltas.push(json!({ "tool_calls": [start] }));
        for piece in json_pieces(&arguments(call)) {
            let piece = json!({"index": index, "function": {"arguments": piece}});
            deltas.push(json!({ "tool_calls": [piece] }));
        }
    }
    let envelope = |choices: Value| {
        let mut chunk = json!({
            "id": id(n), "object": "chat.completion.chunk", "created": CREATED_S,
            "model": answer.model, "service_tier": "default",
            "system_fingerprint": "fp_scripted", "choices": choices,
        });
        if shape.stream_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    };
    let choice = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        json!([choice])
    };
    let mut chunks: Vec<Value> =
        deltas.into_iter().map(|delta| envelope(choice(delta, None))).collect();
    chunks.push(envelope(choice(json!({}), Some(stop_word(&answer.stop)))));
    if shape.stream_usage {
        let mut last = envelope(json!([]));
        last["usage"] = usage(&answer.usage);
        chunks.push(last);
    }
    let frame = |data: String| Frame { event: None, data };
    let mut frames: Vec<Frame> = chunks.iter().map(|chunk| frame(chunk.to_string())).collect();
    frames.push(frame("[DONE]".to_owned()));
    frames
}

pub fn encode_error(error: &ModelError) -> WireError {
    let (status, word, code) = match error.kind {
        ModelErrorKind::RateLimited => (429, "requests", Some("rate_limit_exceeded")),
        ModelErrorKind::Overloaded => (503, "server_error", None),
        ModelErrorKind::Server
        | ModelErrorKind::Unreachable
        | ModelErrorKind::StreamCut
        | ModelErrorKind::BadResponse => (500, "server_error", None),
        ModelErrorKind::Timeout => (504, "server_error", None),
        ModelErrorKind::Authentication => (401, "invalid_request_error", Some("invalid_api_key")),
        ModelErrorKind::NotFound => (404, "invalid_request_error", Some("model_not_found")),
        ModelErrorKind::InvalidRequest | ModelErrorKind::Drift => {
            (400, "invalid_request_error", None)
        }
        ModelErrorKind::ContextFull => {
            (400, "invalid_request_error", Some("context_length_exceeded"))
        }
        ModelErrorKind::Billing => (429, "insufficient_quota", Some("insufficient_quota")),
    };
    let body = json!({
        "error": {"message": error.message, "type": word, "param": null, "code": code},
    });
    WireError { status, body, retry_after_ms: error.retry_after_ms }
}

/// Returns the list of models, which holds the one that the script plays.
pub fn models() -> Value {
    let model =
        json!({"id": "scripted", "object": "model", "created": CREATED_S, "owned_by": "prusik"});
    json!({"object": "list", "data": [model]})
}

/// An answer sorted into the fields that this protocol has.
struct Said<'a> {
    text: Option<String>,
    refusal: Option<String>,
    reasoning: String,
    calls: Vec<&'a ToolUse>,
}

impl<'a> Said<'a> {
    fn of(answer: &'a Answer) -> Self {
        let (mut text, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
        for block in &answer.content {
            match block {
                Block::Text(piece) => text.push_str(piece),
                // Not OpenAI's own, but what DeepSeek, vLLM and llama.cpp send.
                Block::Opaque(opaque) => {
                    reasoning.push_str(opaque.block["thinking"].as_str().unwrap_or_default());
                }
                Block::ToolUse(call) => calls.push(call),
                Block::ToolResult(_) => {}
            }
        }
        let text = (!text.is_empty() || calls.is_empty()).then_some(text);
        if answer.stop == StopReason::Refusal {
            return Self { text: None, refusal: text, reasoning, calls };
        }
        Self { text, refusal: None, reasoning, calls }
    }
}

fn whole_call(call: &ToolUse) -> Value {
    let function = json!({"name": call.name, "arguments": arguments(call)});
    json!({"id": call.id, "type": "function", "function": function})
}

fn arguments(call: &ToolUse) -> String {
    match &call.input {
        ToolInput::Json(value) => value.to_string(),
        ToolInput::Malformed(text) => text.clone(),
    }
}

fn id(n: u64) -> String {
    format!("chatcmpl-{n:024}")
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_total(),
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

fn stop_word(stop: &StopReason) -> &str {
    match stop {
        // A refusal ends with `stop`, too; the field `refusal` tells.
        StopReason::EndTurn
        | StopReason::StopSequence
        | StopReason::Refusal
        | StopReason::PauseTurn => "stop",
        StopReason::ToolUse => "tool_calls",
        StopReason::MaxTokens | StopReason::ContextFull => "length",
        StopReason::Other(word) => word,
    }
}
