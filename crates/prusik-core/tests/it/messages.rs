//! What every provider asks of the messages of a request.

use std::collections::BTreeSet;

use prusik_core::message::{Block, Content, Role, ToolInput};
use prusik_core::model::ModelRequest;
use prusik_core::run::{RECORD, State};

/// Fails unless roles alternate from user on, nothing is empty, and each tool use is answered in the
/// next message.
pub fn check(request: &ModelRequest) {
    let messages = &request.messages;
    assert_eq!(messages.first().map(|m| m.role), Some(Role::User), "{messages:#?}");
    for pair in messages.windows(2) {
        assert_ne!(pair[0].role, pair[1].role, "two of a role in a row: {messages:#?}");
    }
    for (i, message) in messages.iter().enumerate() {
        assert!(!message.content.is_empty(), "message {i} is empty: {messages:#?}");
        let mut asked = Vec::new();
        for block in &message.content {
            match block {
                Block::Text(text) => assert!(!text.trim().is_empty(), "blank: {messages:#?}"),
                Block::Opaque(_) => assert_eq!(message.role, Role::Assistant),
                Block::ToolUse(tool_use) => {
                    assert_eq!(message.role, Role::Assistant);
                    assert!(tool_use.input.is_object(), "no object: {messages:#?}");
                    assert!(!tool_use.id.is_empty(), "no id: {messages:#?}");
                    asked.push(tool_use.id.as_str());
                }
                Block::ToolResult(result) => {
                    assert_eq!(message.role, Role::User);
                    assert!(!result.content.is_empty(), "empty result: {messages:#?}");
                    for content in &result.content {
                        if let Content::Text(text) = content {
                            assert!(!text.trim().is_empty(), "blank result: {messages:#?}");
                        }
                    }
                }
            }
        }
        let distinct: BTreeSet<&str> = asked.iter().copied().collect();
        assert_eq!(distinct.len(), asked.len(), "an id twice: {messages:#?}");
        let answered: Vec<&str> =
            messages.get(i + 1).map_or(Vec::new(), |next| results(&next.content));
        if message.role == Role::Assistant {
            assert_eq!(asked, answered, "tool uses and results differ: {messages:#?}");
        }
    }
    assert!(request.max_tokens > 0);
}

/// Fails unless the task is at the head of the messages, and every entry of the ledger that holds
/// stands in them, word for word.
pub fn check_context(request: &ModelRequest, state: &State) {
    let messages = &request.messages;
    assert_eq!(messages[0].content[0], Block::Text(state.started.task.clone()));
    let blocks = || messages.iter().flat_map(|message| &message.content);
    for entry in state.ledger.entries() {
        let text = entry.note.text.as_str();
        let stands = blocks().any(|block| match block {
            Block::Text(said) => said.contains(text),
            Block::ToolUse(call) if call.name == RECORD => {
                matches!(&call.input, ToolInput::Json(value) if value["text"] == text)
            }
            Block::ToolUse(_) | Block::Opaque(_) | Block::ToolResult(_) => false,
        });
        assert!(stands, "{} is forgotten: {messages:#?}", entry.id);
    }
}

/// Returns the bytes of a request, more or less.
pub fn bytes(request: &ModelRequest) -> u64 {
    let tools = serde_json::to_string(&*request.tools).unwrap();
    let messages = serde_json::to_string(&request.messages).unwrap();
    (request.system.len() + tools.len() + messages.len()) as u64
}

fn results(content: &[Block]) -> Vec<&str> {
    content
        .iter()
        .filter_map(|block| match block {
            Block::ToolResult(result) => Some(result.id.as_str()),
            Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
        })
        .collect()
}
