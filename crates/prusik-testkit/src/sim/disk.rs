//! The store of one process: the plain store behind a wire that is slow, that fails, and that dies
//! with the process. Steps keep their order; answers may be late, lost or wrong about what landed.

use std::sync::Arc;

use async_trait::async_trait;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::record::Record;
use prusik_core::run::{Run, State, Step};
use prusik_store::{
    Append, Filter, Lease, Loaded, Pending, Pruned, RunRow, Signal, Snapshot, Store, StoreError,
};
use tokio::sync::{mpsc, oneshot};

use super::memory::Memory;
use super::world::{Invariant, Sim, World, owner};

/// The longest that one request takes on its way, in milliseconds.
const DELAY_MS_MAX: u64 = 120;

/// What a process sees of the disk.
pub struct SimStore {
    sim: Sim,
    process: usize,
    queue: mpsc::UnboundedSender<OnItsWay>,
}

/// What was submitted, in order.
enum OnItsWay {
    Step(Box<Submitted>),
    /// A lease that is given back, and nobody waits.
    LetGo(Lease),
}

/// A step that was submitted.
struct Submitted {
    step: Append,
    /// The state behind each record, as it was live.
    states: Vec<State>,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

impl SimStore {
    pub fn new(sim: Sim, process: usize) -> Self {
        let (queue, steps) = mpsc::unbounded_channel();
        tokio::spawn(write(sim.clone(), process, steps));
        Self { sim, process, queue }
    }

    /// A request on its way there and back. Only what is answered comes back to a living process.
    async fn request<T>(
        &self,
        act: impl FnOnce(&mut World) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let delay = self.sim.with(|world| world.delay_ms(DELAY_MS_MAX));
        self.sim.pass(delay).await;
        let answer = self.sim.with(|world| {
            if world.processes[self.process].dead {
                return None;
            }
            Some(match world.store_fault() {
                Some(error) => Err(error),
                None => act(world),
            })
        });
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Store for SimStore {
    async fn acquire(&self, run: &RunId, _now: Timestamp) -> Result<Lease, StoreError> {
        let process = self.process;
        self.request(|world| {
            let lease = world.plain.acquire(owner(process), run)?;
            world.tell(|| format!("process {process} takes {run} under fence {}", lease.fence));
            world.takes_over(process);
            Ok(lease)
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.request(|world| {
            world.plain.release(owner(self.process), lease);
            Ok(())
        })
        .await
    }

    /// A process dies here by dropping what it holds, and the dead give nothing back.
    fn let_go(&self, lease: &Lease) {
        if !self.sim.with(|world| world.processes[self.process].dead) {
            let _ = self.queue.send(OnItsWay::LetGo(lease.clone()));
        }
    }

    fn append(&self, mut step: Append) -> Pending {
        let (answer, pending) = oneshot::channel();
        let states = self.sim.with(|world| world.submitted(self.process, &mut step));
        // If the process is dead already, nobody sees to it that this is sent on.
        let _ = self.queue.send(OnItsWay::Step(Box::new(Submitted { step, states, answer })));
        pending
    }

    async fn load(&self, run: &RunId) -> Result<Loaded, StoreError> {
        self.request(|world| {
            let loaded = world.plain.load(run)?;
            world.loads(self.process, run);
            Ok(loaded)
        })
        .await
    }

    async fn records(&self, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, StoreError> {
        self.request(|world| world.plain.records(run, from, to)).await
    }

    async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.request(|world| world.plain.blob(digest)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        self.request(|world| Ok(world.plain.list(filter))).await
    }

    async fn post(&self, run: &RunId, signal: &Signal, _now: Timestamp) -> Result<(), StoreError> {
        self.request(|world| world.plain.post(run, signal)).await
    }

    async fn take_signals(&self, lease: &Lease) -> Result<Vec<Signal>, StoreError> {
        self.request(|world| world.plain.take_signals(owner(self.process), lease)).await
    }

    async fn prune(&self, before: Timestamp, dry_run: bool) -> Result<Pruned, StoreError> {
        self.request(|world| Ok(world.plain.prune(before, dry_run))).await
    }
}

/// Brings steps to the disk, one after the other.
async fn write(sim: Sim, process: usize, mut steps: mpsc::UnboundedReceiver<OnItsWay>) {
    let mut kept = Vec::new();
    while let Some(next) = steps.recv().await {
        let delay = sim.with(|world| world.delay_ms(DELAY_MS_MAX));
        sim.pass(delay).await;
        let Submitted { step, states, answer } = match next {
            OnItsWay::Step(submitted) => *submitted,
            OnItsWay::LetGo(lease) => {
                sim.with(|world| {
                    if world.goes_on(process) {
                        world.plain.release(owner(process), &lease);
                    }
                });
                continue;
            }
        };
        let outcome = sim.with(|world| {
            let alive = world.goes_on(process);
            // What a dead process had sent may still arrive, but nothing behind what did not.
            if !alive && (world.processes[process].broken || world.mishap(2)) {
                world.processes[process].broken = true;
                return None;
            }
            let outcome = world.lands(process, step, states);
            world.goes_on(process).then_some(outcome)
        });
        let Some(outcome) = outcome else {
            kept.push(answer);
            continue;
        };
        let delay = sim.with(|world| world.delay_ms(DELAY_MS_MAX));
        let sim = sim.clone();
        // The answer takes its time; the next step does not wait for it.
        let ordered = async move {
            sim.pass(delay).await;
            let outcome = sim.with(|world| {
                let this = &world.processes[process];
                match outcome {
                    _ if this.dead => None,
                    // Whoever lost its run hears of it with the next answer at the latest.
                    _ if this.superseded => {
                        Some(Err(StoreError::Fenced { run: world.books[this.run].run.clone() }))
                    }
                    Ok(()) | Err(_) => Some(outcome),
                }
            });
            match outcome {
                Some(outcome) => drop(answer.send(outcome)),
                None => std::future::pending().await,
            }
        };
        tokio::spawn(ordered);
    }
}

impl World {
    fn store_fault(&mut self) -> Option<StoreError> {
        if !self.mishap(self.plan.store_fault_one_in) {
            return None;
        }
        self.counts.store_faults += 1;
        let (at, detail) = ("the disk".to_owned(), "on purpose".to_owned());
        Some(match self.pick(3) {
            0 => StoreError::Io { at, detail },
            1 => StoreError::Locked { at, detail },
            _ => StoreError::DiskFull { at, detail },
        })
    }

    /// Notes what a process submits, and what its run then is. A snapshot is added now and then, so
    /// that short runs are restored from one, too.
    fn submitted(&mut self, process: usize, step: &mut Append) -> Vec<State> {
        let mut states = Vec::new();
        for record in &step.records {
            if let Err(detail) = self.shadows(process, record) {
                self.violate(Invariant::ReplayIsLive, detail);
            }
            let wrong = match record.event() {
                Ok(event) => self.processes[process].memory.absorb(&event),
                Err(_) => Vec::new(),
            };
            for (invariant, detail) in wrong {
                self.violate(invariant, format!("record {}: {detail}", record.seq));
            }
            states.extend(self.processes[process].shadow.as_ref().map(|run| run.state().clone()));
        }
        if let Some(state) = states.last() {
            let row = (step.row.turns, step.row.tokens, step.row.ended, step.row.updated);
            let spent = state.spent;
            let own = (spent.turns, spent.tokens, state.ended(), state.updated);
            self.check(Invariant::ReplayIsLive, row == own, || {
                format!("live it is {row:?}, and its records say {own:?}")
            });
        }
        if step.snapshot.is_none() && self.pick(8) == 0 {
            let snapshot = self.processes[process].shadow.as_ref().map(Run::snapshot);
            step.snapshot = snapshot.map(|(head, bytes)| Snapshot { head, bytes });
        }
        states
    }

    fn shadows(&mut self, process: usize, record: &Record) -> Result<(), String> {
        let definition = Arc::clone(&self.definition);
        let event = record.event().map_err(|error| error.to_string())?;
        match &mut self.processes[process].shadow {
            shadow @ None => {
                let run = Run::replay(definition, std::slice::from_ref(record));
                *shadow = Some(run.map_err(|error| error.to_string())?);
            }
            Some(run) => {
                let step = Step { at: record.at, events: vec![event], blobs: Vec::new() };
                if run.apply(step).records != [record.clone()] {
                    return Err(format!("record {} does not follow the one before", record.seq));
                }
            }
        }
        Ok(())
    }

    /// A process reads a run: what it will make of it is what the disk holds.
    fn loads(&mut self, process: usize, run: &RunId) {
        let records = self.plain.journal(run);
        let mut memory = Memory::new(&self.plan.agent);
        for event in records.iter().filter_map(|record| record.event().ok()) {
            // What is wrong with it was said when it was written.
            memory.absorb(&event);
        }
        match Run::replay(Arc::clone(&self.definition), records) {
            Ok(replayed) => {
                let place = self.processes[process].run;
                let same = self.books[place].state() == Some(replayed.state());
                self.check(Invariant::ReplayIsLive, same, || {
                    "what is read back is not what was there live".to_owned()
                });
                self.processes[process].shadow = Some(replayed);
                self.processes[process].memory = memory;
            }
            Err(error) => self.violate(Invariant::ReplayIsLive, error.to_string()),
        }
    }

    /// A step arrives at the disk. What is answered need not be what happened, if it says that it
    /// failed.
    fn lands(
        &mut self,
        process: usize,
        step: Append,
        states: Vec<State>,
    ) -> Result<(), StoreError> {
        let run = self.processes[process].run;
        if let Some(error) = self.store_fault() {
            return Err(error);
        }
        let lies = self.mishap(self.plan.store_fault_one_in);
        let records = step.records.clone();
        self.plain.append(owner(process), step)?;
        let superseded = self.processes[process].superseded;
        self.check(Invariant::Store, !superseded, || {
            format!("process {process} appended after its run was taken over")
        });
        for (record, state) in records.iter().zip(states) {
            self.take_down(run, record, state);
        }
        if lies {
            let at = "the disk".to_owned();
            return Err(StoreError::Io { at, detail: "the answer was lost".to_owned() });
        }
        Ok(())
    }
}
