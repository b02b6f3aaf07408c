//! Our clients, as a project would connect them, and the questions that the tests ask.

use std::sync::Arc;

use prusik_core::ids::{Attempt, Turn};
use prusik_core::message::{Block, Content, Message, Role, ToolInput, ToolResultBlock, ToolUse};
use prusik_core::model::{Answer, ModelError, ModelRequest, ModelSpec, ToolDecl};
use prusik_model::{Delta, KeyRef, MaxTokensField, Model, ModelConfig, Server};
use serde_json::{Value, json};

/// The model names of a provider that servers know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Anthropic,
    OpenAi,
}

pub const PROVIDERS: [Provider; 2] = [Provider::Anthropic, Provider::OpenAi];

impl Provider {
    /// Connects to `url` with a key; a stream may be silent for `idle_timeout_ms`.
    pub fn connect(self, url: &str, idle_timeout_ms: u64) -> Arc<dyn Model> {
        let key = Some(KeyRef::Env("TEST_KEY".to_owned()));
        let mut server = Server::new(url, key);
        server.idle_timeout_ms = idle_timeout_ms;
        let config = match self {
            Self::Anthropic => ModelConfig::Anthropic { server },
            Self::OpenAi => {
                ModelConfig::OpenAi { server, max_tokens_field: MaxTokensField::ByServer }
            }
        };
        config.connect_with(&|_| Some("test-key".to_owned())).unwrap()
    }

    pub fn model(self) -> &'static str {
        match self {
            Self::Anthropic => "claude-sonnet-4-5",
            Self::OpenAi => "gpt-5",
        }
    }
}

/// Returns a request that says `messages`, with one tool, `weather`.
pub fn request(provider: Provider, messages: Vec<Message>) -> ModelRequest {
    let model = ModelSpec {
        alias: "main".to_owned(),
        model: provider.model().to_owned(),
        max_tokens: 4_000,
        temperature: None,
        thinking_tokens: None,
        price: None,
    };
    let schema = json!({
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
    });
    let tool = ToolDecl {
        name: "weather".to_owned(),
        description: "Tells the weather of a city.".to_owned(),
        input_schema: schema,
    };
    ModelRequest {
        turn: Turn(1),
        attempt: Attempt(1),
        purpose: prusik_core::model::Purpose::Turn,
        model: Arc::new(model),
        max_tokens: 4_000,
        system: "Be brief.".into(),
        tools: vec![tool].into(),
        messages: messages.into_iter().map(Arc::new).collect(),
    }
}

/// Asks; returns the answer and what was shown of it on the way.
pub async fn ask(
    model: &dyn Model,
    request: &ModelRequest,
) -> (Result<Answer, ModelError>, Vec<Delta>) {
    let mut deltas = Vec::new();
    let answer = model.answer(request, &mut |delta| deltas.push(delta)).await;
    (answer, deltas)
}

/// Returns what was said aloud.
pub fn said(answer: &Answer) -> String {
    let text = |block: &Block| match block {
        Block::Text(text) => Some(text.clone()),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
    };
    answer.content.iter().filter_map(text).collect()
}

/// Returns what was shown of the text while it came.
pub fn shown(deltas: &[Delta]) -> String {
    let text = |delta: &Delta| match delta {
        Delta::Text(text) => Some(text.clone()),
        Delta::Thinking(_) | Delta::ToolUse { .. } => None,
    };
    deltas.iter().filter_map(text).collect()
}

/// Returns the calls that `answer` asks for.
pub fn calls(answer: &Answer) -> Vec<&ToolUse> {
    answer.content.iter().filter_map(call).collect()
}

fn call(block: &Block) -> Option<&ToolUse> {
    match block {
        Block::ToolUse(call) => Some(call),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    }
}

pub fn arguments(call: &ToolUse) -> &Value {
    match &call.input {
        ToolInput::Json(value) => value,
        ToolInput::Malformed(text) => panic!("not JSON: {text}"),
    }
}

/// Appends `answer`, and `results` as what its calls brought.
pub fn go_on(mut messages: Vec<Message>, answer: &Answer, results: &[&str]) -> Vec<Message> {
    let ids: Vec<String> = calls(answer).iter().map(|call| call.id.clone()).collect();
    assert_eq!(ids.len(), results.len());
    messages.push(Message { role: Role::Assistant, content: answer.content.clone() });
    let content = ids.into_iter().zip(results).map(|(id, text)| {
        let content = vec![Content::Text((*text).to_owned())];
        Block::ToolResult(ToolResultBlock { id, content, is_error: false })
    });
    messages.push(Message { role: Role::User, content: content.collect() });
    messages
}
