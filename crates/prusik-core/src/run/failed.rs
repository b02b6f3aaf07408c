//! What went wrong and was not made good: why a run that completed is not called a success.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::contain::PLAN;
use super::context::RECORD;
use super::recall::RECALL;
use super::state::{Call, asked};
use crate::contract::{Contract, EffectClass};
use crate::event::{CallCompleted, CallFailed};
use crate::ids::Digest;
use crate::outcome::{Outcome, kind};

/// Failures that are kept: the newest.
pub(super) const KEPT_MAX: usize = 100;
/// Longest message that is kept of each, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// The calls that failed, were denied, rejected or are in doubt, and that no later call made good.
/// A failure that the contract of a read declares is an answer, and not among them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Failed(Vec<Arc<Entry>>);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    asked: Digest,
    replaced_by: ReplacedBy,
    failed: CallFailed,
}

/// What makes a failed call good, once it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReplacedBy {
    SameCall,
    /// It changes nothing, or was written wrongly and never began.
    SameTool,
    /// There is no such tool, and the model has found another way.
    AnyCall,
}

/// Returns what is kept of a call that did not do what it was asked.
pub(super) fn told(call: &Call, completed: &CallCompleted, message: &str) -> CallFailed {
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX.min(message.len()));
    CallFailed {
        call: completed.call,
        tool: call.tool.clone(),
        outcome: completed.outcome.word().replace(' ', "_"),
        message: message[..end].to_owned(),
    }
}

impl Failed {
    pub(super) fn completed(
        &mut self,
        call: &Call,
        completed: &CallCompleted,
        contract: Option<&Contract>,
    ) {
        // What the run asks of itself touches nothing.
        if [RECORD, RECALL, PLAN].contains(&call.tool.as_str()) {
            return;
        }
        let is_read = contract.is_some_and(|contract| contract.effect == EffectClass::Read);
        let asked = asked(call);
        let message = match &completed.outcome {
            Outcome::Ok(_) => {
                // What was asked for in the same breath is no second thought.
                let later = |entry: &Entry| completed.call.turn > entry.failed.call.turn;
                let good = |entry: &Entry| {
                    entry.asked == asked
                        || match entry.replaced_by {
                            ReplacedBy::SameCall => false,
                            ReplacedBy::SameTool => later(entry) && entry.failed.tool == call.tool,
                            ReplacedBy::AnyCall => later(entry),
                        }
                };
                self.0.retain(|entry| !good(entry));
                return;
            }
            // That there is no such file is what the read was to find out.
            Outcome::Failed(failure)
                if is_read && contract.is_some_and(|c| c.failures.contains_key(&failure.kind)) =>
            {
                return;
            }
            Outcome::Failed(failure) => format!("{}: {}", failure.kind, failure.message),
            Outcome::Denied { rule, message } => format!("{rule}: {message}"),
            Outcome::Rejected { by, reason } => format!("by {by}: {reason}"),
            Outcome::InDoubt { reason } => reason.clone(),
            // It was not tried yet.
            Outcome::Deferred { .. } => return,
        };
        self.0.retain(|entry| entry.asked != asked);
        // The newest matter most.
        if self.0.len() == KEPT_MAX {
            self.0.remove(0);
        }
        let failed = told(call, completed, &message);
        let replaced_by = match &completed.outcome {
            Outcome::Failed(failure) if failure.kind == kind::UNKNOWN_TOOL => ReplacedBy::AnyCall,
            Outcome::Failed(_) if is_read || completed.attempt.0 == 0 => ReplacedBy::SameTool,
            Outcome::Ok(_)
            | Outcome::Failed(_)
            | Outcome::Denied { .. }
            | Outcome::Rejected { .. }
            | Outcome::InDoubt { .. }
            | Outcome::Deferred { .. } => ReplacedBy::SameCall,
        };
        self.0.push(Arc::new(Entry { asked, replaced_by, failed }));
    }

    /// Returns them in the order in which they happened.
    pub fn calls(&self) -> Vec<CallFailed> {
        self.0.iter().map(|entry| entry.failed.clone()).collect()
    }
}
