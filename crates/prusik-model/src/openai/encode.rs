//! The request's wire format.

use prusik_core::message::{Block, Content, Message, Role, ToolResultBlock};
use prusik_core::model::ModelRequest;
use serde_json::{Map, Value, json};

use super::PROVIDER;
use crate::as_object;

/// The part of a request that the model reads, in the API's own shape.
pub(super) struct Prompt {
    pub tools: Vec<Value>,
    pub messages: Vec<Value>,
}

/// Returns the body of a request; `max_tokens_field` is what this server calls the limit.
pub(super) fn body(request: &ModelRequest, max_tokens_field: &str) -> Vec<u8> {
    let Prompt { tools, messages } = prompt(request);
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model.model));
    body.insert(max_tokens_field.into(), json!(request.max_tokens));
    if let Some(temperature) = request.model.temperature {
        body.insert("temperature".into(), json!(temperature));
    }
    body.insert("stream".into(), json!(true));
    body.insert("stream_options".into(), json!({"include_usage": true}));
    if !tools.is_empty() {
        body.insert("tools".into(), Value::Array(tools));
    }
    body.insert("messages".into(), Value::Array(messages));
    Value::Object(body).to_string().into_bytes()
}

/// Returns what the model reads of a request.
pub(super) fn prompt(request: &ModelRequest) -> Prompt {
    let mut messages = Vec::new();
    if !request.system.trim().is_empty() {
        messages.push(json!({"role": "system", "content": &*request.system}));
    }
    for message in &request.messages {
        match message.role {
            Role::User => push_user(message, &mut messages),
            Role::Assistant => messages.extend(assistant(message)),
        }
    }
    let tools = request.tools.iter().map(|tool| {
        let function = json!({
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.input_schema,
        });
        json!({"type": "function", "function": function})
    });
    Prompt { tools: tools.collect(), messages }
}

/// Adds a user's message: results first, each a message of its own, then everything that only a
/// user may say, which includes the images that tools returned.
fn push_user(message: &Message, messages: &mut Vec<Value>) {
    let mut parts = Vec::new();
    for block in &message.content {
        match block {
            Block::Text(text) => parts.push(json!({"type": "text", "text": text})),
            Block::ToolResult(result) => {
                messages.push(tool_result(result));
                parts.extend(images(result));
            }
            Block::Opaque(_) | Block::ToolUse(_) => {}
        }
    }
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
    match texts {
        Some(texts) if texts.is_empty() => {}
        // Plain text is what every server takes.
        Some(texts) => messages.push(json!({"role": "user", "content": texts.join("\n\n")})),
        None => messages.push(json!({"role": "user", "content": parts})),
    }
}

fn tool_result(result: &ToolResultBlock) -> Value {
    let texts: Vec<String> = result
        .content
        .iter()
        .map(|content| match content {
            Content::Text(text) => text.clone(),
            Content::Json(value) => value.to_string(),
            Content::Image(_) => "[an image, shown in the next message]".to_owned(),
        })
        .collect();
    json!({"role": "tool", "tool_call_id": result.id, "content": texts.join("\n")})
}

fn images(result: &ToolResultBlock) -> impl Iterator<Item = Value> {
    result.content.iter().filter_map(|content| match content {
        Content::Image(image) => {
            let url = format!("data:{};base64,{}", image.media_type, image.data);
            Some(json!({"type": "image_url", "image_url": {"url": url}}))
        }
        Content::Text(_) | Content::Json(_) => None,
    })
}

/// Returns an answer as it is sent back; none where nothing of it can be.
fn assistant(message: &Message) -> Option<Value> {
    let mut texts = Vec::new();
    let mut calls = Vec::new();
    let mut sent = Map::new();
    sent.insert("role".into(), json!("assistant"));
    sent.insert("content".into(), Value::Null);
    for block in &message.content {
        match block {
            Block::Text(text) => texts.push(text.as_str()),
            Block::ToolUse(call) => {
                // A server that formats the prompt from arguments fails on what is not an object.
                let arguments = as_object(&call.input).to_string();
                let function = json!({"name": call.name, "arguments": arguments});
                calls.push(json!({"id": call.id, "type": "function", "function": function}));
            }
            Block::Opaque(opaque) if opaque.provider == PROVIDER => {
                // Reasoning goes back under the name that its server gave it.
                for (name, value) in opaque.block.as_object().into_iter().flatten() {
                    sent.insert(name.clone(), value.clone());
                }
            }
            Block::Opaque(_) | Block::ToolResult(_) => {}
        }
    }
    if texts.is_empty() && calls.is_empty() {
        return None;
    }
    if !texts.is_empty() {
        sent.insert("content".into(), json!(texts.join("\n")));
    }
    if !calls.is_empty() {
        sent.insert("tool_calls".into(), Value::Array(calls));
    }
    Some(Value::Object(sent))
}
