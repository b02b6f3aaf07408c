//! The run: a pure state machine over the facts of its journal.
//!
//! [`Run::handle`] decides, [`Run::apply`] changes, [`Run::poll_effect`] asks. See the crate's own
//! page for the order in which a driver calls them.

mod answer;
mod budget;
mod changes;
mod compensate;
mod contain;
mod context;
mod decide;
mod definition;
mod failed;
mod fork;
mod group;
mod policy;
mod program;
mod recall;
mod reply;
mod state;
mod transcript;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::changes::Changes;
pub use self::compensate::{Compensation, undo_preview};
pub use self::contain::{Asked, Authority, Gate, PLAN, Standing, can_foresee, gate};
pub use self::context::tools as context_tools;
pub use self::context::{COMPACTION, HISTORY, RECORD, View, bytes_of, label_of};
pub use self::definition::Definition;
pub use self::failed::Failed;
pub use self::fork::{ForkError, fork};
pub use self::group::{COMMIT_GROUP, OpenGroup, UNDO_GROUP};
pub use self::program::{AgentLoop, Phase, Program};
pub use self::recall::{RECALL, RECALL_BYTES_MAX, RECALL_BYTES_MIN};
pub use self::state::{Call, Stage, State, Status};
pub use self::transcript::{About, ResultOf, Transcript, calls_of, text_of};
use crate::budget::Budget;
use crate::contract::{Contract, EffectClass, KeyPlace};
use crate::effect::{Action, Effect, EffectId, ToolCall};
use crate::event::{
    BudgetRaised, CancelRequested, CompactReason, CompactionRequested, Event, ParkReason,
    RunStarted,
};
use crate::ids::{Attempt, CallId, Digest, RunId, Seq, Timestamp};
use crate::input::{Input, Now, Rejected};
use crate::message::Blob;
use crate::model::{ModelRequest, Purpose};
use crate::policy::Policy;
use crate::record::{Head, JournalError, Record};
use decide::Draft;

/// A run: its state, its messages, and what its driver has under way.
#[derive(Debug)]
pub struct Run {
    definition: Arc<Definition>,
    state: State,
    head: Head,
    /// The messages, once they have been read.
    transcript: Option<Transcript>,
    /// What there is to undo, once it has been read.
    changes: Option<Changes>,
    under_way: BTreeSet<EffectId>,
    aborts: Vec<EffectId>,
    stop: Option<Stop>,
    /// Loaded from its journal, and what the last driver left open is not taken care of yet.
    unrecovered: bool,
    /// The organisation's policy. It is no part of the journal: what comes of it is.
    policy: Option<Arc<dyn Policy>>,
}

/// Why nothing new is begun. Not journaled: what comes of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Interrupted,
    Cancelled { by: String, reason: String },
    WallTime,
}

impl Stop {
    /// Returns whether nothing is begun. What is cancelled while a group is being committed or
    /// undone is done with that first: half of it would be the worst of both.
    fn holds(&self, state: &State) -> bool {
        match self {
            Self::Interrupted | Self::WallTime => true,
            Self::Cancelled { .. } => state.closing.is_none(),
        }
    }
}

/// What an input leads to: decided, not yet applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub at: Timestamp,
    pub events: Vec<Event>,
    /// Bytes that the events name.
    pub blobs: Vec<Blob>,
}

/// What must become durable, all of it or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    pub records: Vec<Record>,
    /// The events of the records, in the same order.
    pub events: Vec<Event>,
    pub blobs: Vec<Blob>,
    /// Every digest that the records name.
    pub refs: Vec<Digest>,
}

/// A run's state at a record, as bytes. A version that cannot read them replays instead.
#[derive(Serialize, Deserialize)]
struct SnapshotBytes {
    version: u16,
    definition: Digest,
    state: State,
}

const SNAPSHOT_VERSION: u16 = 4;

impl Run {
    /// Begins a run. The step that comes back holds its first record and its definition.
    pub fn start(
        definition: Arc<Definition>,
        run: RunId,
        task: String,
        budget: Budget,
        at: Timestamp,
    ) -> (Self, Sealed) {
        let started = RunStarted {
            run,
            agent: definition.agent().name.clone(),
            definition: definition.digest(),
            task,
            budget,
        };
        let mut run = Self::at_start(definition, &started, at);
        let event = Event::RunStarted(started);
        let record = run.head.seal(at, &event);
        run.absorb(&event);
        let blobs = vec![Blob::new(run.definition.agent().to_bytes())];
        let refs = vec![run.definition.digest()];
        (run, Sealed { records: vec![record], events: vec![event], blobs, refs })
    }

    fn at_start(definition: Arc<Definition>, started: &RunStarted, at: Timestamp) -> Self {
        Self {
            state: State::start(&definition, started, at),
            transcript: Some(Transcript::start(&definition, started)),
            changes: Some(Changes::default()),
            definition,
            head: Head::START,
            under_way: BTreeSet::new(),
            aborts: Vec::new(),
            stop: None,
            unrecovered: false,
            policy: None,
        }
    }

    /// Loads a run from all of its records.
    pub fn replay(definition: Arc<Definition>, records: &[Record]) -> Result<Self, JournalError> {
        let (first, rest) = records.split_first().ok_or(JournalError::Empty)?;
        let event = first.event()?;
        let Event::RunStarted(started) = &event else { return Err(JournalError::NoStart) };
        check_definition(&definition, started.definition)?;
        let mut run = Self::at_start(definition, started, first.at);
        run.head.follow(first)?;
        run.absorb(&event);
        run.follow(rest)?;
        run.unrecovered = true;
        Ok(run)
    }

    /// Loads a run from a snapshot and the records after it. None if this version cannot read the
    /// snapshot: then all records are needed.
    pub fn restore(
        definition: Arc<Definition>,
        head: Head,
        snapshot: &[u8],
        records: &[Record],
    ) -> Result<Option<Self>, JournalError> {
        let Ok(snapshot) = serde_json::from_slice::<SnapshotBytes>(snapshot) else {
            return Ok(None);
        };
        if snapshot.version != SNAPSHOT_VERSION || snapshot.state.seq != head.seq {
            return Ok(None);
        }
        check_definition(&definition, snapshot.definition)?;
        let mut run = Self {
            definition,
            state: snapshot.state,
            head,
            transcript: None,
            changes: None,
            under_way: BTreeSet::new(),
            aborts: Vec::new(),
            stop: None,
            unrecovered: true,
            policy: None,
        };
        run.follow(records)?;
        Ok(Some(run))
    }

    /// Takes in the next records of the journal, for whoever looks at a run and does not drive it.
    pub fn follow(&mut self, records: &[Record]) -> Result<(), JournalError> {
        for record in records {
            self.head.follow(record)?;
            let event = record.event()?;
            self.state.apply(&self.definition, &event, record.at);
            self.absorb(&event);
        }
        Ok(())
    }

    fn absorb(&mut self, event: &Event) {
        if let Some(transcript) = &mut self.transcript {
            transcript.absorb(self.head.seq, event);
        }
        if let Some(changes) = &mut self.changes {
            changes.absorb(event);
        }
    }

    /// Returns the state as bytes, to be stored with the head that it belongs to.
    pub fn snapshot(&self) -> (Head, Vec<u8>) {
        let bytes = SnapshotBytes {
            version: SNAPSHOT_VERSION,
            definition: self.definition.digest(),
            state: self.state.clone(),
        };
        (self.head, serde_json::to_vec(&bytes).expect("a state is plain data"))
    }

    /// Holds the run's calls to a policy of the organisation from now on, or to none.
    pub fn hold_to(&mut self, policy: Option<Arc<dyn Policy>>) {
        self.policy = policy;
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns the messages, if they are loaded.
    pub fn transcript(&self) -> Option<&Transcript> {
        self.transcript.as_ref()
    }

    /// Decides what an input leads to. The journal-borne state does not change until the step is
    /// [applied](Self::apply).
    pub fn handle(&mut self, input: Input, now: Now) -> Result<Step, Rejected> {
        if self.state.ended() && !matches!(input, Input::Compensated { .. }) {
            return Err(Rejected::Ended);
        }
        self.note(&input, now.at)?;
        let mut draft = Draft {
            definition: &self.definition,
            state: self.state.clone(),
            now,
            events: Vec::new(),
            blobs: Vec::new(),
            calls_under_way: self.calls_under_way(),
            model_under_way: self.model_under_way(),
            stop: self.stop.as_ref(),
            changes: self.changes.as_ref(),
            transcript: self.transcript.as_ref(),
            policy: self.policy.as_deref(),
        };
        // Whatever comes first after a load, calls that the last driver left open come before it.
        if self.unrecovered && !matches!(input, Input::Recovered { .. }) {
            draft.recovered("the next driver".to_owned());
        }
        decide(&mut draft, input)?;
        draft.settle();
        let step = Step { at: now.at, events: draft.events, blobs: draft.blobs };
        self.unrecovered = false;
        Ok(step)
    }

    /// Notes what an input says about effects under way.
    fn note(&mut self, input: &Input, now: Timestamp) -> Result<(), Rejected> {
        match input {
            Input::ModelAnswered { turn, attempt, .. }
            | Input::ModelFailed { turn, attempt, .. } => {
                self.back(EffectId::Model { turn: *turn, attempt: *attempt })
            }
            Input::CallReplied { call, attempt, .. } => {
                self.back(EffectId::Call { call: *call, attempt: *attempt })
            }
            Input::ProbeReplied { call, .. } => {
                let Some(Stage::Probing { attempt, .. }) =
                    self.state.calls.get(call).map(|call| call.stage.clone())
                else {
                    return Err(Rejected::Stale);
                };
                self.back(EffectId::Probe { call: *call, attempt })
            }
            Input::Interrupted => {
                self.halt(Stop::Interrupted);
                Ok(())
            }
            Input::Cancelled { by, reason } => {
                self.halt(Stop::Cancelled { by: by.clone(), reason: reason.clone() });
                Ok(())
            }
            Input::Resumed { .. } | Input::Compensated { .. } => {
                // A run that is still coming to a stop refuses this, and goes on stopping.
                if self.state.status != Status::Running {
                    self.stop = None;
                }
                Ok(())
            }
            Input::TimerFired => {
                if self.stop.is_none() && budget::wall_is_over(&self.state, now) {
                    self.halt(Stop::WallTime);
                }
                Ok(())
            }
            // Only a run that has just been loaded can be recovered: what this driver has under way
            // is not lost.
            Input::Recovered { .. } if !self.under_way.is_empty() => Err(Rejected::Stale),
            Input::Recovered { .. }
            | Input::Settled { .. }
            | Input::Decided { .. }
            | Input::BudgetRaised { .. }
            | Input::Noted { .. }
            | Input::CompactionRequested { .. } => Ok(()),
        }
    }

    /// An effect is no longer under way.
    fn back(&mut self, id: EffectId) -> Result<(), Rejected> {
        if self.under_way.remove(&id) { Ok(()) } else { Err(Rejected::Stale) }
    }

    /// Begins nothing new. What may be given up is given up at once; a call that may have changed
    /// the world is waited for, and is told to hurry if the run is cancelled.
    fn halt(&mut self, stop: Stop) {
        let cancelled = matches!(stop, Stop::Cancelled { .. });
        let closing = self.state.closing.is_some();
        if cancelled && closing {
            self.stop = Some(stop);
            return;
        }
        for id in self.under_way.clone() {
            let may_drop = match id {
                EffectId::Transcript | EffectId::Model { .. } | EffectId::Probe { .. } => true,
                EffectId::Call { call, .. } => self.effect_class(call) == EffectClass::Read,
            };
            if may_drop {
                self.under_way.remove(&id);
            }
            if may_drop || cancelled {
                self.aborts.push(id);
            }
        }
        // A cancelled run is not merely parked because somebody interrupts it too, unless a group
        // keeps it from its end.
        let interrupts = closing && stop == Stop::Interrupted;
        if cancelled || interrupts || self.stop.is_none() {
            self.stop = Some(stop);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.holds(&self.state))
    }

    fn effect_class(&self, call: CallId) -> EffectClass {
        let held = self.state.calls.get(&call).and_then(|call| self.definition.held(&call.tool));
        held.map_or(EffectClass::Write, |held| held.tool.contract.effect)
    }

    fn calls_under_way(&self) -> bool {
        self.under_way.iter().any(|id| match id {
            EffectId::Call { .. } | EffectId::Probe { .. } => true,
            EffectId::Transcript | EffectId::Model { .. } => false,
        })
    }

    fn model_under_way(&self) -> bool {
        self.under_way.iter().any(|id| matches!(id, EffectId::Model { .. }))
    }

    /// Applies a step and returns its records, to be appended in the order of these calls.
    pub fn apply(&mut self, step: Step) -> Sealed {
        let mut records = Vec::with_capacity(step.events.len());
        let mut refs = Vec::new();
        for event in &step.events {
            records.push(self.head.seal(step.at, event));
            if let Event::CallCompleted(completed) = event {
                refs.extend(completed.outcome.whole().map(|handle| handle.digest));
            }
            self.state.apply(&self.definition, event, step.at);
            self.absorb(event);
        }
        Sealed { records, events: step.events, blobs: step.blobs, refs }
    }

    /// Returns the next thing to do, until there is none. Each is returned once.
    pub fn poll_effect(&mut self, now: Timestamp) -> Option<Effect> {
        if let Some(id) = self.aborts.pop() {
            return Some(Effect { after: Seq(0), action: Action::Abort(id) });
        }
        if self.state.status != Status::Running || self.is_stopping() {
            return None;
        }
        if self.state.closing.is_some() {
            let effect = self.next_call(now)?;
            self.under_way.extend(effect.action.id());
            return Some(effect);
        }
        let effect = match self.state.program.phase() {
            Phase::Asking { attempt, not_before, .. } if not_before <= now => {
                self.ask_model(attempt, now)
            }
            Phase::Asking { .. } | Phase::Answered => None,
            Phase::Acting => self.journal_for_undo().or_else(|| self.next_call(now)),
        }?;
        self.under_way.extend(effect.action.id());
        Some(effect)
    }

    fn ask_model(&self, attempt: Attempt, now: Timestamp) -> Option<Effect> {
        let turn = self.state.agent_loop().turn;
        if self.under_way.contains(&EffectId::Model { turn, attempt })
            || self.under_way.contains(&EffectId::Transcript)
        {
            return None;
        }
        let Some(transcript) = &self.transcript else {
            return Some(self.read_back(self.state.view.from_seq));
        };
        let request = self.request(transcript, attempt, now)?;
        Some(Effect { after: self.state.outcome_seq, action: Action::CallModel(Arc::new(request)) })
    }

    fn request(
        &self,
        transcript: &Transcript,
        attempt: Attempt,
        now: Timestamp,
    ) -> Option<ModelRequest> {
        // `settle` has parked the run if this cannot be paid for.
        let max_tokens = budget::before_model(&self.state, &self.definition, now).ok()?;
        // It is made smaller first.
        if self.state.agent_loop().summary.is_none() && self.compaction_due().is_some() {
            return None;
        }
        Some(self.request_of(transcript, attempt, max_tokens))
    }

    /// Returns the request that the messages make as they stand: the one that the model is being asked
    /// if it is being asked, otherwise the next one, unless the context is
    /// [made smaller](Self::compaction_due) before. None while calls are open, and if the messages
    /// were not read.
    pub fn request_now(&self) -> Option<ModelRequest> {
        let Phase::Asking { attempt, .. } = self.state.agent_loop().phase else { return None };
        let transcript = self.transcript.as_ref().filter(|transcript| transcript.is_closed())?;
        // What cannot be paid for is shown all the same.
        let max_tokens = budget::before_model(&self.state, &self.definition, self.state.updated);
        let max_tokens = max_tokens.unwrap_or(self.definition.model.max_tokens);
        Some(self.request_of(transcript, attempt, max_tokens))
    }

    /// Returns why the context is made smaller before the model is asked, if it is.
    pub fn compaction_due(&self) -> Option<CompactReason> {
        context::due(&self.state, self.definition.agent().context.as_ref())
    }

    fn request_of(
        &self,
        transcript: &Transcript,
        attempt: Attempt,
        max_tokens: u32,
    ) -> ModelRequest {
        let agent_loop = self.state.agent_loop();
        let policy = self.definition.agent().context.as_ref();
        let (purpose, model, messages) = match (&agent_loop.summary, policy) {
            (Some(wanted), Some(policy)) => {
                let bytes_max = policy.summary_bytes_max;
                let messages = context::ask_for_summary(transcript, wanted, bytes_max);
                (Purpose::Summary, self.definition.summarizer(), messages)
            }
            (Some(_), None) | (None, _) => {
                (Purpose::Turn, &self.definition.model, transcript.messages().to_vec())
            }
        };
        ModelRequest {
            turn: agent_loop.turn,
            attempt,
            purpose,
            model: Arc::clone(model),
            max_tokens,
            system: Arc::clone(&self.definition.system),
            tools: Arc::clone(&self.definition.declarations),
            messages,
        }
    }

    /// Reads records back, from one of them to the newest.
    fn read_back(&self, from: Seq) -> Effect {
        let through = self.state.seq;
        Effect { after: through, action: Action::LoadTranscript { from, through } }
    }

    /// What there is to undo stands in the journal.
    fn journal_for_undo(&self) -> Option<Effect> {
        let unplanned = match &self.state.program {
            Program::Agent(_) => false,
            Program::Compensation(compensation) => {
                compensation.stage == compensate::CompensationStage::Unplanned
            }
        };
        if !unplanned || self.under_way.contains(&EffectId::Transcript) {
            return None;
        }
        self.changes.is_none().then(|| self.read_back(Seq(1)))
    }

    fn next_call(&self, now: Timestamp) -> Option<Effect> {
        decide::performable(&self.definition, &self.state).find_map(|(id, call)| {
            let action = match call.stage {
                Stage::Started { attempt, not_before } if not_before <= now => {
                    Action::CallTool(self.tool_call(id, call, attempt))
                }
                Stage::Probing { not_before, .. } if not_before <= now => {
                    let probe = probe_call(&self.definition, &self.state, id).ok()??;
                    Action::Probe { call: id, probe }
                }
                Stage::Waiting
                | Stage::Asked
                | Stage::Started { .. }
                | Stage::Probing { .. }
                | Stage::InDoubt { .. }
                | Stage::Done => return None,
            };
            let new = action.id().is_some_and(|id| !self.under_way.contains(&id));
            let after = call.intent.max(self.state.precious_seq);
            new.then_some(Effect { after, action })
        })
    }

    fn tool_call(&self, id: CallId, call: &Call, attempt: Attempt) -> ToolCall {
        let mut arguments = call.arguments().clone();
        let mut meta_key = None;
        let mut timeout_ms = Contract::TIMEOUT_MS;
        let mut result_bytes_max = Contract::RESULT_BYTES_MAX;
        if let Some(held) = self.definition.held(&call.tool) {
            let key = key_of(&self.state, id);
            match &held.tool.contract.key {
                Some(KeyPlace::Argument(name)) => arguments[name.as_str()] = Value::String(key),
                Some(KeyPlace::Meta(name)) => meta_key = Some((name.clone(), key)),
                Some(KeyPlace::Call) | None => {}
            }
            timeout_ms = held.tool.contract.timeout_ms;
            let policy = self.definition.agent().context.as_ref();
            result_bytes_max = context::result_bytes_max(&self.state, policy, &held.tool);
        }
        ToolCall {
            call: id,
            attempt,
            tool: call.tool.clone(),
            arguments: Arc::new(arguments),
            meta_key,
            timeout_ms,
            result_bytes_max,
        }
    }

    /// Returns when to hand in [`Input::TimerFired`], if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.state.status != Status::Running || self.is_stopping() {
            return None;
        }
        // What is under way waits for its outcome, not for an instant: naming one that has passed
        // would keep the driver spinning.
        let asking = match self.state.program.phase() {
            Phase::Asking { .. } if self.state.closing.is_some() => None,
            Phase::Asking { attempt, not_before, .. } => {
                let model = EffectId::Model { turn: self.state.agent_loop().turn, attempt };
                let busy =
                    [EffectId::Transcript, model].iter().any(|id| self.under_way.contains(id));
                (!busy).then_some(not_before)
            }
            Phase::Acting | Phase::Answered => None,
        };
        let performable = decide::performable(&self.definition, &self.state);
        let calls = performable.filter_map(|(call, open)| {
            let (id, not_before) = match open.stage {
                Stage::Started { attempt, not_before } => {
                    (EffectId::Call { call, attempt }, not_before)
                }
                Stage::Probing { attempt, not_before, .. } => {
                    (EffectId::Probe { call, attempt }, not_before)
                }
                Stage::Waiting | Stage::Asked | Stage::InDoubt { .. } | Stage::Done => return None,
            };
            (!self.under_way.contains(&id)).then_some(not_before)
        });
        // A run that is cancelled has no more time to keep within.
        let deadline = budget::wall_deadline(&self.state).filter(|_| self.stop.is_none());
        calls.chain(asking).chain(deadline).min()
    }

    /// Hands in the events of the records that [`Action::LoadTranscript`] asked for.
    pub fn load_transcript(
        &mut self,
        events: impl IntoIterator<Item = (Seq, Event)>,
    ) -> Result<(), JournalError> {
        self.under_way.remove(&EffectId::Transcript);
        let mut transcript = Transcript::start(&self.definition, &self.state.started);
        let mut changes = Changes::default();
        let (mut first, mut last) = (None, Seq(0));
        for (seq, event) in events {
            if first.is_some() && seq != last.next() {
                return Err(JournalError::Gap { expected: last.next(), found: seq });
            }
            first.get_or_insert(seq);
            last = seq;
            transcript.absorb(seq, &event);
            changes.absorb(&event);
        }
        // What came in meanwhile makes what was read too short: it is read once more.
        if last != self.state.seq {
            return Ok(());
        }
        if first.is_some_and(|first| first == Seq(1) || first == self.state.view.from_seq) {
            self.transcript = Some(transcript);
        }
        if first == Some(Seq(1)) {
            self.changes = Some(changes);
        }
        Ok(())
    }
}

fn decide(draft: &mut Draft<'_>, input: Input) -> Result<(), Rejected> {
    match input {
        Input::Recovered { by } => draft.recovered(by),
        Input::ModelAnswered { turn, attempt, answer, ms } => {
            if draft.state.agent_loop().summary.is_some() {
                draft.summary_answered(turn, attempt, answer, ms);
            } else {
                draft.answered(turn, attempt, answer, ms);
            }
        }
        Input::ModelFailed { error, .. } => draft.model_failed(error),
        Input::CallReplied { call, reply, ms, .. } => draft.call_replied(call, reply, ms),
        Input::ProbeReplied { call, reply } => draft.probe_replied(call, reply),
        Input::TimerFired | Input::Interrupted => {}
        Input::Cancelled { by, reason } => {
            // A parked run has nothing under way, and `settle` leaves it alone.
            if matches!(draft.state.status, Status::Parked(_)) {
                draft.cancel(by, reason);
            } else if draft.state.closing.is_some() && !draft.state.is_ending() {
                draft.emit(Event::CancelRequested(CancelRequested { by, reason }));
            }
        }
        Input::Settled { call, verdict, by } => draft.settled(call, verdict, &by)?,
        Input::Decided { call, digest, by, decision } => {
            draft.decided(call, digest, by, decision)?;
        }
        Input::BudgetRaised { budget, by } => {
            draft.emit(Event::BudgetRaised(BudgetRaised { budget, by }));
        }
        Input::Noted { by, note, supersedes } => draft.noted(by, note, supersedes)?,
        Input::CompactionRequested { by } => {
            if draft.definition.agent().context.is_none() {
                return Err(Rejected::NoCompaction);
            }
            draft.emit(Event::CompactionRequested(CompactionRequested { by }));
        }
        Input::Resumed { by, message } => draft.resumed(&by, message)?,
        Input::Compensated { by } => draft.compensated(by)?,
    }
    Ok(())
}

fn probe_call(
    definition: &Definition,
    state: &State,
    id: CallId,
) -> Result<Option<ToolCall>, String> {
    let Some((tool, arguments)) = decide::probe_arguments(definition, state, id)? else {
        return Ok(None);
    };
    let tries = match state.calls.get(&id).map(|call| &call.stage) {
        Some(Stage::Probing { attempt, .. }) => *attempt,
        Some(_) | None => Attempt(1),
    };
    let timeout_ms =
        definition.held(&tool).map_or(Contract::TIMEOUT_MS, |held| held.tool.contract.timeout_ms);
    Ok(Some(ToolCall {
        call: id,
        attempt: tries,
        tool,
        arguments: Arc::new(arguments),
        meta_key: None,
        timeout_ms,
        result_bytes_max: Contract::RESULT_BYTES_MAX,
    }))
}

/// Returns the idempotency key of a call: the same for every attempt, different for every call of
/// every run.
fn key_of(state: &State, call: CallId) -> String {
    let run = state.started.run.as_str();
    let digest =
        Digest::of_parts(&[b"prusik idempotency key", run.as_bytes(), call.to_string().as_bytes()]);
    digest.to_string()[..32].to_owned()
}

fn check_definition(definition: &Definition, expected: Digest) -> Result<(), JournalError> {
    if definition.digest() == expected {
        Ok(())
    } else {
        Err(JournalError::WrongDefinition { expected })
    }
}

/// Returns whether a parked run waits for the network rather than for a person.
pub fn waits_for_network(reason: &ParkReason) -> bool {
    matches!(reason, ParkReason::Model { error } if error.kind.is_network())
}
