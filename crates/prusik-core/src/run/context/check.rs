//! What holds after every compaction, checked on the very messages that would be sent.
//!
//! Nothing here knows how the messages were made: it reads them, and says what is missing.

use std::collections::BTreeSet;

use super::super::State;
use super::super::definition::Definition;
use super::super::recall::RECALL;
use super::super::transcript::Transcript;
use super::head::{self, HISTORY, open_matters};
use super::ledger::RECORD;
use super::size::bytes_of_all;
use super::stub;
use super::summary::unknown_handles;
use crate::event::{CompactHow, ContextCompacted, Invariant};
use crate::label::Label;
use crate::ledger::{Author, Entry};
use crate::message::{Block, Content, Message, Role, ToolInput};

/// A context that might take the place of the present one.
pub(super) struct Candidate<'a> {
    pub definition: &'a Definition,
    pub state: &'a State,
    /// The messages before.
    pub before: &'a Transcript,
    pub event: &'a ContextCompacted,
    pub after: &'a Transcript,
    /// What a prompt may have, in tokens.
    pub room: u64,
}

/// Returns the invariants that a candidate breaks, each with what is wrong.
pub(super) fn broken(candidate: &Candidate<'_>) -> Vec<(Invariant, String)> {
    let Candidate { definition, state, before, event, after, room } = candidate;
    let messages = after.messages();
    let mut broken = Vec::new();
    let mut check = |invariant: Invariant, problems: Vec<String>| {
        broken.extend(problems.into_iter().map(|problem| (invariant, problem)));
    };

    let first = messages.first().and_then(|message| message.content.first());
    let task = first == Some(&Block::Text(state.started.task.clone()));
    check(Invariant::Task, problem_unless(task, "the task is not at the head of the messages"));

    let missing = state.ledger.entries().iter().filter(|entry| !stands(messages, entry));
    let missing = missing.map(|entry| format!("{} is missing", entry.id)).collect();
    check(Invariant::Ledger, missing);

    check(Invariant::CallPairs, unpaired(messages));

    let open = open_matters(state);
    let open = open.into_iter().filter(|name| event.replaced.is_some() && !says(messages, name));
    check(Invariant::OpenMatters, open.map(|name| format!("{name} is not named")).collect());

    let recall = definition.declarations.iter().any(|tool| tool.name == RECALL);
    let mut problems = problem_unless(recall, "the agent has no `recall`");
    if let Some(replaced) = &event.replaced {
        let unknown = unknown_handles(&replaced.summary, before);
        problems.extend(unknown.into_iter().map(|handle| format!("there is no result {handle:?}")));
    }
    let results = before.about().iter().flat_map(|about| &about.results);
    let lost = results.filter(|result| event.folded.contains(&result.call)).filter(|result| {
        let way = stub::way_back(result.call, &result.tool);
        !messages.iter().flat_map(|message| &message.content).any(|block| match block {
            Block::ToolResult(result) => result
                .content
                .iter()
                .any(|content| matches!(content, Content::Text(text) if text.contains(&way))),
            Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => false,
        })
    });
    problems.extend(
        lost.map(|result| format!("the folded result {} does not say how it is read", result.call)),
    );
    check(Invariant::Recall, problems);

    let due = label_due(before, after);
    let label = problem_unless(
        event.label.covers(&due) && says_label(after, &event.label),
        &format!("its label is {}, and must be {}", event.label.words(), due.words()),
    );
    check(Invariant::Label, label);

    let bytes = definition.prompt_bytes() + bytes_of_all(messages);
    let fits = event.tokens_after <= *room && event.bytes_after == bytes;
    let problem =
        format!("it has {bytes} bytes, about {} tokens, and may have {room}", event.tokens_after);
    check(Invariant::Budget, problem_unless(fits, &problem));
    broken
}

fn problem_unless(holds: bool, problem: &str) -> Vec<String> {
    if holds { Vec::new() } else { vec![problem.to_owned()] }
}

/// Returns the join of the labels of what is shown before and not after.
fn label_due(before: &Transcript, after: &Transcript) -> Label {
    let mut label = Label::trusted();
    if let Some(compacted) = before.compacted() {
        label.join(&compacted.label);
    }
    let whole = |transcript: &Transcript| -> BTreeSet<_> {
        let results = transcript.about().iter().flat_map(|about| &about.results);
        results.map(|result| result.call).filter(|call| !transcript.is_folded(*call)).collect()
    };
    let left = whole(after);
    for result in before.about().iter().flat_map(|about| &about.results) {
        if !left.contains(&result.call) {
            label.join(&result.label);
        }
    }
    label
}

/// Returns whether the head says the label of what it stands for.
fn says_label(after: &Transcript, label: &Label) -> bool {
    let history = after.messages().first().and_then(|head| {
        head.content.iter().skip(1).find_map(|block| match block {
            Block::Text(text) if text.starts_with(HISTORY) => Some(text),
            Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        })
    });
    // Results that are folded keep their places among the calls of their tools.
    let folded = after.compacted().is_some_and(|compacted| compacted.how == CompactHow::Folded);
    history.is_none_or(|text| folded || text.contains(&head::says_label(label)))
}

fn says(messages: &[std::sync::Arc<Message>], words: &str) -> bool {
    messages.iter().flat_map(|message| &message.content).any(|block| match block {
        Block::Text(text) => text.contains(words),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => false,
    })
}

/// Returns whether an entry stands in the messages, word for word: in a text, or in the call that
/// recorded it.
fn stands(messages: &[std::sync::Arc<Message>], entry: &Entry) -> bool {
    let rendered = entry.render();
    let is_word = matches!(entry.author, Author::Word(_));
    messages.iter().flat_map(|message| &message.content).any(|block| match block {
        Block::Text(text) => text.contains(&rendered) || is_word && text == &entry.note.text,
        Block::ToolUse(call) if call.name == RECORD => match &call.input {
            ToolInput::Json(value) => {
                let read = super::ledger::read_note(value);
                read.is_ok_and(|(note, supersedes)| {
                    note == entry.note && supersedes == entry.supersedes
                })
            }
            ToolInput::Malformed(_) => false,
        },
        Block::ToolUse(_) | Block::Opaque(_) | Block::ToolResult(_) => false,
    })
}

/// Returns what is wrong with the order of messages, and with calls and their results.
fn unpaired(messages: &[std::sync::Arc<Message>]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut due: BTreeSet<&str> = BTreeSet::new();
    let mut expected = Role::User;
    for (index, message) in messages.iter().enumerate() {
        if message.role != expected {
            problems.push(format!("message {index} is not the other side's"));
        }
        expected = match message.role {
            Role::User => Role::Assistant,
            Role::Assistant => Role::User,
        };
        let mut answered = BTreeSet::new();
        let mut asked = BTreeSet::new();
        for block in &message.content {
            match block {
                Block::ToolResult(result) => {
                    if !due.contains(result.id.as_str()) || !answered.insert(result.id.as_str()) {
                        problems.push(format!("the result {} answers no call", result.id));
                    }
                }
                Block::ToolUse(call) => {
                    asked.insert(call.id.as_str());
                }
                Block::Text(_) | Block::Opaque(_) => {}
            }
        }
        problems.extend(due.difference(&answered).map(|id| format!("the call {id} has no result")));
        due = asked;
    }
    problems.extend(due.into_iter().map(|id| format!("the call {id} has no result")));
    problems
}
