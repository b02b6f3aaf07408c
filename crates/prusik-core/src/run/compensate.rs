//! Compensation: the program that undoes what a run did, newest first.
//!
//! An undo is a call like any other: its intent is durable before it is made, it is retried, comes
//! into doubt and is settled by the same rules. Only the model has no say in it. What there is to
//! undo is read from the journal, where each call that changed the world left what would reverse it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changes::{Change, Changes, UNDO_UNKNOWN};
use super::decide::Draft;
use super::definition::{Definition, Held};
use super::program::{AgentLoop, Program};
use super::state::{Call, State, Status};
use crate::contract::EffectClass;
use crate::event::{
    CompensationPlanned, CompensationStarted, Ending, Event, Kept, PlannedCall, Undoing,
};
use crate::expr;
use crate::ids::CallId;
use crate::input::Rejected;
use crate::message::ToolInput;
use crate::outcome::{Outcome, ToolResult};

/// Longest arguments of an undo, in bytes: they are kept with every call that has one.
pub(super) const UNDO_BYTES_MAX: usize = 64 * 1024;
/// Undos that are planned at once; the rest is planned when these are closed.
const UNDOS_MAX: u16 = 512;

/// Undoing what the run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compensation {
    /// The loop where it was left; its turn goes on counting.
    pub(super) agent: AgentLoop,
    pub by: String,
    /// How the run had ended, or would have; none if it was parked.
    pub was: Option<Box<Ending>>,
    pub(super) stage: CompensationStage,
    /// What each open undo reverses.
    of: BTreeMap<CallId, CallId>,
    more: bool,
    pub undone: Vec<CallId>,
    pub kept: Vec<Kept>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CompensationStage {
    /// The journal must be read to know what there is to undo.
    Unplanned,
    Undoing,
    Closed,
}

impl Compensation {
    pub(super) fn start(agent: &AgentLoop, started: &CompensationStarted) -> Self {
        Self {
            agent: agent.clone(),
            by: started.by.clone(),
            was: started.was.clone(),
            stage: CompensationStage::Unplanned,
            of: BTreeMap::new(),
            more: false,
            undone: Vec::new(),
            kept: started.kept.clone(),
        }
    }

    pub(super) fn planned(&mut self, planned: &CompensationPlanned) {
        self.agent.turn = self.agent.turn.next();
        self.of = planned.undos.iter().map(|undo| (undo.call, undo.of)).collect();
        self.kept.extend(planned.kept.iter().cloned());
        self.more = planned.more;
        self.stage = if planned.undos.is_empty() {
            CompensationStage::Closed
        } else {
            CompensationStage::Undoing
        };
    }

    /// Takes in how an undo ended.
    pub(super) fn completed(&mut self, call: CallId, outcome: &Outcome) {
        let Some(of) = self.of.remove(&call) else { return };
        match why_kept(outcome) {
            None => self.undone.push(of),
            Some(why) => self.kept.push(Kept { call: of, why }),
        }
    }

    /// Returns what stays if nothing more is undone.
    pub(super) fn left(&self) -> Vec<Kept> {
        self.kept.iter().cloned().chain(given_up(&self.of)).collect()
    }

    pub(super) fn calls_closed(&mut self) {
        self.stage =
            if self.more { CompensationStage::Unplanned } else { CompensationStage::Closed };
    }
}

/// Returns the calls whose undos nobody waits for any more.
pub(super) fn given_up(undos: &BTreeMap<CallId, CallId>) -> impl Iterator<Item = Kept> {
    let why = "nobody waited until its undo was made";
    undos.values().map(move |of| Kept { call: *of, why: why.to_owned() })
}

/// Returns why a call stays whose undo ended like this; none if it is undone.
pub(super) fn why_kept(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::Ok(_) => return None,
        // It took effect, whatever it returned.
        Outcome::Failed(failure) if failure.landed => return None,
        Outcome::Failed(failure) => format!("its undo failed: {}", failure.message),
        Outcome::Denied { rule, .. } => format!("the rule `{rule}` forbids its undo"),
        Outcome::Rejected { by, .. } => format!("{by} rejected its undo"),
        Outcome::InDoubt { .. } => UNDO_UNKNOWN.to_owned(),
        Outcome::Deferred { group } => format!("its undo waits for the group {group}"),
    })
}

impl Draft<'_> {
    /// A person wants all undone that can be.
    pub fn compensated(&mut self, by: String) -> Result<(), Rejected> {
        let was = match &self.state.status {
            Status::Running => return Err(Rejected::NotParked),
            Status::Parked(_) if !self.state.doubts().is_empty() => {
                return Err(Rejected::StillInDoubt { calls: self.state.doubts() });
            }
            Status::Parked(_) => None,
            Status::Ended(Ending::Compensated { was, .. }) => was.clone(),
            Status::Ended(ending) => Some(Box::new(ending.clone())),
        };
        self.compensate(by, was);
        Ok(())
    }

    pub fn compensate(&mut self, by: String, was: Option<Box<Ending>>) {
        let mut unknown = self.state.unresolved(self.definition);
        if let Some(Ending::Cancelled { in_doubt, .. }) = was.as_deref() {
            unknown.extend(in_doubt);
            unknown.sort_unstable();
            unknown.dedup();
        }
        let kept = unknown.into_iter().map(|call| match self.state.undone_by(call) {
            Some(of) => Kept { call: of, why: UNDO_UNKNOWN.to_owned() },
            None => Kept { call, why: "nobody has found out whether it took effect".to_owned() },
        });
        let kept = kept.collect();
        self.emit(Event::CompensationStarted(CompensationStarted { by, was, kept }));
    }

    /// Decides one thing that follows in a compensation; false if nothing does.
    pub fn compensating(&mut self) -> bool {
        let Program::Compensation(compensation) = &self.state.program else { return false };
        match compensation.stage {
            CompensationStage::Unplanned => {
                let Some(mut changes) = self.changes.cloned() else { return false };
                // What this very step has brought was done, too.
                for event in &self.events {
                    changes.absorb(event);
                }
                let planned = plan(self.definition, compensation, changes.made());
                self.emit(Event::CompensationPlanned(planned));
                true
            }
            CompensationStage::Undoing => self.start_calls() || self.park_in_doubt(),
            CompensationStage::Closed => {
                let Compensation { by, was, undone, kept, .. } = compensation.clone();
                self.finish(Ending::Compensated { by, was, undone, kept });
                true
            }
        }
    }
}

/// Returns what a compensation would begin with, of a run whose whole journal is in `changes`.
pub fn undo_preview(
    definition: &Definition,
    state: &State,
    changes: &Changes,
) -> CompensationPlanned {
    let started = CompensationStarted { by: String::new(), was: None, kept: Vec::new() };
    let compensation = Compensation::start(state.agent_loop(), &started);
    plan(definition, &compensation, changes.made())
}

/// Returns the undos of what has not been looked at yet, newest first.
fn plan(
    definition: &Definition,
    compensation: &Compensation,
    changes: &[Change],
) -> CompensationPlanned {
    let turn = compensation.agent.turn.next();
    let seen = |call: CallId| {
        compensation.undone.contains(&call)
            || compensation.kept.iter().any(|kept| kept.call == call)
    };
    let (mut undos, mut kept) = (Vec::new(), Vec::new());
    let mut index = 0;
    let open = changes.iter().rev().filter(|change| !seen(change.call));
    for change in open {
        if index == UNDOS_MAX {
            return CompensationPlanned { undos, kept, more: true };
        }
        match undo_of(definition, change) {
            None => {}
            Some(Ok((tool, arguments))) => {
                index += 1;
                let call = CallId::new(turn, index);
                undos.push(PlannedCall { call, of: change.call, tool, arguments });
            }
            Some(Err(why)) => kept.push(Kept { call: change.call, why }),
        }
    }
    CompensationPlanned { undos, kept, more: false }
}

/// Returns the call that reverses a change, or why there is none; none if nothing changed.
pub(super) fn undo_of(
    definition: &Definition,
    change: &Change,
) -> Option<Result<(String, Value), String>> {
    let contract = definition.held(&change.tool).map(|held| &held.tool.contract);
    if contract.is_none_or(|contract| contract.effect == EffectClass::Read) {
        return None;
    }
    if !change.certain {
        return Some(Err("nobody knows whether it took effect".to_owned()));
    }
    Some(match &change.undo {
        None => Err(format!("the contract of {} names no undo", change.tool)),
        Some(Undoing::Impossible { reason }) => Err(reason.clone()),
        Some(Undoing::Call { tool, arguments }) => match definition.held(tool) {
            None => Err(format!("the agent does not hold {tool}, which would undo it")),
            Some(held) => match held.arguments.mismatches(arguments).first() {
                None => Ok((tool.clone(), arguments.clone())),
                Some(mismatch) => Err(format!(
                    "the arguments of its undo do not fit {tool} at {}: {}",
                    mismatch.at, mismatch.problem
                )),
            },
        },
    })
}

/// Returns what would reverse a call that changed the world, filled from what it returned.
pub(super) fn undoing(held: &Held, call: &Call, result: &ToolResult) -> Option<Undoing> {
    let contract = &held.tool.contract;
    let undo = contract.undo.as_ref().filter(|_| contract.effect != EffectClass::Read)?;
    let value = result.value();
    let variables = [("args", call.arguments()), ("result", &value)];
    Some(match expr::fill_arguments(&undo.arguments, &variables) {
        Ok(arguments) if arguments.to_string().len() > UNDO_BYTES_MAX => Undoing::Impossible {
            reason: format!("the arguments of its undo are longer than {UNDO_BYTES_MAX} bytes"),
        },
        Ok(arguments) => Undoing::Call { tool: undo.tool.clone(), arguments },
        Err(error) => Undoing::Impossible {
            reason: format!("the arguments of its undo cannot be known: {error}"),
        },
    })
}

impl State {
    /// Returns the call that an open call undoes.
    fn undone_by(&self, undo: CallId) -> Option<CallId> {
        match &self.program {
            Program::Compensation(compensation) => compensation.of.get(&undo).copied(),
            Program::Agent(_) => self.closing.as_ref().and_then(|closing| closing.undone_by(undo)),
        }
    }

    pub(super) fn compensation_started(&mut self, started: &CompensationStarted) {
        let compensation = Compensation::start(self.agent_loop(), started);
        self.program = Program::Compensation(compensation);
        self.status = Status::Running;
        self.calls.clear();
        self.repeats.clear();
        // What a group did is undone with the rest, and what waited in it is never made.
        self.groups.clear();
        self.closing = None;
    }

    pub(super) fn compensation_planned(&mut self, planned: &CompensationPlanned) {
        let Program::Compensation(compensation) = &mut self.program else { return };
        compensation.planned(planned);
        for undo in &planned.undos {
            let call =
                Call::new(undo.tool.clone(), ToolInput::Json(undo.arguments.clone()), self.seq);
            self.calls.insert(undo.call, call);
        }
    }
}
