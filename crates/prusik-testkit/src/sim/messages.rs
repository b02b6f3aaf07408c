//! What every provider asks of the messages of a request, and that results are those of their calls.

use std::collections::BTreeSet;

use prusik_core::message::{Block, Content, Message, Role, ToolInput, ToolResultBlock};
use prusik_core::model::ModelRequest;
use prusik_core::run::{COMMIT_GROUP, RECALL, UNDO_GROUP};

use super::plan::UNDO_OF;

/// Returns what is wrong with a request, if anything is: roles alternate from the user's on, nothing
/// is empty, and each tool use is answered in the next message, by a result of its own call.
pub fn problem(request: &ModelRequest) -> Option<String> {
    let messages = &request.messages;
    if messages.first().map(|message| message.role) != Some(Role::User) {
        return Some("it does not begin with the user".to_owned());
    }
    if messages.windows(2).any(|pair| pair[0].role == pair[1].role) {
        return Some("two messages of a role stand in a row".to_owned());
    }
    if messages.last().is_none_or(|message| message.content.is_empty()) {
        return Some("it ends with an empty message".to_owned());
    }
    if request.max_tokens == 0 {
        return Some("it leaves no token for the answer".to_owned());
    }
    messages.iter().enumerate().find_map(|(i, message)| {
        let next = messages.get(i + 1).map(AsRef::as_ref);
        uses_and_results(message, next).map(|problem| format!("message {i}: {problem}"))
    })
}

fn uses_and_results(message: &Message, next: Option<&Message>) -> Option<String> {
    let mut asked = Vec::new();
    for block in &message.content {
        match block {
            Block::Text(text) if text.trim().is_empty() => return Some("blank text".to_owned()),
            Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => {}
            Block::ToolUse(tool_use) => asked.push(tool_use),
        }
    }
    if message.role == Role::User {
        return None;
    }
    let results: Vec<&ToolResultBlock> = next.map_or(Vec::new(), results_of);
    let distinct: BTreeSet<&str> = asked.iter().map(|tool_use| tool_use.id.as_str()).collect();
    if distinct.len() != asked.len() {
        return Some("two tool uses share an id".to_owned());
    }
    if asked.len() != results.len() {
        return Some(format!("{} tool uses and {} results", asked.len(), results.len()));
    }
    asked.iter().zip(results).find_map(|(tool_use, result)| {
        if tool_use.id != result.id {
            return Some(format!("{} is answered by {}", tool_use.id, result.id));
        }
        let ToolInput::Json(arguments) = &tool_use.input else {
            return Some("arguments that are no JSON are sent".to_owned());
        };
        // What went wrong with arguments may quote any of them, what closes a group tells of its
        // calls, and what is recalled of any.
        if result.is_error || [COMMIT_GROUP, UNDO_GROUP, RECALL].contains(&tool_use.name.as_str()) {
            return None;
        }
        let own = arguments.get("ref").and_then(|reference| reference.as_str());
        let told = text_of(result);
        let found = reference_in(&told)?;
        (own != Some(found)).then(|| format!("{own:?} has the result of {found}"))
    })
}

fn results_of(message: &Message) -> Vec<&ToolResultBlock> {
    let results = message.content.iter().filter_map(|block| match block {
        Block::ToolResult(result) => Some(result),
        Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
    });
    results.collect()
}

fn text_of(result: &ToolResultBlock) -> String {
    let parts = result.content.iter().map(|content| match content {
        Content::Text(text) => text.clone(),
        Content::Json(value) => value.to_string(),
        Content::Image(_) => String::new(),
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Returns the reference that a text names: each call of a schedule has one of its own, such as
/// `deed7`, and its undo is `undo-deed7`.
pub fn reference_in(text: &str) -> Option<&str> {
    let deed = text.find("deed")?;
    let digits = text[deed + 4..].find(|c: char| !c.is_ascii_digit())?;
    let start = if text[..deed].ends_with(UNDO_OF) { deed - UNDO_OF.len() } else { deed };
    (digits > 0).then(|| &text[start..deed + 4 + digits])
}
