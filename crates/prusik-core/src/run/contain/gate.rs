//! The gate that every call of the model passes before its intent is written.

use serde_json::Value;

use super::known::Known;
use super::{is_ours, readers};
use crate::agent::{Containment, Unplanned};
use crate::contract::EffectClass;
use crate::event::{ApprovalRequested, Event, GrantSpent};
use crate::grant::{self, ArgumentKind, ArgumentTerm, Doubt, Fit};
use crate::ids::{Attempt, CallId, Digest};
use crate::json;
use crate::outcome::Outcome;
use crate::run::State;
use crate::run::decide::Draft;
use crate::run::definition::Held;

/// The rule by which a call is refused that no plan foresees.
pub const UNPLANNED: &str = "unplanned";

/// What becomes of a call.
enum Gate {
    Pass,
    Spend(usize),
    Ask(Option<usize>, Vec<Doubt>),
    Refuse(String),
}

impl Draft<'_> {
    /// Lets the calls of this turn pass, has people asked about them, or refuses them.
    pub(in crate::run) fn gate_calls(&mut self) {
        let definition = self.definition;
        let Some(policy) = &definition.agent().containment else { return };
        let known = Known::of(&self.state, definition, self.transcript);
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let Some(held) = definition.held(&call.tool).filter(|_| !is_ours(&call.tool)) else {
                continue;
            };
            let arguments = call.arguments().clone();
            match gate(policy, &self.state, held, &arguments, &known) {
                Gate::Pass => {}
                Gate::Spend(grant) => self.emit(Event::GrantSpent(GrantSpent { call: id, grant })),
                Gate::Ask(grant, doubts) => self.ask(policy, id, held, &arguments, grant, doubts),
                Gate::Refuse(message) => {
                    let rule = UNPLANNED.to_owned();
                    self.complete(id, Attempt(0), Outcome::Denied { rule, message }, 0);
                }
            }
        }
    }

    fn ask(
        &mut self,
        policy: &Containment,
        call: CallId,
        held: &Held,
        arguments: &Value,
        grant: Option<usize>,
        doubts: Vec<Doubt>,
    ) {
        let label = self.state.label();
        let digest = digest(&self.state, call, held, arguments);
        let people = held.tool.contract.people;
        let expires = self.now.at.plus_ms(policy.expires_ms);
        let request = ApprovalRequested { call, digest, label, grant, doubts, people, expires };
        self.emit(Event::ApprovalRequested(request));
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

fn gate(
    policy: &Containment,
    state: &State,
    held: &Held,
    arguments: &Value,
    known: &Known,
) -> Gate {
    let gate = by_authority(policy, state, held, arguments, known);
    let Some(doubt) = readers::doubt(&state.label(), &held.tool.contract, arguments) else {
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
    policy: &Containment,
    state: &State,
    held: &Held,
    arguments: &Value,
    known: &Known,
) -> Gate {
    let tool = held.tool.name.as_str();
    let contract = &held.tool.contract;
    let clean = state.label().is_trusted();
    let authority = &state.authority;
    // What a read asks for stays here, unless its contract says that it leaves.
    if contract.effect == EffectClass::Read && !contract.leaves {
        if clean || !authority.planned || authority.reads.contains(tool) {
            return Gate::Pass;
        }
        return unforeseen(policy, tool, "it is not among the tools that it reads with");
    }
    let term = |name: &str| term(held, name);
    let endorsed = |name: &str, value: &Value| {
        let key = (tool.to_owned(), name.to_owned(), json::canonical(value));
        authority.endorsed.contains(&key)
    };
    let open = |doubts: Vec<Doubt>| -> Vec<Doubt> {
        let doubts = doubts.into_iter();
        doubts.filter(|doubt| !endorsed(&doubt.argument, &arguments[&doubt.argument])).collect()
    };
    match grant::fit(&authority.grants, tool, arguments, term, known) {
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
            let doubts = open(known.doubts(arguments));
            if doubts.is_empty() { Gate::Pass } else { Gate::Ask(None, doubts) }
        }
    }
}

/// Returns what the contract of a tool says of an argument; what nobody declared is an identity.
fn term(held: &Held, name: &str) -> ArgumentTerm {
    let declared = held.tool.contract.arguments.get(name).cloned();
    declared.unwrap_or_else(|| ArgumentTerm::of(ArgumentKind::Identity))
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
