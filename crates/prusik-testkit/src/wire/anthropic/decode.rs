//! Reads a request of Anthropic Messages, and refuses what the service refuses.

use std::collections::HashSet;
use std::sync::Arc;

use prusik_core::ids::Attempt;
use prusik_core::message::{
    Block, Content, Image, Message, OpaqueBlock, Role, ToolInput, ToolResultBlock, ToolUse,
};
use prusik_core::model::{ModelRequest, ModelSpec, ToolDecl};
use prusik_model::turn_asked;
use serde_json::{Map, Value};

use super::PROVIDER;
use crate::wire::{Decoded, Refusal, Shape, is_tool_name, object_of, push_message};

const KNOWN_KEYS: [&str; 21] = [
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
/// What a question for a count of tokens may hold: what is about the answer is not taken.
const COUNTED_KEYS: [&str; 11] = [
    "cache_control",
    "context_management",
    "mcp_servers",
    "messages",
    "model",
    "output_config",
    "output_format",
    "system",
    "thinking",
    "tool_choice",
    "tools",
];
/// The service takes at most this many cache breakpoints.
const CACHE_BREAKPOINTS_MAX: usize = 4;
/// The least that the service lets a model think.
const THINKING_TOKENS_MIN: u64 = 1_024;
const TOOL_NAME_BYTES_MAX: usize = 128;

pub fn decode(body: &Value) -> Result<Decoded, Refusal> {
    let object =
        object_of(body, &KNOWN_KEYS, |key| format!("{key}: Extra inputs are not permitted"))?;
    let model = required(object, "model")?.as_str().ok_or_else(|| not("model", "string"))?;
    let max_tokens = required(object, "max_tokens")?
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| not("max_tokens", "integer"))?;
    if max_tokens == 0 {
        return Err(Refusal::invalid("max_tokens: Input should be greater than or equal to 1"));
    }
    check_cache_breakpoints(body)?;
    let temperature = object.get("temperature").and_then(Value::as_f64);
    let thinking_tokens = thinking(object, max_tokens, temperature)?;
    let messages = messages(required(object, "messages")?)?;
    check_pairs(&messages)?;
    let model = ModelSpec {
        alias: model.to_owned(),
        model: model.to_owned(),
        max_tokens,
        temperature,
        thinking_tokens,
        price: None,
    };
    let request = ModelRequest {
        turn: turn_asked(&messages),
        attempt: Attempt(1),
        purpose: prusik_core::run::purpose_of(&messages),
        model: Arc::new(model),
        max_tokens,
        system: system(object.get("system"))?.into(),
        tools: tools(object.get("tools"))?.into(),
        messages: messages.into_iter().map(Arc::new).collect(),
    };
    let stream = object.get("stream").and_then(Value::as_bool).unwrap_or(false);
    Ok(Decoded { request, shape: Shape { stream, stream_usage: true } })
}

/// Checks a request that asks how many tokens a prompt has.
///
/// Source: <https://platform.claude.com/docs/en/api/messages-count-tokens>.
pub fn check_count(body: &Value) -> Result<(), Refusal> {
    let object =
        object_of(body, &COUNTED_KEYS, |key| format!("{key}: Extra inputs are not permitted"))?;
    required(object, "model")?.as_str().ok_or_else(|| not("model", "string"))?;
    check_cache_breakpoints(body)?;
    thinking(object, u32::MAX, None)?;
    check_pairs(&messages(required(object, "messages")?)?)?;
    system(object.get("system"))?;
    tools(object.get("tools"))?;
    Ok(())
}

fn required<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a Value, Refusal> {
    object.get(key).ok_or_else(|| Refusal::invalid(format!("{key}: Field required")))
}

fn not(path: &str, expected: &str) -> Refusal {
    Refusal::invalid(format!("{path}: Input should be a valid {expected}"))
}

fn text_at<'a>(value: &'a Value, key: &str, path: &str) -> Result<&'a str, Refusal> {
    match value.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(not(&format!("{path}.{key}"), "string")),
        None => Err(Refusal::invalid(format!("{path}.{key}: Field required"))),
    }
}

fn check_cache_breakpoints(body: &Value) -> Result<(), Refusal> {
    let found = count_breakpoints(body);
    if found > CACHE_BREAKPOINTS_MAX {
        return Err(Refusal::invalid(format!(
            "A maximum of {CACHE_BREAKPOINTS_MAX} blocks with cache_control may be provided. \
             Found {found}."
        )));
    }
    Ok(())
}

/// Counts the objects that carry `cache_control`, where the service looks for it: in the tools,
/// the system prompt, and the blocks of messages. What a call's arguments hold does not count.
fn count_breakpoints(body: &Value) -> usize {
    let marked =
        |value: &Value| usize::from(value.get("cache_control").is_some_and(|v| !v.is_null()));
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = marked(body);
    for value in list(&body["tools"]).iter().chain(&list(&body["system"])) {
        found += marked(value);
    }
    for message in list(&body["messages"]) {
        for block in list(&message["content"]) {
            found += marked(&block) + list(&block["content"]).iter().map(marked).sum::<usize>();
        }
    }
    found
}

fn thinking(
    object: &Map<String, Value>,
    max_tokens: u32,
    temperature: Option<f64>,
) -> Result<Option<u32>, Refusal> {
    let Some(thinking) = object.get("thinking") else { return Ok(None) };
    match text_at(thinking, "type", "thinking")? {
        "disabled" => Ok(None),
        "adaptive" => Ok(Some(max_tokens)),
        "enabled" => {
            let tokens = thinking["budget_tokens"].as_u64().ok_or_else(|| {
                Refusal::invalid("thinking.enabled.budget_tokens: Field required")
            })?;
            if tokens < THINKING_TOKENS_MIN {
                return Err(Refusal::invalid(format!(
                    "thinking.enabled.budget_tokens: Input should be greater than or equal to \
                     {THINKING_TOKENS_MIN}"
                )));
            }
            if tokens >= u64::from(max_tokens) {
                return Err(Refusal::invalid(
                    "`max_tokens` must be greater than `thinking.budget_tokens`.",
                ));
            }
            if temperature.is_some_and(|temperature| (temperature - 1.0).abs() > f64::EPSILON) {
                return Err(Refusal::invalid(
                    "`temperature` may only be set to 1 when thinking is enabled.",
                ));
            }
            Ok(u32::try_from(tokens).ok())
        }
        other => Err(Refusal::invalid(format!("thinking.type: {other:?} is not known"))),
    }
}

fn system(value: Option<&Value>) -> Result<String, Refusal> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(blocks)) => {
            let mut texts = Vec::new();
            for (i, block) in blocks.iter().enumerate() {
                let text = text_at(block, "text", &format!("system.{i}"))?;
                if text.is_empty() {
                    return Err(Refusal::invalid("system: text content blocks must be non-empty"));
                }
                texts.push(text);
            }
            Ok(texts.join("\n\n"))
        }
        Some(_) => Err(not("system", "list")),
    }
}

fn tools(value: Option<&Value>) -> Result<Vec<ToolDecl>, Refusal> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let list = value.as_array().ok_or_else(|| not("tools", "list"))?;
    let mut names = HashSet::new();
    let mut tools = Vec::new();
    for (i, tool) in list.iter().enumerate() {
        let path = format!("tools.{i}.custom");
        let name = text_at(tool, "name", &path)?;
        if !is_tool_name(name, TOOL_NAME_BYTES_MAX) {
            return Err(Refusal::invalid(format!(
                "{path}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )));
        }
        if !names.insert(name) {
            return Err(Refusal::invalid("tools: Tool names must be unique."));
        }
        let schema = tool
            .get("input_schema")
            .ok_or_else(|| Refusal::invalid(format!("{path}.input_schema: Field required")))?;
        if schema["type"] != "object" {
            return Err(Refusal::invalid(format!(
                "{path}.input_schema.type: Input should be 'object'"
            )));
        }
        tools.push(ToolDecl {
            name: name.to_owned(),
            description: tool["description"].as_str().unwrap_or_default().to_owned(),
            input_schema: schema.clone(),
        });
    }
    Ok(tools)
}

fn messages(value: &Value) -> Result<Vec<Message>, Refusal> {
    let list = value.as_array().ok_or_else(|| not("messages", "list"))?;
    if list.is_empty() {
        return Err(Refusal::invalid("messages: at least one message is required"));
    }
    let mut messages = Vec::new();
    for (i, message) in list.iter().enumerate() {
        let path = format!("messages.{i}");
        let role = match text_at(message, "role", &path)? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => {
                return Err(Refusal::invalid(
                    "messages: Unexpected role \"system\". The Messages API accepts a top-level \
                     `system` parameter, not \"system\" as an input message role.",
                ));
            }
            _ => {
                return Err(Refusal::invalid(format!(
                    "{path}.role: Input should be 'user' or 'assistant'"
                )));
            }
        };
        if i == 0 && role == Role::Assistant {
            return Err(Refusal::invalid("messages: first message must use the \"user\" role"));
        }
        let content = match message.get("content") {
            Some(Value::String(text)) if !text.is_empty() => vec![Block::Text(text.clone())],
            Some(Value::Array(blocks)) if !blocks.is_empty() => blocks
                .iter()
                .enumerate()
                .map(|(j, value)| block(value, role, &format!("{path}.content.{j}")))
                .collect::<Result<_, _>>()?,
            Some(Value::String(_) | Value::Array(_)) => {
                return Err(Refusal::invalid(format!(
                    "{path}: all messages must have non-empty content"
                )));
            }
            Some(_) | None => {
                return Err(Refusal::invalid(format!("{path}.content: Field required")));
            }
        };
        push_message(&mut messages, Message { role, content });
    }
    Ok(messages)
}

fn block(value: &Value, role: Role, path: &str) -> Result<Block, Refusal> {
    match (text_at(value, "type", path)?, role) {
        ("text", _) => {
            let text = text_at(value, "text", path)?;
            if text.is_empty() {
                return Err(Refusal::invalid("messages: text content blocks must be non-empty"));
            }
            Ok(Block::Text(text.to_owned()))
        }
        ("tool_use", Role::Assistant) => {
            let input = value
                .get("input")
                .filter(|input| input.is_object())
                .ok_or_else(|| not(&format!("{path}.tool_use.input"), "dictionary"))?;
            Ok(Block::ToolUse(ToolUse {
                id: text_at(value, "id", path)?.to_owned(),
                name: text_at(value, "name", path)?.to_owned(),
                input: ToolInput::Json(input.clone()),
            }))
        }
        ("tool_result", Role::User) => Ok(Block::ToolResult(ToolResultBlock {
            id: text_at(value, "tool_use_id", path)?.to_owned(),
            content: result_content(value.get("content"), path)?,
            is_error: value["is_error"].as_bool().unwrap_or(false),
        })),
        ("thinking", Role::Assistant) => {
            text_at(value, "thinking", &format!("{path}.thinking"))?;
            if text_at(value, "signature", &format!("{path}.thinking"))?.is_empty() {
                return Err(Refusal::invalid(format!(
                    "{path}: Invalid `signature` in `thinking` block"
                )));
            }
            Ok(opaque(value))
        }
        ("redacted_thinking" | "server_tool_use" | "web_search_tool_result", Role::Assistant)
        | ("image" | "document", Role::User) => Ok(opaque(value)),
        (other, Role::User | Role::Assistant) => {
            Err(Refusal::invalid(format!("{path}: Input tag '{other}' is not expected here")))
        }
    }
}

fn opaque(value: &Value) -> Block {
    Block::Opaque(OpaqueBlock { provider: PROVIDER.to_owned(), block: value.clone() })
}

fn result_content(value: Option<&Value>, path: &str) -> Result<Vec<Content>, Refusal> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Content::Text(text.clone())]),
        Some(Value::Array(list)) => list
            .iter()
            .enumerate()
            .map(|(i, piece)| {
                let path = format!("{path}.tool_result.content.{i}");
                match text_at(piece, "type", &path)? {
                    "text" => {
                        let text = text_at(piece, "text", &path)?;
                        if text.is_empty() {
                            return Err(Refusal::invalid(
                                "messages: text content blocks must be non-empty",
                            ));
                        }
                        Ok(Content::Text(text.to_owned()))
                    }
                    "image" => image(&piece["source"], &format!("{path}.image.source")),
                    other => Err(Refusal::invalid(format!(
                        "{path}: Input tag '{other}' is not expected here"
                    ))),
                }
            })
            .collect(),
        Some(_) => Err(not(&format!("{path}.tool_result.content"), "list")),
    }
}

fn image(source: &Value, path: &str) -> Result<Content, Refusal> {
    let media_type = text_at(source, "media_type", path)?;
    if !["image/jpeg", "image/png", "image/gif", "image/webp"].contains(&media_type) {
        return Err(Refusal::invalid(format!(
            "{path}.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or \
             'image/webp'"
        )));
    }
    let data = text_at(source, "data", path)?.to_owned();
    Ok(Content::Image(Image { media_type: media_type.to_owned(), data }))
}

/// Checks that each call is answered by the very next message, before anything else in it, and
/// that nothing else is answered.
fn check_pairs(messages: &[Message]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for (i, message) in messages.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| &messages[i]);
        let open: Vec<&str> = before.map(call_ids).unwrap_or_default();
        let answered: Vec<&str> = leading_results(message);
        let mut all = message.content.iter().filter_map(answered_id);
        if let Some(unknown) = all.find(|id| !open.contains(id)) {
            return Err(Refusal::invalid(format!(
                "messages.{i}: unexpected `tool_use_id` found in `tool_result` blocks: {unknown}. \
                 Each `tool_result` block must have a corresponding `tool_use` block in the \
                 previous message."
            )));
        }
        let left: Vec<&str> = open.into_iter().filter(|id| !answered.contains(id)).collect();
        if !left.is_empty() {
            return Err(unanswered(i - 1, &left));
        }
        if answered.iter().collect::<HashSet<_>>().len() != answered.len() {
            return Err(Refusal::invalid(format!(
                "messages.{i}: each tool_use must have a single result. Found multiple \
                 `tool_result` blocks with the same id"
            )));
        }
        for id in call_ids(message) {
            if !seen.insert(id) {
                return Err(Refusal::invalid("messages: `tool_use` ids must be unique"));
            }
        }
    }
    match messages.last().map(call_ids) {
        Some(left) if !left.is_empty() => Err(unanswered(messages.len() - 1, &left)),
        Some(_) | None => Ok(()),
    }
}

fn unanswered(i: usize, ids: &[&str]) -> Refusal {
    Refusal::invalid(format!(
        "messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: \
         {}. Each `tool_use` block must have a corresponding `tool_result` block in the next \
         message.",
        ids.join(", ")
    ))
}

fn call_ids(message: &Message) -> Vec<&str> {
    message.content.iter().filter_map(call_id).collect()
}

/// Returns the calls that `message` answers before it says anything else.
fn leading_results(message: &Message) -> Vec<&str> {
    message.content.iter().map_while(answered_id).collect()
}

fn call_id(block: &Block) -> Option<&str> {
    match block {
        Block::ToolUse(call) => Some(&call.id),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    }
}

fn answered_id(block: &Block) -> Option<&str> {
    match block {
        Block::ToolResult(result) => Some(&result.id),
        Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
    }
}
