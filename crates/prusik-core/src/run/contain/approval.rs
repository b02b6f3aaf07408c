//! What people decide about calls.

use serde_json::Value;

use crate::event::{ApprovalAnswered, Decision, Event, ParkReason};
use crate::ids::{Attempt, CallId, Digest};
use crate::input::Rejected;
use crate::json;
use crate::outcome::Outcome;
use crate::policy::Verdict;
use crate::run::decide::Draft;
use crate::run::state::{Stage, Status};

impl Draft<'_> {
    /// Takes in what a person says about a call. The answer binds to the digest of what was asked.
    pub(in crate::run) fn decided(
        &mut self,
        call: CallId,
        digest: Digest,
        by: String,
        decision: Decision,
    ) -> Result<(), Rejected> {
        if matches!(self.state.status, Status::Ended(_)) {
            return Err(Rejected::Ended);
        }
        let Some(asked) = self.state.authority.asked.get(&call) else {
            return Err(Rejected::NotAsked { call });
        };
        if asked.request.digest != digest {
            return Err(Rejected::OtherQuestion { call });
        }
        if asked.approved_by.contains(&by) {
            return Err(Rejected::SamePerson { call, by });
        }
        if self.now.at >= asked.request.expires {
            return Err(Rejected::Expired { call });
        }
        if let Decision::Approved { arguments: Some(arguments), .. } = &decision {
            self.check_edited(call, arguments)?;
        }
        let answered =
            ApprovalAnswered { call, digest, by: by.clone(), decision: decision.clone() };
        self.emit(Event::ApprovalAnswered(answered));
        if let Decision::Denied { reason } = decision {
            let reason = reason.unwrap_or_else(|| "they gave no reason".to_owned());
            self.complete(call, Attempt(0), Outcome::Rejected { by, reason }, 0);
        }
        Ok(())
    }

    fn check_edited(&self, id: CallId, arguments: &Value) -> Result<(), Rejected> {
        let held = self.state.calls.get(&id).and_then(|call| self.definition.held(&call.tool));
        let Some(held) = held else { return Err(Rejected::NotAsked { call: id }) };
        if !json::is_shallow(arguments) || !arguments.is_object() {
            let problem = "they are not a JSON object, or nest too deep".to_owned();
            return Err(Rejected::InvalidArguments { tool: held.tool.name.clone(), problem });
        }
        let found = held.arguments.mismatches(arguments);
        let problem = match (found.first(), held.tool.contract.forbids(arguments)) {
            (Some(mismatch), _) => format!("{}: {}", mismatch.at, mismatch.problem),
            (None, Some((rule, _))) => format!("the rule {rule} of the project forbids them"),
            // Who changes them is who would be asked.
            (None, None) => match self.judge(held, arguments) {
                Verdict::Allow | Verdict::Ask(_) => return Ok(()),
                Verdict::Deny { rule, .. } => {
                    format!("the organisation's policy {rule} forbids them")
                }
            },
        };
        Err(Rejected::InvalidArguments { tool: held.tool.name.clone(), problem })
    }

    /// Nobody answered in time: what was asked about is not made.
    pub(in crate::run) fn expire_questions(&mut self) {
        let asked = self.state.authority.asked.values();
        let late = asked.filter(|asked| self.now.at >= asked.request.expires);
        let late: Vec<(CallId, Digest)> =
            late.map(|asked| (asked.request.call, asked.request.digest)).collect();
        for (call, digest) in late {
            let (by, decision) = ("nobody".to_owned(), Decision::Expired);
            let answered = ApprovalAnswered { call, digest, by: by.clone(), decision };
            self.emit(Event::ApprovalAnswered(answered));
            let reason = "nobody answered in time".to_owned();
            self.complete(call, Attempt(0), Outcome::Rejected { by, reason }, 0);
        }
    }

    /// Parks the run when it waits for people's answers alone.
    pub(in crate::run) fn park_for_approval(&mut self) -> bool {
        let asked = self.state.calls.iter().filter(|(_, call)| call.stage == Stage::Asked);
        let calls: Vec<CallId> = asked.map(|(id, _)| *id).collect();
        if calls.is_empty() || self.calls_go_on() || self.calls_under_way {
            return false;
        }
        self.park(ParkReason::Approval { calls });
        true
    }
}
