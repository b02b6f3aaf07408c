//! Containment: which calls of the model are made once it has read what nobody vouches for.
//!
//! In this order: what a rule of the project forbids is denied (`run/answer.rs`); what a grant covers is
//! made; what a grant foresees and fills with what an attacker would want to choose is asked about; what
//! no grant foresees is refused. Without a plan a call is made if all of it is known from trusted texts,
//! and asked about otherwise. A model that has read nothing from outside is not compromised.

mod approval;
mod gate;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::plan::PLAN;
pub(in crate::run) use self::plan::tool;
use super::context::{RECORD, label_of as label_of_core};
use super::group::{COMMIT_GROUP, UNDO_GROUP};
use super::recall::RECALL;
use crate::agent::Agent;
use crate::contract::Returns;
use crate::event::{ApprovalAnswered, ApprovalRequested, CallCompleted, Decision, PlanMade};
use crate::grant::Grant;
use crate::label::Label;
use crate::outcome::Outcome;

/// What a run may do after it has read what it cannot trust.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Authority {
    /// Whether the model has made a plan.
    pub planned: bool,
    /// The tools that it will read with.
    pub reads: BTreeSet<String>,
    pub grants: Vec<Grant>,
    /// Whether the model wanted to read what its plan does not foresee, and was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pried: bool,
    /// Values that a person vouched for: tool, argument, and the value as canonical JSON.
    pub endorsed: BTreeSet<(String, String, String)>,
    /// The questions that are open, and those who have said yes so far.
    pub asked: BTreeMap<crate::ids::CallId, Asked>,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub request: ApprovalRequested,
    pub approved_by: BTreeSet<String>,
}

impl Authority {
    pub(super) fn plan_made(&mut self, made: &PlanMade) {
        self.planned = true;
        self.reads.extend(made.plan.reads.iter().cloned());
        let writes = made.plan.writes.iter();
        self.grants.extend(writes.map(|write| Grant { left: write.times, write: write.clone() }));
    }

    /// Takes note of how a read came out.
    pub(super) fn read(&mut self, outcome: &Outcome) {
        self.pried |= matches!(outcome, Outcome::Denied { rule, .. } if rule == gate::UNPLANNED);
    }

    pub(super) fn spend(&mut self, grant: usize) {
        if let Some(grant) = self.grants.get_mut(grant) {
            grant.left = grant.left.saturating_sub(1);
        }
    }

    pub(super) fn requested(&mut self, request: &ApprovalRequested) {
        // Nobody is asked twice about what is foreseen once.
        if let Some(grant) = request.grant {
            self.spend(grant);
        }
        let asked = Asked { request: request.clone(), approved_by: BTreeSet::new() };
        self.asked.insert(request.call, asked);
    }

    /// Takes an answer in; true if the question is answered.
    pub(super) fn answered(&mut self, answered: &ApprovalAnswered) -> bool {
        let Some(asked) = self.asked.get_mut(&answered.call) else { return false };
        match &answered.decision {
            Decision::Approved { .. } => {
                asked.approved_by.insert(answered.by.clone());
                let enough = asked.approved_by.len() >= asked.request.people.max(1) as usize;
                if enough {
                    self.asked.remove(&answered.call);
                }
                enough
            }
            Decision::Denied { .. } | Decision::Expired => {
                // The call that was foreseen may still come.
                let grant = asked.request.grant;
                if let Some(grant) = grant.and_then(|grant| self.grants.get_mut(grant)) {
                    grant.left = grant.left.saturating_add(1);
                }
                self.asked.remove(&answered.call);
                true
            }
        }
    }
}

/// Which tools' results nobody from outside can write to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::run) struct Trust(BTreeMap<String, Returns>);

impl Trust {
    pub fn of(agent: &Agent) -> Self {
        let declared =
            agent.tools.iter().filter(|tool| tool.contract.returns != Returns::default());
        Self(declared.map(|tool| (tool.name.clone(), tool.contract.returns.clone())).collect())
    }

    /// Returns the label of what a call of this tool brought. What a failure says is from outside,
    /// whatever the tool.
    pub fn label_of(&self, tool: &str, completed: &CallCompleted) -> Label {
        let label = label_of_core(tool, completed.attempt);
        match (&completed.outcome, self.0.get(tool)) {
            (Outcome::Ok(result), Some(returns)) if returns.vouch_for(&result.value()) => {
                Label::trusted()
            }
            (
                Outcome::Ok(_)
                | Outcome::Failed(_)
                | Outcome::Denied { .. }
                | Outcome::Rejected { .. }
                | Outcome::InDoubt { .. }
                | Outcome::Deferred { .. },
                Some(_) | None,
            ) => label,
        }
    }
}

/// Returns whether the core answers the calls of this tool itself, or reads for it what was labelled
/// when it came.
fn is_ours(tool: &str) -> bool {
    [PLAN, RECORD, RECALL, COMMIT_GROUP, UNDO_GROUP].contains(&tool)
}
