//! A run's state: the fold of its events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contain::{Authority, is_unplanned};
use super::context::{ContextSize, View, bytes_of, head};
use super::definition::Definition;
use super::failed::Failed;
use super::group::{COMMIT_GROUP, Closing, OpenGroup, UNDO_GROUP, is_planned};
use super::program::{AgentLoop, Program};
use super::transcript::{calls_of, ends_asking};
use crate::agent::ContextPolicy;
use crate::budget::{Budget, Spent};
use crate::contract::EffectClass;
use crate::event::{ApprovalAnswered, Decision};
use crate::event::{
    CallCompleted, CallDoubted, CallProbed, CallRetried, CancelRequested, Ending, Event, Found,
    ModelAnswered, ParkReason, Resolver, RunStarted, Verdict,
};
use crate::ids::{Attempt, CallId, Digest, Seq, Timestamp};
use crate::json;
use crate::label::Label;
use crate::ledger::{Author, Ledger};
use crate::message::ToolInput;
use crate::model::{ModelErrorKind, Price, StopReason, Usage};
use crate::outcome::{Outcome, kind};

/// Distinct calls that the loop guard remembers.
const REPEATS_KEPT: usize = 64;

/// Everything about a run but its messages. Small, whatever the run's length, so that deciding can
/// work on a copy and a snapshot is cheap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub started: Arc<RunStarted>,
    pub created: Timestamp,
    /// Time of the last event.
    pub updated: Timestamp,
    pub seq: Seq,
    pub status: Status,
    pub budget: Budget,
    pub spent: Spent,
    pub program: Program,
    /// The calls of the open turn.
    pub calls: BTreeMap<CallId, Call>,
    pub(super) repeats: VecDeque<Repeat>,
    /// Calls that were not made good.
    pub failed: Failed,
    /// What the agent's groups hold, by their names.
    #[serde(default)]
    pub groups: BTreeMap<String, OpenGroup>,
    /// The groups that are being committed or undone.
    #[serde(default)]
    pub(super) closing: Option<Closing>,
    /// Who wants the run to end once that is done.
    #[serde(default)]
    pub(super) cancelling: Option<Arc<CancelRequested>>,
    pub(super) context: ContextSize,
    /// What the model is shown of the run.
    pub view: View,
    pub ledger: Ledger,
    /// What calls are held to.
    #[serde(default)]
    pub authority: Authority,
    /// The join of the labels of all that ever was in the context.
    label: Arc<Label>,
    /// The last answer of the model, or the last outcome of a call that changed the world. The next
    /// model call waits for it.
    pub(super) outcome_seq: Seq,
    /// The last outcome that only a person could have replaced. The next call waits for it.
    pub(super) precious_seq: Seq,
}

/// Whether a run goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Running,
    Parked(ParkReason),
    Ended(Ending),
}

/// A call of the open turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub tool: String,
    pub input: Arc<ToolInput>,
    pub stage: Stage,
    /// The record that holds the intent of the current attempt.
    pub(super) intent: Seq,
    /// Whether an earlier attempt may have landed.
    pub(super) haunted: bool,
    /// The attempts made so far.
    pub attempts: u32,
    /// Those of them that count towards the limit of retries: one that a crash has cut off says
    /// nothing about the tool.
    #[serde(default)]
    pub(super) tries: u32,
    /// When the first of them began.
    pub(super) first_at: Timestamp,
    /// Whether it is done, and the model got what it asked for.
    #[serde(default)]
    pub(super) heeded: bool,
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Waiting,
    /// A person is asked whether it may be made.
    Asked,
    Started {
        attempt: Attempt,
        not_before: Timestamp,
    },
    Probing {
        attempt: Attempt,
        tries: u32,
        not_before: Timestamp,
    },
    /// Only a person can say whether it landed.
    InDoubt {
        attempt: Attempt,
        reason: String,
    },
    Done,
}

/// How often the same call had the same outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Repeat {
    pub call: Digest,
    /// Shared, because deciding copies the state.
    pub tool: Arc<str>,
    pub times: u32,
    /// Set by the call that has just completed, until the turn closes.
    pub fresh: bool,
}

impl State {
    pub(super) fn start(definition: &Definition, started: &RunStarted, at: Timestamp) -> Self {
        let ledger = Ledger::of(&definition.agent().ledger);
        let bytes = definition.prompt_bytes() + started.task.len() as u64 + ledger.bytes();
        Self {
            started: Arc::new(started.clone()),
            created: at,
            updated: at,
            seq: Seq(1),
            status: Status::Running,
            budget: started.budget,
            spent: Spent::default(),
            program: Program::Agent(AgentLoop::start()),
            calls: BTreeMap::new(),
            repeats: VecDeque::new(),
            failed: Failed::default(),
            groups: BTreeMap::new(),
            closing: None,
            cancelling: None,
            context: ContextSize::start(bytes),
            view: View::start(),
            ledger,
            authority: Authority::default(),
            label: Arc::new(Label::trusted()),
            outcome_seq: Seq(1),
            precious_seq: Seq(1),
        }
    }

    /// Takes in the next event. This is the only place where a run's state changes, live and on
    /// replay.
    pub(super) fn apply(&mut self, definition: &Definition, event: &Event, at: Timestamp) {
        self.seq = self.seq.next();
        self.count_time(event, at);
        if ends_asking(event) && !matches!(event, Event::ModelAnswered(_)) {
            self.context.show_unseen();
        }
        let calls = match event {
            Event::ModelAnswered(answered) => self.model_answered(definition, answered),
            Event::RunStarted(_)
            | Event::RunRecovered(_)
            | Event::ModelFailed(_)
            | Event::CallsStarted(_)
            | Event::CallRetried(_)
            | Event::CallCompleted(_)
            | Event::CallDoubted(_)
            | Event::CallProbed(_)
            | Event::CallSettled(_)
            | Event::Prompted(_)
            | Event::BudgetRaised(_)
            | Event::RunParked(_)
            | Event::RunResumed(_)
            | Event::RunForked(_)
            | Event::CompensationStarted(_)
            | Event::CompensationPlanned(_)
            | Event::GroupClosingStarted(_)
            | Event::CancelRequested(_)
            | Event::EntryRecorded(_)
            | Event::PlanMade(_)
            | Event::GrantSpent(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::PolicyAdopted(_)
            | Event::CompactionRequested(_)
            | Event::CompactionStarted(_)
            | Event::SummaryAnswered(_)
            | Event::ContextCompacted(_)
            | Event::RunFinished(_) => 0,
        };
        match &mut self.program {
            Program::Agent(agent) => agent.apply(event, calls, at),
            Program::Compensation(_) => {}
        }
        match event {
            Event::RunRecovered(recovered) => {
                self.count_tries_anew();
                self.repeat(&recovered.repeated);
                self.wait_anew(definition, at);
            }
            Event::CallsStarted(started) => self.calls_started(definition, &started.calls, at),
            Event::CallRetried(retried) => self.call_retried(retried, at),
            Event::CallCompleted(completed) => self.call_completed(definition, completed),
            Event::CallDoubted(doubted) => self.call_doubted(definition, doubted, at),
            Event::CallProbed(probed) => self.call_probed(probed, at),
            Event::CallSettled(settled) => {
                if settled.verdict == Verdict::NotLanded {
                    self.retract(settled.call);
                }
            }
            Event::Prompted(prompted) => {
                self.context.added(prompted.text.len() as u64);
                self.forget_fresh();
            }
            Event::BudgetRaised(raised) => self.budget = self.budget.raised(&raised.budget),
            Event::RunParked(parked) => self.status = Status::Parked(parked.reason.clone()),
            Event::RunResumed(resumed) => {
                self.status = Status::Running;
                self.repeats.clear();
                self.count_tries_anew();
                self.repeat(&resumed.repeated);
                // While the journal says that the run is parked nothing of it may be performed: who
                // resumes it next would not know.
                for call in self.calls.values_mut() {
                    call.intent = self.seq;
                }
                self.wait_anew(definition, at);
            }
            Event::RunFinished(finished) => self.status = Status::Ended(finished.ending.clone()),
            Event::CompensationStarted(started) => self.compensation_started(started),
            Event::CompensationPlanned(planned) => self.compensation_planned(planned),
            Event::PlanMade(made) => self.authority.plan_made(made),
            Event::GrantSpent(spent) => self.authority.spend(spent.grant),
            Event::ApprovalRequested(request) => {
                self.authority.requested(request);
                if let Some(call) = self.calls.get_mut(&request.call) {
                    call.stage = Stage::Asked;
                }
            }
            Event::ApprovalAnswered(answered) => self.approval_answered(answered),
            Event::PolicyAdopted(adopted) => {
                self.authority.policy = adopted.policy;
                self.authority.outdated |= self.groups.values().any(OpenGroup::is_open);
            }
            Event::GroupClosingStarted(closing) => {
                for call in &closing.calls {
                    self.draw_on(&Label::of(&call.tool));
                }
                self.group_closing_started(closing);
            }
            Event::CancelRequested(wish) => self.cancelling = Some(Arc::new(wish.clone())),
            Event::ModelFailed(failed) => {
                // A request for a summary is longer than the prompt, and often another model's.
                let asked = self.agent_loop().summary.is_none();
                if failed.error.kind == ModelErrorKind::ContextFull && asked {
                    self.view.refused(self.context.in_window());
                }
            }
            Event::EntryRecorded(recorded) => {
                let entry = &recorded.entry;
                self.ledger.record(entry);
                let bytes = head::recorded(entry).len() as u64;
                match &entry.author {
                    Author::Person(_) if recorded.unseen => self.context.added_unseen(bytes),
                    Author::Person(_) | Author::Contract(_) => self.context.added(bytes),
                    // It stands in the messages already.
                    Author::Agent | Author::Model(_) | Author::Word(_) => {}
                }
                Arc::make_mut(&mut self.label).join(&entry.label);
            }
            Event::CompactionRequested(wish) => self.view.asked(&wish.by),
            Event::SummaryAnswered(answered) => {
                let usage = &answered.usage;
                let price = definition.summarizer().price;
                // A server that counts nothing must not make the budget endless.
                let counted = Some(usage.total()).filter(|tokens| *tokens > 0);
                let tokens = counted.unwrap_or_else(|| self.context.tokens_estimated());
                self.spend(usage, tokens, answered.nano_usd, price);
                // It is money, as an answer is.
                self.outcome_seq = self.seq;
            }
            Event::ContextCompacted(compacted) => {
                self.view.compacted(compacted);
                self.context.compacted(compacted.bytes_after, compacted.tokens_after);
            }
            Event::RunStarted(_)
            | Event::ModelAnswered(_)
            | Event::CompactionStarted(_)
            | Event::RunForked(_) => {}
        }
    }

    /// Whoever drives the run now may have another clock: what waits for an instant of the last one
    /// might wait for hours, or not at all.
    fn wait_anew(&mut self, definition: &Definition, at: Timestamp) {
        for call in self.calls.values_mut() {
            let contract = definition.held(&call.tool).map(|held| &held.tool.contract);
            match &mut call.stage {
                Stage::Probing { not_before, .. } => {
                    let probe = contract.and_then(|contract| contract.probe.as_ref());
                    *not_before = at.plus_ms(probe.map_or(0, |probe| probe.wait_ms));
                }
                Stage::Started { not_before, .. } => {
                    let longest = contract.map_or(0, |contract| contract.retry.backoff_ms_max);
                    *not_before = (*not_before).min(at.plus_ms(longest));
                }
                Stage::Waiting | Stage::Asked | Stage::InDoubt { .. } | Stage::Done => {}
            }
        }
    }

    /// Counts the time since the last event, unless nobody drove the run in it.
    fn count_time(&mut self, event: &Event, at: Timestamp) {
        let driven = match event {
            Event::RunRecovered(_)
            | Event::RunResumed(_)
            | Event::RunForked(_)
            | Event::CompensationStarted(_) => false,
            Event::RunStarted(_)
            | Event::ModelAnswered(_)
            | Event::ModelFailed(_)
            | Event::CallsStarted(_)
            | Event::CallRetried(_)
            | Event::CallCompleted(_)
            | Event::CallDoubted(_)
            | Event::CallProbed(_)
            | Event::CallSettled(_)
            | Event::Prompted(_)
            | Event::BudgetRaised(_)
            | Event::RunParked(_)
            | Event::CompensationPlanned(_)
            | Event::GroupClosingStarted(_)
            | Event::CancelRequested(_)
            | Event::EntryRecorded(_)
            | Event::PlanMade(_)
            | Event::GrantSpent(_)
            | Event::ApprovalRequested(_)
            | Event::ApprovalAnswered(_)
            | Event::PolicyAdopted(_)
            | Event::CompactionRequested(_)
            | Event::CompactionStarted(_)
            | Event::SummaryAnswered(_)
            | Event::ContextCompacted(_)
            | Event::RunFinished(_) => self.status == Status::Running,
        };
        if driven {
            let spent = self.spent.wall_ms.saturating_add(at.since_ms(self.updated));
            self.spent.wall_ms = spent;
        }
        self.updated = self.updated.max(at);
    }

    fn model_answered(&mut self, definition: &Definition, answered: &ModelAnswered) -> usize {
        self.forget_fresh();
        let written: u64 = answered.content.iter().map(bytes_of).sum();
        let tokens = self.context.answered(written, &answered.usage);
        if answered.stop == StopReason::ContextFull {
            self.view.refused(tokens);
        }
        self.context.show_unseen();
        self.spent.turns += 1;
        let price = definition.agent().model.price;
        self.spend(&answered.usage, tokens, answered.nano_usd, price);
        // An answer is money: it is durable before the next one is asked for.
        self.outcome_seq = self.seq;
        for (id, tool_use) in calls_of(answered.turn, &answered.content) {
            let call = Call::new(tool_use.name.clone(), tool_use.input.clone(), self.seq);
            self.calls.insert(id, call);
        }
        self.calls.len()
    }

    fn spend(&mut self, usage: &Usage, tokens: u64, nano_usd: u64, price: Option<Price>) {
        self.spent.tokens = self.spent.tokens.saturating_add(tokens);
        self.spent.nano_usd = self.spent.nano_usd.saturating_add(nano_usd);
        self.spent.count(usage, price.as_ref());
    }

    /// Returns what the next prompt takes of the model's window, about, in tokens.
    pub fn tokens_in_window(&self) -> u64 {
        self.context.in_window()
    }

    /// Returns what so many bytes of a prompt are in tokens, about: by what the provider counted in
    /// this run.
    pub fn tokens_of(&self, bytes: u64) -> u64 {
        self.context.tokens_of(bytes)
    }

    /// Returns what a prompt may have, in tokens: what the policy says, or less where the provider has
    /// refused that.
    pub fn room_tokens(&self, policy: &ContextPolicy) -> u64 {
        self.view.room(policy)
    }

    /// Returns the label of what the model says now: the join of all that it was ever shown.
    pub fn label(&self) -> Label {
        (*self.label).clone()
    }

    fn calls_started(&mut self, definition: &Definition, calls: &[CallId], at: Timestamp) {
        for id in calls {
            if let Some(call) = self.calls.get_mut(id) {
                if call.attempts == 0 {
                    call.first_at = at;
                }
                call.attempts += 1;
                call.tries += 1;
                if definition.changes_something(&call.tool) {
                    self.authority.writes(&call.tool, &self.label);
                }
                call.intent = self.seq;
                let attempt = Attempt(call.attempts);
                call.stage = Stage::Started { attempt, not_before: Timestamp(0) };
            }
        }
        self.spent.tool_calls += calls.len() as u64;
    }

    /// What a crash has cut off, or a person has put back to work, says nothing about a tool.
    fn count_tries_anew(&mut self) {
        for call in self.calls.values_mut() {
            call.tries = 0;
        }
    }

    fn repeat(&mut self, calls: &[CallId]) {
        for id in calls {
            if let Some(call) = self.calls.get_mut(id) {
                call.attempts += 1;
                call.tries = 1;
                call.haunted = true;
                call.intent = self.seq;
                let attempt = Attempt(call.attempts);
                call.stage = Stage::Started { attempt, not_before: Timestamp(0) };
            }
        }
    }

    fn call_retried(&mut self, retried: &CallRetried, at: Timestamp) {
        if let Some(call) = self.calls.get_mut(&retried.call) {
            call.attempts += 1;
            call.tries += 1;
            call.intent = self.seq;
            call.haunted |= retried.failure.kind == kind::LOST;
            let not_before = at.plus_ms(retried.retry_in_ms);
            call.stage = Stage::Started { attempt: Attempt(call.attempts), not_before };
        }
    }

    fn call_completed(&mut self, definition: &Definition, completed: &CallCompleted) {
        let Some(call) = self.calls.get_mut(&completed.call) else { return };
        call.stage = Stage::Done;
        call.heeded = match &completed.outcome {
            // What is denied or rejected was well made, too.
            Outcome::Ok(_)
            | Outcome::Deferred { .. }
            | Outcome::Denied { .. }
            | Outcome::Rejected { .. } => true,
            // A commit that is refused was a sound wish all the same, and so was an entry.
            Outcome::Failed(failure) => {
                [COMMIT_GROUP, UNDO_GROUP].contains(&call.tool.as_str())
                    || [kind::LEDGER_FULL, kind::LEDGER_REFUSED].contains(&failure.kind.as_str())
            }
            Outcome::InDoubt { .. } => false,
        };
        let contract = definition.held(&call.tool).map(|held| &held.tool.contract);
        if contract.is_some_and(|contract| contract.effect != EffectClass::Read) {
            self.outcome_seq = self.seq;
        }
        if contract.is_some_and(|contract| !contract.resolves_alone()) {
            self.precious_seq = self.seq;
        }
        if is_unplanned(&completed.outcome) {
            self.authority.refused(call, contract, completed);
        } else {
            self.failed.completed(call, completed, contract);
        }
        if let (Outcome::Ok(result), Some(contract)) = (&completed.outcome, contract) {
            self.authority.made(contract, &result.value());
        }
        let label = definition.trust.label_of(&call.tool, completed);
        // The model sees what it asked for, and nothing of what the runtime makes of it.
        if !is_planned(completed.call) {
            let shown = completed.outcome.render("", &call.tool);
            self.context.added(shown.content.iter().map(|c| c.bytes() as u64).sum());
            let digest = same_call(call, &completed.outcome);
            let tool = Arc::from(call.tool.as_str());
            self.count_repeat(digest, tool);
            self.draw_on(&label);
        }
        match &mut self.program {
            Program::Compensation(compensation) => {
                compensation.completed(completed.call, &completed.outcome);
            }
            Program::Agent(_) => self.group_call_completed(definition, completed),
        }
        let is_ending = self.is_ending();
        if !is_ending && self.calls.values().all(|call| call.stage == Stage::Done) {
            let any_started = self.calls.values().any(|call| call.attempts > 0 || call.heeded);
            self.calls.clear();
            if !self.groups.values().any(OpenGroup::is_open) {
                self.authority.forget_verdicts();
            }
            match &mut self.program {
                Program::Agent(agent) => agent.calls_closed(any_started),
                Program::Compensation(compensation) => compensation.calls_closed(),
            }
        }
    }

    fn approval_answered(&mut self, answered: &ApprovalAnswered) {
        let doubts = self.authority.asked.get(&answered.call).map(|asked| {
            asked.request.doubts.iter().map(|doubt| doubt.argument.clone()).collect::<Vec<_>>()
        });
        if !self.authority.answered(answered) {
            return;
        }
        let Some(call) = self.calls.get_mut(&answered.call) else { return };
        if matches!(answered.decision, Decision::Denied { .. }) {
            let arguments = json::canonical(call.arguments());
            self.authority.denied.insert((call.tool.clone(), arguments));
        }
        let Decision::Approved { arguments, endorsed } = &answered.decision else { return };
        if let Some(arguments) = arguments {
            call.input = Arc::new(ToolInput::Json(arguments.clone()));
        }
        call.stage = Stage::Waiting;
        for name in doubts.into_iter().flatten().filter(|_| *endorsed) {
            let value = json::canonical(&call.arguments()[&name]);
            self.authority.endorsed.insert((call.tool.clone(), name, value));
        }
    }

    /// Something came in that the model may draw on from now on.
    fn draw_on(&mut self, label: &Label) {
        if !self.label.covers(label) {
            Arc::make_mut(&mut self.label).join(label);
        }
    }

    fn count_repeat(&mut self, call: Digest, tool: Arc<str>) {
        let position = self.repeats.iter().position(|repeat| repeat.call == call);
        let times = position.and_then(|i| self.repeats.remove(i)).map_or(0, |known| known.times);
        self.repeats.push_back(Repeat { call, tool, times: times + 1, fresh: true });
        if self.repeats.len() > REPEATS_KEPT {
            self.repeats.pop_front();
        }
    }

    fn forget_fresh(&mut self) {
        for repeat in &mut self.repeats {
            repeat.fresh = false;
        }
    }

    fn call_doubted(&mut self, definition: &Definition, doubted: &CallDoubted, at: Timestamp) {
        let Some(call) = self.calls.get_mut(&doubted.call) else { return };
        call.haunted = true;
        call.intent = self.seq;
        call.stage = match doubted.resolved_by {
            Resolver::Probe => {
                let probe =
                    definition.held(&call.tool).and_then(|h| h.tool.contract.probe.as_ref());
                let not_before = at.plus_ms(probe.map_or(0, |probe| probe.wait_ms));
                Stage::Probing { attempt: doubted.attempt, tries: 0, not_before }
            }
            Resolver::Person => {
                Stage::InDoubt { attempt: doubted.attempt, reason: doubted.reason.clone() }
            }
        };
    }

    fn call_probed(&mut self, probed: &CallProbed, at: Timestamp) {
        match &probed.found {
            Found::Landed => {}
            Found::NotLanded => self.retract(probed.call),
            Found::Unclear { .. } => {
                let Some(call) = self.calls.get_mut(&probed.call) else { return };
                if let Stage::Probing { tries, not_before, .. } = &mut call.stage {
                    *tries += 1;
                    *not_before = at.plus_ms(probed.retry_in_ms.unwrap_or(0));
                }
            }
        }
    }

    /// The call certainly did not land: it waits to be started again.
    fn retract(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.stage = Stage::Waiting;
            call.haunted = false;
        }
    }

    /// Returns the calls whose outcome only a person can give.
    pub fn doubts(&self) -> Vec<CallId> {
        let closing = self.closing.is_some();
        self.calls
            .iter()
            .filter(|(id, call)| {
                matches!(call.stage, Stage::InDoubt { .. }) && (!closing || is_planned(**id))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Returns the open calls that may have changed the world, whoever is to find out.
    pub fn unresolved(&self, definition: &Definition) -> Vec<CallId> {
        let changes = |call: &Call| {
            definition.held(&call.tool).is_none_or(|h| h.tool.contract.effect != EffectClass::Read)
        };
        let open = self.calls.iter().filter(|(_, call)| match call.stage {
            Stage::Probing { .. } | Stage::InDoubt { .. } => true,
            Stage::Started { .. } => call.haunted && changes(call),
            Stage::Waiting | Stage::Asked | Stage::Done => false,
        });
        open.map(|(id, _)| *id).collect()
    }

    pub fn ended(&self) -> bool {
        matches!(self.status, Status::Ended(_))
    }

    /// Returns the agent loop, or where it was left.
    pub fn agent_loop(&self) -> &AgentLoop {
        match &self.program {
            Program::Agent(agent) => agent,
            Program::Compensation(compensation) => &compensation.agent,
        }
    }
}

impl Call {
    pub(super) fn new(tool: String, input: ToolInput, intent: Seq) -> Self {
        Self {
            tool,
            input: Arc::new(input),
            stage: Stage::Waiting,
            intent,
            haunted: false,
            attempts: 0,
            tries: 0,
            first_at: Timestamp(0),
            heeded: false,
        }
    }

    /// Returns the arguments as the model wrote them; null where they were not JSON.
    pub fn arguments(&self) -> &Value {
        static NULL: Value = Value::Null;
        match &*self.input {
            ToolInput::Json(value) => value,
            ToolInput::Malformed(_) => &NULL,
        }
    }
}

/// Returns what is equal for two calls exactly if both asked the same.
pub(super) fn asked(call: &Call) -> Digest {
    let asked = match &*call.input {
        ToolInput::Json(value) => json::canonical(value),
        ToolInput::Malformed(text) => text.clone(),
    };
    Digest::of_parts(&[call.tool.as_bytes(), asked.as_bytes()])
}

/// Returns what is equal for two calls exactly if both asked the same and got the same.
fn same_call(call: &Call, outcome: &Outcome) -> Digest {
    let got = serde_json::to_vec(outcome).expect("an outcome is plain data");
    Digest::of_parts(&[&asked(call).0, &got])
}
