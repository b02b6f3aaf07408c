//! What a run did to the world, folded from its events: what there is to undo.
//!
//! Kept apart from the rest of the state because it grows with the run: a snapshot leaves it out, and
//! a run that is not undone never reads it back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::transcript::calls_of;
use crate::event::{CallCompleted, CloseHow, Event, Undoing};
use crate::ids::CallId;
use crate::outcome::Outcome;

/// Why a call stays whose undo may have been made, or not.
pub(super) const UNDO_UNKNOWN: &str = "nobody knows whether its undo took effect";

/// The calls that were made, oldest first, without those that were undone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    made: Vec<Change>,
    /// The open calls of the turn, with their tools.
    open: BTreeMap<CallId, String>,
    /// What the open undos undo.
    undos: BTreeMap<CallId, CallId>,
    /// Calls of groups that waited and are made now, with their tools.
    committing: BTreeMap<CallId, String>,
}

/// A call that may have changed the world. Reads are among them: the fold knows no contracts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub call: CallId,
    pub tool: String,
    /// Whether it took effect, or may have.
    pub certain: bool,
    pub undo: Option<Undoing>,
}

impl Changes {
    pub fn made(&self) -> &[Change] {
        &self.made
    }

    /// Takes in the next event of the journal.
    pub fn absorb(&mut self, event: &Event) {
        match event {
            Event::ModelAnswered(answered) => {
                let calls = calls_of(answered.turn, &answered.content);
                self.open = calls.map(|(call, tool_use)| (call, tool_use.name.clone())).collect();
            }
            Event::CallCompleted(completed) => self.completed(completed),
            Event::CompensationPlanned(planned) => {
                self.undos = planned.undos.iter().map(|undo| (undo.call, undo.of)).collect();
            }
            Event::GroupClosingStarted(closing) => {
                match closing.how {
                    CloseHow::Commit => {
                        let calls = closing.calls.iter();
                        self.committing.extend(calls.map(|call| (call.call, call.tool.clone())));
                    }
                    CloseHow::Undo => {
                        self.undos.extend(closing.calls.iter().map(|call| (call.call, call.of)));
                    }
                }
                for kept in &closing.kept {
                    self.keep(kept.call, &kept.why);
                }
            }
            Event::CompensationStarted(started) => {
                for kept in &started.kept {
                    if self.made.iter().all(|change| change.call != kept.call) {
                        let Some(tool) = self.tool_of(kept.call) else { continue };
                        let (call, undo) = (kept.call, None);
                        self.made.push(Change { call, tool, certain: false, undo });
                    }
                    self.keep(kept.call, &kept.why);
                }
            }
            Event::RunStarted(_)
            | Event::RunRecovered(_)
            | Event::ModelFailed(_)
            | Event::CallsStarted(_)
            | Event::CallRetried(_)
            | Event::CallDoubted(_)
            | Event::CallProbed(_)
            | Event::CallSettled(_)
            | Event::Prompted(_)
            | Event::BudgetRaised(_)
            | Event::RunParked(_)
            | Event::RunResumed(_)
            | Event::RunForked(_)
            | Event::CancelRequested(_)
            | Event::EntryRecorded(_)
            | Event::PlanMade(_)
            | Event::GrantSpent(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::PolicyAdopted(_)
            | Event::CompactionRequested(_)
            | Event::CompactionStarted(_)
            | Event::SummaryAnswered(_)
            | Event::ContextCompacted(_)
            | Event::RunFinished(_) => {}
        }
    }

    /// Returns the tool of an open call, unless it undoes another.
    fn tool_of(&self, call: CallId) -> Option<String> {
        self.open.get(&call).or_else(|| self.committing.get(&call)).cloned()
    }

    /// The undo of a call may have been made: it is not made again.
    fn keep(&mut self, call: CallId, why: &str) {
        let change = self.made.iter_mut().find(|change| change.call == call);
        if let Some(Change { undo: Some(undo), .. }) = change {
            *undo = Undoing::Impossible { reason: why.to_owned() };
        }
    }

    fn completed(&mut self, completed: &CallCompleted) {
        let certain = match &completed.outcome {
            Outcome::Ok(_) => true,
            Outcome::Failed(failure) if failure.landed => true,
            Outcome::InDoubt { .. } => false,
            Outcome::Failed(_)
            | Outcome::Denied { .. }
            | Outcome::Rejected { .. }
            | Outcome::Deferred { .. } => return,
        };
        let call = completed.call;
        if let Some(tool) = self.tool_of(call) {
            self.committing.remove(&call);
            let undo = completed.undo.clone();
            self.made.push(Change { call, tool, certain, undo });
        } else if let Some(of) = self.undos.get(&call).copied() {
            if certain {
                self.made.retain(|change| change.call != of);
            } else {
                self.keep(of, UNDO_UNKNOWN);
            }
        }
    }
}
