//! The request's wire format.

use prusik_core::message::{Block, Content, Image, Message, Role, ToolResultBlock, ToolUse};
use prusik_core::model::ModelRequest;
use serde::Serialize;
use serde_json::Value;

use super::PROVIDER;
use crate::as_object;

/// Fewest tokens that the API lets a model think for.
const THINKING_TOKENS_MIN: u32 = 1_024;
/// The kinds of image that the API takes.
const IMAGE_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<WireMessage<'a>>,
}

#[derive(Serialize)]
struct Thinking {
    r#type: &'static str,
    budget_tokens: u32,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Vec<Part<'a>>,
}

/// A block with its breakpoint: everything up to it may be cached.
#[derive(Serialize)]
struct Part<'a> {
    #[serde(flatten)]
    block: WireBlock<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize, Clone, Copy)]
struct CacheControl {
    r#type: &'static str,
}

const EPHEMERAL: CacheControl = CacheControl { r#type: "ephemeral" };

#[derive(Serialize)]
#[serde(untagged)]
enum WireBlock<'a> {
    Known(Known<'a>),
    /// A block in the API's own shape, as it came.
    Verbatim(&'a Value),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Known<'a> {
    Text {
        text: String,
    },
    Image {
        source: Source<'a>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Value,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: Vec<Known<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct Source<'a> {
    r#type: &'static str,
    media_type: &'a str,
    data: &'a str,
}

/// Returns the body of a request. Equal prefixes of a conversation give equal bytes but for the
/// breakpoints, which are not part of what the API caches by.
pub(super) fn body(request: &ModelRequest) -> Vec<u8> {
    let thinking = thinking(request);
    let mut tools: Vec<Tool> = request
        .tools
        .iter()
        .map(|tool| Tool {
            name: &tool.name,
            description: &tool.description,
            input_schema: &tool.input_schema,
            cache_control: None,
        })
        .collect();
    if let Some(last) = tools.last_mut() {
        last.cache_control = Some(EPHEMERAL);
    }
    let system = text(&request.system)
        .map(|block| Part { block: WireBlock::Known(block), cache_control: Some(EPHEMERAL) });
    let mut messages: Vec<WireMessage> = request
        .messages
        .iter()
        .map(|message| encode_message(message))
        .filter(|message| !message.content.is_empty())
        .collect();
    // The newest message is written to the cache; the one before it is where the last request's
    // entry is found, even when a turn made more calls than the API looks back over.
    let newest_first = messages.iter_mut().rev().filter(|message| message.role == "user");
    for message in newest_first.take(2) {
        if let Some(part) = message.content.last_mut() {
            part.cache_control = Some(EPHEMERAL);
        }
    }
    let body = Body {
        model: &request.model.model,
        max_tokens: request.max_tokens,
        stream: true,
        // The API takes no temperature while the model thinks.
        temperature: request.model.temperature.filter(|_| thinking.is_none()),
        thinking,
        system: system.into_iter().collect(),
        tools,
        messages,
    };
    serde_json::to_vec(&body).expect("a request is plain data: its keys are strings")
}

/// Returns how long the model may think: less than the whole answer, or not at all.
fn thinking(request: &ModelRequest) -> Option<Thinking> {
    let budget_tokens = request.model.thinking_tokens?.min(request.max_tokens.saturating_sub(1));
    (budget_tokens >= THINKING_TOKENS_MIN).then_some(Thinking { r#type: "enabled", budget_tokens })
}

fn encode_message(message: &Message) -> WireMessage<'_> {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let parts = message.content.iter().filter_map(|block| {
        let block = match block {
            Block::Text(said) => WireBlock::Known(text(said)?),
            Block::Opaque(opaque) if opaque.provider == PROVIDER && opaque.block.is_object() => {
                WireBlock::Verbatim(&opaque.block)
            }
            Block::Opaque(_) => return None,
            Block::ToolUse(call) => WireBlock::Known(tool_use(call)),
            Block::ToolResult(result) => WireBlock::Known(tool_result(result)),
        };
        Some(Part { block, cache_control: None })
    });
    WireMessage { role, content: parts.collect() }
}

/// Returns a text block; the API refuses blank ones.
fn text(text: &str) -> Option<Known<'static>> {
    (!text.trim().is_empty()).then(|| Known::Text { text: text.to_owned() })
}

fn tool_use(call: &ToolUse) -> Known<'_> {
    Known::ToolUse { id: &call.id, name: &call.name, input: as_object(&call.input) }
}

fn tool_result(result: &ToolResultBlock) -> Known<'_> {
    let content = result.content.iter().filter_map(|content| match content {
        Content::Text(said) => text(said),
        Content::Json(value) => text(&value.to_string()),
        Content::Image(image) => Some(encode_image(image)),
    });
    Known::ToolResult {
        tool_use_id: &result.id,
        content: content.collect(),
        is_error: result.is_error,
    }
}

fn encode_image(image: &Image) -> Known<'_> {
    if !IMAGE_TYPES.contains(&image.media_type.as_str()) {
        let text = format!("[an image of type {}, which cannot be shown]", image.media_type);
        return Known::Text { text };
    }
    let source = Source { r#type: "base64", media_type: &image.media_type, data: &image.data };
    Known::Image { source }
}
