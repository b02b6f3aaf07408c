//! The body of a request as the cache sees it: blocks in the order tools, system, messages.

use serde_json::{Map, Value, json};

use super::{BREAKPOINTS_MAX, BadRequest, Ttl};

/// Bytes that make a token.
const TOKEN_BYTES: usize = 4;

/// A part of the prompt. Each is built on the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Tools,
    System,
    Messages,
}

/// How a block counts when the cache looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ToolUse,
    ToolResult,
    Other,
}

#[derive(Debug)]
pub(super) struct Block {
    pub level: Level,
    pub kind: Kind,
    /// All that must be the same for a hit: who speaks, and the block without its marker.
    pub text: String,
    pub tokens: u64,
    pub breakpoint: Option<Ttl>,
    /// Whether the block may be marked: thinking and empty texts may not.
    can_be_marked: bool,
}

#[derive(Debug)]
pub(super) struct Prompt {
    pub model: String,
    pub blocks: Vec<Block>,
    system_settings: String,
    message_settings: String,
}

/// Returns how many tokens a block has: a quarter of the bytes of its text, or of its JSON without
/// the marker if it is no text, rounded down, and at least one.
pub fn block_tokens(block: &Value) -> u64 {
    let bytes = match (&block["type"], &block["text"]) {
        (Value::String(kind), Value::String(text)) if kind == "text" => text.len(),
        _ => unmarked(block).to_string().len(),
    };
    u64::try_from((bytes / TOKEN_BYTES).max(1)).unwrap_or(u64::MAX)
}

impl Prompt {
    pub(super) fn of(body: &Value) -> Result<Self, BadRequest> {
        let mut blocks = Vec::new();
        // Web search is no definition of a tool, says the page, but changes the system prompt.
        for tool in list(&body["tools"]).iter().filter(|tool| !is_web_search(tool)) {
            blocks.push(Block::of(Level::Tools, "", tool)?);
        }
        for block in blocks_of(&body["system"]) {
            blocks.push(Block::of(Level::System, "", &block)?);
        }
        let messages = list(&body["messages"]);
        let stripped_before = thinking_stripped_before(body, messages);
        for (i, message) in messages.iter().enumerate() {
            let role = message["role"].as_str().unwrap_or_default();
            for block in blocks_of(&message["content"]) {
                if i >= stripped_before || !is_thinking(&block) {
                    blocks.push(Block::of(Level::Messages, role, &block)?);
                }
            }
        }
        let mut prompt = Self {
            model: body["model"].as_str().unwrap_or_default().to_owned(),
            blocks,
            system_settings: system_settings(body),
            message_settings: message_settings(body),
        };
        prompt.mark_by_itself(&body["cache_control"])?;
        prompt.check_breakpoints()?;
        Ok(prompt)
    }

    /// Returns what besides its blocks a level hangs on.
    pub(super) fn settings_of(&self, level: Level) -> &str {
        match level {
            Level::Tools => "",
            Level::System => &self.system_settings,
            Level::Messages => &self.message_settings,
        }
    }

    /// Sets the breakpoint that a marker at the top of the body asks for: at the last block that
    /// can have one.
    fn mark_by_itself(&mut self, marker: &Value) -> Result<(), BadRequest> {
        let Some(ttl) = ttl_of(marker)? else { return Ok(()) };
        let explicit = self.breakpoints().count();
        let Some(last) = self.blocks.iter_mut().rev().find(|block| block.can_be_marked) else {
            return Ok(());
        };
        match last.breakpoint {
            Some(own) if own == ttl => Ok(()),
            Some(_) => Err(BadRequest(
                "cache_control: the last block has a breakpoint with another ttl".to_owned(),
            )),
            None if explicit >= BREAKPOINTS_MAX => Err(too_many(explicit + 1)),
            None => {
                last.breakpoint = Some(ttl);
                Ok(())
            }
        }
    }

    fn check_breakpoints(&self) -> Result<(), BadRequest> {
        let ttls: Vec<Ttl> = self.breakpoints().collect();
        if ttls.len() > BREAKPOINTS_MAX {
            return Err(too_many(ttls.len()));
        }
        if ttls.windows(2).any(|pair| pair[0] < pair[1]) {
            return Err(BadRequest(
                "a ttl='1h' cache_control block must not come after a ttl='5m' one".to_owned(),
            ));
        }
        Ok(())
    }

    fn breakpoints(&self) -> impl Iterator<Item = Ttl> {
        self.blocks.iter().filter_map(|block| block.breakpoint)
    }
}

impl Block {
    fn of(level: Level, role: &str, value: &Value) -> Result<Self, BadRequest> {
        let kind = match value["type"].as_str() {
            Some("tool_use") => Kind::ToolUse,
            Some("tool_result") => Kind::ToolResult,
            Some(_) | None => Kind::Other,
        };
        let is_empty = value["type"] == "text" && value["text"] == "";
        let can_be_marked = !is_thinking(value) && !is_empty;
        let breakpoint = ttl_of(&value["cache_control"])?;
        if breakpoint.is_some() && !can_be_marked {
            return Err(BadRequest(
                "cache_control cannot be set for thinking blocks and empty text blocks".to_owned(),
            ));
        }
        Ok(Self {
            level,
            kind,
            text: format!("{role}\n{}", unmarked(value)),
            tokens: block_tokens(value),
            breakpoint,
            can_be_marked,
        })
    }
}

fn too_many(found: usize) -> BadRequest {
    BadRequest(format!(
        "A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. Found {found}."
    ))
}

/// Reads a marker; none where there is none.
fn ttl_of(marker: &Value) -> Result<Option<Ttl>, BadRequest> {
    if marker.is_null() {
        return Ok(None);
    }
    if marker["type"] != "ephemeral" {
        return Err(BadRequest("cache_control.type: Input should be 'ephemeral'".to_owned()));
    }
    match &marker["ttl"] {
        Value::Null => Ok(Some(Ttl::FiveMinutes)),
        Value::String(ttl) if ttl == "5m" => Ok(Some(Ttl::FiveMinutes)),
        Value::String(ttl) if ttl == "1h" => Ok(Some(Ttl::OneHour)),
        _ => Err(BadRequest("cache_control.ttl: Input should be '5m' or '1h'".to_owned())),
    }
}

/// Returns a block without its marker, and without those of the pieces of a result: a marker is
/// not part of what is cached. What is called so within arguments or a schema is content.
fn unmarked(block: &Value) -> Value {
    let Value::Object(map) = block else { return block.clone() };
    let mut bare: Map<String, Value> = map.clone();
    bare.shift_remove("cache_control");
    if block["type"] == "tool_result"
        && let Some(Value::Array(pieces)) = bare.get_mut("content")
    {
        for piece in pieces.iter_mut().filter_map(Value::as_object_mut) {
            piece.shift_remove("cache_control");
        }
    }
    Value::Object(bare)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the blocks of a system prompt or of a message's content; a plain string is one text.
fn blocks_of(content: &Value) -> Vec<Value> {
    match content {
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        Value::Array(blocks) => blocks.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

fn is_thinking(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

fn is_web_search(tool: &Value) -> bool {
    tool["type"].as_str().is_some_and(|kind| kind.starts_with("web_search"))
}

/// What the system prompt hangs on besides its text: web search, citations, and the speed.
fn system_settings(body: &Value) -> String {
    let search: Vec<&Value> = list(&body["tools"]).iter().filter(|t| is_web_search(t)).collect();
    let cites = message_blocks(body).iter().any(|block| block["citations"]["enabled"] == true);
    json!([search, cites, body["speed"]]).to_string()
}

/// What the messages hang on besides their blocks: the choice of tools, whether there are images,
/// how the model thinks, and how hard it tries. Of thinking and effort the page says that with some
/// models the tools and the system prompt hang on them, too, and not with which; here they never do.
fn message_settings(body: &Value) -> String {
    let images = message_blocks(body).iter().any(has_image);
    let effort = &body["output_config"]["effort"];
    json!([body["tool_choice"], images, body["thinking"], effort]).to_string()
}

fn message_blocks(body: &Value) -> Vec<Value> {
    list(&body["messages"]).iter().flat_map(|message| blocks_of(&message["content"])).collect()
}

fn has_image(block: &Value) -> bool {
    let within = |inner: &Value| inner["type"] == "image";
    within(block) || list(&block["content"]).iter().any(within)
}

/// Returns the message before which the model's thinking is left out. Older models, and the small
/// ones up to Haiku 4.5, forget what they thought once the user says anything but a result.
fn thinking_stripped_before(body: &Value, messages: &[Value]) -> usize {
    const FORGETFUL: [&str; 8] = [
        "claude-3",
        "claude-opus-4-0",
        "claude-opus-4-1",
        "claude-opus-4-2025",
        "claude-sonnet-4-0",
        "claude-sonnet-4-2025",
        "claude-sonnet-4-5",
        "claude-haiku-4",
    ];
    let model = body["model"].as_str().unwrap_or_default();
    if !FORGETFUL.iter().any(|start| model.starts_with(start)) {
        return 0;
    }
    let says_more = |message: &Value| {
        let blocks = blocks_of(&message["content"]);
        message["role"] == "user" && blocks.iter().any(|block| block["type"] != "tool_result")
    };
    messages.iter().rposition(says_more).unwrap_or(0)
}
