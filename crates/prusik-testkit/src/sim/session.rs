//! One process's time with a run: it opens it, hands in what people say, drives it with the real
//! engine, and stops, fails, loses the run or dies.

use std::collections::BTreeMap;
use std::sync::Arc;

use prusik_core::budget::{Budget, BudgetKind};
use prusik_core::event::{FailReason, ParkReason, Verdict};
use prusik_core::ids::CallId;
use prusik_core::input::{Input, Rejected};
use prusik_core::ledger::{EntryId, EntryKind, LedgerError, Note};
use prusik_core::outcome::{Reply, ToolResult};
use prusik_core::run::{Stage, State, Status};
use prusik_engine::{Command, Engine, EngineError, Held, Notice, Observer, World as Tools};
use prusik_store::{Signal, StoreError};
use prusik_tool::{Tool, ToolInfo};
use serde_json::json;
use tokio::sync::mpsc;

use super::book::about;
use super::clock::SimClock;
use super::disk::SimStore;
use super::model::SimModel;
use super::tools::SimTool;
use super::world::{Invariant, Sim, World, owner, run_id};

/// The longest that a process drives a run in one go, in fake milliseconds. Every wait of the engine
/// is much shorter.
pub const DRIVE_MS_MAX: u64 = 6 * 60 * 60 * 1000;
/// What was submitted before a run was dropped is at the disk by then, and its lease given back.
const LET_GO_MS_MAX: u64 = 5_000;
pub const TASK: &str = "Do the work.";

/// Lives from the birth of a process to its end.
pub async fn session(sim: Sim, run: usize, process: usize) {
    let death = sim.with(|world| {
        world.counts.sessions += 1;
        world.maybe_jump();
        Arc::clone(&world.processes[process].death)
    });
    let mut held = None;
    tokio::select! {
        biased;
        () = death.notified() => {}
        () = live(&sim, run, process, &mut held) => {}
    }
    sim.with(|world| {
        if let Some(held) = &held {
            let shadow = world.processes[process].shadow.as_ref().map(|run| run.state().clone());
            let same = shadow.as_ref() == Some(held.run().state());
            world.check(Invariant::ReplayIsLive, same, || {
                format!("live: {:?}; its records: {shadow:?}", held.run().state())
            });
        }
    });
    let how = sim.with(|world| (!world.processes[process].dead).then(|| world.pick(3)));
    match (held, how) {
        // Dropped, it is given back by itself, and the process lives on for a while.
        (Some(held), Some(1)) => {
            let lease = held.lease().clone();
            drop(held);
            tokio::select! {
                biased;
                () = death.notified() => {}
                () = sim.pass(LET_GO_MS_MAX) => sim.with(|world| {
                    let free = !world.plain.is_held(owner(process), &lease);
                    world.check(Invariant::Store, free, || "a dropped run stays held".to_owned());
                }),
            }
            sim.with(|world| world.die(process));
        }
        // A store that fails here leaves the lease to the death of the process.
        (Some(held), Some(2)) => {
            tokio::select! {
                biased;
                () = death.notified() => {}
                released = held.release() => drop(released),
            }
            sim.with(|world| world.die(process));
        }
        // It dies with the run in its hands.
        (held, _) => {
            sim.with(|world| world.die(process));
            drop(held);
        }
    }
}

async fn live(sim: &Sim, run: usize, process: usize, slot: &mut Option<Held>) {
    let store = Arc::new(SimStore::new(sim.clone(), process));
    let clock = Arc::new(SimClock { sim: sim.clone(), run });
    let engine = Engine::with_clock(store, clock);
    let known = sim.with(|world| world.books[run].state().is_some());
    let opened = if known {
        engine.open(&run_id(run)).await
    } else {
        let (agent, budget) = sim.with(|world| (world.plan.agent.clone(), world.plan.budget));
        engine.start(agent, TASK.to_owned(), budget).await
    };
    match opened {
        Ok(held) => *slot = Some(held),
        Err(error) => return sim.with(|world| world.takes_error(run, &error)),
    }
    let Some(held) = slot else { return };
    let mut first = Vec::new();
    if held.run().state().ended() {
        ended(sim, run, held).await;
        if !sim.with(|world| world.mishap(3)) {
            return;
        }
        first.push(Input::Compensated { by: "ann".to_owned() });
    } else {
        lies(sim, held).await;
        if let Err(error) = words(sim, process, held).await {
            return sim.with(|world| world.takes_error(run, &error));
        }
    }
    match drive(sim, run, process, held, first).await {
        Ok(()) => sim.with(|world| world.stopped(run, held)),
        Err(error) => sim.with(|world| world.takes_error(run, &error)),
    }
}

/// Hands in, before anything is under way, outcomes that nobody waits for, and a word that comes too
/// early.
async fn lies(sim: &Sim, held: &mut Held) {
    if !sim.with(|world| world.mishap(3)) {
        return;
    }
    let state = held.run().state().clone();
    let started = state.calls.iter().find_map(|(id, call)| match call.stage {
        Stage::Started { attempt, .. } => Some((*id, attempt)),
        Stage::Waiting
        | Stage::Asked
        | Stage::Probing { .. }
        | Stage::InDoubt { .. }
        | Stage::Done => None,
    });
    let first = CallId::new(state.agent_loop().turn, 1);
    let (call, attempt) = started.unwrap_or((first, prusik_core::ids::Attempt(1)));
    let reply = Reply::Returned(ToolResult::text("a lie"));
    let probe = Reply::Returned(ToolResult::json(json!({"found": true})));
    let by = "ann".to_owned();
    let inputs = [
        Input::CallReplied { call, attempt, reply, ms: 0 },
        Input::ProbeReplied { call, reply: probe },
        Input::Settled { call: CallId::new(call.turn, 900), verdict: Verdict::NotLanded, by },
    ];
    let waits = matches!(state.status, Status::Parked(ParkReason::InDoubt { .. }));
    let early = (waits && !state.doubts().is_empty())
        .then(|| Input::Resumed { by: "ann".to_owned(), message: None });
    for input in inputs.into_iter().chain(early) {
        let answer = held.submit(input.clone()).await;
        let refused = matches!(
            answer,
            Err(EngineError::Rejected(
                Rejected::Stale | Rejected::NotInDoubt { .. } | Rejected::StillInDoubt { .. }
            ))
        );
        let same = *held.run().state() == state;
        sim.with(|world| {
            world.check(Invariant::StaleReplies, refused && same, || {
                format!("{input:?} was taken: {answer:?}")
            });
        });
    }
}

/// People want something kept, or the context made smaller, before the run goes on.
async fn words(sim: &Sim, process: usize, held: &mut Held) -> Result<(), EngineError> {
    while !held.run().state().ended() && sim.with(|world| world.mishap(4)) {
        let input = sim.with(|world| world.word(process));
        let before = held.run().state().clone();
        let answer = match held.submit(input.clone()).await {
            Err(EngineError::Rejected(rejected)) => rejected,
            Err(error) => return Err(error),
            Ok(_) => continue,
        };
        let same = *held.run().state() == before;
        sim.with(|world| {
            let sound = match (&answer, &input) {
                (Rejected::Ledger(error), Input::Noted { note, supersedes, .. }) => {
                    let memory = &world.processes[process].memory;
                    memory.refusal_is_sound(note, *supersedes, error)
                }
                (Rejected::NoCompaction, _) => world.plan.agent.context.is_none(),
                _ => false,
            };
            world.check(Invariant::WayOut, sound && same, || {
                format!("{input:?} is refused: {answer:?}")
            });
        });
    }
    Ok(())
}

/// An ended run takes nothing.
async fn ended(sim: &Sim, run: usize, held: &mut Held) {
    let before = held.run().head();
    let by = "ann".to_owned();
    let inputs = [
        Input::Resumed { by: by.clone(), message: None },
        Input::Cancelled { by: by.clone(), reason: "late".to_owned() },
        Input::BudgetRaised { budget: Budget::default(), by: by.clone() },
        Input::CompactionRequested { by: by.clone() },
        Input::Noted { by, note: Note::new(EntryKind::Fact, "It is over."), supersedes: None },
        Input::TimerFired,
    ];
    for input in inputs {
        let answer = held.submit(input).await;
        let refused = matches!(answer, Err(EngineError::Rejected(Rejected::Ended)));
        sim.with(|world| world.check(Invariant::Ended, refused, || format!("{answer:?}")));
    }
    let same = held.run().head() == before;
    sim.with(|world| {
        world.check(Invariant::Ended, same, || format!("run {run} went on after its end"));
    });
}

async fn drive(
    sim: &Sim,
    run: usize,
    process: usize,
    held: &mut Held,
    first: Vec<Input>,
) -> Result<(), EngineError> {
    let tools = tools(sim, process);
    let (commands, mut controls) = mpsc::unbounded_channel();
    let helped = match held.run().state().status.clone() {
        Status::Parked(reason) => Some(help(sim, held.run().state(), &reason).await),
        Status::Running | Status::Ended(_) => None,
    };
    let mut inputs = helped.clone().unwrap_or(first);
    let before = held.run().head();
    // A person may say it to a run that nobody drives, and go away.
    if !inputs.is_empty() && sim.with(|world| world.mishap(3)) {
        for input in inputs.drain(..) {
            held.submit(input).await?;
        }
    }
    let person = tokio::spawn(interfere(sim.clone(), run, process, commands));
    let observer = Arc::new(Watching { sim: sim.clone(), process });
    let by = format!("process {process}");
    let driven = held.drive(&tools, &by, inputs, &mut controls, observer);
    let limit = std::time::Duration::from_millis(DRIVE_MS_MAX);
    let outcome = tokio::time::timeout(limit, driven).await;
    person.abort();
    let Ok(outcome) = outcome else {
        sim.with(|world| {
            let state = format!("{:?}", held.run().state());
            world.violate(Invariant::Liveness, format!("driven without end: {state}"));
        });
        return Ok(());
    };
    if helped.is_some() && outcome.is_ok() {
        let on = held.run().head().seq > before.seq || held.run().state().ended();
        sim.with(|world| {
            world.check(Invariant::WayOut, on, || {
                format!("a helped run does not go on: {:?}", held.run().state().status)
            });
        });
    }
    outcome
}

fn tools(sim: &Sim, process: usize) -> Tools {
    let names: Vec<String> =
        sim.with(|world| world.plan.agent.tools.iter().map(|tool| tool.name.clone()).collect());
    let mut tools: BTreeMap<String, Arc<dyn Tool>> = BTreeMap::new();
    for name in names {
        let info = ToolInfo {
            name: name.clone(),
            description: String::new(),
            input_schema: json!({}),
            output_schema: None,
            hints: None,
        };
        tools.insert(name, Arc::new(SimTool { sim: sim.clone(), process, info }));
    }
    Tools { model: Arc::new(SimModel { sim: sim.clone(), process }), summarizer: None, tools }
}

/// Does what a parked run asks for. The person who settles knows all, and waits until nothing can
/// land any more.
async fn help(sim: &Sim, state: &State, reason: &ParkReason) -> Vec<Input> {
    let quiet = sim.with(|world| {
        let now = world.true_ms();
        world.ledger.quiet_at_ms().map_or(0, |at| at.saturating_sub(now) + 1)
    });
    if !state.doubts().is_empty() {
        sim.pass(quiet).await;
    }
    sim.with(|world| {
        let by = "ann".to_owned();
        let mut inputs = Vec::new();
        for call in state.doubts() {
            let reference = about(&state.calls[&call]).unwrap_or("none").to_owned();
            let verdict = world.verdict(&reference);
            world.counts.settled += 1;
            inputs.push(Input::Settled { call, verdict, by: by.clone() });
        }
        if let ParkReason::Budget { kind, .. } = reason {
            let more = |wanted| (wanted == *kind).then(|| state.spent.of(wanted) + 50_000_000);
            let budget = Budget {
                turns: more(BudgetKind::Turns),
                tokens: more(BudgetKind::Tokens),
                nano_usd: more(BudgetKind::NanoUsd),
                wall_ms: more(BudgetKind::WallMs),
                tool_calls: more(BudgetKind::ToolCalls),
            };
            inputs.push(Input::BudgetRaised { budget, by: by.clone() });
        }
        let message = world.mishap(3).then(|| "Go on.".to_owned());
        let full = FailReason::ContextFull;
        let hopeless = matches!(reason, ParkReason::Failed { reason, .. } if *reason == full);
        let reason = "no more".to_owned();
        inputs.push(match world.pick(if world.calm { 1 } else { 16 }) {
            // Nothing but another agent would help.
            0 if hopeless => Input::Cancelled { by, reason },
            15 => Input::Cancelled { by, reason },
            14 => Input::Compensated { by },
            _ => Input::Resumed { by, message },
        });
        inputs
    })
}

/// People interrupt and cancel, at this process or through the store; leases are lost; old runs are
/// pruned.
async fn interfere(sim: Sim, run: usize, process: usize, commands: mpsc::UnboundedSender<Command>) {
    loop {
        let pause = sim.with(|world| world.rng.u64(50..2_500));
        sim.pass(pause).await;
        if sim.with(|world| world.calm) {
            // The channel stays open as long as somebody could still say something.
            return std::future::pending().await;
        }
        sim.with(|world| world.interferes(run, process, &commands));
    }
}

struct Watching {
    sim: Sim,
    process: usize,
}

impl Observer for Watching {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Durable { through } = notice {
            self.sim.with(|world| {
                let run = world.processes[self.process].run;
                let durable = world.durable(run);
                world.check(Invariant::Store, through <= durable, || {
                    format!("record {through} is called durable, and the disk ends at {durable}")
                });
            });
        }
    }
}

impl World {
    fn word(&mut self, process: usize) -> Input {
        let by = "ann".to_owned();
        if self.pick(3) == 0 {
            return Input::CompactionRequested { by };
        }
        let note = self.note();
        let held = self.processes[process].memory.held();
        let ids: Vec<EntryId> = held.iter().map(|entry| entry.id).collect();
        let supersedes = match self.pick(6) {
            0 | 1 if !ids.is_empty() => Some(ids[self.pick(ids.len())]),
            2 => Some(EntryId(900)),
            _ => None,
        };
        Input::Noted { by, note, supersedes }
    }

    fn verdict(&mut self, reference: &str) -> Verdict {
        let choice = if self.calm { 0 } else { self.pick(4) };
        match (choice, self.ledger.has_landed(reference)) {
            (3, _) => Verdict::Unknown,
            (2, true) => Verdict::Landed(None),
            (_, true) => Verdict::Landed(Some(json!({"ref": reference}))),
            (_, false) => Verdict::NotLanded,
        }
    }

    fn interferes(&mut self, run: usize, process: usize, to: &mpsc::UnboundedSender<Command>) {
        let (by, reason) = ("ann".to_owned(), "why not".to_owned());
        let choice = self.pick(24);
        self.tell(|| format!("{run}: somebody makes choice {choice}"));
        match choice {
            // The driver may be gone already.
            0 | 1 => drop(to.send(Command::Interrupt)),
            2 => drop(to.send(Command::Cancel { by, reason })),
            3 | 4 => drop(self.plain.post(&run_id(run), &Signal::Interrupt)),
            5 => drop(self.plain.post(&run_id(run), &Signal::Cancel { by, reason })),
            6..=8 => self.maybe_jump(),
            9..=12 if self.plan.zombies => self.lose_lease(process),
            13 => self.prunes(),
            _ => {}
        }
    }

    fn prunes(&mut self) {
        for run in 0..self.books.len() {
            if self.books[run].ended() {
                self.audit(run);
            }
        }
        let before = self.wall().plus_ms(1_000_000);
        let pruned = self.plain.prune(before, false);
        for run in 0..self.books.len() {
            let gone = pruned.runs.contains(&self.books[run].run);
            let ended = self.books[run].ended();
            self.check(Invariant::Store, !gone || ended, || format!("run {run} was pruned alive"));
            self.books[run].pruned |= gone;
        }
    }

    /// The engine has met an error: it must be one that somebody caused.
    fn takes_error(&mut self, run: usize, error: &(dyn std::error::Error + 'static)) {
        self.tell(|| format!("{run}: {error}"));
        // A word that would have to be kept has no room in the ledger; it may be said without.
        if let Some(EngineError::Rejected(Rejected::Ledger(error))) = error.downcast_ref() {
            let declared = self.plan.agent.context.as_ref().map(|policy| policy.ledger_bytes_max);
            let declared = declared.map(|max| max + max / 4);
            let full = matches!(error, LedgerError::Full { bytes, used, max, .. }
                if declared == Some(*max) && used + bytes > *max);
            return self.check(Invariant::WayOut, full, || format!("a word is refused: {error}"));
        }
        let caused = cause(error).is_some_and(|error| match error {
            StoreError::Leased { .. }
            | StoreError::Fenced { .. }
            | StoreError::OutOfOrder { .. }
            | StoreError::DiskFull { .. }
            | StoreError::Locked { .. }
            | StoreError::Io { .. } => true,
            StoreError::UnknownRun { .. } | StoreError::UnknownBlob { .. } => {
                self.books[run].pruned
            }
            StoreError::ReadOnly { .. }
            | StoreError::Corrupt { .. }
            | StoreError::NewerSchema { .. } => false,
        });
        let rejected = error.to_string();
        self.check(Invariant::WayOut, caused, || format!("nobody caused this: {rejected}"));
    }

    /// A driver has stopped of its own: all is durable, and the run waits or has ended.
    fn stopped(&mut self, run: usize, held: &Held) {
        let state = held.run().state();
        self.check(Invariant::Liveness, state.status != Status::Running, || {
            "a driver let go of a running run".to_owned()
        });
        // Another process may have gone on since.
        let place = usize::try_from(state.seq.0).unwrap_or(usize::MAX) - 1;
        let same = self.books[run].states.get(place) == Some(state) || self.books[run].pruned;
        self.check(Invariant::ReplayIsLive, same, || {
            format!("a driver stopped before all was durable, at {}", state.seq)
        });
    }
}

fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a StoreError> {
    match error.downcast_ref() {
        Some(EngineError::Store(error)) => Some(error),
        Some(_) => None,
        None => error.downcast_ref(),
    }
}
