//! Everything of a schedule in one place: its seed, its disk, its ledger, its processes, and what
//! went wrong. Whoever touches it does so at one instant of the fake time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use prusik_core::ids::{Digest, RunId, Timestamp};
use prusik_core::run::{Definition, Run};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::asked::Declared;
use super::book::Book;
use super::ledger::Ledger;
use super::memory::Memory;
use super::plan::{Plan, one_in};
use crate::oracle::Plain;

/// Looks at the clock after which somebody must be spinning.
const LOOKS_MAX: u64 = 400_000;
/// Where the fake wall clock begins.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// What must hold, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// The journal is a chain, and replaying any part of it gives the state that was there live.
    ReplayIsLive,
    /// Nothing that changes the world happens twice.
    ExactlyOnce,
    /// What the journal says of a call is what happened.
    Honesty,
    /// No effect begins before its intent is durable.
    AppendThenAct,
    /// Every request is well formed: each tool use has its own result in the next message.
    WellFormedRequest,
    /// An answer is durable, and so are the outcomes of writes, before the model is asked again.
    AnswersAreDurable,
    /// No ceiling is passed.
    Budget,
    /// The task and every entry that holds stand in every request, word for word.
    Remembers,
    /// Between two compactions a prompt only grows at its end.
    Prefix,
    /// No prompt is larger than what the agent's window has room for.
    Window,
    /// A context is made smaller when it must be, by what it must, and comes to an end with it.
    Compactions,
    /// Nothing that was shown is taken for more trusted than it is.
    Labels,
    /// No try of the model has the number of another.
    Attempts,
    /// Open calls belong to the open turn.
    OpenCalls,
    /// Outcomes that nobody waits for change nothing.
    StaleReplies,
    /// A group takes as a whole or not at all, and what is undone leaves nothing that is not named.
    Groups,
    /// A parked run has a way out, and following it leads on.
    WayOut,
    /// Every run ends once the faults stop.
    Liveness,
    /// An ended run takes nothing, and says what it left open.
    Ended,
    /// What is stored stays, and the engine meets no error that nobody caused.
    Store,
    /// Nothing panics.
    NoPanic,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub detail: String,
}

/// How much of everything there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub runs: u64,
    pub records: u64,
    pub sessions: u64,
    pub crashes: u64,
    pub takeovers: u64,
    pub store_faults: u64,
    pub model_calls: u64,
    pub tool_calls: u64,
    pub landed: u64,
    pub landed_late: u64,
    pub probes: u64,
    pub settled: u64,
    pub parked: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub compensated: u64,
    pub groups_closed: u64,
    /// Calls that a process began after its run had been taken over.
    pub beyond_fence: u64,
    /// How contexts were made smaller.
    pub folds: u64,
    pub summaries: u64,
    pub summaries_refused: u64,
    pub outlines: u64,
    /// Requests that the provider found too long.
    pub prompts_refused: u64,
    /// Runs that failed, or would have, because nothing could be made smaller.
    pub contexts_full: u64,
    pub entries: u64,
    pub entries_of_people: u64,
    pub entries_superseded: u64,
    /// Calls that read the run's own history, and were answered.
    pub recalls: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.records += other.records;
        self.sessions += other.sessions;
        self.crashes += other.crashes;
        self.takeovers += other.takeovers;
        self.store_faults += other.store_faults;
        self.model_calls += other.model_calls;
        self.tool_calls += other.tool_calls;
        self.landed += other.landed;
        self.landed_late += other.landed_late;
        self.probes += other.probes;
        self.settled += other.settled;
        self.parked += other.parked;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.compensated += other.compensated;
        self.groups_closed += other.groups_closed;
        self.beyond_fence += other.beyond_fence;
        self.folds += other.folds;
        self.summaries += other.summaries;
        self.summaries_refused += other.summaries_refused;
        self.outlines += other.outlines;
        self.prompts_refused += other.prompts_refused;
        self.contexts_full += other.contexts_full;
        self.entries += other.entries;
        self.entries_of_people += other.entries_of_people;
        self.entries_superseded += other.entries_superseded;
        self.recalls += other.recalls;
    }
}

/// A process that drives one run, and dies.
pub struct Process {
    pub run: usize,
    pub dead: bool,
    /// Another process has taken its run.
    pub superseded: bool,
    /// Seams to cross before it dies; none if it lives.
    pub dies_after: Option<usize>,
    pub death: Arc<Notify>,
    pub lost_lease: Arc<Notify>,
    /// The run as its steps say: what the disk will hold if all of them land.
    pub shadow: Option<Run>,
    /// What its steps say that the model must be shown.
    pub memory: Memory,
    /// The record after which it must have stopped: a step of it failed.
    pub broken: bool,
}

/// The schedule's world.
pub struct World {
    pub rng: Rng,
    pub plan: Plan,
    pub definition: Arc<Definition>,
    pub plain: Plain,
    pub ledger: Ledger,
    pub books: Vec<Book>,
    pub processes: Vec<Process>,
    pub counts: Counts,
    pub violations: Vec<Violation>,
    /// Everything that happened, in order, as one digest.
    pub trace: Digest,
    /// The same in words, if somebody wants to read it.
    pub story: Option<Vec<String>>,
    pub calm: bool,
    /// The system prompt and the tools of the first request.
    pub declared: Option<Declared>,
    began: Instant,
    skew_ms: i64,
    looks: u64,
    names: u64,
}

/// A handle on the world.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<World>>);

impl Sim {
    pub fn new(seed: u64, told: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let definition = Arc::new(Definition::new(plan.agent.clone()));
        let books = (0..plan.runs).map(|run| Book::new(run_id(run))).collect();
        let world = World {
            rng,
            definition,
            plan,
            plain: Plain::default(),
            ledger: Ledger::default(),
            books,
            processes: Vec::new(),
            counts: Counts::default(),
            violations: Vec::new(),
            trace: Digest::ZERO,
            story: told.then(Vec::new),
            calm: false,
            declared: None,
            began: Instant::now(),
            skew_ms: 0,
            looks: 0,
            names: 0,
        };
        Self(Arc::new(Mutex::new(world)))
    }

    /// Does something to the world, once all that is due has landed.
    pub fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        world.catch_up();
        act(&mut world)
    }

    /// Takes what was told so far, whatever state the world is in.
    pub fn story(&self) -> Option<Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).story.take()
    }

    /// Lets fake time pass.
    pub async fn pass(&self, ms: u64) {
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }
}

pub fn run_id(run: usize) -> RunId {
    RunId::new(format!("run-{run}"))
}

impl World {
    /// Returns the milliseconds that have really passed, whatever the clock says.
    pub fn true_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp((WALL_START_MS + self.true_ms()).saturating_add_signed(self.skew_ms))
    }

    /// Looks at the clock as the engine does.
    pub fn look(&mut self) -> Timestamp {
        self.looks += 1;
        assert!(self.looks < LOOKS_MAX, "somebody looks at the clock without end");
        self.wall()
    }

    /// Lets everything land that is due.
    pub fn catch_up(&mut self) {
        let now = self.true_ms();
        self.calm |= now >= self.plan.calm_at_ms;
        let (wrong, landed) = self.ledger.land(now);
        for detail in wrong {
            self.violate(Invariant::ExactlyOnce, detail);
        }
        for reference in landed {
            self.counts.landed += 1;
            self.tell(|| format!("{reference} lands"));
        }
    }

    pub fn violate(&mut self, invariant: Invariant, detail: impl Into<String>) {
        let detail = detail.into();
        self.tell(|| format!("VIOLATED {invariant:?}: {detail}"));
        // The first few say it all.
        if self.violations.len() < 5 {
            self.violations.push(Violation { invariant, detail });
        }
    }

    pub fn check(&mut self, invariant: Invariant, holds: bool, detail: impl FnOnce() -> String) {
        if !holds {
            self.violate(invariant, detail());
        }
    }

    /// Notes what happens.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:>7} {}", self.true_ms(), line());
        self.trace = Digest::of_parts(&[&self.trace.0, line.as_bytes()]);
        if let Some(story) = &mut self.story {
            story.push(line);
        }
    }

    pub fn pick(&mut self, choices: usize) -> usize {
        self.rng.usize(..choices)
    }

    /// Whether something goes wrong now; never once the world is calm.
    pub fn mishap(&mut self, one_in_so_many: usize) -> bool {
        one_in_so_many != usize::MAX && one_in(&mut self.rng, one_in_so_many) && !self.calm
    }

    /// Returns a delay below `most` that is mostly none.
    pub fn delay_ms(&mut self, most: u64) -> u64 {
        if self.calm || self.rng.bool() { 0 } else { self.rng.u64(..most.max(1)) }
    }

    pub fn new_name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    pub fn new_process(&mut self, run: usize) -> usize {
        let crash_one_in = self.plan.crash_one_in;
        let dies_after = self.mishap(crash_one_in).then(|| self.pick(24));
        self.processes.push(Process {
            run,
            dead: false,
            superseded: false,
            dies_after,
            death: Arc::default(),
            lost_lease: Arc::default(),
            shadow: None,
            memory: Memory::new(&self.plan.agent),
            broken: false,
        });
        let process = self.processes.len() - 1;
        self.plain.is_born(owner(process));
        process
    }

    /// A process comes to a place where it may die. Returns whether it goes on.
    pub fn goes_on(&mut self, process: usize) -> bool {
        let calm = self.calm;
        let this = &mut self.processes[process];
        match &mut this.dies_after {
            None => {}
            Some(_) if calm => this.dies_after = None,
            Some(0) if !this.dead => {
                self.counts.crashes += 1;
                self.tell(|| format!("process {process} is killed"));
                self.die(process);
            }
            Some(left) => *left = left.saturating_sub(1),
        }
        !self.processes[process].dead
    }

    pub fn die(&mut self, process: usize) {
        self.processes[process].dead = true;
        self.processes[process].death.notify_one();
        self.plain.dies(owner(process));
    }

    /// The disk no longer takes the process for alive, and the process does not know.
    pub fn lose_lease(&mut self, process: usize) {
        self.tell(|| format!("process {process} loses its lease"));
        self.plain.dies(owner(process));
        self.processes[process].lost_lease.notify_one();
    }

    /// Whoever drove the run before this process is out.
    pub fn takes_over(&mut self, process: usize) {
        let run = self.processes[process].run;
        let (earlier, _) = self.processes.split_at_mut(process);
        for other in earlier.iter_mut().filter(|other| other.run == run) {
            if !other.superseded && !other.dead {
                self.counts.takeovers += 1;
            }
            other.superseded = true;
        }
    }

    /// The clock is set by somebody, now and then.
    pub fn maybe_jump(&mut self) {
        if self.plan.jumps_back && self.mishap(10) {
            self.skew_ms -= self.rng.i64(1..20_000);
            self.tell(|| "the clock goes back".to_owned());
        }
        if self.plan.jumps_forward && self.mishap(10) {
            self.skew_ms += self.rng.i64(1..20_000);
            self.tell(|| "the clock goes forward".to_owned());
        }
    }
}

/// Names a process to the disk.
pub fn owner(process: usize) -> crate::oracle::Owner {
    u32::try_from(process).unwrap_or(u32::MAX)
}
