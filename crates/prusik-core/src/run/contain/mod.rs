//! Containment: which calls of the model are made once it has read what nobody vouches for.
//!
//! In this order: what a rule of the project forbids is denied (`run/answer.rs`); what the organisation's
//! policy forbids is denied, and what it wants asked is asked (`run/policy.rs`); what a grant covers is
//! made; what a grant foresees and fills with what an attacker would want to choose is asked about; what
//! no grant foresees is refused. Without a plan a call is made if all of it is known from trusted texts,
//! and asked about otherwise. A model that has read nothing from outside is not compromised.

mod approval;
mod gate;
mod known;
mod plan;
mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(in crate::run) use self::gate::of_concerns;
pub use self::gate::{Gate, Standing, gate};
pub(in crate::run) use self::plan::tool;
pub use self::plan::{PLAN, can_foresee};
use super::context::{RECORD, label_of as label_of_core};
use super::failed::{KEPT_MAX, told};
use super::group::{COMMIT_GROUP, UNDO_GROUP};
use super::recall::RECALL;
use super::state::{Call, State};
use crate::agent::Agent;
use crate::contract::{Contract, EffectClass, Returns, standing_in};
use crate::event::{
    ApprovalAnswered, ApprovalRequested, CallCompleted, CallFailed, Decision, PlanMade,
};
use crate::grant::{Grant, Plan};
use crate::ids::{Attempt, CallId, Digest};
use crate::json;
use crate::label::Label;
use crate::outcome::Outcome;

/// Ids of what a run has made that are remembered.
const CREATED_MAX: usize = 10_000;

/// What a run may do after it has read what it cannot trust.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Authority {
    /// Whether the model has made a plan.
    pub planned: bool,
    /// The tools that it will read with.
    pub reads: BTreeSet<String>,
    pub grants: Vec<Grant>,
    /// Whether the model has asked for a read that its plan does not foresee, and was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pried: bool,
    /// Values that a person vouched for: tool, argument, and the value as canonical JSON.
    pub endorsed: BTreeSet<(String, String, String)>,
    /// Calls that people said no to: tool, and arguments as canonical JSON.
    #[serde(default)]
    pub denied: BTreeSet<(String, String)>,
    /// The questions that are open, and those who have said yes so far.
    pub asked: BTreeMap<CallId, Asked>,
    /// Ids of what the run itself has made, as canonical JSON.
    #[serde(default)]
    created: Arc<BTreeSet<String>>,
    /// What the run had read when it changed something, by the server where it did.
    #[serde(default)]
    written: BTreeMap<String, Label>,
    /// Calls that were refused because no plan foresees them: the newest.
    #[serde(default)]
    pub refused: Vec<CallFailed>,
    /// The organisation's policy that calls were last held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The rules of the policy that people had the last word on, by call, until all calls are closed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cleared: BTreeMap<CallId, BTreeSet<String>>,
    /// Whether calls that wait in a group may have passed another policy than this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outdated: bool,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub request: ApprovalRequested,
    pub approved_by: BTreeSet<String>,
}

impl Authority {
    /// Returns what a run may do that has this plan and has done nothing yet.
    pub fn of(plan: &Plan) -> Self {
        let mut authority = Self::default();
        authority.take(plan);
        authority
    }

    fn take(&mut self, plan: &Plan) {
        self.planned = true;
        self.reads.extend(plan.reads.iter().cloned());
        self.grants.extend(plan.writes.iter().cloned().map(Grant::of));
    }

    pub(super) fn plan_made(&mut self, made: &PlanMade) {
        self.take(&made.plan);
    }

    /// No call is left that was judged before.
    pub(super) fn forget_verdicts(&mut self) {
        self.cleared.clear();
        self.outdated = false;
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

    /// A call that changes something begins, and says what the model has read.
    pub(super) fn writes(&mut self, tool: &str, label: &Label) {
        if !label.is_none() {
            self.written.entry(server_of(tool).to_owned()).or_default().join(label);
        }
    }

    /// A call has returned: what it has made is the run's own.
    pub(super) fn made(&mut self, contract: &Contract, result: &Value) {
        if contract.effect == EffectClass::Read {
            return;
        }
        for id in contract.creates.iter().flat_map(|place| standing_in(result, place)) {
            // One that is not remembered is asked about.
            if self.created.len() < CREATED_MAX && !id.is_array() && !id.is_object() {
                Arc::make_mut(&mut self.created).insert(json::canonical(id));
            }
        }
    }

    /// A call was refused because no plan foresees it.
    pub(super) fn refused(
        &mut self,
        call: &Call,
        contract: Option<&Contract>,
        completed: &CallCompleted,
    ) {
        self.pried |= contract.is_some_and(|contract| contract.effect == EffectClass::Read);
        if self.refused.len() == KEPT_MAX {
            self.refused.remove(0);
        }
        let arguments = json::canonical(call.arguments());
        self.refused.push(told(call, completed, &arguments));
    }

    /// Takes an answer in; true if the question is answered.
    pub(super) fn answered(&mut self, answered: &ApprovalAnswered) -> bool {
        let Some(asked) = self.asked.get_mut(&answered.call) else { return false };
        match &answered.decision {
            Decision::Approved { .. } => {
                asked.approved_by.insert(answered.by.clone());
                let enough = asked.approved_by.len() >= asked.request.people.max(1) as usize;
                if enough && let Some(asked) = self.asked.remove(&answered.call) {
                    let rules = asked.request.policies.into_iter().map(|concern| concern.rule);
                    self.cleared.entry(answered.call).or_default().extend(rules);
                }
                enough
            }
            Decision::Denied { .. } | Decision::Expired => {
                // The call that was foreseen may still come.
                let grant = asked.request.grant;
                if let Some(grant) = grant.and_then(|grant| self.grants.get_mut(grant)) {
                    grant.denied();
                }
                self.asked.remove(&answered.call);
                true
            }
        }
    }
}

/// Who can have written the results of which tools, and who may see them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::run) struct Trust(BTreeMap<String, Source>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    returns: Returns,
    readers: Option<BTreeSet<String>>,
}

impl Trust {
    pub fn of(agent: &Agent) -> Self {
        let sources = agent.tools.iter().map(|tool| {
            let Contract { returns, readers, .. } = &tool.contract;
            let source = Source { returns: returns.clone(), readers: readers.clone() };
            (tool.name.clone(), source)
        });
        let declared =
            |source: &Source| source.returns != Returns::default() || source.readers.is_some();
        Self(sources.filter(|(_, source)| declared(source)).collect())
    }

    /// Returns the label of what a call of this tool brought. What a failure says is from outside,
    /// whatever the tool, and not for more eyes than a result.
    pub fn label_of(&self, tool: &str, completed: &CallCompleted) -> Label {
        let mut label = label_of_core(tool, completed.attempt);
        if let Some(source) = self.0.get(tool).filter(|_| completed.attempt != Attempt(0)) {
            let vouched = match &completed.outcome {
                Outcome::Ok(result) => source.returns.vouch_for(&result.value()),
                Outcome::Failed(_)
                | Outcome::Denied { .. }
                | Outcome::Rejected { .. }
                | Outcome::InDoubt { .. }
                | Outcome::Deferred { .. } => false,
            };
            if vouched {
                label = Label::trusted();
            }
            label.readers.clone_from(&source.readers);
        }
        label.join(&completed.echo);
        label
    }

    /// Returns what a server may give back now that the run itself put there after it had read it.
    pub fn echo(&self, state: &State, tool: &str, attempt: Attempt) -> Label {
        let written = state.authority.written.get(server_of(tool));
        let vouched = self.0.get(tool).is_some_and(|source| source.returns != Returns::default());
        match written {
            Some(label) if attempt != Attempt(0) && (vouched || label.readers.is_some()) => {
                label.clone()
            }
            Some(_) | None => Label::trusted(),
        }
    }

    /// Returns the part of a tool's structured result that no outsider can have written.
    fn vouched_part(&self, tool: &str, result: &Value) -> Option<Value> {
        self.0.get(tool)?.returns.vouched_part(result)
    }
}

/// Returns what keeps what a tool writes: its server, or the workspace for the tools that need none.
fn server_of(tool: &str) -> &str {
    tool.split_once("__").map_or("", |(server, _)| server)
}

/// Returns whether a call was refused because no plan foresees it.
pub(super) fn is_unplanned(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Denied { rule, .. } if rule == gate::UNPLANNED)
}

/// Returns whether the core answers the calls of this tool itself, or reads for it what was labelled
/// when it came.
pub(in crate::run) fn is_ours(tool: &str) -> bool {
    [PLAN, RECORD, RECALL, COMMIT_GROUP, UNDO_GROUP].contains(&tool)
}
