//! What becomes of the calls of a model that an attacker speaks through.
//!
//! For each argument of a tool and each shape that a value of it can have, a call is made up and shown to
//! the gate of the core itself, as a run would show it. So what is said here is what a run does.

use std::collections::BTreeMap;

use prusik_core::agent::{Agent, Tool};
use prusik_core::contract::EffectClass;
use prusik_core::grant::{
    ArgumentKind, Plan, PlannedWrite, Slot, Sources, keys, leaves, occurs, text_of,
};
use prusik_core::label::Label;
use prusik_core::run::{Authority, Gate, Standing, can_foresee, gate};
use serde::Serialize;
use serde_json::{Map, Value};

use super::domain::{Domain, Parameter};
use super::shape::Shape;

/// How a run stands when an attacker's call comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The agent is not contained.
    Loose,
    /// It is, and the model has made no plan.
    Unplanned,
    /// The model has planned a call of this tool, and left this argument open.
    Foreseen,
    /// The model has made a plan, and such a call is not in it.
    Beside,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Never,
    /// It is made if a person says yes.
    Asked,
    /// It is made, and nobody is asked.
    Made,
}

/// What stops a call that is not made at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    Nothing,
    /// A person, who is asked.
    Person,
    /// What was planned.
    Grant,
    /// A rule of the tool's contract.
    Rule(String),
    /// The tool's schema has no such value.
    Schema,
}

/// What becomes of calls with a value of this shape in this argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Empty for a call without arguments.
    pub argument: String,
    pub shape: Shape,
    pub way: Way,
    /// Of all such calls, the worst.
    pub verdict: Verdict,
    pub stop: Stop,
}

/// Stands for every argument that a schema does not name and does not forbid.
pub const OTHERS: &str = "any other";

/// Returns in which ways a run of this agent can stand.
pub(super) fn ways(agent: &Agent) -> Vec<Way> {
    match &agent.containment {
        None => vec![Way::Loose],
        Some(policy) if policy.plan => vec![Way::Unplanned, Way::Foreseen, Way::Beside],
        Some(_) => vec![Way::Unplanned],
    }
}

/// Returns what becomes of the calls of a tool. `domain` is what its schema and its rules allow.
pub(super) fn cells(agent: &Agent, tool: &Tool, domain: &Domain<'_>) -> Vec<Cell> {
    let mut cells = Vec::new();
    for parameter in &domain.parameters {
        let by_shape = parameter.by_shape();
        for shape in Shape::ALL {
            if parameter.name == OTHERS && shape == Shape::LeftOut {
                continue;
            }
            let values = by_shape.get(&shape).map_or(&[][..], Vec::as_slice);
            let is_there = match shape {
                Shape::Known => parameter.sayable().next().is_some(),
                Shape::LeftOut => !parameter.required,
                _ => !values.is_empty(),
            };
            for way in ways(agent) {
                let argument = parameter.name.clone();
                if way == Way::Foreseen && !is_foreseeable(tool, parameter) {
                    continue;
                }
                let (verdict, stop) = if is_there {
                    let call = Call { agent, tool, domain, parameter, shape, way };
                    call.worst(values)
                } else {
                    (Verdict::Never, Stop::Schema)
                };
                cells.push(Cell { argument, shape, way, verdict, stop });
            }
        }
    }
    if domain.may_be_bare() {
        for way in ways(agent) {
            let shape = Shape::LeftOut;
            let parameter = Parameter::none();
            let call = Call { agent, tool, domain, parameter: &parameter, shape, way };
            let (verdict, stop) = call.bare();
            cells.push(Cell { argument: String::new(), shape, way, verdict, stop });
        }
    }
    cells
}

/// A plan says nothing of a read's arguments, but that of a read that leaves is held to it.
fn is_foreseeable(tool: &Tool, parameter: &Parameter) -> bool {
    is_plain_read(tool) || can_foresee(tool, &parameter.name)
}

fn is_plain_read(tool: &Tool) -> bool {
    tool.contract.effect == EffectClass::Read && !tool.contract.leaves
}

/// The texts that are trusted in a run.
struct Texts(Vec<String>);

impl Sources for Texts {
    fn knows(&self, leaf: &Value) -> bool {
        self.0.iter().any(|text| occurs(leaf, text))
    }

    fn made_by_run(&self, _: &Value) -> bool {
        false
    }
}

/// Calls that are alike in one argument.
struct Call<'a> {
    agent: &'a Agent,
    tool: &'a Tool,
    domain: &'a Domain<'a>,
    parameter: &'a Parameter,
    shape: Shape,
    way: Way,
}

impl Call<'_> {
    /// Returns the worst of what becomes of them, and what stops the others.
    fn worst(&self, values: &[Value]) -> (Verdict, Stop) {
        let name = self.parameter.name.as_str();
        let given: Vec<Option<&Value>> = match self.shape {
            Shape::LeftOut => vec![None],
            Shape::Known => self.parameter.sayable().map(Some).collect(),
            _ => values.iter().map(Some).collect(),
        };
        let mut worst = (Verdict::Never, Stop::Schema);
        for given in given {
            let met = match &self.domain.allowed {
                Some(allowed) => {
                    let alike = allowed.iter().filter(|call| call.get(name) == given);
                    let found = alike.map(|call| self.met(given, call));
                    found.max_by(|a, b| a.0.cmp(&b.0))
                }
                None => self.domain.denied_always.is_none().then(|| {
                    let call = self.filled(given);
                    self.met(given, &call)
                }),
            };
            let met = met.unwrap_or_else(|| (Verdict::Never, self.rule()));
            if met.0 > worst.0 || worst.1 == Stop::Schema {
                worst = met;
            }
            if worst.0 == Verdict::Made {
                break;
            }
        }
        worst
    }

    /// A call without any argument.
    fn bare(&self) -> (Verdict, Stop) {
        let denied = match &self.domain.allowed {
            Some(allowed) => !allowed.iter().any(Map::is_empty),
            None => self.domain.denied_always.is_some(),
        };
        if denied { (Verdict::Never, self.rule()) } else { self.met(None, &Map::new()) }
    }

    fn rule(&self) -> Stop {
        match self.tool.contract.deny.keys().next() {
            Some(first) => {
                Stop::Rule(self.domain.denied_always.clone().unwrap_or_else(|| first.clone()))
            }
            // What no call can have is nothing that a rule would have to forbid.
            None => Stop::Schema,
        }
    }

    /// Returns a call with this value, and with others beside it that are known where they can be.
    fn filled(&self, given: Option<&Value>) -> Map<String, Value> {
        let taken: Vec<&Value> = given.map(leaves).unwrap_or_default();
        let mut call = Map::new();
        for other in &self.domain.parameters {
            if other.name == self.parameter.name {
                if let Some(value) = given {
                    call.insert(other.name.clone(), value.clone());
                }
            } else if other.name == OTHERS && (self.shape.is_chosen() || self.way == Way::Foreseen)
            {
                // What a schema does not name is no help to what it names.
            } else if let Some(value) = other.filler(&taken) {
                call.insert(other.name.clone(), value.clone());
            }
        }
        call
    }

    /// Shows a call to the gate.
    fn met(&self, given: Option<&Value>, call: &Map<String, Value>) -> (Verdict, Stop) {
        let Some(policy) = &self.agent.containment else { return (Verdict::Made, Stop::Nothing) };
        let name = self.parameter.name.as_str();
        let authority = match self.way {
            Way::Loose | Way::Unplanned => Authority::default(),
            Way::Beside => Authority::of(&Plan::default()),
            Way::Foreseen => Authority::of(&self.plan(call)),
        };
        // Nothing that the attacker chose stands in a text that is trusted; all else may.
        let mine: Vec<Value> = match (given, self.shape) {
            (Some(given), Shape::Keys) => keys(given).into_iter().map(Value::from).collect(),
            (Some(given), shape) if shape.is_chosen() => {
                leaves(given).into_iter().cloned().collect()
            }
            (Some(_) | None, _) => Vec::new(),
        };
        let mut texts: Vec<String> = Vec::new();
        for (key, value) in call {
            if key != name || !self.shape.is_chosen() {
                texts.push(key.clone());
            }
            texts.extend(keys(value).into_iter().map(str::to_owned));
            texts.extend(leaves(value).into_iter().map(text_of));
        }
        texts.retain(|text| !mine.iter().any(|mine| occurs(mine, text)));
        // Secrets only add questions, to those whom nobody named: what is said here holds without them.
        let label = Label::of("outside");
        let standing = Standing { policy, authority: &authority, label: &label };
        match gate(standing, self.tool, &Value::Object(call.clone()), &Texts(texts)) {
            Gate::Pass | Gate::Spend(_) => (Verdict::Made, Stop::Nothing),
            Gate::Ask(_, _) => (Verdict::Asked, Stop::Person),
            Gate::Refuse(_) => (Verdict::Never, Stop::Grant),
        }
    }

    /// Returns the plan that leaves the most open of this argument, and nothing of the others.
    fn plan(&self, call: &Map<String, Value>) -> Plan {
        let tool = self.tool.name.clone();
        if is_plain_read(self.tool) {
            return Plan { reads: vec![tool], writes: Vec::new() };
        }
        let pinned = call.iter().filter(|(name, _)| can_foresee(self.tool, name));
        let mut arguments: BTreeMap<String, Slot> =
            pinned.map(|(name, value)| (name.clone(), Slot::Pinned(value.clone()))).collect();
        if !self.parameter.name.is_empty() {
            arguments.insert(self.parameter.name.clone(), Slot::Hole(ArgumentKind::Content));
        }
        let write = PlannedWrite { tool, arguments, times: 1 };
        Plan { reads: Vec::new(), writes: vec![write] }
    }
}
