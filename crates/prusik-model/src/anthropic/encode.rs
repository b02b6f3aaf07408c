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
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
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
    let prompt = prompt(request);
    to_bytes(&Body {
        max_tokens: Some(request.max_tokens),
        stream: Some(true),
        // The API takes no temperature while the model thinks.
        temperature: request.model.temperature.filter(|_| prompt.thinking.is_none()),
        ..prompt
    })
}

/// Returns the body that asks how many tokens a request has: the same prompt, and nothing that is
/// about the answer.
pub(super) fn count_body(request: &ModelRequest) -> Vec<u8> {
    to_bytes(&prompt(request))
}

fn to_bytes(body: &Body) -> Vec<u8> {
    serde_json::to_vec(body).expect("a request is plain data: its keys are strings")
}

fn prompt(request: &ModelRequest) -> Body<'_> {
    let tools = request.tools.iter().map(|tool| Tool {
        name: &tool.name,
        description: &tool.description,
        input_schema: &tool.input_schema,
        cache_control: None,
    });
    let system = text(&request.system)
        .map(|block| Part { block: WireBlock::Known(block), cache_control: None });
    let messages = request
        .messages
        .iter()
        .map(|message| encode_message(message))
        .filter(|message| !message.content.is_empty());
    let mut prompt = Body {
        model: &request.model.model,
        max_tokens: None,
        stream: None,
        temperature: None,
        thinking: thinking(request),
        system: system.into_iter().collect(),
        tools: tools.collect(),
        messages: messages.collect(),
    };
    set_breakpoints(&mut prompt);
    prompt
}

/// Marks up to which blocks the prompt is to be cached: four places at most, which is all that the
/// API takes. A marker costs nothing by itself.
///
/// The API caches prefixes in the order tools, system, messages. What is written is one entry for
/// each marker: the prefix that ends there, and no other. What is read is the longest prefix that an
/// earlier request has written, looked for from each marker backwards over 20 blocks at most (a row
/// of calls or of results counts as one). A prefix below the model's least length is not cached. So
/// the markers stand:
///
/// - At the end of the system prompt, which covers the tools before it. It is the same for every
///   run of an agent. Only where there is no system prompt does the last tool need a marker.
/// - At the end of the first message: the task, and after a compaction all that stands for the
///   turns that are gone. It stays when a conversation goes on from another point behind it, and
///   it lies far more than 20 blocks before the end.
/// - At the end of the newest two messages of the user. The newest is written; the one before it
///   is where the last request has written, so that it is found even when the turn between them
///   has more blocks than the API looks back over.
///
/// Source: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>.
fn set_breakpoints(body: &mut Body) {
    match (body.system.last_mut(), body.tools.last_mut()) {
        (Some(system), _) => system.cache_control = Some(EPHEMERAL),
        (None, Some(tool)) => tool.cache_control = Some(EPHEMERAL),
        (None, None) => {}
    }
    let is_user = |message: &&mut WireMessage| message.role == "user";
    if let Some(head) = body.messages.first_mut().filter(is_user) {
        head.mark_end();
    }
    // A short conversation's head is among them: it is marked once.
    for message in body.messages.iter_mut().rev().filter(is_user).take(2) {
        message.mark_end();
    }
}

impl WireMessage<'_> {
    fn mark_end(&mut self) {
        if let Some(part) = self.content.last_mut() {
            part.cache_control = Some(EPHEMERAL);
        }
    }
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
