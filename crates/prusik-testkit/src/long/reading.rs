//! What a request shows to somebody who knows nothing else.

use std::borrow::Cow;

use prusik_core::message::{Block, Content, Message, Role, ToolInput, ToolResultBlock, ToolUse};
use prusik_core::model::{ModelRequest, ToolDecl};
use prusik_core::run::{HISTORY, RECORD};

use super::scenario::WORK;
use super::words::{self, Decision, Question};

/// Everything of the scenario that stands in a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    pub amount: Option<String>,
    pub carrier: Option<String>,
    pub rejected: Option<String>,
    /// The step of the table, and its handle where one is named.
    pub table: Option<(u32, Option<String>)>,
    /// How far the work is: steps done, and all steps.
    pub done: Option<(u32, u32)>,
    pub question: Option<Question>,
    pub bin: Option<String>,
    pub seal: Option<String>,
    /// A file of Deep Agents that a search has found something in.
    pub file: Option<String>,
    /// The hostile sentence, where a result tries it.
    pub injection: Option<String>,
}

/// The newest result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    pub step: u32,
    pub steps: u32,
    pub text: String,
    /// How the result is named: `12.1`.
    pub handle: String,
    /// Whether nothing has been said since.
    pub is_last: bool,
}

/// Returns the texts of a request in their order, the system prompt first.
pub fn texts(request: &ModelRequest) -> Vec<Cow<'_, str>> {
    let mut texts = vec![Cow::Borrowed(&*request.system)];
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    for block in blocks {
        match block {
            Block::Text(text) => texts.push(Cow::Borrowed(text)),
            Block::ToolUse(call) => texts.push(input_text(call)),
            Block::ToolResult(result) => texts.extend(result.content.iter().filter_map(content)),
            Block::Opaque(_) => {}
        }
    }
    texts
}

/// Returns what the texts say. Where one thing is said twice, the later word counts.
pub fn shown<'a>(texts: impl IntoIterator<Item = &'a str> + Clone) -> Shown {
    let mut shown = Shown::default();
    for text in texts.clone() {
        keep(&mut shown.amount, words::find_rule(text));
        keep(&mut shown.carrier, words::find_decision(text));
        keep(&mut shown.rejected, words::find_rejected(text));
        if let Some((step, handle)) = words::find_table(text) {
            shown.table = Some((step, Some(handle.to_owned())));
        } else if let Some(step) = words::find_table_note(text)
            && shown.table.as_ref().is_none_or(|(known, _)| *known != step)
        {
            shown.table = Some((step, None));
        }
        // What is recalled tells of earlier steps.
        shown.done = shown.done.max(words::find_step(text)).max(words::find_done(text));
        shown.question = words::find_question(text).or(shown.question.take());
        keep(&mut shown.file, words::find_file(text));
        if text.contains(words::INJECTION) {
            shown.injection = Some(words::INJECTION.to_owned());
        }
    }
    if let Some(question) = shown.question.clone() {
        for text in texts {
            shown.bin = words::find_bin(text, &question.part).or(shown.bin.take());
            keep(&mut shown.seal, words::find_seal(text, question.seal_step));
        }
    }
    shown
}

impl Shown {
    pub fn decision(&self) -> Option<Decision> {
        let (carrier, rejected) = (self.carrier.clone()?, self.rejected.clone()?);
        Some(Decision { carrier, rejected })
    }
}

fn keep(fact: &mut Option<String>, found: Option<&str>) {
    if let Some(found) = found {
        *fact = Some(found.to_owned());
    }
}

/// Returns the newest result of [`WORK`] that is whole enough to tell its step.
pub fn newest(request: &ModelRequest) -> Option<Newest> {
    let messages = &request.messages;
    let mut turn = turns_asked(request);
    for (i, message) in messages.iter().enumerate().rev() {
        if message.role == Role::Assistant {
            turn = turn.saturating_sub(1);
            continue;
        }
        let calls = i.checked_sub(1).map(|before| &messages[before]);
        let found = message.content.iter().filter_map(|block| {
            let Block::ToolResult(result) = block else { return None };
            let (index, call) = call_of(calls?, result)?;
            if call.name != WORK || result.is_error {
                return None;
            }
            let text = result_text(result);
            let (step, steps) = words::find_step(&text)?;
            let handle = words::find_recall(&text)
                .map_or_else(|| format!("{turn}.{}", index + 1), str::to_owned);
            Some(Newest { step, steps, text, handle, is_last: i + 1 == messages.len() })
        });
        if let Some(newest) = found.max_by_key(|newest| newest.step) {
            return Some(newest);
        }
    }
    None
}

/// Returns how many turns the conversation has had, those that its head stands for among them.
fn turns_asked(request: &ModelRequest) -> u64 {
    let answers = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
    let head = request.messages.first().into_iter().flat_map(|message| &message.content);
    let mut before = head.filter_map(|block| match block {
        Block::Text(text) => text.strip_prefix(HISTORY)?.split_once(']')?.0.parse::<u64>().ok(),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
    });
    before.next_back().unwrap_or(0).saturating_add(answers as u64)
}

pub fn can_record(tools: &[ToolDecl]) -> bool {
    tools.iter().any(|tool| tool.name == RECORD)
}

pub fn can_work(tools: &[ToolDecl]) -> bool {
    tools.iter().any(|tool| tool.name == WORK)
}

/// Returns the call that a result answers, and its place among the calls of its answer.
fn call_of<'a>(calls: &'a Message, result: &ToolResultBlock) -> Option<(usize, &'a ToolUse)> {
    let calls = calls.content.iter().filter_map(|block| match block {
        Block::ToolUse(call) => Some(call),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    });
    calls.enumerate().find(|(_, call)| call.id == result.id)
}

fn result_text(result: &ToolResultBlock) -> String {
    let texts: Vec<Cow<'_, str>> = result.content.iter().filter_map(content).collect();
    texts.join("\n")
}

fn content(content: &Content) -> Option<Cow<'_, str>> {
    match content {
        Content::Text(text) => Some(Cow::Borrowed(text)),
        Content::Json(value) => Some(Cow::Owned(value.to_string())),
        Content::Image(_) => None,
    }
}

fn input_text(call: &ToolUse) -> Cow<'_, str> {
    match &call.input {
        ToolInput::Json(value) => Cow::Owned(value.to_string()),
        ToolInput::Malformed(text) => Cow::Borrowed(text),
    }
}
