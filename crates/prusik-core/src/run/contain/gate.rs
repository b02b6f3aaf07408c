//! The gate that every call of the model passes before its intent is written.

use serde_json::Value;

use super::known::{self, Known};
use super::{Authority, is_ours, readers};
use crate::agent::{Containment, Tool, Unplanned};
use crate::contract::EffectClass;
use crate::event::{ApprovalRequested, Event, GrantSpent};
use crate::grant::{self, ArgumentKind, Doubt, Fit, PlannedWrite, Slot, Sources};
use crate::ids::{CallId, Digest};
use crate::json;
use crate::label::Label;
use crate::policy::{Concern, Verdict};
use crate::run::State;
use crate::run::decide::Draft;
use crate::run::definition::Held;

/// The rule by which a call is refused that no plan foresees.
pub const UNPLANNED: &str = "unplanned";

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It is made.
    Pass,
    /// It is made, and uses up this grant.
    Spend(usize),
    /// A person is asked, about these arguments; the grant that foresees it is kept for it.
    Ask(Option<usize>, Vec<Doubt>),
    /// It is not made, and the model is told this.
    Refuse(String),
}

/// How a run stands when one of its calls comes to the gate.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    pub policy: &'a Containment,
    pub authority: &'a Authority,
    /// What the model has read.
    pub label: &'a Label,
}

/// Why a person is asked.
#[derive(Default)]
pub(in crate::run) struct Why {
    /// The grant that foresees the call, if one does.
    grant: Option<usize>,
    doubts: Vec<Doubt>,
    /// What the organisation's policy wants looked at.
    concerns: Vec<Concern>,
}

/// Returns a question that only the organisation's policy asks.
pub(in crate::run) fn of_concerns(concerns: Vec<Concern>) -> Why {
    Why { concerns, ..Why::default() }
}

impl Draft<'_> {
    /// Lets the calls of this turn pass, has people asked about them, or refuses them.
    pub(in crate::run) fn gate_calls(&mut self) {
        let definition = self.definition;
        self.adopt_policy();
        let containment = definition.agent().containment.as_ref();
        if containment.is_none() && self.policy.is_none() {
            return;
        }
        let known = Known::of(&self.state, definition, self.transcript);
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let Some(held) = definition.held(&call.tool).filter(|_| !is_ours(&call.tool)) else {
                continue;
            };
            let arguments = call.arguments().clone();
            let concerns = match self.judge(held, &arguments) {
                Verdict::Allow => Vec::new(),
                Verdict::Ask(concerns) => concerns,
                Verdict::Deny { rule, message } => {
                    self.deny(id, rule, message);
                    continue;
                }
            };
            let label = self.state.label();
            let gate = containment.map_or(Gate::Pass, |policy| {
                let standing = Standing { policy, authority: &self.state.authority, label: &label };
                gate(standing, &held.tool, &arguments, &known)
            });
            let gate = self.unless_denied(gate, held, &arguments);
            // One question for all reasons. What is refused is not asked about.
            match gate {
                Gate::Pass if concerns.is_empty() => {}
                Gate::Spend(grant) if concerns.is_empty() => {
                    self.emit(Event::GrantSpent(GrantSpent { call: id, grant }));
                }
                Gate::Pass => self.ask(id, held, &arguments, of_concerns(concerns)),
                Gate::Spend(grant) => {
                    let why = Why { grant: Some(grant), ..of_concerns(concerns) };
                    self.ask(id, held, &arguments, why);
                }
                Gate::Ask(grant, doubts) => {
                    self.ask(id, held, &arguments, Why { grant, doubts, concerns });
                }
                Gate::Refuse(message) => self.deny(id, UNPLANNED.to_owned(), message),
            }
        }
    }

    /// Nobody is asked twice about the same call: a no stands.
    fn unless_denied(&self, gate: Gate, held: &Held, arguments: &Value) -> Gate {
        let call = (held.tool.name.clone(), json::canonical(arguments));
        match gate {
            Gate::Ask(_, _) if self.state.authority.denied.contains(&call) => {
                Gate::Refuse(format!(
                    "This very call of `{}` was asked about, and a person has said no to it.",
                    held.tool.name
                ))
            }
            gate @ (Gate::Pass | Gate::Spend(_) | Gate::Ask(_, _) | Gate::Refuse(_)) => gate,
        }
    }

    /// Has a person asked about a call.
    pub(in crate::run) fn ask(&mut self, call: CallId, held: &Held, arguments: &Value, why: Why) {
        let Why { grant, doubts, concerns } = why;
        let label = self.state.label();
        let digest = digest(&self.state, call, held, arguments);
        let people = held.tool.contract.people;
        let containment = self.definition.agent().containment.unwrap_or_default();
        let expires = self.now.at.plus_ms(containment.expires_ms);
        self.emit(Event::ApprovalRequested(ApprovalRequested {
            call,
            digest,
            label,
            grant,
            doubts,
            policies: concerns,
            people,
            expires,
        }));
    }
}

/// Returns what an answer about a call must name.
fn digest(state: &State, call: CallId, held: &Held, arguments: &Value) -> Digest {
    let label = serde_json::to_string(&state.label()).expect("a label is plain data");
    let (call, arguments) = (call.to_string(), json::canonical(arguments));
    let run = state.started.run.as_str();
    let parts = [run, &call, &held.tool.name, &held.tool.description, &arguments, &label];
    Digest::of_parts(&parts.map(str::as_bytes))
}

/// Returns what becomes of a call whose arguments fit the tool's schema and which no rule denies.
///
/// The static report asks this as well, so that it cannot say anything else than what a run does.
pub fn gate(standing: Standing<'_>, held: &Tool, arguments: &Value, known: &impl Sources) -> Gate {
    let gate = by_authority(standing, held, arguments, known);
    let Some(doubt) = readers::doubt(standing.label, &held.contract, arguments) else {
        return gate;
    };
    match gate {
        Gate::Pass => Gate::Ask(None, vec![doubt]),
        Gate::Spend(grant) => Gate::Ask(Some(grant), vec![doubt]),
        Gate::Ask(grant, mut doubts) => {
            doubts.push(doubt);
            Gate::Ask(grant, doubts)
        }
        Gate::Refuse(message) => Gate::Refuse(message),
    }
}

/// Tells by who can have wished it what becomes of a call.
fn by_authority(
    standing: Standing<'_>,
    held: &Tool,
    arguments: &Value,
    known: &impl Sources,
) -> Gate {
    let Standing { policy, authority, label } = standing;
    let clean = label.is_trusted();
    let (tool, contract) = (held.name.as_str(), &held.contract);
    // What a read asks for stays here, unless its contract says that it leaves.
    if contract.effect == EffectClass::Read && !contract.leaves {
        if clean || !authority.planned || authority.reads.contains(tool) {
            return Gate::Pass;
        }
        return unforeseen(policy, tool, "it is not among the tools that it reads with");
    }
    let term = |name: &str| contract.term(name);
    let endorsed = |name: &str, value: &Value| {
        let key = (tool.to_owned(), name.to_owned(), json::canonical(value));
        authority.endorsed.contains(&key)
    };
    let open = |doubts: Vec<Doubt>| -> Vec<Doubt> {
        let doubts = doubts.into_iter();
        doubts.filter(|doubt| !endorsed(&doubt.argument, &arguments[&doubt.argument])).collect()
    };
    match grant::fit(&authority.grants, tool, arguments, term, known) {
        // Who asked for a read beside its plan may be after something to tell.
        Fit::Covered(grant) if authority.pried && !clean => {
            let doubts = open(told(held, &authority.grants[grant].write, arguments, known));
            if doubts.is_empty() { Gate::Spend(grant) } else { Gate::Ask(Some(grant), doubts) }
        }
        Fit::Covered(grant) => Gate::Spend(grant),
        // A model that has read nothing from outside fills its own holes.
        Fit::Foreseen(grant, _) if clean => Gate::Spend(grant),
        Fit::Foreseen(grant, doubts) => {
            let doubts = open(doubts);
            if doubts.is_empty() { Gate::Spend(grant) } else { Gate::Ask(Some(grant), doubts) }
        }
        Fit::Unforeseen if clean => Gate::Pass,
        Fit::Unforeseen if authority.planned => {
            unforeseen(policy, tool, "it is none of the calls that it foresees and that are left")
        }
        // There is no plan: what is known from trusted texts alone is nobody else's word.
        Fit::Unforeseen => {
            let doubts = open(known::unknown(held, arguments, known));
            if doubts.is_empty() { Gate::Pass } else { Gate::Ask(None, doubts) }
        }
    }
}

fn unforeseen(policy: &Containment, tool: &str, why: &str) -> Gate {
    let why = format!("the plan does not foresee it: {why}");
    match policy.unplanned {
        Unplanned::Ask => Gate::Ask(None, vec![Doubt { argument: String::new(), why }]),
        Unplanned::Refuse => Gate::Refuse(format!(
            "This call of `{tool}` is not made, because {why}. You have read what an outsider could have \
             written since, so that nothing can be added to it now. Go on with the calls that were \
             planned; if the task needs this one, say so in your final answer, with its arguments, so \
             that a person can have it made in a run of its own."
        )),
    }
}

/// Returns the arguments that the plan has left open for words, and whose words nothing trusted says.
fn told(tool: &Tool, write: &PlannedWrite, arguments: &Value, known: &impl Sources) -> Vec<Doubt> {
    let for_words = |name: &str, slot: &Slot| match slot {
        Slot::Pinned(_) => false,
        Slot::Hole(kind) => tool.contract.term(name).kind.max(*kind) == ArgumentKind::Content,
    };
    let holes = write.arguments.iter().filter(|(name, slot)| for_words(name, slot));
    let found = holes.filter_map(|(name, _)| {
        let leaves = grant::leaves(arguments.get(name)?);
        let why =
            "it says what nothing trusted says, and the model has asked for reads beside its plan";
        let foreign = leaves.into_iter().any(|leaf| !known.knows(leaf));
        foreign.then(|| Doubt { argument: name.clone(), why: why.to_owned() })
    });
    found.collect()
}
