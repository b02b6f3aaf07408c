//! The organisation's policy at the gate: who is asked it, and when once more.
//!
//! A call is judged when the model asks for it, before the gate of containment. The policy in force is
//! the one that the driver brings, not one of the run's definition: an organisation that tightens its
//! rules means the runs that wait, too. So what has passed and is not begun is judged anew when another
//! policy is in force than the one that let it pass.

use serde_json::Value;

use super::contain::{is_ours, of_concerns};
use super::decide::Draft;
use super::definition::Held;
use super::group::is_planned;
use super::program::Program;
use super::state::Stage;
use crate::event::{CloseHow, Event, PolicyAdopted};
use crate::ids::{Attempt, CallId};
use crate::outcome::Outcome;
use crate::policy::{Concern, Question, Verdict};

impl Draft<'_> {
    /// Returns what the policy says of a call; what there is no policy for is allowed.
    pub(super) fn judge(&self, held: &Held, arguments: &Value) -> Verdict {
        let Some(policy) = self.policy else { return Verdict::Allow };
        policy.judge(&Question {
            agent: self.definition.agent(),
            tool: &held.tool,
            arguments,
            label: &self.state.label(),
            planned: self.state.authority.planned,
        })
    }

    /// Notes which policy is in force from now on; true if that is another one than before.
    pub(super) fn adopt_policy(&mut self) -> bool {
        let policy = self.policy.map(crate::policy::Policy::digest);
        let is_new = policy != self.state.authority.policy;
        if is_new {
            self.emit(Event::PolicyAdopted(PolicyAdopted { policy }));
        }
        is_new
    }

    /// Judges what waits to be begun once more, if another policy is in force than the one that let it
    /// pass; true if something comes of that.
    /// What undoes something is not judged: half of it would be the worst of both.
    pub(super) fn judge_anew(&mut self) -> bool {
        let undoes = match &self.state.program {
            Program::Agent(_) => {
                self.state.closing.as_ref().is_some_and(|closing| closing.how == CloseHow::Undo)
            }
            Program::Compensation(_) => true,
        };
        if undoes {
            return false;
        }
        let before = self.events.len();
        let is_new = self.adopt_policy();
        let outdated = self.state.authority.outdated;
        let waiting = self.state.calls.iter().filter(|(id, call)| {
            call.stage == Stage::Waiting && (is_new || outdated && is_planned(**id))
        });
        let waiting: Vec<CallId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let definition = self.definition;
            let Some(held) = definition.held(&call.tool).filter(|_| !is_ours(&call.tool)) else {
                continue;
            };
            let arguments = call.arguments().clone();
            match self.judge(held, &arguments) {
                Verdict::Allow => {}
                Verdict::Deny { rule, message } => self.deny(id, rule, message),
                Verdict::Ask(mut concerns) => {
                    // What a person has said yes to, they need not say again.
                    let of = self.state.closing.as_ref().map_or(id, |closing| closing.made_for(id));
                    let cleared = self.state.authority.cleared.get(&of);
                    concerns.retain(|concern| cleared.is_none_or(|c| !c.contains(&concern.rule)));
                    self.ask_late(id, held, &arguments, concerns);
                }
            }
        }
        self.events.len() > before
    }

    fn ask_late(&mut self, id: CallId, held: &Held, arguments: &Value, concerns: Vec<Concern>) {
        let Some(first) = concerns.first() else { return };
        if is_planned(id) {
            // A group that is being committed waits for nobody: it takes, or it is undone.
            let message = format!(
                "The organisation's policy `{}` has changed since the call was asked for, and would have \
                 a person asked: {}",
                first.rule, first.why
            );
            self.deny(id, first.rule.clone(), message);
        } else {
            self.ask(id, held, arguments, of_concerns(concerns));
        }
    }

    pub(super) fn deny(&mut self, call: CallId, rule: String, message: String) {
        self.complete(call, Attempt(0), Outcome::Denied { rule, message }, 0);
    }
}
