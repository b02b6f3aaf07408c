//! Runs as a driver holds them: started, opened, forked, changed by one input, given back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prusik_core::agent::Agent;
use prusik_core::budget::Budget;
use prusik_core::event::Event;
use prusik_core::ids::{CallId, Digest, RunId, Seq};
use prusik_core::input::{Input, Now, Rejected};
use prusik_core::policy::Policy;
use prusik_core::record::JournalError;
use prusik_core::run::{Definition, ForkError, Run, Sealed, Status, Step, fork};
use prusik_store::{Append, Lease, Pending, Snapshot, Store, StoreError};

use crate::clock::{Clock, SystemClock};
use crate::row::row;

/// Records after which a new snapshot is worth its bytes.
const SNAPSHOT_EVERY: u64 = 512;

/// Why the engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the journal of run {run} is damaged: {problem}; `prusik events {run} --verify` shows where"
    )]
    Journal { run: RunId, problem: JournalError },
    #[error("the definition of run {run} cannot be read: {problem}")]
    Definition { run: RunId, problem: String },
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error(transparent)]
    Fork(#[from] ForkError),
}

/// Finds the organisation's policy that an agent's calls are held to now, if there is one.
pub type PolicyOf = Arc<dyn Fn(&Agent) -> Option<Arc<dyn Policy>> + Send + Sync>;

/// Drives runs that live in one store.
#[derive(Clone)]
pub struct Engine {
    policy: PolicyOf,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    definitions: Arc<Mutex<BTreeMap<Digest, Arc<Definition>>>>,
}

/// A run whose lease this process holds. Dropped, it is given back behind what was submitted to the
/// store; [`Held::release`] does the same and waits for it.
pub struct Held {
    pub(crate) claim: Claim,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) run: Run,
    /// Through which record the journal is durable.
    pub(crate) durable: Seq,
    snapshot_at: Seq,
    /// Whether the last driver died: what it had under way must be looked at first.
    pub(crate) abandoned: bool,
}

/// A lease that goes back to its store in the end, also where a future is dropped that was on its way
/// to a [`Held`]: a living process would keep it otherwise.
pub(crate) struct Claim {
    pub store: Arc<dyn Store>,
    pub lease: Lease,
    is_given_back: bool,
}

impl Claim {
    async fn give_back(mut self) -> Result<(), StoreError> {
        let given_back = self.store.release(&self.lease).await;
        self.is_given_back = given_back.is_ok();
        given_back
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_given_back {
            self.store.let_go(&self.lease);
        }
    }
}

impl Engine {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with_clock(store, Arc::new(SystemClock))
    }

    /// Returns an engine whose time, chance and names come from `clock`.
    pub fn with_clock(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, definitions: Arc::default(), policy: Arc::new(|_| None) }
    }

    /// Holds every run that is started or opened from now on to a policy of the organisation.
    pub fn with_policy(self, policy: PolicyOf) -> Self {
        Self { policy, ..self }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Begins a run and makes its first record durable. Nothing is driven yet.
    pub async fn start(
        &self,
        agent: Agent,
        task: String,
        budget: Budget,
    ) -> Result<Held, EngineError> {
        let definition = self.share(agent);
        let id = self.clock.new_run_id();
        let claim = self.claim(&id).await?;
        let (run, sealed) = Run::start(definition, id, task, budget, self.clock.now());
        let mut held = self.hold(run, claim);
        held.append(sealed).durable().await?;
        Ok(held)
    }

    /// Takes a run over and loads it. A run that another live driver holds is refused.
    pub async fn open(&self, id: &RunId) -> Result<Held, EngineError> {
        // Acquiring an unknown run would create it.
        if !self.exists(id).await? {
            return Err(StoreError::UnknownRun { run: id.clone() }.into());
        }
        let claim = self.claim(id).await?;
        let loaded = self.read(id).await;
        match loaded {
            Ok(run) => {
                let abandoned = run.state().status == Status::Running;
                Ok(Held { abandoned, ..self.hold(run, claim) })
            }
            Err(error) => {
                claim.give_back().await?;
                Err(error)
            }
        }
    }

    async fn claim(&self, id: &RunId) -> Result<Claim, EngineError> {
        let lease = self.store.acquire(id, self.clock.now()).await?;
        Ok(Claim { store: Arc::clone(&self.store), lease, is_given_back: false })
    }

    async fn exists(&self, id: &RunId) -> Result<bool, EngineError> {
        Ok(!self.store.records(id, Seq(1), Seq(1)).await?.is_empty())
    }

    /// Loads a run to look at it, without its lease: another process may be driving it.
    pub async fn read(&self, id: &RunId) -> Result<Run, EngineError> {
        let damaged = |problem| EngineError::Journal { run: id.clone(), problem };
        let loaded = self.store.load(id).await?;
        let definition = self.definition_of(id).await?;
        if let Some(Snapshot { head, bytes }) = &loaded.snapshot {
            let definition = Arc::clone(&definition);
            let run = Run::restore(definition, *head, bytes, &loaded.records).map_err(damaged)?;
            if let Some(run) = run {
                return Ok(run);
            }
        }
        let records = match loaded.snapshot {
            None => loaded.records,
            Some(_) => self.store.records(id, Seq(1), Seq(u64::MAX)).await?,
        };
        Run::replay(definition, &records).map_err(damaged)
    }

    async fn definition_of(&self, id: &RunId) -> Result<Arc<Definition>, EngineError> {
        let damaged = |problem| EngineError::Journal { run: id.clone(), problem };
        let first = self.store.records(id, Seq(1), Seq(1)).await?;
        let first = first.first().ok_or_else(|| StoreError::UnknownRun { run: id.clone() })?;
        let Event::RunStarted(started) = first.event().map_err(damaged)? else {
            return Err(damaged(JournalError::NoStart));
        };
        if let Some(known) = self.lock_definitions().get(&started.definition) {
            return Ok(Arc::clone(known));
        }
        let bytes = self.store.blob(&started.definition).await?;
        let agent = serde_json::from_slice(&bytes).map_err(|error| EngineError::Definition {
            run: id.clone(),
            problem: error.to_string(),
        })?;
        Ok(self.share(agent))
    }

    fn share(&self, agent: Agent) -> Arc<Definition> {
        let definition = Arc::new(Definition::new(agent));
        Arc::clone(self.lock_definitions().entry(definition.digest()).or_insert(definition))
    }

    fn lock_definitions(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<Definition>>> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run that shares the journal of `from` through record `at`. Returns it with the
    /// calls behind the fork that changed the world.
    pub async fn fork(&self, from: &RunId, at: Seq) -> Result<(Held, Vec<CallId>), EngineError> {
        let definition = self.definition_of(from).await?;
        let records = self.store.records(from, Seq(1), Seq(u64::MAX)).await?;
        let id = self.clock.new_run_id();
        let (run, mut sealed, writes) =
            fork(&definition, &records, at, id.clone(), self.clock.now())?;
        // The definition is stored already; only the reference to it is new.
        sealed.blobs.clear();
        let claim = self.claim(&id).await?;
        let mut held = self.hold(run, claim);
        held.append(sealed).durable().await?;
        Ok((held, writes))
    }

    fn hold(&self, mut run: Run, claim: Claim) -> Held {
        run.hold_to((self.policy)(run.definition().agent()));
        let durable = run.head().seq;
        let clock = Arc::clone(&self.clock);
        Held { claim, clock, run, durable, snapshot_at: durable, abandoned: false }
    }
}

/// Records on their way to the disk.
pub(crate) struct Appending {
    pub through: Seq,
    pub pending: Pending,
}

impl Appending {
    pub async fn durable(self) -> Result<Seq, StoreError> {
        match self.pending.await {
            Ok(result) => result.map(|()| self.through),
            Err(_) => Err(StoreError::Io {
                at: "the store".into(),
                detail: "it stopped before it answered".into(),
            }),
        }
    }
}

impl Held {
    pub fn run(&self) -> &Run {
        &self.run
    }

    pub fn id(&self) -> &RunId {
        &self.claim.lease.run
    }

    pub fn lease(&self) -> &Lease {
        &self.claim.lease
    }

    /// Hands one input in and waits until what it leads to is durable. For what a person says
    /// about a run that nobody drives.
    pub async fn submit(&mut self, input: Input) -> Result<Vec<Event>, EngineError> {
        let step =
            self.run.handle(input, Now { at: self.clock.now(), entropy: self.clock.entropy() })?;
        self.abandoned = false;
        if step.events.is_empty() {
            return Ok(Vec::new());
        }
        let events = step.events.clone();
        let appending = self.apply(step);
        self.durable = appending.durable().await?;
        Ok(events)
    }

    pub(crate) fn apply(&mut self, step: Step) -> Appending {
        let sealed = self.run.apply(step);
        self.append(sealed)
    }

    pub(crate) fn append(&mut self, sealed: Sealed) -> Appending {
        let through = self.run.head().seq;
        let due = through.0 - self.snapshot_at.0 >= SNAPSHOT_EVERY;
        let snapshot = due.then(|| {
            self.snapshot_at = through;
            let (head, bytes) = self.run.snapshot();
            Snapshot { head, bytes }
        });
        let pending = self.claim.store.append(Append {
            lease: self.claim.lease.clone(),
            records: sealed.records,
            blobs: sealed.blobs,
            refs: sealed.refs,
            row: row(&self.run),
            snapshot,
        });
        Appending { through, pending }
    }

    /// Gives the run back, so that others may take it at once. Returns it as it was left.
    pub async fn release(self) -> Result<Run, EngineError> {
        self.claim.give_back().await?;
        Ok(self.run)
    }
}
