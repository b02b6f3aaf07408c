//! The summary that a script gives where it does not say any: made of what the conversation
//! holds, by rule.

use std::collections::BTreeSet;

use prusik_core::ids::{CallId, Turn};
use prusik_core::message::{Block, Message, Role, ToolInput, ToolUse};
use prusik_core::model::ModelRequest;
use prusik_core::outcome::ToolResult;
use serde::Serialize;

use super::compacted::history;
use super::pairs;

/// How many calls are named, the newest first to be kept.
const CALLS_MAX: usize = 40;
/// How much of a text is repeated, in characters.
const QUOTE_CHARS_MAX: usize = 160;
/// The tool by which a model notes what must not be lost.
const RECORD: &str = "record";
/// The tool that reads what was there before: what it returns has no handle of its own.
const RECALL: &str = "recall";
/// Longest document, in bytes, where the request does not say.
const BYTES_MAX: usize = 2_000;

/// The document that a request for a summary asks for.
#[derive(Serialize, Default)]
struct Document {
    asked: String,
    done: Vec<String>,
    learned: Vec<String>,
    decided: Vec<String>,
    open: Vec<String>,
    files: Vec<String>,
    handles: Vec<Handle>,
}

#[derive(Serialize)]
struct Handle {
    handle: String,
    what: String,
}

/// Returns the document as JSON. Equal requests get equal ones.
pub(super) fn document(request: &ModelRequest) -> String {
    let messages = &request.messages;
    let mut document = Document::default();
    let texts = messages.first().map(|first| first.content.iter().filter_map(text_of));
    document.asked = texts.and_then(|mut texts| texts.next()).map(quote).unwrap_or_default();
    let before = history(messages);
    let mut turn = before.map_or(Turn(0), |(last, _)| last);
    let mut files = BTreeSet::new();
    for (i, answer) in messages.iter().enumerate() {
        if answer.role != Role::Assistant {
            continue;
        }
        turn = turn.next();
        let results = messages.get(i + 1).map(AsRef::as_ref);
        for (call, index) in calls_of(answer).zip(1..) {
            let id = CallId { turn, index };
            document.take_call(
                &id.to_string(),
                call,
                results.and_then(|m| outcome(answer, m, call)),
            );
            files.extend(path_of(&call.input));
        }
    }
    keep_newest(&mut document.handles);
    keep_newest(&mut document.learned);
    keep_newest(&mut document.done);
    if let Some((_, text)) = before {
        document.done.insert(0, quote(text));
    }
    document.files = files.into_iter().take(CALLS_MAX).collect();
    let bytes_max = bytes_asked(request).unwrap_or(BYTES_MAX);
    loop {
        let text =
            serde_json::to_string(&document).expect("a document is strings and lists of them");
        if text.len() <= bytes_max || !document.drop_oldest() {
            return text;
        }
    }
}

/// Returns how long the document may be, as the request says it: `at most 2048 bytes`.
fn bytes_asked(request: &ModelRequest) -> Option<usize> {
    let last = request.messages.last()?;
    let text = last.content.iter().rev().find_map(text_of)?;
    let (_, rest) = text.split_once("at most ")?;
    rest.split_once(" bytes")?.0.parse().ok()
}

fn keep_newest<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(CALLS_MAX));
}

impl Document {
    /// Drops what is oldest of the longest list; false if there is nothing left to drop.
    fn drop_oldest(&mut self) -> bool {
        let handles =
            self.handles.iter().map(|h| h.handle.len() + h.what.len() + 24).sum::<usize>();
        let Self { done, learned, decided, open, files, .. } = self;
        let lists = [done, learned, decided, open, files].into_iter();
        let sized = lists.map(|list| (list.iter().map(String::len).sum::<usize>(), list));
        match sized.max_by_key(|(bytes, _)| *bytes) {
            Some((bytes, list)) if bytes >= handles && !list.is_empty() => {
                list.remove(0);
            }
            _ if !self.handles.is_empty() => {
                self.handles.remove(0);
            }
            _ => return false,
        }
        true
    }

    /// Takes in one call; a call without an outcome is open.
    fn take_call(&mut self, handle: &str, call: &ToolUse, outcome: Option<Outcome>) {
        let what = quote(&format!("{} {}", call.name, shown(&call.input)));
        if call.name == RECALL {
            return;
        }
        if call.name == RECORD {
            self.take_record(&call.input);
        }
        match outcome {
            None => self.open.push(format!("{handle} {what}")),
            Some(Outcome { is_error: true, text }) => {
                self.done.push(format!("{handle} {what}: it failed: {}", quote(&text)));
                self.handles.push(Handle { handle: handle.to_owned(), what });
            }
            Some(Outcome { is_error: false, text }) => {
                self.done.push(format!("{handle} {what}"));
                if !text.trim().is_empty() {
                    self.learned.push(format!("{handle}: {}", quote(&text)));
                }
                self.handles.push(Handle { handle: handle.to_owned(), what });
            }
        }
    }

    fn take_record(&mut self, input: &ToolInput) {
        let ToolInput::Json(value) = input else { return };
        let Some(text) = value["text"].as_str() else { return };
        match value["kind"].as_str() {
            Some("decision") => self.decided.push(quote(text)),
            Some("question") => self.open.push(quote(text)),
            Some(_) | None => self.learned.push(quote(text)),
        }
    }
}

struct Outcome {
    text: String,
    is_error: bool,
}

fn outcome(answer: &Message, results: &Message, call: &ToolUse) -> Option<Outcome> {
    let (_, result) = pairs(Some(answer), results).find(|(_, result)| result.id == call.id)?;
    let whole = ToolResult { content: result.content.clone(), whole: None };
    Some(Outcome { text: whole.plain_text(), is_error: result.is_error })
}

fn calls_of(message: &Message) -> impl Iterator<Item = &ToolUse> {
    message.content.iter().filter_map(|block| match block {
        Block::ToolUse(call) => Some(call),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    })
}

fn text_of(block: &Block) -> Option<&str> {
    match block {
        Block::Text(text) => Some(text),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
    }
}

fn shown(input: &ToolInput) -> String {
    match input {
        ToolInput::Json(value) => value.to_string(),
        ToolInput::Malformed(text) => text.clone(),
    }
}

fn path_of(input: &ToolInput) -> Option<String> {
    match input {
        ToolInput::Json(value) => value["path"].as_str().map(str::to_owned),
        ToolInput::Malformed(_) => None,
    }
}

/// Returns a text on one line, cut to a length that a summary can bear.
fn quote(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(QUOTE_CHARS_MAX) {
        None => flat,
        Some((at, _)) => format!("{}…", &flat[..at]),
    }
}
