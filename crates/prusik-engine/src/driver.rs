//! The driver: one loop over a closed set of arrivals for each run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use prusik_core::effect::{Action, Effect, EffectId};
use prusik_core::event::Event;
use prusik_core::ids::{CallId, Seq, Timestamp};
use prusik_core::input::{Input, Now, Rejected};
use prusik_core::model::{ModelError, ModelErrorKind, Purpose};
use prusik_core::outcome::Reply;
use prusik_core::run::{RECALL, Status};
use prusik_model::{Delta, Model};
use prusik_store::{Signal, StoreError};
use prusik_tool::Tool;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::{Appending, EngineError, Held};
use crate::perform::{self, Brought};

/// How often the store is asked for messages from other processes.
const SIGNAL_EVERY: Duration = Duration::from_millis(500);

/// What a run is driven with.
#[derive(Clone)]
pub struct World {
    pub model: Arc<dyn Model>,
    /// What writes summaries, where the agent names a model of its own for that.
    pub summarizer: Option<Arc<dyn Model>>,
    /// By the name that the agent calls them by.
    pub tools: BTreeMap<String, Arc<dyn Tool>>,
}

/// What a person at this process wants of a driven run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Interrupt,
    Cancel { by: String, reason: String },
}

/// The receiving end of a driven run's commands.
pub type Controls = mpsc::UnboundedReceiver<Command>;

/// Something to show while a run is driven.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A fact, on its way to the disk.
    Event { seq: Seq, at: Timestamp, event: &'a Event },
    /// The facts through this one are durable. What acts on facts waits for it.
    Durable { through: Seq },
    /// A piece of an answer that is still being written.
    Delta(&'a Delta),
    /// What a running call says of its progress.
    Progress { call: CallId, text: &'a str },
    /// The model is being asked. A summary that it writes is not shown while it is written.
    ModelCalled { purpose: Purpose },
    /// A call's attempt begins.
    CallBegun { call: CallId, tool: &'a str, probe: bool },
    /// Somebody at another process wanted something of the run that it does not take.
    Refused { by: &'a str, rejected: &'a Rejected },
}

/// Watches a driven run. Called on the driver's own task: it must be quick.
pub trait Observer: Send + Sync {
    fn notice(&self, notice: Notice<'_>);
}

/// Watches nothing.
impl Observer for () {
    fn notice(&self, _notice: Notice<'_>) {}
}

/// What the loop waits for.
enum Arrival {
    Durable(Result<Seq, StoreError>),
    Brought(Result<(Id, Brought), JoinError>),
    Command(Command),
    Signals,
    Timer,
}

/// An effect under way.
struct Task {
    id: EffectId,
    abort: AbortHandle,
    cancel: CancellationToken,
}

struct Driver<'a> {
    held: &'a mut Held,
    world: &'a World,
    observer: Arc<dyn Observer>,
    /// Effects whose intent is not durable yet.
    gated: VecDeque<Effect>,
    /// Outcomes of calls that were given up before they began.
    late: Vec<Input>,
    appending: VecDeque<Appending>,
    tasks: JoinSet<Brought>,
    under_way: HashMap<Id, Task>,
}

impl Held {
    /// Drives the run until it is parked or has ended.
    ///
    /// `by` names this driver for people, and `inputs` is what they say before it goes on. When this
    /// returns an error, or is dropped, what was under way is given up as if the process had died.
    pub async fn drive(
        &mut self,
        world: &World,
        by: &str,
        inputs: Vec<Input>,
        controls: &mut Controls,
        observer: Arc<dyn Observer>,
    ) -> Result<(), EngineError> {
        let mut driver = Driver {
            held: self,
            world,
            observer,
            gated: VecDeque::new(),
            late: Vec::new(),
            appending: VecDeque::new(),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
        };
        // A timer that fires too early changes nothing but to have the core look at its state.
        let first = if std::mem::take(&mut driver.held.abandoned) {
            Input::Recovered { by: by.to_owned() }
        } else {
            Input::TimerFired
        };
        driver.take(first)?;
        for input in inputs {
            driver.take(input)?;
        }
        driver.run(controls).await
    }
}

impl Driver<'_> {
    async fn run(&mut self, controls: &mut Controls) -> Result<(), EngineError> {
        let mut signals =
            tokio::time::interval_at(tokio::time::Instant::now() + SIGNAL_EVERY, SIGNAL_EVERY);
        signals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut controls_open = true;
        loop {
            self.ask_for_effects();
            for input in std::mem::take(&mut self.late) {
                self.take(input)?;
            }
            if self.is_over() {
                // A message may have come since the last look; it must not wait for the next driver.
                self.read_signals().await?;
                if self.appending.is_empty() {
                    return Ok(());
                }
            }
            let timer = self.held.run.poll_timeout();
            let arrival = tokio::select! {
                biased;
                durable = next_durable(&mut self.appending) => Arrival::Durable(durable),
                Some(brought) = self.tasks.join_next_with_id() => Arrival::Brought(brought),
                command = controls.recv(), if controls_open => {
                    let Some(command) = command else {
                        controls_open = false;
                        continue;
                    };
                    Arrival::Command(command)
                }
                () = wait_until(self.held.clock.as_ref(), timer) => Arrival::Timer,
                _ = signals.tick() => Arrival::Signals,
            };
            self.arrived(arrival).await?;
        }
    }

    async fn arrived(&mut self, arrival: Arrival) -> Result<(), EngineError> {
        match arrival {
            Arrival::Durable(result) => self.became_durable(result?),
            Arrival::Brought(joined) => self.brought(joined)?,
            Arrival::Command(Command::Interrupt) => self.take(Input::Interrupted)?,
            Arrival::Command(Command::Cancel { by, reason }) => {
                self.take(Input::Cancelled { by, reason })?;
            }
            Arrival::Signals => self.read_signals().await?,
            Arrival::Timer => self.take(Input::TimerFired)?,
        }
        Ok(())
    }

    async fn read_signals(&mut self) -> Result<(), EngineError> {
        let signals = match self.held.claim.store.take_signals(self.held.lease()).await {
            Ok(signals) => signals,
            // A busy store is asked again; what is under way must not suffer for it.
            Err(StoreError::Locked { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for signal in signals {
            match signal {
                Signal::Cancel { by, reason } => self.take(Input::Cancelled { by, reason })?,
                Signal::Interrupt => self.take(Input::Interrupted)?,
                Signal::Note { by, note, supersedes } => {
                    let noted = Input::Noted { by: by.clone(), note, supersedes };
                    self.take_if_it_can(&by, noted)?;
                }
                Signal::Compact { by } => {
                    self.take_if_it_can(&by, Input::CompactionRequested { by: by.clone() })?;
                }
            }
        }
        Ok(())
    }

    /// Nothing more will happen by itself, and all that happened is durable.
    fn is_over(&self) -> bool {
        self.held.run.state().status != Status::Running
            && self.appending.is_empty()
            && self.under_way.is_empty()
    }

    /// Hands in what somebody elsewhere wants. Whoever watches is told if the run does not take it: the
    /// run goes on either way.
    fn take_if_it_can(&mut self, by: &str, input: Input) -> Result<(), EngineError> {
        match self.take(input) {
            Err(EngineError::Rejected(rejected)) => {
                self.observer.notice(Notice::Refused { by, rejected: &rejected });
                Ok(())
            }
            taken => taken,
        }
    }

    /// Hands an input in and submits what it leads to.
    fn take(&mut self, input: Input) -> Result<(), EngineError> {
        let at = Now { at: self.held.clock.now(), entropy: self.held.clock.entropy() };
        let step = match self.held.run.handle(input, at) {
            Ok(step) => step,
            // An outcome that came too late, or a second word after the end.
            Err(Rejected::Stale | Rejected::Ended) => return Ok(()),
            Err(rejected) => return Err(EngineError::from(rejected)),
        };
        if step.events.is_empty() {
            return Ok(());
        }
        let mut seq = self.held.run.head().seq;
        for event in &step.events {
            seq = seq.next();
            self.observer.notice(Notice::Event { seq, at: step.at, event });
        }
        let appending = self.held.apply(step);
        self.appending.push_back(appending);
        Ok(())
    }

    fn became_durable(&mut self, through: Seq) {
        self.held.durable = through;
        self.observer.notice(Notice::Durable { through });
    }

    /// Takes the effects that the run wants, and begins those whose intent is durable.
    fn ask_for_effects(&mut self) {
        while let Some(effect) = self.held.run.poll_effect(self.held.clock.now()) {
            self.gated.push_back(effect);
        }
        for effect in std::mem::take(&mut self.gated) {
            if effect.after <= self.held.durable {
                self.begin(effect.action);
            } else {
                self.gated.push_back(effect);
            }
        }
    }

    fn begin(&mut self, action: Action) {
        let Some(id) = action.id() else {
            if let Action::Abort(id) = action {
                self.abort(id);
            }
            return;
        };
        let cancel = CancellationToken::new();
        let observer = Arc::clone(&self.observer);
        let abort = match action {
            Action::LoadTranscript { from, through } => {
                let store = Arc::clone(&self.held.claim.store);
                let run = self.held.id().clone();
                self.tasks.spawn(perform::load_transcript(store, run, from, through))
            }
            Action::CallModel(request) => {
                let purpose = request.purpose;
                self.observer.notice(Notice::ModelCalled { purpose });
                let (model, observer): (_, Arc<dyn Observer>) = match purpose {
                    Purpose::Turn => (&self.world.model, observer),
                    Purpose::Summary => {
                        let own = &self.world.model;
                        (self.world.summarizer.as_ref().unwrap_or(own), Arc::new(()))
                    }
                };
                let model = Arc::clone(model);
                self.tasks.spawn(perform::call_model(model, request, observer))
            }
            Action::CallTool(call) => {
                let (call_id, tool) = (call.call, call.tool.as_str());
                self.observer.notice(Notice::CallBegun { call: call_id, tool, probe: false });
                let tool = self.world.tools.get(&call.tool).cloned();
                if tool.is_none() && call.tool == RECALL {
                    let store = Arc::clone(&self.held.claim.store);
                    let (run, through) = (self.held.id().clone(), self.held.durable);
                    let cancel = cancel.clone();
                    self.tasks.spawn(perform::call_recall(store, run, through, call, cancel))
                } else {
                    let task = perform::call_tool(tool, call, cancel.clone(), observer, false);
                    self.tasks.spawn(task)
                }
            }
            Action::Probe { call, probe } => {
                let tool = probe.tool.as_str();
                self.observer.notice(Notice::CallBegun { call, tool, probe: true });
                let tool = self.world.tools.get(&probe.tool).cloned();
                let task = perform::call_tool(tool, probe, cancel.clone(), observer, true);
                self.tasks.spawn(task)
            }
            Action::Abort(_) => return,
        };
        self.under_way.insert(abort.id(), Task { id, abort, cancel });
    }

    /// Gives an effect up. A call is told to stop and still reports what became of it.
    fn abort(&mut self, id: EffectId) {
        if let Some(i) = self.gated.iter().position(|effect| effect.action.id() == Some(id)) {
            self.gated.remove(i);
            if let EffectId::Call { call, attempt } = id {
                let reason = "the run was told to stop".to_owned();
                let reply = Reply::not_sent(reason);
                self.late.push(Input::CallReplied { call, attempt, reply, ms: 0 });
            }
        }
        for task in self.under_way.values().filter(|task| task.id == id) {
            match id {
                EffectId::Transcript | EffectId::Model { .. } => task.abort.abort(),
                EffectId::Call { .. } | EffectId::Probe { .. } => task.cancel.cancel(),
            }
        }
    }

    fn brought(&mut self, joined: Result<(Id, Brought), JoinError>) -> Result<(), EngineError> {
        let (task, brought) = match joined {
            Ok((id, brought)) => (self.under_way.remove(&id), Some(brought)),
            Err(error) => (self.under_way.remove(&error.id()), None),
        };
        match (task, brought) {
            (_, Some(Brought::Input(input))) => self.take(input),
            (_, Some(Brought::Transcript(events))) => {
                let run = self.held.id().clone();
                let loaded = self.held.run.load_transcript(events?);
                loaded.map_err(|problem| EngineError::Journal { run, problem })?;
                // What was done, and can be undone, is known now.
                self.take(Input::TimerFired)
            }
            (Some(task), None) => self.take(died(task.id)),
            (None, None) => Ok(()),
        }
    }
}

/// Returns what is reported of a task that panicked or was aborted.
fn died(id: EffectId) -> Input {
    let reason = "the code that performed it panicked; this is a bug of prusik".to_owned();
    match id {
        EffectId::Model { turn, attempt } => {
            let error = ModelError::new(ModelErrorKind::BadResponse, reason);
            Input::ModelFailed { turn, attempt, error }
        }
        EffectId::Call { call, attempt } => {
            Input::CallReplied { call, attempt, reply: Reply::Lost { reason }, ms: 0 }
        }
        EffectId::Probe { call, .. } => Input::ProbeReplied { call, reply: Reply::Lost { reason } },
        EffectId::Transcript => Input::TimerFired,
    }
}

/// Waits for the oldest append. Appends land in order, so that the others cannot be earlier.
async fn next_durable(appending: &mut VecDeque<Appending>) -> Result<Seq, StoreError> {
    let Some(oldest) = appending.front_mut() else { return std::future::pending().await };
    let through = oldest.through;
    let result = (&mut oldest.pending).await;
    appending.pop_front();
    match result {
        Ok(result) => result.map(|()| through),
        Err(_) => Err(StoreError::Io {
            at: "the store".into(),
            detail: "it stopped before it answered".into(),
        }),
    }
}

async fn wait_until(clock: &dyn Clock, timer: Option<Timestamp>) {
    match timer {
        Some(at) => tokio::time::sleep(Duration::from_millis(at.since_ms(clock.now()))).await,
        None => std::future::pending().await,
    }
}
