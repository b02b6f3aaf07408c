//! What a script reads of a conversation that was compacted, or that is to be: both are told by
//! the text alone, so that a script plays the same behind a wire.

use std::borrow::Borrow;

use prusik_core::ids::Turn;
use prusik_core::message::{Block, Message, Role};

/// How the text begins that stands for the turns that are gone.
const HISTORY: &str = "[history: turns 1 to ";
/// The first line of the text that asks for a summary.
const COMPACTION: &str = "[compaction]";

/// Returns the turn that a conversation asks for: one more than the answers it holds and those
/// that its first message stands for.
pub fn turn_asked<M: Borrow<Message>>(messages: &[M]) -> Turn {
    let is_answer = |message: &&M| (*message).borrow().role == Role::Assistant;
    let answers = u32::try_from(messages.iter().filter(is_answer).count()).unwrap_or(u32::MAX);
    let gone = history(messages).map_or(0, |(last, _)| last.0);
    Turn(answers.saturating_add(gone)).next()
}

/// Returns the last turn that is gone, and the text that stands for them, if any are.
pub(super) fn history<M: Borrow<Message>>(messages: &[M]) -> Option<(Turn, &str)> {
    let first = messages.first()?.borrow();
    texts(first).find_map(|text| {
        let from = beginning(text, HISTORY)?;
        let (number, _) = from[HISTORY.len()..].split_once(']')?;
        Some((Turn(number.parse().ok()?), from))
    })
}

/// Returns whether a conversation asks for a summary of itself instead of the next turn.
pub(super) fn asks_for_summary<M: Borrow<Message>>(messages: &[M]) -> bool {
    let newest = messages.last().map(Borrow::borrow).filter(|message| message.role == Role::User);
    let last = newest.and_then(|message| texts(message).last());
    last.and_then(|text| beginning(text, COMPACTION)).is_some_and(|from| {
        let rest = &from[COMPACTION.len()..];
        rest.is_empty() || rest.starts_with('\n')
    })
}

/// Returns `text` from where a block that starts with `start` begins. A wire that knows one text
/// for each message joins them with an empty line.
fn beginning<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    if text.starts_with(start) {
        return Some(text);
    }
    let joined = format!("\n\n{start}");
    text.find(&joined).map(|at| &text[at + 2..])
}

fn texts(message: &Message) -> impl Iterator<Item = &str> {
    message.content.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text.as_str()),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
    })
}
