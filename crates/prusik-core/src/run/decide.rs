//! Decisions: what follows from an input, and what follows from the state alone.
//!
//! Everything here works on a draft of the state, to which each event is applied as soon as it is
//! decided, by the same fold that replay uses.

use serde_json::Value;

use super::changes::Changes;
use super::definition::Definition;
use super::group::{is_planned, role};
use super::program::{Phase, Program};
use super::state::{Call, Stage, State, Status};
use super::transcript::Transcript;
use super::{Stop, budget};
use crate::agent::OnFailure;
use crate::contract::{EffectClass, RetryPolicy};
use crate::event::{
    CallsStarted, CloseHow, Ending, Event, FailReason, ModelFailed, ParkReason, PromptReason,
    Prompted, RunFinished, RunParked, RunRecovered, RunResumed,
};
use crate::expr;
use crate::ids::CallId;
use crate::input::{Now, Rejected};
use crate::message::Blob;
use crate::model::{ModelError, ModelErrorKind};
use crate::outcome::kind;
use crate::policy::Policy;

/// The longest that a provider's `retry-after` is waited for; a longer one parks the run.
pub(super) const RETRY_AFTER_MS_MAX: u64 = 10 * 60 * 1000;

/// What the model is told when a person puts a failed run back to work without a word.
const GO_ON: &str = "Go on with the task.";

/// A step in the making.
pub(super) struct Draft<'a> {
    pub definition: &'a Definition,
    pub state: State,
    pub now: Now,
    pub events: Vec<Event>,
    pub blobs: Vec<Blob>,
    /// Whether effects other than a model call are under way.
    pub calls_under_way: bool,
    /// Whether the model has been asked and has not answered.
    pub model_under_way: bool,
    pub stop: Option<&'a Stop>,
    /// What was done before this step, if the journal has been read.
    pub changes: Option<&'a Changes>,
    /// The messages before this step, if they have been read.
    pub transcript: Option<&'a Transcript>,
    /// The organisation's policy.
    pub policy: Option<&'a dyn Policy>,
}

impl Draft<'_> {
    pub fn emit(&mut self, event: Event) {
        self.state.apply(self.definition, &event, self.now.at);
        self.events.push(event);
    }

    pub fn finish(&mut self, ending: Ending) {
        self.emit(Event::RunFinished(RunFinished { ending }));
    }

    /// The run cannot go on by itself.
    pub fn fail(&mut self, reason: FailReason, message: impl Into<String>) {
        let message = message.into();
        match self.definition.agent().on_failure {
            OnFailure::Leave => self.end(Ending::Failed { reason, message, kept: Vec::new() }),
            OnFailure::Compensate => {
                let ending = Ending::Failed { reason, message, kept: Vec::new() };
                let was = Some(Box::new(ending));
                self.compensate("on_failure".to_owned(), was);
            }
            OnFailure::Park => {
                // What the failed answer asked for must not be made when the run goes on.
                for id in self.open_calls() {
                    let message = "The run could not go on with this answer.".to_owned();
                    self.not_started(id, kind::NOT_STARTED, message, Vec::new());
                }
                self.park(ParkReason::Failed { reason, message });
            }
        }
    }

    pub fn prompt(&mut self, why: PromptReason, text: impl Into<String>) {
        self.emit(Event::Prompted(Prompted { text: text.into(), why }));
    }

    /// Ends the run where it stands, and says which calls nobody has found out about.
    pub fn cancel(&mut self, by: String, reason: String) {
        let in_doubt = self.state.unresolved(self.definition);
        let kept = match &self.state.program {
            Program::Agent(_) => Vec::new(),
            Program::Compensation(compensation) => compensation.left(),
        };
        self.end(Ending::Cancelled { by, reason, in_doubt, kept });
    }

    pub(super) fn park(&mut self, reason: ParkReason) {
        self.emit(Event::RunParked(RunParked { reason }));
    }

    /// Decides everything that follows from the state alone, until nothing more does.
    pub fn settle(&mut self) {
        while self.state.status == Status::Running && self.follow_up() {}
    }

    /// Decides one thing that follows from the state; false if nothing does.
    fn follow_up(&mut self) -> bool {
        if let Some(stop) = self.stopping() {
            if self.calls_under_way {
                return false;
            }
            match stop {
                Stop::Interrupted => self.park(ParkReason::Interrupted),
                Stop::WallTime => self.park(budget::wall_park(&self.state, self.now.at)),
                Stop::Cancelled { by, reason } => {
                    let (by, reason) = (by.clone(), reason.clone());
                    self.cancel(by, reason);
                }
            }
            return true;
        }
        match &self.state.program {
            Program::Compensation(_) => return self.compensating(),
            Program::Agent(_) if self.state.closing.is_some() => return self.go_on_closing(),
            Program::Agent(_) => {}
        }
        if let Some(wish) = self.state.cancelling.clone() {
            self.cancel(wish.by.clone(), wish.reason.clone());
            return true;
        }
        match self.state.agent_loop().phase {
            // What was asked for was paid for: it is too late to decide whether to ask.
            Phase::Asking { .. } if self.model_under_way => false,
            Phase::Asking { .. } => self.before_asking(),
            Phase::Acting => {
                self.mind_groups()
                    || self.start_calls()
                    || self.park_in_doubt()
                    || self.park_for_approval()
            }
            Phase::Answered => false,
        }
    }

    /// Returns why nothing new is begun, if that is so.
    pub(super) fn stopping(&self) -> Option<&Stop> {
        self.stop.filter(|stop| stop.holds(&self.state))
    }

    fn before_asking(&mut self) -> bool {
        let limits = self.definition.agent().limits;
        if self.state.agent_loop().malformed_turns >= limits.malformed_turns_max {
            let turns = self.state.agent_loop().malformed_turns;
            let message = format!(
                "the model asked for calls that cannot be made in {turns} turns in a row; \
                 `prusik show` has what it wrote"
            );
            self.fail(FailReason::MalformedCalls, message);
            return true;
        }
        if self.guard_loop(limits.repeats_max) {
            return true;
        }
        match budget::before_model(&self.state, self.definition, self.now.at) {
            Ok(_) => self.mind_context(),
            Err(reason) => {
                self.park(reason);
                true
            }
        }
    }

    fn guard_loop(&mut self, repeats_max: u32) -> bool {
        let fresh = self.state.repeats.iter().filter(|repeat| repeat.fresh);
        let Some(worst) = fresh.max_by_key(|repeat| repeat.times).cloned() else { return false };
        if repeats_max == 0 || worst.times < repeats_max {
            return false;
        }
        if worst.times >= repeats_max.saturating_mul(2) {
            let tool = worst.tool.to_string();
            self.park(ParkReason::Loop { tool, times: worst.times });
        } else {
            let text = format!(
                "You have called `{}` {} times with the same arguments and got the same result \
                 each time. Calling it again will not change that: do something else, or give \
                 your final answer and say what is missing.",
                worst.tool, worst.times
            );
            self.prompt(PromptReason::Loop, text);
        }
        true
    }

    /// Starts the calls whose turn it is; false if none is.
    pub fn start_calls(&mut self) -> bool {
        if self.judge_anew() {
            return true;
        }
        let ready = self.ready_calls();
        if ready.is_empty() {
            return false;
        }
        match budget::calls_left(&self.state) {
            // What was started before the ceiling goes on first; a call that was never performed
            // must not look, after the park, like one whose outcome was lost.
            0 if self.calls_under_way || self.calls_go_on() => false,
            0 => {
                let reason = budget::park_reason(&self.state, crate::budget::BudgetKind::ToolCalls);
                self.park(reason);
                true
            }
            left => {
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                let calls = ready.into_iter().take(left).collect();
                self.emit(Event::CallsStarted(CallsStarted { calls }));
                true
            }
        }
    }

    /// Returns the waiting calls whose intent may be written now: those of the first open batch,
    /// and those after it that a crash would not leave to a person.
    ///
    /// An intent written early costs nothing when the call can be resolved without a person, and
    /// saves a commit. A call that only a person could settle is not written before its turn, so
    /// that nobody is ever asked about a call that never started.
    fn ready_calls(&self) -> Vec<CallId> {
        let mut ready = Vec::new();
        let mut behind_open_calls = false;
        // A commit goes no further than the first of its calls that fails.
        let committing = self.state.closing.as_ref().is_some_and(|c| c.how == CloseHow::Commit);
        for batch in batches(self.definition, &self.state) {
            for (id, call) in &batch {
                match call.stage {
                    Stage::Waiting if behind_open_calls && committing => return ready,
                    Stage::Waiting if !role(self.definition, &self.state, *id, call).is_plain() => {
                        return ready;
                    }
                    Stage::Waiting
                        if behind_open_calls && !resolves_alone(self.definition, call) =>
                    {
                        return ready;
                    }
                    Stage::Waiting => ready.push(*id),
                    Stage::InDoubt { .. } | Stage::Asked => return ready,
                    Stage::Started { .. } | Stage::Probing { .. } | Stage::Done => {}
                }
            }
            behind_open_calls |= batch.iter().any(|(_, call)| call.stage != Stage::Done);
        }
        ready
    }

    /// Parks the run when only a person can bring it on.
    pub fn park_in_doubt(&mut self) -> bool {
        let calls = self.state.doubts();
        if calls.is_empty() || self.calls_go_on() || self.calls_under_way {
            return false;
        }
        self.park(ParkReason::InDoubt { calls });
        true
    }

    /// Returns whether some call is performed, or will be without anybody's doing.
    pub(super) fn calls_go_on(&self) -> bool {
        performable(self.definition, &self.state)
            .any(|(_, call)| matches!(call.stage, Stage::Started { .. } | Stage::Probing { .. }))
    }

    pub fn recovered(&mut self, by: String) {
        if self.state.status != Status::Running {
            return;
        }
        let repeated = self.started_calls(|effect| effect != EffectClass::Write);
        let doubted = self.started_calls(|effect| effect == EffectClass::Write);
        self.emit(Event::RunRecovered(RunRecovered { by, repeated }));
        for id in doubted {
            self.doubt(id, "the process that performed it died before the outcome was known");
        }
    }

    pub fn resumed(&mut self, by: &str, message: Option<String>) -> Result<(), Rejected> {
        match &self.state.status {
            Status::Running => return Err(Rejected::NotParked),
            Status::Ended(_) => return Err(Rejected::Ended),
            Status::Parked(ParkReason::InDoubt { .. }) if !self.state.doubts().is_empty() => {
                return Err(Rejected::StillInDoubt { calls: self.state.doubts() });
            }
            Status::Parked(ParkReason::Budget { kind, .. }) => {
                if let Some((spent, limit)) = budget::exhausted(&self.state, *kind) {
                    return Err(Rejected::StillOverBudget { kind: *kind, spent, limit });
                }
            }
            Status::Parked(ParkReason::Approval { .. }) => {
                self.expire_questions();
                let calls: Vec<CallId> = self.state.authority.asked.keys().copied().collect();
                if !calls.is_empty() {
                    return Err(Rejected::StillAsked { calls });
                }
            }
            Status::Parked(_) => {}
        }
        // Nothing was under way when the run was parked but reads, which were given up. A write that
        // has its intent and no outcome was not performed yet: who drove the run before it was
        // parked had recovered it first.
        let repeated = self.started_calls(|effect| effect == EffectClass::Read);
        self.emit(Event::RunResumed(RunResumed { by: by.to_owned(), repeated }));
        // A run that is undone asks its model no more.
        let undone = matches!(self.state.program, Program::Compensation(_));
        if undone || self.state.is_ending() {
            return Ok(());
        }
        let word = message.filter(|text| !text.trim().is_empty());
        if let Some(text) = &word {
            self.keep_word(by, text);
        }
        // After a failure the model has answered, and is asked again only if something is said.
        let due = self.state.program.phase() == Phase::Answered;
        if let Some(text) = word.or_else(|| due.then(|| GO_ON.to_owned())) {
            self.prompt(PromptReason::Person, text);
        }
        Ok(())
    }

    fn started_calls(&self, of: impl Fn(EffectClass) -> bool) -> Vec<CallId> {
        let calls = self.state.calls.iter();
        calls
            .filter(|(_, call)| {
                matches!(call.stage, Stage::Started { .. }) && of(self.effect(call))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    fn effect(&self, call: &Call) -> EffectClass {
        self.definition.held(&call.tool).map_or(EffectClass::Write, |h| h.tool.contract.effect)
    }

    pub fn model_failed(&mut self, error: ModelError) {
        let Phase::Asking { attempt, tries, .. } = self.state.agent_loop().phase else { return };
        let turn = self.state.agent_loop().turn;
        let policy = RetryPolicy::MODEL;
        let asked = error.retry_after_ms.unwrap_or(0);
        let again = error.kind.is_retryable()
            && tries + 1 < policy.attempts_max
            && asked <= RETRY_AFTER_MS_MAX;
        let retry_in_ms = again.then(|| {
            // Attempt numbers of the policy count from 1: the next one is `tries + 2`.
            asked.max(policy.backoff_before(tries + 2, self.now.entropy))
        });
        self.emit(Event::ModelFailed(ModelFailed {
            turn,
            attempt,
            error: error.clone(),
            retry_in_ms,
        }));
        if again || self.window_was_refused(error.kind) && self.state.agent_loop().summary.is_none()
        {
            return;
        }
        if self.state.agent_loop().summary.is_some() {
            self.do_without_summary();
            return;
        }
        if error.kind == ModelErrorKind::ContextFull {
            self.fail(FailReason::ContextFull, error.message);
        } else {
            self.park(ParkReason::Model { error });
        }
    }
}

fn resolves_alone(definition: &Definition, call: &Call) -> bool {
    definition.held(&call.tool).is_none_or(|held| held.tool.contract.resolves_alone())
}

fn runs_beside(definition: &Definition, state: &State, id: CallId, call: &Call) -> bool {
    // What was done in an order is undone in the reverse one.
    let in_order = matches!(state.program, Program::Compensation(_)) || is_planned(id);
    !in_order
        && role(definition, state, id, call).is_plain()
        && definition.held(&call.tool).is_none_or(|held| {
            held.tool.contract.effect == EffectClass::Read || held.tool.contract.parallel
        })
}

/// Returns the calls of the open turn in batches: neighbours that may run side by side are one
/// batch, every other call is one of its own, and the batches keep the model's order.
fn batches<'a>(definition: &Definition, state: &'a State) -> Vec<Vec<(CallId, &'a Call)>> {
    let mut batches: Vec<Vec<(CallId, &Call)>> = Vec::new();
    let mut last_beside = false;
    // While a group is being closed, the calls that close it are the only ones.
    let of_now = state.calls.iter().filter(|(id, _)| is_planned(**id) == state.closing.is_some());
    for (id, call) in of_now {
        let beside = runs_beside(definition, state, *id, call);
        match batches.last_mut() {
            Some(batch) if beside && last_beside => batch.push((*id, call)),
            Some(_) | None => batches.push(vec![(*id, call)]),
        }
        last_beside = beside;
    }
    batches
}

/// Returns the calls of the first batch that is not done: those that may be performed now.
pub(super) fn performable<'a>(
    definition: &Definition,
    state: &'a State,
) -> impl Iterator<Item = (CallId, &'a Call)> {
    batches(definition, state)
        .into_iter()
        .find(|batch| batch.iter().any(|(_, call)| call.stage != Stage::Done))
        .unwrap_or_default()
        .into_iter()
        .filter(|(_, call)| call.stage != Stage::Done)
}

/// Fills the arguments of a call's probe; none if it has no probe that could be asked.
pub(super) fn probe_arguments(
    definition: &Definition,
    state: &State,
    id: CallId,
) -> Result<Option<(String, Value)>, String> {
    let Some(call) = state.calls.get(&id) else { return Ok(None) };
    let probe = definition.held(&call.tool).and_then(|held| held.tool.contract.probe.as_ref());
    let Some(probe) = probe else { return Ok(None) };
    let Some(asked) = definition.held(&probe.tool) else {
        return Err(format!("the agent holds no tool {}", probe.tool));
    };
    let key = Value::String(super::key_of(state, id));
    let arguments =
        expr::fill_arguments(&probe.arguments, &[("args", call.arguments()), ("key", &key)])
            .map_err(|error| error.to_string())?;
    match asked.arguments.mismatches(&arguments).first() {
        None => Ok(Some((probe.tool.clone(), arguments))),
        Some(mismatch) => Err(format!(
            "its arguments do not fit {} at {}: {}",
            probe.tool, mismatch.at, mismatch.problem
        )),
    }
}
