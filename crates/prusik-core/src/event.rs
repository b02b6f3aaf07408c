//! Events: the facts that a run's journal holds. State is a fold of them and of nothing else.
//!
//! The JSON of these types is the journal's format and a promise: golden files pin it. A field may
//! be added with a default; nothing may be renamed, removed or given a new meaning.

mod contain;
mod context;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::budget::{Budget, BudgetKind};
use crate::ids::{Attempt, CallId, Digest, RunId, Seq, Turn};
use crate::label::Label;
use crate::message::Block;
use crate::model::{ModelError, StopReason, Usage};
use crate::outcome::{Failure, Outcome};
pub use contain::{
    ApprovalAnswered, ApprovalRequested, Decision, GrantSpent, PlanMade, PolicyAdopted,
};
pub use context::{
    CompactHow, CompactReason, CompactionRequested, CompactionStarted, ContextCompacted,
    EntryRecorded, Invariant, NamedHandle, RefusedSummary, Replaced, Summary, SummaryAnswered,
};

/// A fact about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run began: who is to do what, with which definition and budget.
    RunStarted(RunStarted),
    /// Another driver took the run over after the last one died or let go of it.
    RunRecovered(RunRecovered),
    /// The model answered a turn, whole.
    ModelAnswered(ModelAnswered),
    /// An attempt to ask the model gave no answer.
    ModelFailed(ModelFailed),
    /// The intent of these calls: durable before any of them is performed.
    CallsStarted(CallsStarted),
    /// An attempt failed in a way that allows another; the next may start when its time comes.
    CallRetried(CallRetried),
    /// A call has its outcome, which the model will see.
    CallCompleted(CallCompleted),
    /// It is not known whether the call landed; its probe is asked, or a person.
    CallDoubted(CallDoubted),
    /// The probe of a call in doubt was asked.
    CallProbed(CallProbed),
    /// A person said whether a call in doubt landed.
    CallSettled(CallSettled),
    /// The runtime speaks to the model in the user's place.
    Prompted(Prompted),
    /// A person changed ceilings of the run.
    BudgetRaised(BudgetRaised),
    /// The run waits for somebody, costing nothing.
    RunParked(RunParked),
    /// A person or a driver put a parked run back to work.
    RunResumed(RunResumed),
    /// The run begins with records of another; those before this one are shared.
    RunForked(RunForked),
    /// What the run did is to be undone.
    CompensationStarted(CompensationStarted),
    /// The calls that undo it, and what stays done.
    CompensationPlanned(CompensationPlanned),
    /// Open groups are to take, or to be undone, by these calls.
    GroupClosingStarted(GroupClosingStarted),
    /// A person cancelled the run while a group was being closed: it ends as soon as that is done.
    CancelRequested(CancelRequested),
    /// An entry of the ledger was recorded.
    EntryRecorded(EntryRecorded),
    /// A person wants the context compacted before the model is asked again.
    CompactionRequested(CompactionRequested),
    /// The model is asked for a summary of what is to leave the context.
    CompactionStarted(CompactionStarted),
    /// The model answered that.
    SummaryAnswered(SummaryAnswered),
    /// The context was made smaller.
    ContextCompacted(ContextCompacted),
    /// The model laid down what it will do, before it read anything from outside.
    PlanMade(PlanMade),
    /// A call was made that a grant covers.
    GrantSpent(GrantSpent),
    /// Calls are held to another policy of the organisation from now on.
    PolicyAdopted(PolicyAdopted),
    /// A person is asked whether a call may be made.
    ApprovalRequested(ApprovalRequested),
    /// A person answered that.
    ApprovalAnswered(ApprovalAnswered),
    /// The last event of every run that ended, unless it is compensated afterwards.
    RunFinished(RunFinished),
}

/// The first event of every run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    pub run: RunId,
    pub agent: String,
    /// Digest of the agent's definition, which is kept as a blob.
    pub definition: Digest,
    pub task: String,
    pub budget: Budget,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecovered {
    /// Who drives the run now, for people.
    pub by: String,
    /// Calls that are performed once more, because their contracts allow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<CallId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAnswered {
    pub turn: Turn,
    pub attempt: Attempt,
    pub content: Vec<Block>,
    pub stop: StopReason,
    pub usage: Usage,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nano_usd: u64,
    pub model: String,
    /// Time the answer took, in milliseconds.
    pub ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFailed {
    pub turn: Turn,
    pub attempt: Attempt,
    pub error: ModelError,
    /// How long the next try waits, in milliseconds; none if there is no next try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallsStarted {
    pub calls: Vec<CallId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRetried {
    pub call: CallId,
    /// The attempt that failed.
    pub attempt: Attempt,
    pub failure: Failure,
    pub retry_in_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallCompleted {
    pub call: CallId,
    /// The attempt that decided the outcome; 0 if the call never started.
    pub attempt: Attempt,
    pub outcome: Outcome,
    pub ms: u64,
    /// What would reverse the call, if its contract names an undo and it took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undoing>,
    /// What the run had read when it last changed something at the tool's server: what the server
    /// returns now may come from there, whatever its contract says.
    #[serde(default, skip_serializing_if = "Label::is_none")]
    pub echo: Label,
}

/// What would reverse a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undoing {
    /// This call, filled from what was asked and what came back.
    Call { tool: String, arguments: Value },
    /// Nothing that could be made.
    Impossible { reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallDoubted {
    pub call: CallId,
    pub attempt: Attempt,
    pub reason: String,
    /// What resolves the doubt.
    pub resolved_by: Resolver,
}

/// Who can say whether a call landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolver {
    Probe,
    Person,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallProbed {
    pub call: CallId,
    pub found: Found,
    /// How long the next try of a probe that failed waits, in milliseconds; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

/// What a probe said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The call landed; its completion follows.
    Landed,
    NotLanded,
    /// The probe itself failed, so that a person must say.
    Unclear {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallSettled {
    pub call: CallId,
    pub verdict: Verdict,
    pub by: String,
}

/// A person's word about a call in doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It landed, with this result if the person knows it.
    Landed(Option<Value>),
    /// It did not land; it is performed now.
    NotLanded,
    /// Nobody knows; the model is told so.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompted {
    pub text: String,
    pub why: PromptReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptReason {
    /// The answer was cut at the token limit.
    Continue,
    /// The final answer does not fit the output schema, or there was none.
    Repair,
    /// The same call had the same result too often.
    Loop,
    /// A person added something.
    Person,
    /// What a contract wants recorded did not go into the ledger.
    Ledger,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetRaised {
    /// The ceilings that change, with their new values.
    pub budget: Budget,
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunParked {
    pub reason: ParkReason,
}

/// Why a run waits, costing nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// The next step would pass this ceiling.
    Budget { kind: BudgetKind, limit: u64, spent: u64 },
    /// These calls may or may not have landed; a person must settle them.
    InDoubt { calls: Vec<CallId> },
    /// A person is asked whether these calls may be made.
    Approval { calls: Vec<CallId> },
    /// The same call kept having the same result.
    Loop { tool: String, times: u32 },
    /// The model cannot be used until somebody changes something.
    Model { error: ModelError },
    /// A person stopped it.
    Interrupted,
    /// It would have failed, and its agent's definition wants a person to look first.
    Failed { reason: FailReason, message: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResumed {
    pub by: String,
    /// Calls that are performed once more, because their contracts allow it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<CallId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunForked {
    pub from: RunId,
    /// The last record of `from` that the new run shares.
    pub at: Seq,
    /// Calls behind the fork that changed the world. They happened; the fork does not undo them.
    pub writes: Vec<CallId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompensationStarted {
    /// Who wants it: a person, or `on_failure`.
    pub by: String,
    /// How the run had ended, or would have; none if it was parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Box<Ending>>,
    /// Open calls that stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompensationPlanned {
    /// In the order in which they are made.
    pub undos: Vec<PlannedCall>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Whether more is planned once these are closed.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupClosingStarted {
    pub groups: Vec<String>,
    pub how: CloseHow,
    /// In the order in which they are made.
    pub calls: Vec<PlannedCall>,
    /// What was done and stays, although the group is undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Why it is undone, where nobody asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    pub then: AfterClosing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequested {
    pub by: String,
    pub reason: String,
}

/// What becomes of an open group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseHow {
    /// The calls that waited are made.
    Commit,
    /// The calls that were made are undone, and those that waited are not made.
    Undo,
}

/// What follows when a group is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterClosing {
    /// This call of the model, which asked for it, is answered.
    Answer(CallId),
    /// The run ends like this.
    End(Box<Ending>),
}

/// A call that the runtime makes for another: one that undoes it, or the call itself where it had to
/// wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedCall {
    pub call: CallId,
    pub of: CallId,
    pub tool: String,
    pub arguments: Value,
}

/// A call whose effect stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub call: CallId,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFinished {
    pub ending: Ending,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Completed {
        answer: String,
        /// The answer as a value, where the agent declares an output schema; it may be null.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "some_even_if_null"
        )]
        output: Option<Value>,
        /// Calls that failed, were denied or are in doubt, and were not made good by a later one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failures: Vec<CallFailed>,
        /// Calls that were refused because no plan foresees them: what an attacker tried, or what the
        /// plan has forgotten.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contained: Vec<CallFailed>,
        /// What the answer draws on, if the agent is contained.
        #[serde(default, skip_serializing_if = "Label::is_none")]
        label: Label,
        /// Links and addresses in the answer that nothing trusted says.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        foreign_links: Vec<String>,
    },
    Failed {
        reason: FailReason,
        message: String,
        /// Calls of open groups that could not be undone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<Kept>,
    },
    Cancelled {
        by: String,
        reason: String,
        /// Calls that may have changed the world, and whose outcome nobody has found out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        in_doubt: Vec<CallId>,
        /// Calls of open groups that could not be undone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept: Vec<Kept>,
    },
    /// What it did was undone, as far as that goes.
    Compensated {
        by: String,
        /// How the run had ended, or would have; none if it was parked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<Box<Ending>>,
        undone: Vec<CallId>,
        /// What stays done.
        kept: Vec<Kept>,
    },
}

/// A call that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailed {
    pub call: CallId,
    pub tool: String,
    /// `failed`, `denied`, `rejected` or `in_doubt`.
    pub outcome: String,
    pub message: String,
}

fn some_even_if_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// The model refused.
    Refused,
    /// The answer was cut at the token limit too often.
    Truncated,
    /// The final answer did not fit the output schema, or was empty, too often.
    InvalidOutput,
    /// The model wrote no well-formed call in several turns.
    MalformedCalls,
    /// The conversation no longer fits the model's window.
    ContextFull,
    /// The model stopped for a reason that this version does not know.
    UnknownStop,
    /// The model gave its final answer and left a group open, too often.
    GroupOpen,
}
