//! The transcript: the messages of a run, folded from its events.
//!
//! Kept apart from the rest of the state because it grows with the run: a snapshot leaves it out,
//! and a run that does not need to speak to its model never reads it back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::event::{CallCompleted, CloseHow, Event, Undoing};
use crate::ids::{CallId, Turn};
use crate::message::{Block, Message, Role, ToolInput, ToolResultBlock, ToolUse};
use crate::outcome::Outcome;

/// Why a call stays whose undo may have been made, or not.
pub(super) const UNDO_UNKNOWN: &str = "nobody knows whether its undo took effect";

/// The messages so far. Whenever no call is open they satisfy what every provider asks for: roles
/// alternate, and each tool use is answered in the next message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    messages: Vec<Arc<Message>>,
    open: Vec<OpenCall>,
    /// Texts that wait until the open calls are answered.
    pending: Vec<String>,
    /// Calls that were made, oldest first, without those that were undone.
    changes: Vec<Change>,
    /// What the open undos undo.
    undos: BTreeMap<CallId, CallId>,
    /// Calls of groups that waited and are made now, with their tools.
    committing: BTreeMap<CallId, String>,
}

/// A call that may have changed the world. Reads are among them: a transcript knows no contracts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub call: CallId,
    pub tool: String,
    /// Whether it took effect, or may have.
    pub certain: bool,
    pub undo: Option<Undoing>,
}

#[derive(Debug, Clone, PartialEq)]
struct OpenCall {
    call: CallId,
    provider_id: String,
    tool: String,
    result: Option<ToolResultBlock>,
}

impl Transcript {
    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    /// Returns whether every tool use has its result, so that the messages may be sent.
    pub fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in the next event of the journal.
    pub fn absorb(&mut self, event: &Event) {
        match event {
            Event::RunStarted(started) => {
                self.messages.push(Arc::new(Message::user_text(started.task.as_str())));
            }
            Event::ModelAnswered(answered) => self.answered(answered.turn, &answered.content),
            Event::CallCompleted(completed) => {
                self.changed(completed);
                if let Some(open) = self.open.iter_mut().find(|open| open.call == completed.call) {
                    let result = completed.outcome.render(&open.provider_id, &open.tool);
                    open.result = Some(result);
                }
                self.close_if_answered();
            }
            Event::Prompted(prompted) => self.user_text(prompted.text.clone()),
            Event::CompensationPlanned(planned) => {
                self.undos = planned.undos.iter().map(|undo| (undo.call, undo.of)).collect();
            }
            Event::GroupClosingStarted(closing) => {
                match closing.how {
                    CloseHow::Commit => {
                        let calls = closing.calls.iter();
                        self.committing.extend(calls.map(|call| (call.call, call.tool.clone())));
                    }
                    CloseHow::Undo => {
                        self.undos.extend(closing.calls.iter().map(|call| (call.call, call.of)));
                    }
                }
                for kept in &closing.kept {
                    self.keep(kept.call, &kept.why);
                }
            }
            Event::CompensationStarted(started) => {
                for kept in &started.kept {
                    if self.changes.iter().all(|change| change.call != kept.call) {
                        let Some(tool) = self.tool_of(kept.call) else { continue };
                        let (call, undo) = (kept.call, None);
                        self.changes.push(Change { call, tool, certain: false, undo });
                    }
                    self.keep(kept.call, &kept.why);
                }
            }
            Event::RunRecovered(_)
            | Event::ModelFailed(_)
            | Event::CallsStarted(_)
            | Event::CallRetried(_)
            | Event::CallDoubted(_)
            | Event::CallProbed(_)
            | Event::CallSettled(_)
            | Event::BudgetRaised(_)
            | Event::RunParked(_)
            | Event::RunResumed(_)
            | Event::RunForked(_)
            | Event::CancelRequested(_)
            | Event::RunFinished(_) => {}
        }
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the tool of an open call, unless it undoes another.
    fn tool_of(&self, call: CallId) -> Option<String> {
        let asked = self.open.iter().find(|open| open.call == call);
        asked.map(|open| open.tool.clone()).or_else(|| self.committing.get(&call).cloned())
    }

    /// The undo of a call may have been made: it is not made again.
    fn keep(&mut self, call: CallId, why: &str) {
        let change = self.changes.iter_mut().find(|change| change.call == call);
        if let Some(Change { undo: Some(undo), .. }) = change {
            *undo = Undoing::Impossible { reason: why.to_owned() };
        }
    }

    fn changed(&mut self, completed: &CallCompleted) {
        let certain = match &completed.outcome {
            Outcome::Ok(_) => true,
            Outcome::Failed(failure) if failure.landed => true,
            Outcome::InDoubt { .. } => false,
            Outcome::Failed(_)
            | Outcome::Denied { .. }
            | Outcome::Rejected { .. }
            | Outcome::Deferred { .. } => return,
        };
        let call = completed.call;
        if let Some(tool) = self.tool_of(call) {
            self.committing.remove(&call);
            let undo = completed.undo.clone();
            self.changes.push(Change { call, tool, certain, undo });
        } else if let Some(of) = self.undos.get(&call).copied() {
            if certain {
                self.changes.retain(|change| change.call != of);
            } else {
                self.keep(of, UNDO_UNKNOWN);
            }
        }
    }

    fn answered(&mut self, turn: Turn, content: &[Block]) {
        let mut calls = calls_of(turn, content);
        let mut sent = Vec::with_capacity(content.len());
        for block in content {
            match block {
                Block::Text(text) if text.trim().is_empty() => {}
                Block::Text(_) | Block::Opaque(_) => sent.push(block.clone()),
                // No provider takes a result from its own model.
                Block::ToolResult(_) => {}
                Block::ToolUse(tool_use) => {
                    let Some((call, _)) = calls.next() else { continue };
                    let id = self.open_call(call, tool_use);
                    sent.push(Block::ToolUse(ToolUse { id, ..sendable(tool_use) }));
                }
            }
        }
        match self.messages.last_mut() {
            _ if sent.is_empty() => {}
            // The provider paused the turn and has gone on with it.
            Some(last) if last.role == Role::Assistant => {
                Arc::make_mut(last).content.extend(sent);
            }
            Some(_) | None => {
                self.messages.push(Arc::new(Message { role: Role::Assistant, content: sent }));
            }
        }
    }

    /// Opens a call and returns the id under which it is sent: the provider's own, or one of ours
    /// where that is missing or repeated within the answer, so that results find their calls.
    fn open_call(&mut self, call: CallId, tool_use: &ToolUse) -> String {
        let theirs = &tool_use.id;
        let taken = self.open.iter().any(|open| open.provider_id == *theirs);
        let provider_id = if theirs.is_empty() || taken {
            format!("prusik_{}_{}", call.turn, call.index)
        } else {
            theirs.clone()
        };
        let tool = tool_use.name.clone();
        self.open.push(OpenCall { call, provider_id: provider_id.clone(), tool, result: None });
        provider_id
    }

    fn close_if_answered(&mut self) {
        if self.open.is_empty() || self.open.iter().any(|open| open.result.is_none()) {
            return;
        }
        let results = self.open.drain(..).filter_map(|open| open.result).map(Block::ToolResult);
        let texts = self.pending.drain(..).map(Block::Text);
        let content = results.chain(texts).collect();
        self.messages.push(Arc::new(Message { role: Role::User, content }));
    }

    fn user_text(&mut self, text: String) {
        if !self.open.is_empty() {
            self.pending.push(text);
            return;
        }
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User => {
                Arc::make_mut(last).content.push(Block::Text(text));
            }
            Some(_) | None => self.messages.push(Arc::new(Message::user_text(text))),
        }
    }
}

/// Most calls that one answer may ask for; those beyond are neither made nor sent back.
pub const CALLS_MAX: u16 = 512;

/// Returns the calls that an answer asks for, with their ids.
pub fn calls_of(turn: Turn, content: &[Block]) -> impl Iterator<Item = (CallId, &ToolUse)> {
    content
        .iter()
        .filter_map(|block| match block {
            Block::ToolUse(tool_use) => Some(tool_use),
            Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
        })
        .zip(1..=CALLS_MAX)
        .map(move |(tool_use, index)| (CallId::new(turn, index), tool_use))
}

/// Returns a call as it is sent back: arguments that are no object are replaced by an empty one (the
/// result says what was wrong with them).
fn sendable(tool_use: &ToolUse) -> ToolUse {
    let input = match &tool_use.input {
        input if input.is_object() => input.clone(),
        ToolInput::Json(_) | ToolInput::Malformed(_) => ToolInput::Json(json!({})),
    };
    ToolUse { id: tool_use.id.clone(), name: tool_use.name.clone(), input }
}

/// Returns the text of an answer.
pub fn text_of(content: &[Block]) -> String {
    let texts: Vec<&str> = content
        .iter()
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        })
        .collect();
    texts.concat()
}
