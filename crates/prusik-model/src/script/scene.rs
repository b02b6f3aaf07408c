//! What the expressions of a script can read of a request.

use std::sync::Arc;

use prusik_core::ids::Turn;
use prusik_core::message::{Block, Message, Role, ToolResultBlock};
use prusik_core::model::ModelRequest;
use prusik_core::outcome::ToolResult;
use serde_json::{Value, json};

use super::format::Needs;
use super::pairs;

/// The variables of one turn; empty where no expression reads any.
pub(super) struct Scene(Vec<(&'static str, Value)>);

impl Scene {
    pub(super) fn of(request: &ModelRequest, turn: Turn, needs: Needs) -> Self {
        if needs == Needs::Nothing {
            return Self(Vec::new());
        }
        let task = request.messages.first().map(|first| text_of(first)).unwrap_or_default();
        let newest = request.messages.last().filter(|message| message.role == Role::User);
        let tools: Vec<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        let mut variables = vec![
            ("results", Value::Array(last_results(&request.messages))),
            ("task", json!(task)),
            ("user", json!(newest.map(|message| text_of(message)).unwrap_or_default())),
            ("turn", json!(turn.0)),
            ("tools", json!(tools)),
        ];
        if needs == Needs::AllResults {
            variables.push(("all_results", Value::Array(all_results(&request.messages))));
        }
        Self(variables)
    }

    pub(super) fn variables(&self) -> Vec<(&str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value)).collect()
    }
}

/// Returns the tool results that the newest message brings, in order.
pub(super) fn last_results(messages: &[Arc<Message>]) -> Vec<Value> {
    let Some((newest, before)) = messages.split_last() else { return Vec::new() };
    let calls = before.last().map(AsRef::as_ref);
    pairs(calls, newest).map(|(tool, result)| describe(tool, result)).collect()
}

fn all_results(messages: &[Arc<Message>]) -> Vec<Value> {
    messages
        .windows(2)
        .flat_map(|pair| pairs(Some(pair[0].as_ref()), pair[1].as_ref()))
        .map(|(tool, result)| describe(tool, result))
        .collect()
}

fn describe(tool: &str, result: &ToolResultBlock) -> Value {
    let whole = ToolResult { content: result.content.clone(), whole: None };
    json!({
        "tool": tool,
        "text": whole.plain_text(),
        "value": whole.value(),
        "is_error": result.is_error,
    })
}

fn text_of(message: &Message) -> String {
    let texts: Vec<&str> = message
        .content
        .iter()
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        })
        .collect();
    texts.join("\n")
}
