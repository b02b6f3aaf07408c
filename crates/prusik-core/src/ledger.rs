//! The ledger: what must outlive every summary, as typed entries.
//!
//! Entries are never edited. One that no longer holds is superseded by a newer one; the journal keeps
//! both, and the model is shown those that hold.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::CallId;
use crate::label::Label;

/// Longest entry, all of its texts together, in bytes.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024;
/// Most things that an entry may say were decided against.
pub const REJECTED_MAX: usize = 20;

/// Names an entry within its run; written `L7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(pub u32);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

impl FromStr for EntryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix(['L', 'l']).and_then(|digits| digits.parse().ok());
        number
            .map(Self)
            .ok_or_else(|| format!("`{text}` names no entry; an entry is named like L7"))
    }
}

impl TryFrom<String> for EntryId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// What is to be reached.
    Goal,
    /// What must or must not be done on the way.
    Constraint,
    /// What was decided, with its reason and what it rejected.
    Decision,
    /// What is known, with its source.
    Fact,
    /// What is not known yet.
    Question,
    /// Where something is: a file, a URL, the handle of a result.
    Artefact,
}

impl EntryKind {
    pub const ALL: [Self; 6] =
        [Self::Goal, Self::Constraint, Self::Decision, Self::Fact, Self::Question, Self::Artefact];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Constraint => "constraint",
            Self::Decision => "decision",
            Self::Fact => "fact",
            Self::Question => "question",
            Self::Artefact => "artefact",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an entry says, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub kind: EntryKind,
    pub text: String,
    /// Why it was decided so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was decided against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<String>,
    /// Where it is known from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Note {
    pub fn new(kind: EntryKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), reason: None, rejected: Vec::new(), source: None }
    }

    /// Returns every text of the note.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let single = [self.reason.as_deref(), self.source.as_deref()];
        let rejected = self.rejected.iter().map(String::as_str);
        std::iter::once(self.text.as_str()).chain(single.into_iter().flatten()).chain(rejected)
    }

    /// Returns the bytes of all of its texts.
    pub fn bytes(&self) -> usize {
        self.texts().map(str::len).sum()
    }
}

/// An entry of a run's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: EntryId,
    pub note: Note,
    pub author: Author,
    #[serde(default, skip_serializing_if = "Label::is_trusted")]
    pub label: Label,
    /// The entry that no longer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<EntryId>,
}

/// Who an entry is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// The agent's own definition.
    Agent,
    /// The model, by this call.
    Model(CallId),
    /// The contract of a tool, from what this call returned.
    Contract(CallId),
    /// A person, by their name.
    Person(String),
    /// A person again: the entry is what they said to the model, where it stands as it was said.
    Word(String),
}

impl Author {
    fn is_person(&self) -> bool {
        matches!(self, Self::Person(_) | Self::Word(_))
    }

    /// Returns whether the run itself recorded the entry. What its model may have read is no reason to
    /// drop what people or the agent's definition have laid down.
    fn is_of_run(&self) -> bool {
        matches!(self, Self::Model(_) | Self::Contract(_))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Agent => "laid down by the agent's definition",
            Self::Model(_) | Self::Contract(_) => "recorded by the run",
            Self::Person(_) | Self::Word(_) => "what a person said",
        }
    }

    pub fn words(&self) -> String {
        match self {
            Self::Agent => "the agent's definition".to_owned(),
            Self::Model(call) => format!("the model, call {call}"),
            Self::Contract(call) => format!("the result of call {call}"),
            Self::Person(name) | Self::Word(name) => name.clone(),
        }
    }
}

impl Entry {
    /// Returns the entry as the model is shown it. Its texts stand in it as they are, but that their
    /// lines are indented, so that none of them reads as another entry, or as a field of this one.
    pub fn render(&self) -> String {
        let note = &self.note;
        let label = if self.label.is_trusted() {
            String::new()
        } else {
            format!(", {}", self.label.words())
        };
        let mut text = format!("{} {}{label}: {}", self.id, note.kind, indented(&note.text));
        let reason = note.reason.iter().map(|reason| ("because", reason));
        let rejected = note.rejected.iter().map(|rejected| ("instead of", rejected));
        let source = note.source.iter().map(|source| ("source", source));
        for (field, said) in reason.chain(rejected).chain(source) {
            text = format!("{text}\n    {field}: {}", indented(said));
        }
        text
    }

    /// Returns what the entry takes of the ledger's budget: all that the model is shown of it.
    fn cost(&self) -> u64 {
        self.render().len() as u64 + 1
    }
}

/// Returns a text whose further lines are indented, deeper than whatever stands around them: what it
/// says is one thing, whatever lines it has.
pub(crate) fn indented(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    text.replace('\n', "\n        ")
}

/// Why a note was not taken into the ledger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "the entry is empty, or a part of it: say in one or two sentences what must not be forgotten"
    )]
    Empty,
    #[error(
        "the entry names {count} things that were decided against, and may name {REJECTED_MAX}"
    )]
    TooMany { count: usize },
    #[error(
        "the entry has {bytes} bytes, and one may have {max}: record the gist, and where the rest is"
    )]
    TooLong { bytes: u64, max: u64 },
    #[error(
        "{id} is {by}, and only a person replaces it; record what speaks against it as an entry of its \
         own"
    )]
    NotYours { id: EntryId, by: &'static str },
    #[error("there is no entry {id} that still holds; those that do: {}", names(.known))]
    NoSuchEntry { id: EntryId, known: Vec<EntryId> },
    #[error(
        "the ledger is full: its entries have {used} of {max} bytes, and this one would add {bytes}; \
         nothing was dropped. Replace what no longer holds, or join entries into one, by naming an \
         entry that this one supersedes: {}", names(.known)
    )]
    Full { bytes: u64, used: u64, max: u64, known: Vec<EntryId> },
    #[error("this run keeps no ledger: its agent was defined before there was one")]
    None,
}

fn names(known: &[EntryId]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The entries that hold, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    entries: Vec<Arc<Entry>>,
    /// How many there ever were.
    recorded: u32,
    bytes: u64,
}

impl Ledger {
    /// Returns the ledger that a run begins with.
    pub fn of(notes: &[Note]) -> Self {
        let mut ledger = Self::default();
        for note in notes {
            let id = ledger.next_id();
            let (author, label) = (Author::Agent, Label::trusted());
            ledger.record(&Entry { id, note: note.clone(), author, label, supersedes: None });
        }
        ledger
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn next_id(&self) -> EntryId {
        EntryId(self.recorded + 1)
    }

    /// Checks whether an entry may be recorded in a ledger of at most `bytes_max`. People have a quarter
    /// more: what a model fills must not keep them from speaking.
    pub fn check(&self, entry: &Entry, bytes_max: u64) -> Result<(), LedgerError> {
        let by_person = entry.author.is_person();
        let may = |known: &&Arc<Entry>| by_person || known.author.is_of_run();
        let known = || self.entries.iter().filter(may).map(|known| known.id).collect();
        let max = if by_person { bytes_max.saturating_add(bytes_max / 4) } else { bytes_max };
        let note = &entry.note;
        if note.texts().any(|text| text.trim().is_empty()) {
            return Err(LedgerError::Empty);
        }
        let (bytes, longest) = (note.bytes() as u64, max.min(ENTRY_BYTES_MAX as u64));
        if bytes > longest {
            return Err(LedgerError::TooLong { bytes, max: longest });
        }
        if note.rejected.len() > REJECTED_MAX {
            return Err(LedgerError::TooMany { count: note.rejected.len() });
        }
        let freed = match entry.supersedes {
            None => 0,
            Some(id) => match self.entries.iter().find(|entry| entry.id == id) {
                Some(old) if may(&old) => old.cost(),
                Some(old) => return Err(LedgerError::NotYours { id, by: old.author.kind() }),
                None => return Err(LedgerError::NoSuchEntry { id, known: known() }),
            },
        };
        let (bytes, used) = (entry.cost(), self.bytes);
        if used.saturating_sub(freed).saturating_add(bytes) > max {
            return Err(LedgerError::Full { bytes, used, max, known: known() });
        }
        Ok(())
    }

    /// Takes in an entry.
    pub fn record(&mut self, entry: &Entry) {
        if let Some(old) = entry.supersedes {
            self.entries.retain(|known| known.id != old);
        }
        self.entries.push(Arc::new(entry.clone()));
        self.recorded = self.recorded.max(entry.id.0);
        self.bytes = self.entries.iter().map(|entry| entry.cost()).sum();
    }
}
