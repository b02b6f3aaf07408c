//! Inputs: what can happen to a run. [`Run::handle`](crate::run::Run::handle) turns them into events.

use crate::budget::Budget;
use crate::event::{Decision, Verdict};
use crate::ids::{Attempt, CallId, Digest, Turn};
use crate::ledger::{EntryId, LedgerError, Note};
use crate::model::{Answer, ModelError};
use crate::outcome::Reply;

/// Something that came in from outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// This driver has just loaded the run and holds its lease. The first input after a load.
    Recovered {
        by: String,
    },
    ModelAnswered {
        turn: Turn,
        attempt: Attempt,
        answer: Answer,
        ms: u64,
    },
    ModelFailed {
        turn: Turn,
        attempt: Attempt,
        error: ModelError,
    },
    CallReplied {
        call: CallId,
        attempt: Attempt,
        reply: Reply,
        ms: u64,
    },
    ProbeReplied {
        call: CallId,
        reply: Reply,
    },
    /// The instant that [`Run::poll_timeout`](crate::run::Run::poll_timeout) named has come.
    TimerFired,
    /// A person wants the run to stop after what is under way.
    Interrupted,
    Cancelled {
        by: String,
        reason: String,
    },
    Settled {
        call: CallId,
        verdict: Verdict,
        by: String,
    },
    /// A person answers whether a call may be made.
    Decided {
        call: CallId,
        /// What was asked.
        digest: Digest,
        by: String,
        decision: Decision,
    },
    BudgetRaised {
        budget: Budget,
        by: String,
    },
    /// A person puts a parked run back to work, with a word for the model if there is one.
    Resumed {
        by: String,
        message: Option<String>,
    },
    /// A person wants something kept in the ledger.
    Noted {
        by: String,
        note: Note,
        supersedes: Option<EntryId>,
    },
    /// A person wants the context compacted before the model is asked again.
    CompactionRequested {
        by: String,
    },
    /// A person wants undone what a parked or ended run did.
    Compensated {
        by: String,
    },
}

/// What may vary between two handlings of the same input: handed in, never fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub at: crate::ids::Timestamp,
    /// Random bits for jitter.
    pub entropy: u64,
}

/// Why an input was not taken. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the run has ended; `prusik fork` starts a new one from any point of it")]
    Ended,
    #[error("call {call} is not in doubt, so there is nothing to settle")]
    NotInDoubt { call: CallId },
    #[error("the result is not what {tool} returns: {problem}")]
    InvalidResult { tool: String, problem: String },
    /// An outcome of something that is no longer waited for. Drivers drop it.
    #[error("nothing waits for this outcome any more")]
    Stale,
    #[error("the run is not parked")]
    NotParked,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(
        "the context of this run is not compacted: its agent was defined before there was such a thing"
    )]
    NoCompaction,
    #[error("nobody is asked about call {call}: it was answered, or is not waiting")]
    NotAsked { call: CallId },
    #[error(
        "call {call} is not what you were shown: look at it again with `prusik inbox`, and answer that"
    )]
    OtherQuestion { call: CallId },
    #[error("{by} has approved call {call} already; it takes somebody else, too")]
    SamePerson { call: CallId, by: String },
    #[error("the question about call {call} is void: it was not answered in time")]
    Expired { call: CallId },
    #[error("{tool} does not take these arguments: {problem}")]
    InvalidArguments { tool: String, problem: String },
    #[error("{} waits for an approval; `prusik inbox` shows what for", list(.calls))]
    StillAsked { calls: Vec<CallId> },
    #[error("nobody has said yet whether {} landed; `prusik settle` first", list(.calls))]
    StillInDoubt { calls: Vec<CallId> },
    #[error("the run is at its {kind} ceiling ({spent} of {limit}); raise it to go on")]
    StillOverBudget { kind: crate::budget::BudgetKind, spent: u64, limit: u64 },
}

fn list(calls: &[CallId]) -> String {
    let names: Vec<String> = calls.iter().map(ToString::to_string).collect();
    format!("call {}", names.join(", "))
}
