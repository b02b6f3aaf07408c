//! Events of the model's context: what is recorded in the ledger, and how the context is compacted.

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, CallId, Seq, Turn};
use crate::label::Label;
use crate::ledger::Entry;
use crate::model::Usage;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecorded {
    pub entry: Entry,
    /// Whether the model was being asked when it came: what it answers, it answers without this entry,
    /// which is shown behind the answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unseen: bool,
}

/// Why the context is compacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactReason {
    /// It has come near the window's end.
    Threshold,
    /// The provider refused it: it is larger than estimated, or the window is smaller.
    Refused,
    /// A person wants it.
    Asked { by: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionRequested {
    pub by: String,
}

/// A summary was wanted; until it is there the model is asked for it and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionStarted {
    pub why: CompactReason,
    /// The last turn that the summary will stand for.
    pub through: Turn,
    /// Estimated size of the prompt, in tokens.
    pub tokens: u64,
}

/// The model wrote a summary, or something else. It cost what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryAnswered {
    pub turn: Turn,
    pub attempt: Attempt,
    pub usage: Usage,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nano_usd: u64,
    pub model: String,
    /// Time the answer took, in milliseconds.
    pub ms: u64,
    /// Why it was not taken; none if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedSummary>,
}

/// An answer that is no summary to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSummary {
    /// What was answered, cut.
    pub text: String,
    pub problems: Vec<String>,
}

/// The context was made smaller. What stands in it from now on follows from this event and those
/// after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextCompacted {
    pub how: CompactHow,
    pub why: CompactReason,
    /// What stands for turns that are no longer shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// Every result that is shown as its handle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<CallId>,
    /// The join of the labels of what is no longer shown.
    #[serde(default, skip_serializing_if = "Label::is_trusted")]
    pub label: Label,
    /// Estimated sizes of the prompt, in tokens.
    pub tokens_before: u64,
    pub tokens_after: u64,
    /// Size of the prompt afterwards, in bytes.
    pub bytes_after: u64,
    /// What was checked, and holds.
    pub checked: Vec<Invariant>,
}

/// How the context was made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompactHow {
    /// Old results became handles.
    Folded,
    /// A model's summary stands for old turns.
    Summarized,
    /// A list of what was called stands for old turns. No model was needed.
    Outlined,
}

/// What stands for turns that are no longer shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The last of these turns.
    pub through: Turn,
    /// The record from which on the messages are shown as they were.
    pub from_seq: Seq,
    /// The ledger and what is open, as they stand at the head of the context.
    pub brief: String,
    pub summary: Summary,
}

/// What is told of turns that are no longer shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    pub asked: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Results that are worth reading again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handles: Vec<NamedHandle>,
}

/// A result, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedHandle {
    pub handle: String,
    #[serde(default)]
    pub what: String,
}

/// What holds after every compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// The task is there, word for word.
    Task,
    /// So is every entry of the ledger that holds.
    Ledger,
    /// Every tool use is answered in the next message, and no result stands alone.
    CallPairs,
    /// Open groups, calls in doubt and failures that were not made good are named.
    OpenMatters,
    /// What is no longer shown can be read again, by handles that exist.
    Recall,
    /// The label is the join of the labels of what is no longer shown.
    Label,
    /// The prompt fits.
    Budget,
}

impl Invariant {
    pub const ALL: [Self; 7] = [
        Self::Task,
        Self::Ledger,
        Self::CallPairs,
        Self::OpenMatters,
        Self::Recall,
        Self::Label,
        Self::Budget,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Ledger => "ledger",
            Self::CallPairs => "call_pairs",
            Self::OpenMatters => "open_matters",
            Self::Recall => "recall",
            Self::Label => "label",
            Self::Budget => "budget",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}
