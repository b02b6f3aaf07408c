//! The transcript: the messages that the model is shown, folded from the events of the journal.
//!
//! Its first message is the head: the task, what the ledger says, and what stands for the turns that
//! are no longer shown. After it come the turns as they were, old results among them as handles.
//!
//! Kept apart from the rest of the state because it is larger than all of it: a snapshot leaves it
//! out, and a run that does not need to speak to its model never reads it back. It can be read back
//! from the first turn that is shown as it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::contain::Trust;
use super::context::{head, stub};
use super::definition::Definition;
use super::group::{COMMIT_GROUP, UNDO_GROUP};
use crate::event::{ContextCompacted, Event, RunStarted};
use crate::ids::{CallId, Seq, Turn};
use crate::label::Label;
use crate::ledger::{Author, Ledger};
use crate::message::{Block, Message, Role, ToolInput, ToolResultBlock, ToolUse};

/// The messages so far. Whenever no call is open they satisfy what every provider asks for: roles
/// alternate, and each tool use is answered in the next message.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    messages: Vec<Arc<Message>>,
    /// What is known of each message.
    about: Vec<About>,
    open: Vec<OpenCall>,
    /// Texts that wait until the open calls are answered.
    pending: Vec<String>,
    /// Entries of people that came while the model was being asked.
    unseen: Vec<(Seq, String)>,
    /// What the calls draw on that close a group: its own call tells of them.
    planned: Label,
    /// Whose results nobody from outside can write to.
    trust: Arc<Trust>,
    /// Results that are shown as handles.
    folded: BTreeSet<CallId>,
    /// The event that the head comes from; none before the first.
    compacted: Option<Arc<ContextCompacted>>,
}

/// What is known of a message besides what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// The turn that it belongs to; the head has 0.
    pub turn: Turn,
    /// The record that it begins with.
    pub seq: Seq,
    /// The calls whose results it holds, in their order.
    pub results: Vec<ResultOf>,
}

/// A result that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultOf {
    pub call: CallId,
    pub tool: String,
    pub label: Label,
    pub is_error: bool,
    /// Whether it may give back what the run itself has written.
    pub echoes: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct OpenCall {
    call: CallId,
    provider_id: String,
    tool: String,
    label: Label,
    echoes: bool,
    result: Option<ToolResultBlock>,
}

impl Transcript {
    /// Returns the transcript of a run of which no turn has been read.
    pub(super) fn start(definition: &Definition, started: &RunStarted) -> Self {
        let ledger = Ledger::of(&definition.agent().ledger);
        Self {
            messages: vec![Arc::new(head::first(&started.task, &ledger))],
            about: vec![About { turn: Turn(0), seq: Seq(1), results: Vec::new() }],
            open: Vec::new(),
            pending: Vec::new(),
            unseen: Vec::new(),
            planned: Label::trusted(),
            trust: Arc::clone(&definition.trust),
            folded: BTreeSet::new(),
            compacted: None,
        }
    }

    pub fn messages(&self) -> &[Arc<Message>] {
        &self.messages
    }

    #[cfg(test)]
    pub(super) fn set_messages(&mut self, messages: Vec<Arc<Message>>) {
        self.messages = messages;
    }

    /// Returns what is known of each message.
    pub fn about(&self) -> &[About] {
        &self.about
    }

    /// Returns the compaction that the head comes from, if there was one.
    pub fn compacted(&self) -> Option<&ContextCompacted> {
        self.compacted.as_deref()
    }

    pub fn is_folded(&self, call: CallId) -> bool {
        self.folded.contains(&call)
    }

    pub(super) fn folded(&self) -> &BTreeSet<CallId> {
        &self.folded
    }

    /// Returns whether every tool use has its result, so that the messages may be sent.
    pub fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in the next event of the journal.
    pub fn absorb(&mut self, seq: Seq, event: &Event) {
        if ends_asking(event) && !matches!(event, Event::ModelAnswered(_)) {
            self.show_unseen(seq);
        }
        match event {
            Event::ModelAnswered(answered) => {
                self.answered(seq, answered.turn, &answered.content);
                self.show_unseen(seq);
            }
            Event::CallCompleted(completed) => {
                let open = self.open.iter_mut().find(|open| open.call == completed.call);
                if let Some(open) = open {
                    let result = completed.outcome.render(&open.provider_id, &open.tool);
                    open.result = Some(result);
                    open.label = self.trust.label_of(&open.tool, completed);
                    open.echoes = !completed.echo.is_none();
                    if [COMMIT_GROUP, UNDO_GROUP].contains(&open.tool.as_str()) {
                        open.label.join(&std::mem::take(&mut self.planned));
                    }
                }
                self.close_if_answered(seq);
            }
            Event::Prompted(prompted) => self.user_text(seq, prompted.text.clone()),
            Event::EntryRecorded(recorded) => match &recorded.entry.author {
                // It stands in the call itself.
                Author::Model(_) | Author::Word(_) | Author::Agent => {}
                Author::Person(_) if recorded.unseen => {
                    self.unseen.push((seq, head::recorded(&recorded.entry)));
                }
                Author::Contract(_) | Author::Person(_) => {
                    self.user_text(seq, head::recorded(&recorded.entry));
                }
            },
            Event::ContextCompacted(compacted) => self.compact(compacted),
            Event::GroupClosingStarted(closing) => {
                for call in &closing.calls {
                    self.planned.join(&Label::of(&call.tool));
                }
            }
            Event::RunStarted(_)
            | Event::CompensationPlanned(_)
            | Event::CompensationStarted(_)
            | Event::RunRecovered(_)
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
            | Event::PlanMade(_)
            | Event::GrantSpent(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::PolicyAdopted(_)
            | Event::CompactionRequested(_)
            | Event::CompactionStarted(_)
            | Event::SummaryAnswered(_)
            | Event::RunFinished(_) => {}
        }
    }

    /// Returns the label of what the messages `of` hold beside the model's words.
    pub(super) fn label_of(&self, of: std::ops::Range<usize>) -> Label {
        let mut label = Label::trusted();
        if of.contains(&0)
            && let Some(compacted) = &self.compacted
        {
            label.join(&compacted.label);
        }
        for result in self.about[of].iter().flat_map(|about| &about.results) {
            label.join(&result.label);
        }
        label
    }

    fn compact(&mut self, compacted: &ContextCompacted) {
        if let Some(replaced) = &compacted.replaced {
            let kept = self.about.iter().skip(1).position(|about| about.turn > replaced.through);
            let kept = kept.map_or(self.about.len(), |index| index + 1);
            self.messages.drain(1..kept);
            self.about.drain(1..kept);
            let task = self.messages[0].content.first().cloned();
            let content = task.into_iter().chain(head::after(replaced, &compacted.label)).collect();
            self.messages[0] = Arc::new(Message { role: Role::User, content });
        }
        let folded = compacted.folded.iter().copied().collect();
        let before = std::mem::replace(&mut self.folded, folded);
        let is_new = |call: &CallId| self.folded.contains(call) && !before.contains(call);
        for (message, about) in self.messages.iter_mut().zip(&self.about) {
            if about.results.iter().all(|result| !is_new(&result.call)) {
                continue;
            }
            let results =
                Arc::make_mut(message).content.iter_mut().filter_map(|block| match block {
                    Block::ToolResult(result) => Some(result),
                    Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
                });
            for (result, of) in results.zip(&about.results) {
                if is_new(&of.call) {
                    result.content = stub::of(of.call, &of.tool, &result.content);
                }
            }
        }
        self.compacted = Some(Arc::new(ContextCompacted {
            // The head stays as it was when results alone were folded.
            replaced: compacted
                .replaced
                .clone()
                .or_else(|| self.compacted.as_ref().and_then(|before| before.replaced.clone())),
            ..compacted.clone()
        }));
    }

    fn push(&mut self, seq: Seq, turn: Turn, message: Message, results: Vec<ResultOf>) {
        self.messages.push(Arc::new(message));
        self.about.push(About { turn, seq, results });
    }

    fn last_turn(&self) -> Turn {
        self.about.last().map_or(Turn(0), |about| about.turn)
    }

    fn answered(&mut self, seq: Seq, turn: Turn, content: &[Block]) {
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
                // The two leave the context together.
                if let Some(about) = self.about.last_mut() {
                    about.turn = turn;
                }
            }
            Some(_) | None => {
                let message = Message { role: Role::Assistant, content: sent };
                // Who reads the messages back from here must find what is shown behind it.
                let from = self.unseen.first().map_or(seq, |(unseen, _)| *unseen);
                self.push(from, turn, message, Vec::new());
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
        let (id, label) = (provider_id.clone(), Label::trusted());
        self.open.push(OpenCall {
            call,
            provider_id: id,
            tool,
            label,
            echoes: false,
            result: None,
        });
        provider_id
    }

    fn close_if_answered(&mut self, seq: Seq) {
        if self.open.is_empty() || self.open.iter().any(|open| open.result.is_none()) {
            return;
        }
        let (mut content, mut results) = (Vec::new(), Vec::new());
        for OpenCall { call, tool, label, echoes, result, .. } in self.open.drain(..) {
            let Some(result) = result else { continue };
            results.push(ResultOf { call, tool, label, is_error: result.is_error, echoes });
            content.push(Block::ToolResult(result));
        }
        content.extend(self.pending.drain(..).map(Block::Text));
        let turn = self.last_turn();
        self.push(seq, turn, Message { role: Role::User, content }, results);
    }

    fn show_unseen(&mut self, seq: Seq) {
        for (_, text) in std::mem::take(&mut self.unseen) {
            self.user_text(seq, text);
        }
    }

    fn user_text(&mut self, seq: Seq, text: String) {
        if !self.open.is_empty() {
            self.pending.push(text);
            return;
        }
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User => {
                Arc::make_mut(last).content.push(Block::Text(text));
            }
            Some(_) | None => {
                let turn = self.last_turn();
                self.push(seq, turn, Message::user_text(text), Vec::new());
            }
        }
    }
}

/// Returns whether what the model is sent after this event is sent anew: an attempt that was under
/// way is over, or lost.
pub(super) fn ends_asking(event: &Event) -> bool {
    match event {
        Event::ModelAnswered(_)
        | Event::ModelFailed(_)
        | Event::SummaryAnswered(_)
        | Event::CompactionStarted(_)
        | Event::ContextCompacted(_)
        | Event::RunRecovered(_)
        | Event::RunResumed(_)
        | Event::RunForked(_) => true,
        Event::RunStarted(_)
        | Event::CallsStarted(_)
        | Event::CallRetried(_)
        | Event::CallCompleted(_)
        | Event::CallDoubted(_)
        | Event::CallProbed(_)
        | Event::CallSettled(_)
        | Event::Prompted(_)
        | Event::BudgetRaised(_)
        | Event::RunParked(_)
        | Event::CompensationStarted(_)
        | Event::CompensationPlanned(_)
        | Event::GroupClosingStarted(_)
        | Event::CancelRequested(_)
        | Event::EntryRecorded(_)
        | Event::PlanMade(_)
        | Event::GrantSpent(_)
        | Event::ApprovalRequested(_)
        | Event::ApprovalAnswered(_)
        | Event::PolicyAdopted(_)
        | Event::CompactionRequested(_)
        | Event::RunFinished(_) => false,
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
