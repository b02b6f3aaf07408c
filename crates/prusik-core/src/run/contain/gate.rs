//! The gate that every call of the model passes before its intent is written.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Authority, is_ours};
use crate::agent::{Containment, Tool, Unplanned};
use crate::contract::EffectClass;
use crate::event::{ApprovalRequested, Event, GrantSpent};
use crate::grant::{self, Doubt, Fit};
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
    /// Whether nobody from outside can have written anything of what the model has read.
    pub clean: bool,
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
            let clean = self.state.label().is_trusted();
            let standing = Standing { policy, authority: &self.state.authority, clean };
            match gate(standing, &held.tool, &arguments, |leaf| trusted.knows(leaf)) {
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

/// Returns what becomes of a call whose arguments fit the tool's schema and which no rule denies. `known`
/// says of a value that holds no others whether some text says it that no outsider can have written.
///
/// The static report asks this as well, so that it cannot say anything else than what a run does.
pub fn gate(
    standing: Standing<'_>,
    held: &Tool,
    arguments: &Value,
    known: impl Fn(&Value) -> bool,
) -> Gate {
    let Standing { policy, authority, clean } = standing;
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
    let says = |text: &str| known(&Value::String(text.to_owned()));
    match grant::fit(&authority.grants, tool, arguments, term, says) {
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
            let doubts = open(unknown(held, arguments, &known));
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

/// Returns the arguments that are not known from trusted texts: one of their values, or a key that the
/// tool does not have.
fn unknown(tool: &Tool, arguments: &Value, known: &impl Fn(&Value) -> bool) -> Vec<Doubt> {
    if grant::leaves(arguments).into_iter().all(Value::is_null) {
        // There is nothing by which it could be told from an attacker's.
        let why = "it has no arguments that could be known from somewhere".to_owned();
        return vec![Doubt { argument: String::new(), why }];
    }
    let own = own_keys(&tool.input_schema);
    let is_known = |key: &&str| own.contains(key) || known(&Value::String((*key).to_owned()));
    let found = arguments.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let mut keys = grant::keys(value).into_iter().chain([name.as_str()]);
        let key = keys.find(|key| !is_known(key)).map(str::to_owned);
        let leaf = || grant::leaves(value).into_iter().find(|leaf| !known(leaf));
        let foreign = key.or_else(|| leaf().map(grant::text_of))?;
        let shown: String = foreign.chars().take(80).collect();
        let why = format!("nothing that is trusted says {shown:?}");
        Some(Doubt { argument: name.clone(), why })
    });
    found.collect()
}

/// Returns the names of properties in a schema, however deep they lie.
fn own_keys(schema: &Value) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut open = vec![schema];
    while let Some(schema) = open.pop() {
        match schema {
            Value::Object(map) => {
                let properties = map.get("properties").and_then(Value::as_object);
                names.extend(properties.into_iter().flatten().map(|(name, _)| name.as_str()));
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    names
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
}
