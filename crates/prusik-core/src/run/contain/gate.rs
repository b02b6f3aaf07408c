//! The gate that every call of the model passes before its intent is written.

use serde_json::Value;

use super::is_ours;
use crate::agent::{Containment, Unplanned};
use crate::contract::EffectClass;
use crate::event::{ApprovalRequested, Event, GrantSpent};
use crate::grant::{self, ArgumentKind, ArgumentTerm, Doubt, Fit, PlannedWrite, Slot};
use crate::ids::{Attempt, CallId, Digest};
use crate::json;
use crate::message::{Block, Content, Role};
use crate::outcome::Outcome;
use crate::run::State;
use crate::run::decide::Draft;
use crate::run::definition::Held;
use crate::run::transcript::Transcript;

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
        let trusted = Trusted::of(&self.state, definition.agent().system.as_str(), self.transcript);
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let Some(held) = definition.held(&call.tool).filter(|_| !is_ours(&call.tool)) else {
                continue;
            };
            let arguments = call.arguments().clone();
            match gate(policy, &self.state, held, &arguments, &trusted) {
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
    trusted: &Trusted,
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
    match grant::fit(&authority.grants, tool, arguments, term, |text| trusted.knows_text(text)) {
        // Who looks for what the task does not need may be about to pass it on.
        Fit::Covered(grant) if authority.pried && !clean => {
            let doubts = open(words(&authority.grants[grant].write, arguments, term, trusted));
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
            let doubts = open(unknown(arguments, trusted));
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

/// Returns the arguments that the model has put into words of its own.
fn words(
    write: &PlannedWrite,
    arguments: &Value,
    term: impl Fn(&str) -> ArgumentTerm,
    trusted: &Trusted,
) -> Vec<Doubt> {
    let content = Slot::Hole(ArgumentKind::Content);
    let holes = write
        .arguments
        .iter()
        .filter(|(name, slot)| **slot == content && term(name).kind == ArgumentKind::Content);
    let found = holes.filter_map(|(name, _)| {
        let leaves = grant::leaves(arguments.get(name)?);
        let why =
            "these are the model's words, and it has tried to read what the plan does not foresee";
        let is_foreign = leaves.into_iter().any(|leaf| !trusted.knows(leaf));
        is_foreign.then(|| Doubt { argument: name.clone(), why: why.to_owned() })
    });
    found.collect()
}

/// Returns the arguments that are not known from trusted texts.
fn unknown(arguments: &Value, trusted: &Trusted) -> Vec<Doubt> {
    let arguments = match arguments {
        Value::Object(arguments) if !arguments.is_empty() => arguments,
        // There is nothing by which it could be told from an attacker's.
        _ => {
            let why = "it has no arguments that could be known from somewhere".to_owned();
            return vec![Doubt { argument: String::new(), why }];
        }
    };
    let found = arguments.iter().filter_map(|(name, value)| {
        let foreign = grant::leaves(value).into_iter().find(|leaf| !trusted.knows(leaf))?;
        let shown: String = grant::text_of(foreign).chars().take(80).collect();
        let why = format!("nothing that is trusted says {shown:?}");
        Some(Doubt { argument: name.clone(), why })
    });
    found.collect()
}

/// The texts that no outsider can have written: the task, what people and the agent's definition say,
/// and results whose contracts vouch for them.
struct Trusted(Vec<String>);

impl Trusted {
    fn of(state: &State, system: &str, transcript: Option<&Transcript>) -> Self {
        let mut texts = vec![state.started.task.clone(), system.to_owned()];
        let entries = state.ledger.entries().iter().filter(|entry| entry.label.is_trusted());
        texts.extend(entries.map(|entry| entry.note.text.clone()));
        let Some(transcript) = transcript else { return Self(texts) };
        for (message, about) in transcript.messages().iter().zip(transcript.about()).skip(1) {
            if message.role != Role::User {
                continue;
            }
            let mut results = about.results.iter();
            for block in &message.content {
                match block {
                    Block::ToolResult(result) => {
                        let trusted = results.next().is_some_and(|of| of.label.is_trusted());
                        let parts = result.content.iter().filter(|_| trusted);
                        texts.extend(parts.filter_map(|part| match part {
                            Content::Text(text) => Some(text.clone()),
                            Content::Json(value) => Some(value.to_string()),
                            Content::Image { .. } => None,
                        }));
                    }
                    Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => {}
                }
            }
        }
        Self(texts)
    }

    fn knows(&self, leaf: &Value) -> bool {
        self.0.iter().any(|text| grant::occurs(leaf, text))
    }

    fn knows_text(&self, text: &str) -> bool {
        self.knows(&Value::String(text.to_owned()))
    }
}
