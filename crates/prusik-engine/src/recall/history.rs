//! What a run has seen: its task, its answers, what it was told, and the results of its calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prusik_core::agent::Agent;
use prusik_core::event::{CallCompleted, Event, PlannedCall};
use prusik_core::ids::{CallId, Digest, RunId, Seq, Turn};
use prusik_core::ledger::{Entry as LedgerEntry, EntryId, Ledger};
use prusik_core::message::{Block, Content, Handle, ToolInput};
use prusik_core::outcome::{Outcome, ToolResult};
use prusik_core::record::{FormatVersion, JournalError, Record};
use prusik_core::run::{RECALL, calls_of, text_of};
use prusik_store::{Store, StoreError};
use regex::bytes::Regex;
use serde::de::{Deserialize, IgnoredAny};

use super::{Pace, Problem, kind, refused, shortened};
use crate::engine::EngineError;
use crate::journal;

/// Longest description of an entry, in bytes.
const WHAT_BYTES_MAX: usize = 160;

/// Most bytes of blobs that one search reads. Beyond, the larger results are not searched.
const SEARCHED_BLOB_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// All entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    pub entries: Vec<Entry>,
    /// The last turn that the model answered: the one that asks.
    pub last_turn: Option<Turn>,
    /// Calls of [`RECALL`] itself. What they said is elsewhere already.
    recalls: Vec<CallId>,
}

/// Something that can be read back.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Name,
    /// For the model: which call, or whose words.
    pub what: String,
    pub body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Here(Vec<Content>),
    /// In the store, because it was too large for the context.
    Kept(Handle),
}

/// The name of an entry, as the model writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Task,
    Turn(Turn),
    Call(CallId),
    /// An entry of the ledger.
    Entry(EntryId),
}

/// What the model asks to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Named(Name),
    Blob(Digest),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task => f.write_str("task"),
            Self::Turn(turn) => write!(f, "turn {turn}"),
            Self::Call(call) => call.fmt(f),
            Self::Entry(entry) => entry.fmt(f),
        }
    }
}

impl Wish {
    pub fn parse(handle: &str) -> Result<Self, Problem> {
        let handle = handle.trim();
        if handle == "task" {
            return Ok(Self::Named(Name::Task));
        }
        if let Some(turn) = handle.strip_prefix("turn ").and_then(|turn| turn.trim().parse().ok()) {
            return Ok(Self::Named(Name::Turn(Turn(turn))));
        }
        if let Some(digest) = handle.strip_prefix("blob:").and_then(|digest| digest.parse().ok()) {
            return Ok(Self::Blob(digest));
        }
        if let Ok(entry) = handle.parse() {
            return Ok(Self::Named(Name::Entry(entry)));
        }
        handle.parse().map(|call| Self::Named(Name::Call(call))).map_err(|_| {
            let message = format!(
                "{:?} is no handle. A result is named by its call, such as `12.1`; an answer `turn 12`; \
                 the task `task`; an entry of the ledger `L7`; a note may name bytes by `blob:` and 64 \
                 digits. To find one, ask with `query`.",
                shortened(handle, 80)
            );
            refused(kind::NOT_FOUND, message)
        })
    }
}

impl History {
    /// Reads all of it.
    pub async fn read(store: &Arc<dyn Store>, run: &RunId, through: Seq) -> Result<Self, Problem> {
        Self::read_wanted(store, run, through, |_| true).await
    }

    /// Reads one entry.
    pub async fn entry(
        store: &Arc<dyn Store>,
        run: &RunId,
        through: Seq,
        wish: Wish,
    ) -> Result<Entry, Problem> {
        if let Wish::Named(Name::Call(call)) = wish {
            // Nearly all records are of other calls, and need not be parsed.
            let history = Self::read_wanted(store, run, through, records_about(call)).await?;
            if let Some(entry) = history.take(wish) {
                return Ok(entry);
            }
        }
        let history = Self::read(store, run, through).await?;
        let missing = history.missing(wish);
        history.take(wish).ok_or(missing)
    }

    async fn read_wanted(
        store: &Arc<dyn Store>,
        run: &RunId,
        through: Seq,
        wanted: impl Fn(&Record) -> bool + Send + Sync + 'static,
    ) -> Result<Self, Problem> {
        let reader = move |record: &Record| {
            if wanted(record) { Memory::of(record).map(Some) } else { Ok(None) }
        };
        let read =
            journal::read(Arc::clone(store), run.clone(), Seq(1)..=through, Arc::new(reader)).await;
        let mut folding = Folding::default();
        for memory in read.map_err(|error| unreadable(&error))? {
            match memory {
                Memory::Event(event) => folding.absorb(*event),
                Memory::Result(call, pieces) => folding.returned(call, pieces),
            }
        }
        if let Some(definition) = folding.definition.take() {
            match store.blob(&definition).await {
                Ok(bytes) => folding.begin_ledger(&bytes),
                // Without it the run could not go on; what it has seen is here all the same.
                Err(StoreError::UnknownBlob { .. } | StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(unreadable(&error.into())),
            }
        }
        Ok(folding.history)
    }

    fn take(self, wish: Wish) -> Option<Entry> {
        self.entries.into_iter().find(|entry| match (wish, &entry.body) {
            (Wish::Named(name), _) => entry.name == name,
            (Wish::Blob(digest), Body::Kept(handle)) => handle.digest == digest,
            (Wish::Blob(_), Body::Here(_)) => false,
        })
    }

    /// Returns what the model is told of an entry that is not there.
    fn missing(&self, wish: Wish) -> Problem {
        let find = "Ask with `query` to find what you look for.";
        let message = match wish {
            Wish::Named(Name::Call(call)) if self.recalls.contains(&call) => format!(
                "{call} is itself a recall, and what it said is not kept twice. Ask again as it asked."
            ),
            Wish::Named(Name::Call(call)) if self.last_turn == Some(call.turn) => {
                format!("{call} has no result yet, or is no call. {find}")
            }
            Wish::Named(name) => match self.last_turn {
                Some(turn) => format!(
                    "There is no {name} in this run, which has got to turn {turn}. Handles of other \
                     runs mean nothing here. {find}"
                ),
                None => format!("There is no {name} in this run: it has no turn yet."),
            },
            Wish::Blob(digest) => format!(
                "No result of this run is kept as blob:{digest}. Handles of other runs mean nothing \
                 here. {find}"
            ),
        };
        refused(kind::NOT_FOUND, message)
    }

    /// Fetches the bytes that are kept elsewhere, as far as a search may, and returns the entries whose
    /// bytes it could not have.
    pub async fn fetch(&mut self, store: &Arc<dyn Store>) -> Result<Vec<Name>, Problem> {
        let (mut left, mut missing) = (SEARCHED_BLOB_BYTES_MAX, Vec::new());
        for entry in &mut self.entries {
            let Body::Kept(handle) = &entry.body else { continue };
            let Some(rest) = left.checked_sub(handle.bytes) else {
                missing.push(entry.name);
                continue;
            };
            match fetch(store, handle).await {
                Ok(pieces) => {
                    left = rest;
                    entry.body = Body::Here(pieces);
                }
                Err(StoreError::UnknownBlob { .. } | StoreError::Corrupt { .. }) => {
                    missing.push(entry.name);
                }
                Err(error) => return Err(unreadable(&error.into())),
            }
        }
        Ok(missing)
    }
}

impl Entry {
    /// Returns what it holds, from the store if it must.
    pub async fn pieces(self, store: &Arc<dyn Store>) -> Result<Vec<Content>, Problem> {
        let handle = match self.body {
            Body::Here(pieces) => return Ok(pieces),
            Body::Kept(handle) => handle,
        };
        fetch(store, &handle).await.map_err(|error| match error {
            StoreError::UnknownBlob { .. } | StoreError::Corrupt { .. } => {
                let message = format!(
                    "The bytes of {} ({}) cannot be had any more: {error}. If it was a read, make \
                     that call again; else go on without them.",
                    self.name,
                    handle.name()
                );
                refused(kind::GONE, message)
            }
            error => unreadable(&error.into()),
        })
    }
}

/// Returns the text that a search looks at, and nothing for what lies elsewhere.
pub(super) fn text(pieces: Vec<Content>) -> String {
    match <[Content; 1]>::try_from(pieces) {
        Ok([Content::Text(text)]) => text,
        Ok(piece) => ToolResult { content: piece.into(), whole: None }.plain_text(),
        Err(content) => ToolResult { content, whole: None }.plain_text(),
    }
}

impl Body {
    pub fn into_text(self) -> String {
        match self {
            Self::Here(pieces) => text(pieces),
            Self::Kept(_) => String::new(),
        }
    }
}

async fn fetch(store: &Arc<dyn Store>, handle: &Handle) -> Result<Vec<Content>, StoreError> {
    let bytes = store.blob(&handle.digest).await?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => pieces_of(text),
        Err(error) => {
            let note = format!("[{} bytes that are not text]", error.as_bytes().len());
            vec![Content::Text(note)]
        }
    })
}

/// A result with images is kept as the list of its pieces, any other as its text.
fn pieces_of(text: String) -> Vec<Content> {
    let listed = if text.starts_with("[{") && text.contains("{\"image\":") {
        serde_json::from_str::<Vec<Content>>(&text).ok()
    } else {
        None
    };
    let is_image = |piece: &Content| matches!(piece, Content::Image(_));
    listed.filter(|pieces| pieces.iter().any(is_image)).unwrap_or_else(|| vec![Content::Text(text)])
}

/// Tells the records that may be about a call, by the text that they cannot do without: a call's name
/// stands in quotes, and its turn's answer says which turn it is.
fn records_about(call: CallId) -> impl Fn(&Record) -> bool {
    let pattern = format!(r#""{}\.{}"|"turn":{}[,}}]"#, call.turn, call.index, call.turn);
    let about = Regex::new(&pattern).expect("numbers and quotes are a pattern");
    move |record| about.is_match(&record.body)
}

fn unreadable(error: &EngineError) -> Problem {
    match error {
        // Somebody else is at it for the moment.
        EngineError::Store(StoreError::Locked { .. }) => Problem::Busy(error.to_string()),
        EngineError::Store(_)
        | EngineError::Journal { .. }
        | EngineError::Definition { .. }
        | EngineError::Rejected(_)
        | EngineError::Fork(_) => {
            let message =
                format!("The history of this run cannot be read: {error}. Go on without it.");
            refused(kind::UNREADABLE, message)
        }
    }
}

/// What is read of a record.
enum Memory {
    Event(Box<Event>),
    /// The plain result of a call.
    Result(CallId, Vec<Content>),
}

impl Memory {
    fn of(record: &Record) -> Result<Self, JournalError> {
        let plain = (record.version == FormatVersion::CURRENT)
            .then(|| std::str::from_utf8(&record.body).ok().and_then(plain_result))
            .flatten();
        match plain {
            Some((call, pieces)) => Ok(Self::Result(call, pieces)),
            None => Ok(Self::Event(Box::new(record.event()?))),
        }
    }
}

/// Reads the record of a call that returned something, without building the JSON in it: only its text
/// is wanted, and stands there as it is shown. Most of a journal are such records.
///
/// It knows the form in which records are written, and takes nothing else.
fn plain_result(body: &str) -> Option<(CallId, Vec<Content>)> {
    let rest = body.strip_prefix(r#"{"call_completed":{"call":""#)?;
    let (call, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(r#","attempt":"#)?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let mut rest = rest.strip_prefix(r#","outcome":{"ok":{"content":["#)?;
    let mut pieces = Vec::new();
    loop {
        if let Some(json) = rest.strip_prefix(r#"{"json":"#) {
            let (_, len) = value::<IgnoredAny>(json)?;
            pieces.push(Content::Text(json[..len].to_owned()));
            rest = &json[len..];
        } else {
            let text = rest.strip_prefix(r#"{"text":"#)?;
            let (said, len) = value::<String>(text)?;
            pieces.push(Content::Text(said));
            rest = &text[len..];
        }
        rest = rest.strip_prefix('}')?;
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    // Nothing may follow but the time it took: in particular no handle of a longer result.
    rest.strip_prefix(r#"]}},"ms":"#)?;
    let says_something = |piece: &Content| match piece {
        Content::Text(text) => !text.trim().is_empty() && text != "null",
        Content::Json(_) | Content::Image(_) => true,
    };
    pieces.iter().any(says_something).then_some((call.parse().ok()?, pieces))
}

/// Reads the JSON value at the beginning of `text`, and says how long it is.
fn value<'t, T: Deserialize<'t>>(text: &'t str) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

/// A history in the making.
#[derive(Default)]
struct Folding {
    history: History,
    calls: BTreeMap<CallId, Asked>,
    /// What the run was started with.
    definition: Option<Digest>,
}

/// A call that was asked for.
struct Asked {
    tool: String,
    /// Its tool and the beginning of its arguments.
    line: String,
}

impl Folding {
    fn absorb(&mut self, event: Event) {
        match event {
            Event::RunStarted(started) => {
                self.push(Name::Task, "the task".to_owned(), started.task);
                self.definition = Some(started.definition);
            }
            Event::ModelAnswered(answered) => self.answered(answered.turn, &answered.content),
            Event::CallCompleted(completed) => self.completed(completed),
            Event::Prompted(prompted) => self.say(&format!("[told] {}", prompted.text)),
            Event::CompensationPlanned(planned) => self.planned(planned.undos),
            Event::GroupClosingStarted(closing) => self.planned(closing.calls),
            // Those that no longer hold are among them.
            Event::EntryRecorded(recorded) => self.entry(&recorded.entry),
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
            | Event::CompensationStarted(_)
            | Event::CancelRequested(_)
            | Event::PlanMade(_)
            | Event::GrantSpent(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::PolicyAdopted(_)
            // What stands for old turns was made of them, and they are all here.
            | Event::CompactionRequested(_)
            | Event::CompactionStarted(_)
            | Event::SummaryAnswered(_)
            | Event::ContextCompacted(_)
            | Event::RunFinished(_) => {}
        }
    }

    /// Takes in the entries that the run began with, as its definition has them.
    fn begin_ledger(&mut self, definition: &[u8]) {
        let Ok(agent) = serde_json::from_slice::<Agent>(definition) else { return };
        for entry in Ledger::of(&agent.ledger).entries() {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: &LedgerEntry) {
        let what = format!("ledger entry {} ({})", entry.id, entry.note.kind);
        self.push(Name::Entry(entry.id), what, entry.render());
    }

    fn push(&mut self, name: Name, what: String, text: String) {
        let body = Body::Here(vec![Content::Text(text)]);
        self.history.entries.push(Entry { name, what, body });
    }

    fn answered(&mut self, turn: Turn, content: &[Block]) {
        if self.history.last_turn != Some(turn) {
            self.history.last_turn = Some(turn);
            self.push(Name::Turn(turn), format!("answer of turn {turn}"), String::new());
        }
        self.say(&text_of(content));
        for (call, tool_use) in calls_of(turn, content) {
            let arguments = match &tool_use.input {
                ToolInput::Json(value) => value.to_string(),
                ToolInput::Malformed(text) => text.clone(),
            };
            let tool = tool_use.name.clone();
            let line = format!("{tool} {arguments}");
            if tool == RECALL {
                // A search must not find itself.
                self.history.recalls.push(call);
            } else {
                self.say(&format!("{call} {line}"));
            }
            let line = shortened(&line, WHAT_BYTES_MAX);
            self.calls.insert(call, Asked { tool, line });
        }
    }

    /// Adds a paragraph to the newest answer, or to the task.
    fn say(&mut self, words: &str) {
        let entries = &mut self.history.entries;
        let entry = entries.iter_mut().rfind(|entry| match entry.name {
            Name::Task | Name::Turn(_) => true,
            Name::Call(_) | Name::Entry(_) => false,
        });
        let Some(Entry { body: Body::Here(pieces), .. }) = entry else { return };
        let [Content::Text(text)] = &mut pieces[..] else { return };
        if words.trim().is_empty() {
            return;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(words);
    }

    fn planned(&mut self, calls: Vec<PlannedCall>) {
        for PlannedCall { call, of, tool, arguments } in calls {
            let line = shortened(&format!("{tool} {arguments} (for {of})"), WHAT_BYTES_MAX);
            self.calls.insert(call, Asked { tool, line });
        }
    }

    fn returned(&mut self, call: CallId, pieces: Vec<Content>) {
        let Some(asked) = self.calls.remove(&call).filter(|asked| asked.tool != RECALL) else {
            return;
        };
        let what = format!("result of {}", asked.line);
        let body = Body::Here(pieces);
        self.history.entries.push(Entry { name: Name::Call(call), what, body });
    }

    fn completed(&mut self, completed: CallCompleted) {
        let CallCompleted { call, outcome, .. } = completed;
        let outcome = match outcome {
            Outcome::Ok(result) if result.whole.is_none() && !result.is_empty() => {
                return self.returned(call, result.content);
            }
            outcome => outcome,
        };
        let Some(asked) = self.calls.remove(&call).filter(|asked| asked.tool != RECALL) else {
            return;
        };
        let what = match &outcome {
            Outcome::Ok(_) => format!("result of {}", asked.line),
            Outcome::Failed(failure) => format!("failed ({}): {}", failure.kind, asked.line),
            Outcome::Denied { .. }
            | Outcome::Rejected { .. }
            | Outcome::InDoubt { .. }
            | Outcome::Deferred { .. } => format!("{}: {}", outcome.word(), asked.line),
        };
        let body = match outcome {
            Outcome::Ok(ToolResult { whole: Some(handle), .. }) => Body::Kept(handle),
            Outcome::Failed(failure) if failure.whole.is_some() => {
                Body::Kept(failure.whole.expect("it was just looked at"))
            }
            outcome => Body::Here(outcome.render("", &asked.tool).content),
        };
        self.history.entries.push(Entry { name: Name::Call(call), what, body });
    }
}

impl History {
    /// Returns the texts of all entries but the answer that asks, at the places of the entries.
    pub async fn texts(&mut self, pace: &mut Pace) -> Vec<String> {
        let asking = self.last_turn.map(Name::Turn);
        let mut texts = Vec::with_capacity(self.entries.len());
        for entry in &mut self.entries {
            let body = std::mem::replace(&mut entry.body, Body::Here(Vec::new()));
            let text = if Some(entry.name) == asking { String::new() } else { body.into_text() };
            pace.walk(text.len()).await;
            texts.push(text);
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use prusik_core::event::Undoing;
    use prusik_core::ids::{Attempt, Timestamp};
    use prusik_core::label::Label;
    use prusik_core::message::Image;
    use prusik_core::outcome::Failure;
    use prusik_core::record::Head;
    use serde_json::{Value, json};

    use super::*;

    fn body(outcome: Outcome, undo: Option<Undoing>) -> String {
        let call = CallId::new(Turn(12), 1);
        let completed = CallCompleted {
            call,
            attempt: Attempt(3),
            outcome,
            ms: 5,
            undo,
            echo: Label::trusted(),
        };
        let mut head = Head::START;
        let record = head.seal(Timestamp(1), &Event::CallCompleted(completed));
        String::from_utf8(record.body).unwrap()
    }

    #[test]
    fn what_is_read_of_a_plain_result_is_its_text() {
        let text = |text: &str| Content::Text(text.to_owned());
        let json = Content::Json;
        for content in [
            vec![text("two\nlines \"quoted\" \u{1}ä")],
            vec![json(json!({"a": [1, 2.5, -0.0, 1e300, null, true], "ä]}": {"}": "{\"\\"}}))],
            vec![text("a"), json(json!([])), text(""), json(json!(7)), json(Value::Null)],
            vec![json(json!("just \"text\""))],
        ] {
            let result = ToolResult { content, whole: None };
            let undo = Some(Undoing::Impossible { reason: "r".into() });
            for undo in [None, undo] {
                let read = plain_result(&body(Outcome::Ok(result.clone()), undo)).unwrap();
                assert_eq!(read.0, CallId::new(Turn(12), 1));
                assert_eq!(super::text(read.1), result.plain_text());
            }
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_plain_result() {
        let image = Image { media_type: "image/png".into(), data: "AAAA".into() };
        let whole = Some(Handle { digest: Digest::of(b"x"), bytes: 1 });
        for outcome in [
            Outcome::Ok(ToolResult { whole, ..ToolResult::text("cut") }),
            Outcome::Ok(ToolResult { content: vec![Content::Image(image)], whole: None }),
            Outcome::Ok(ToolResult::default()),
            Outcome::Ok(ToolResult::text(" \n")),
            Outcome::Ok(ToolResult::json(Value::Null)),
            Outcome::Failed(Failure::new("x", r#"{"ok":{"content":[{"text":"y"}]}},"ms":1"#)),
            Outcome::InDoubt { reason: "lost".into() },
        ] {
            let body = body(outcome, None);
            assert!(plain_result(&body).is_none(), "{body}");
        }
        let body = body(Outcome::Ok(ToolResult::text("x")), None);
        assert!((0..body.len() - 6).all(|end| plain_result(&body[..end]).is_none()), "{body}");
    }
}
