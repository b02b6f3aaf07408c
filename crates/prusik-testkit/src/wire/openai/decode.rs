//! Reads a request of OpenAI chat completions, and refuses what the service refuses.

use std::sync::Arc;

use prusik_core::ids::Attempt;
use prusik_core::message::{
    Block, Content, Image, Message, Role, ToolInput, ToolResultBlock, ToolUse,
};
use prusik_core::model::{ModelRequest, ModelSpec, ToolDecl};
use prusik_model::turn_asked;
use serde_json::{Map, Value};

use crate::wire::{Decoded, Refusal, Shape, is_tool_name, object_of, push_message};

const KNOWN_KEYS: [&str; 27] = [
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
    "user",
];
const TOOL_NAME_BYTES_MAX: usize = 64;
/// What a model may answer when the request sets no limit.
const MAX_TOKENS_DEFAULT: u32 = 4_096;

pub fn decode(body: &Value) -> Result<Decoded, Refusal> {
    let object = object_of(body, &KNOWN_KEYS, |key| format!("Unknown parameter: '{key}'."))?;
    let model = match object.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model,
        Some(_) | None => return Err(Refusal::invalid("you must provide a model parameter")),
    };
    let stream = object.get("stream").and_then(Value::as_bool).unwrap_or(false);
    if object.contains_key("stream_options") && !stream {
        return Err(Refusal::invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ));
    }
    let max_tokens = max_tokens(object)?;
    let (system, messages) = messages(object)?;
    let model = ModelSpec {
        alias: model.clone(),
        model: model.clone(),
        max_tokens,
        temperature: object.get("temperature").and_then(Value::as_f64),
        thinking_tokens: None,
        price: None,
    };
    let request = ModelRequest {
        turn: turn_asked(&messages),
        attempt: Attempt(1),
        purpose: prusik_core::run::purpose_of(&messages),
        model: Arc::new(model),
        max_tokens,
        system: system.into(),
        tools: tools(object.get("tools"))?.into(),
        messages: messages.into_iter().map(Arc::new).collect(),
    };
    let stream_usage = body["stream_options"]["include_usage"].as_bool().unwrap_or(false);
    Ok(Decoded { request, shape: Shape { stream, stream_usage } })
}

fn max_tokens(object: &Map<String, Value>) -> Result<u32, Refusal> {
    let given: Vec<&Value> = ["max_tokens", "max_completion_tokens"]
        .iter()
        .filter_map(|key| object.get(*key))
        .filter(|value| !value.is_null())
        .collect();
    match given.as_slice() {
        [] => Ok(MAX_TOKENS_DEFAULT),
        [value] => {
            value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
                Refusal::invalid("Invalid 'max_tokens': must be an integer above 0.")
            })
        }
        _ => Err(Refusal::invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        )),
    }
}

fn messages(object: &Map<String, Value>) -> Result<(String, Vec<Message>), Refusal> {
    let list = object
        .get("messages")
        .and_then(Value::as_array)
        .ok_or_else(|| Refusal::invalid("Missing required parameter: 'messages'."))?;
    if list.is_empty() {
        return Err(Refusal::invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
        ));
    }
    let mut system = Vec::new();
    let mut messages = Vec::new();
    // Calls that nobody answered yet, and where they were made.
    let mut open: Vec<String> = Vec::new();
    let mut open_at = 0;
    for (i, message) in list.iter().enumerate() {
        let path = format!("messages[{i}]");
        let role = message["role"].as_str().unwrap_or_default();
        if role != "tool" && !open.is_empty() {
            return Err(unanswered(open_at, &open));
        }
        match role {
            "system" | "developer" => system.push(texts(&message["content"], &path)?.join("\n")),
            "user" => {
                let content = texts(&message["content"], &path)?.into_iter().map(Block::Text);
                push_message(
                    &mut messages,
                    Message { role: Role::User, content: content.collect() },
                );
            }
            "assistant" => {
                let message = assistant(message, &path)?;
                open = message.content.iter().filter_map(call_id).collect();
                open_at = i;
                messages.push(message);
            }
            "tool" => {
                let result = tool_result(message, &path)?;
                let Some(at) = open.iter().position(|id| *id == result.id) else {
                    return Err(Refusal::invalid(format!(
                        "Invalid parameter: messages with role 'tool' must be a response to a \
                         preceding message with 'tool_calls'; {path}.tool_call_id '{}' is not.",
                        result.id
                    )));
                };
                open.remove(at);
                let content = vec![Block::ToolResult(result)];
                push_message(&mut messages, Message { role: Role::User, content });
            }
            other => {
                return Err(Refusal::invalid(format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', \
                     'user', 'function', 'tool', and 'developer'."
                )));
            }
        }
    }
    if open.is_empty() {
        Ok((system.join("\n\n"), messages))
    } else {
        Err(unanswered(open_at, &open))
    }
}

fn unanswered(i: usize, ids: &[String]) -> Refusal {
    Refusal::invalid(format!(
        "messages[{i}]: An assistant message with 'tool_calls' must be followed by tool messages \
         responding to each 'tool_call_id'. The following tool_call_ids did not have response \
         messages: {}",
        ids.join(", ")
    ))
}

fn call_id(block: &Block) -> Option<String> {
    match block {
        Block::ToolUse(call) => Some(call.id.clone()),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    }
}

fn assistant(message: &Value, path: &str) -> Result<Message, Refusal> {
    let calls = match &message["tool_calls"] {
        Value::Null => &[][..],
        Value::Array(list) if !list.is_empty() => list,
        _ => {
            return Err(Refusal::invalid(format!(
                "Invalid '{path}.tool_calls': empty array. Expected an array with minimum \
                 length 1."
            )));
        }
    };
    let mut content = Vec::new();
    match (&message["content"], &message["refusal"]) {
        (Value::Null, Value::String(refusal)) => content.push(Block::Text(refusal.clone())),
        (Value::Null, _) if !calls.is_empty() => {}
        (value, _) => content.extend(
            texts(value, path)?.into_iter().filter(|text| !text.is_empty()).map(Block::Text),
        ),
    }
    for (i, call) in calls.iter().enumerate() {
        content.push(Block::ToolUse(tool_use(call, &format!("{path}.tool_calls[{i}]"))?));
    }
    Ok(Message { role: Role::Assistant, content })
}

fn tool_use(call: &Value, path: &str) -> Result<ToolUse, Refusal> {
    if call["type"] != "function" {
        return Err(Refusal::invalid(format!("Missing required parameter: '{path}.type'.")));
    }
    let raw = text(&call["function"]["arguments"], &format!("{path}.function.arguments"))?;
    // Any string is taken here: models write what is not JSON, and it must be possible to say so.
    let input = match serde_json::from_str(raw) {
        Ok(value) => ToolInput::Json(value),
        Err(_) => ToolInput::Malformed(raw.to_owned()),
    };
    let name = text(&call["function"]["name"], &format!("{path}.function.name"))?;
    check_tool_name(name, &format!("{path}.function.name"))?;
    Ok(ToolUse {
        id: text(&call["id"], &format!("{path}.id"))?.to_owned(),
        name: name.to_owned(),
        input,
    })
}

fn tool_result(message: &Value, path: &str) -> Result<ToolResultBlock, Refusal> {
    let id = text(&message["tool_call_id"], &format!("{path}.tool_call_id"))?.to_owned();
    let content = texts(&message["content"], path)?.into_iter().map(Content::Text).collect();
    // The protocol has no place for failure; only the text can tell.
    Ok(ToolResultBlock { id, content, is_error: false })
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Err(Refusal::invalid(format!("Missing required parameter: '{path}'."))),
        _ => Err(Refusal::invalid(format!("Invalid type for '{path}': expected a string."))),
    }
}

/// Returns the texts of a message's content: one for a string, else one for each text part.
/// Images are taken, and left out: no script looks at them.
fn texts(content: &Value, path: &str) -> Result<Vec<String>, Refusal> {
    match content {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(parts) => {
            let mut texts = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                let path = format!("{path}.content[{i}]");
                match text(&part["type"], &format!("{path}.type"))? {
                    "text" => texts.push(text(&part["text"], &format!("{path}.text"))?.to_owned()),
                    "image_url" => {
                        image(&part["image_url"], &path)?;
                    }
                    other => {
                        return Err(Refusal::invalid(format!(
                            "Invalid value: '{other}' in '{path}.type'."
                        )));
                    }
                }
            }
            Ok(texts)
        }
        _ => Err(Refusal::invalid(format!(
            "Invalid value for '{path}.content': expected a string or an array."
        ))),
    }
}

fn image(part: &Value, path: &str) -> Result<Image, Refusal> {
    let url = text(&part["url"], &format!("{path}.image_url.url"))?;
    let parsed = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match parsed {
        Some((media_type, data)) => {
            Ok(Image { media_type: media_type.to_owned(), data: data.to_owned() })
        }
        None => Err(Refusal::invalid(format!(
            "Invalid '{path}.image_url.url': this server takes data URLs with base64 only."
        ))),
    }
}

fn check_tool_name(name: &str, path: &str) -> Result<(), Refusal> {
    if is_tool_name(name, TOOL_NAME_BYTES_MAX) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "Invalid '{path}': string does not match pattern. Expected a string that matches the \
         pattern '^[a-zA-Z0-9_-]+$' of at most {TOOL_NAME_BYTES_MAX} characters."
    )))
}

fn tools(value: Option<&Value>) -> Result<Vec<ToolDecl>, Refusal> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(_) => {
            return Err(Refusal::invalid(
                "Invalid 'tools': empty array. Expected an array with minimum length 1.",
            ));
        }
    };
    let mut tools = Vec::new();
    for (i, tool) in list.iter().enumerate() {
        let path = format!("tools[{i}].function");
        if tool["type"] != "function" {
            return Err(Refusal::invalid(format!(
                "Missing required parameter: 'tools[{i}].type'."
            )));
        }
        let function = &tool["function"];
        let name = text(&function["name"], &format!("{path}.name"))?;
        check_tool_name(name, &format!("{path}.name"))?;
        let schema = &function["parameters"];
        if !schema.is_null() && schema["type"] != "object" {
            return Err(Refusal::invalid(format!(
                "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \
                 \"object\"'."
            )));
        }
        tools.push(ToolDecl {
            name: name.to_owned(),
            description: function["description"].as_str().unwrap_or_default().to_owned(),
            input_schema: schema.clone(),
        });
    }
    Ok(tools)
}
