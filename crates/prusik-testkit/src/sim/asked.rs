//! What the model is sent, checked against what the journal says: nothing that must be remembered is
//! missing, what was sent before is not sent otherwise, and it fits.

use std::sync::Arc;

use prusik_core::ids::{Attempt, CallId, Digest, Seq, Turn};
use prusik_core::ledger::Entry;
use prusik_core::message::{Block, Content, Message, Role, ToolInput, ToolResultBlock, ToolUse};
use prusik_core::model::{ModelRequest, Purpose};
use prusik_core::record::Head;
use prusik_core::run::RECORD;

use super::memory::{Memory, unindented};
use super::session::TASK;
use super::world::{Invariant, Process, World};

/// Requests of a run that later ones are compared with.
const ASKED_KEPT: usize = 16;
/// How what stands for old turns begins.
const HISTORY: &str = "[history: turns 1 to ";
/// How a request for a summary begins.
const REQUEST: &str = "[compaction]\n";

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Asked {
    process: usize,
    /// The newest record of the process.
    head: Head,
    turn: Turn,
    attempt: Attempt,
    compactions: u32,
    /// The messages of the turn.
    said: Vec<Said>,
}

/// What comes before the messages: the same in every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    digest: Digest,
    bytes: usize,
}

/// A message, such that what is sent the same is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    role: Role,
    blocks: Vec<Digest>,
}

impl World {
    /// Checks that a request shows what it must, as it must.
    pub fn is_shown(&mut self, process: usize, request: &ModelRequest) {
        let (turn, attempt) = (request.turn, request.attempt);
        let base = without_request(&request.messages);
        let memory = &self.processes[process].memory;
        let problems: Vec<(Invariant, String)> = remembered(&base, memory)
            .into_iter()
            .map(|problem| (Invariant::Remembers, problem))
            .chain(turns_shown(&base, memory).map(|problem| (Invariant::Compactions, problem)))
            .chain(purpose(request, memory).map(|problem| (Invariant::Compactions, problem)))
            .collect();
        for (invariant, problem) in problems {
            self.violate(invariant, format!("turn {turn}, attempt {attempt}: {problem}"));
        }
        let declared = Declared::of(request);
        let known = *self.declared.get_or_insert(declared);
        self.check(Invariant::Prefix, known == declared, || {
            format!("turn {turn} has other tools, or another system prompt")
        });
        self.fits(process, request);
        let Process { shadow: Some(shadow), memory, run, .. } = &self.processes[process] else {
            return;
        };
        let same = shadow.transcript().is_some_and(|transcript| {
            let messages = transcript.messages();
            messages.len() == base.len() && messages.iter().zip(&base).all(|(a, b)| **a == **b)
        });
        let (label, shown) = (shadow.state().label(), memory.sources().clone());
        let said = base.iter().map(|message| said(message)).collect();
        let (run, head, compactions) = (*run, shadow.head(), shadow.state().view.compactions);
        self.check(Invariant::ReplayIsLive, same, || {
            format!("turn {turn}: the messages are not those of the journal")
        });
        self.check(Invariant::Labels, shown.is_subset(&label.sources), || {
            format!("{shown:?} were shown, and the label is {label:?}")
        });
        let asked = Asked { process, head, turn, attempt, compactions, said };
        self.follows(run, &asked);
        let book = &mut self.books[run];
        if book.asked.len() == ASKED_KEPT {
            book.asked.remove(0);
        }
        book.asked.push(asked);
    }

    /// Checks that a request goes on from the one before it.
    fn follows(&mut self, run: usize, asked: &Asked) {
        let journal = self.plain.journal(&self.books[run].run);
        let is_behind = |before: &&Asked| {
            let Seq(seq) = before.head.seq;
            let place = usize::try_from(seq).unwrap_or(usize::MAX).wrapping_sub(1);
            before.process == asked.process
                || !self.processes[asked.process].superseded
                    && journal.get(place).is_some_and(|record| record.hash == before.head.hash)
        };
        let behind: Vec<&Asked> = self.books[run].asked.iter().filter(is_behind).collect();
        let again = behind
            .iter()
            .any(|before| (before.turn, before.attempt) == (asked.turn, asked.attempt));
        let torn = behind.last().is_some_and(|before| {
            before.compactions == asked.compactions && !extends(&before.said, &asked.said)
        });
        let (turn, attempt) = (asked.turn, asked.attempt);
        self.check(Invariant::Attempts, !again, || {
            format!("turn {turn} is asked for twice as attempt {attempt}")
        });
        self.check(Invariant::Prefix, !torn, || {
            format!("turn {turn}, attempt {attempt} does not go on from the request before it")
        });
    }

    fn fits(&mut self, process: usize, request: &ModelRequest) {
        let tokens = self.tokens_of(request);
        let Some(room) = self.processes[process].memory.room() else { return };
        let fits = request.purpose == Purpose::Summary || tokens <= room;
        self.check(Invariant::Window, fits, || {
            format!("turn {} has {tokens} tokens, and {room} have room", request.turn)
        });
    }

    /// Returns the tokens of a request, as the provider counts them.
    pub fn tokens_of(&self, request: &ModelRequest) -> u64 {
        let declared = self.declared.map_or(0, |declared| declared.bytes);
        let blocks = request.messages.iter().flat_map(|message| &message.content);
        let bytes = declared + blocks.map(bytes).sum::<usize>();
        bytes as u64 / self.plan.token_bytes
    }
}

/// Returns the bytes that a block is counted as.
pub fn bytes(block: &Block) -> usize {
    match block {
        Block::Text(text) => text.len(),
        Block::Opaque(opaque) => opaque.block.to_string().len(),
        Block::ToolUse(tool_use) => match &tool_use.input {
            ToolInput::Json(value) => tool_use.name.len() + value.to_string().len(),
            ToolInput::Malformed(text) => tool_use.name.len() + text.len(),
        },
        Block::ToolResult(result) => result.content.iter().map(Content::bytes).sum(),
    }
}

impl Declared {
    fn of(request: &ModelRequest) -> Self {
        let mut declared = request.system.to_string();
        for tool in &*request.tools {
            declared += &tool.name;
            declared += &tool.description;
            declared += &tool.input_schema.to_string();
        }
        Self { digest: Digest::of(declared.as_bytes()), bytes: declared.len() }
    }
}

/// Returns the messages without what asks for a summary.
fn without_request(messages: &[Arc<Message>]) -> Vec<Arc<Message>> {
    let asks = |block: &Block| matches!(block, Block::Text(text) if text.starts_with(REQUEST));
    let Some(place) = messages.iter().position(|message| message.content.iter().any(asks)) else {
        return messages.to_vec();
    };
    let mut base = messages[..place].to_vec();
    let own = messages[place].content.iter().take_while(|block| !asks(block));
    let content: Vec<Block> = own.cloned().collect();
    if !content.is_empty() {
        base.push(Arc::new(Message { role: messages[place].role, content }));
    }
    base
}

/// Returns what is forgotten: the task, or an entry that holds.
fn remembered(messages: &[Arc<Message>], memory: &Memory) -> Vec<String> {
    let first = messages.first().and_then(|message| message.content.first());
    let task =
        (first != Some(&Block::Text(TASK.to_owned()))).then(|| "the task is gone".to_owned());
    let texts: Vec<String> = messages
        .iter()
        .flat_map(|message| &message.content)
        .filter_map(|block| match block {
            // What a person says stands as it was said, an entry as one.
            Block::Text(text) => Some([text.clone(), unindented(text)]),
            Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        })
        .flatten()
        .collect();
    let recorded = |entry: &Entry| {
        uses(messages).any(|tool_use| match &tool_use.input {
            ToolInput::Json(value) if tool_use.name == RECORD => {
                let rejected: Vec<&str> = value["rejected"]
                    .as_array()
                    .map_or(Vec::new(), |all| all.iter().filter_map(|one| one.as_str()).collect());
                value["text"].as_str() == Some(&entry.note.text)
                    && value["reason"].as_str() == entry.note.reason.as_deref()
                    && value["source"].as_str() == entry.note.source.as_deref()
                    && rejected == entry.note.rejected
            }
            ToolInput::Json(_) | ToolInput::Malformed(_) => false,
        })
    };
    let told =
        |entry: &Entry| texts.iter().any(|text| entry.note.texts().all(|own| text.contains(own)));
    let held = memory.held().iter().filter(|entry| !told(entry) && !recorded(entry));
    task.into_iter().chain(held.map(|entry| format!("{} is gone: {entry:?}", entry.id))).collect()
}

fn uses(messages: &[Arc<Message>]) -> impl Iterator<Item = &ToolUse> {
    messages.iter().flat_map(|message| &message.content).filter_map(|block| match block {
        Block::ToolUse(tool_use) => Some(tool_use),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    })
}

/// Returns what is wrong with the turns that are shown: each call after those that are summed up, and
/// its result, whole or as a handle.
fn turns_shown(messages: &[Arc<Message>], memory: &Memory) -> Option<String> {
    let head = messages.first()?.content.iter().skip(1).find_map(|block| match block {
        Block::Text(text) => text.strip_prefix(HISTORY)?.split_once(']')?.0.parse().ok(),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
    });
    let through = Turn(head.unwrap_or(0));
    if through != memory.through {
        return Some(format!("turns through {} are gone, it says {through}", memory.through));
    }
    let due: Vec<(CallId, &str)> =
        memory.calls_after(through).map(|(call, seen)| (call, seen.tool.as_str())).collect();
    let shown: Vec<&str> = uses(messages).map(|tool_use| tool_use.name.as_str()).collect();
    if !due.iter().map(|(_, tool)| *tool).eq(shown.iter().copied()) {
        return Some(format!("{due:?} were called after turn {through}, and {shown:?} are shown"));
    }
    let results = messages.iter().flat_map(|message| &message.content);
    let results = results.filter_map(|block| match block {
        Block::ToolResult(result) => Some(result),
        Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
    });
    due.iter().zip(results).find_map(|((call, _), result)| {
        let handle = is_handle_of(result, *call);
        (handle != memory.is_folded(*call)).then(|| format!("{call} is a handle: {handle}"))
    })
}

fn is_handle_of(result: &ToolResultBlock, call: CallId) -> bool {
    let by_handle = format!("{{\"handle\":\"{call}\"}} reads it]");
    let again = format!("as call {call} asked for it reads it]");
    matches!(result.content.as_slice(), [Content::Text(text)] if text.starts_with("[folded: ")
        && (text.ends_with(&by_handle) || text.ends_with(&again)))
}

/// Returns what is wrong with what the request is for.
fn purpose(request: &ModelRequest, memory: &Memory) -> Option<String> {
    let last = request.messages.last()?;
    let asks = matches!(last.content.last(), Some(Block::Text(text)) if text.starts_with(REQUEST));
    let summary = request.purpose == Purpose::Summary;
    if asks != summary || summary != memory.wanted.is_some() {
        return Some(format!("{:?} is asked for, {:?} is wanted", request.purpose, memory.wanted));
    }
    let through = format!(" turns 1 to {} ", memory.wanted?);
    let names = request.messages.iter().flat_map(|message| &message.content).any(|block| {
        matches!(block, Block::Text(text) if text.starts_with(REQUEST) && text.contains(&through))
    });
    (!names).then(|| format!("it does not say that it is about{through}"))
}

fn said(message: &Message) -> Said {
    let blocks = message.content.iter().map(|block| match block {
        Block::Text(text) => Digest::of_parts(&[b"text", text.as_bytes()]),
        Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => {
            let bytes = serde_json::to_vec(block).expect("a block is plain data");
            Digest::of(&bytes)
        }
    });
    Said { role: message.role, blocks: blocks.collect() }
}

/// Returns whether messages begin with those of before, of which the last may have grown at its end.
fn extends(before: &[Said], after: &[Said]) -> bool {
    let Some((last, whole)) = before.split_last() else { return true };
    let Some(grown) = after.get(whole.len()) else { return false };
    after[..whole.len()] == *whole
        && grown.role == last.role
        && grown.blocks.starts_with(&last.blocks)
}
