//! Durable commits that a turn waits for.
//!
//! The run works on a store that withholds every acknowledgement until the run can do nothing more
//! without one. Then one commit makes durable all that was submitted so far. How often that
//! happens is how often the run had to wait for the disk, whatever the disk's speed.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use prusik_core::budget::Budget;
use prusik_core::contract::EffectClass;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::record::Record;
use prusik_engine::Engine;
use prusik_store::{
    Append, Filter, Lease, Loaded, MemoryStore, Pending, Pruned, RunRow, Signal, Store, StoreError,
};
use tokio::sync::oneshot;

use super::workload::{self, End};

/// Rounds of the scheduler in which nothing happens before the run is taken to be stuck. It has
/// one thread, and nothing in it waits for anything but the store.
const IDLE_ROUNDS: u32 = 64;

/// Returns the commits that each turn of a run waited for, with a tool of this effect.
pub fn per_turn(effect: EffectClass, turns: u32) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let store = Arc::new(Withholding::default());
        let engine = Engine::new(Arc::clone(&store) as Arc<dyn Store>);
        let (world, model) = workload::world(1, turns, End::Hang);
        store.open_gate();
        let budget = Budget::default();
        let mut held =
            engine.start(workload::agent(effect), "Look items up.".to_owned(), budget).await?;
        store.close_gate();
        let (_keep, mut controls) = tokio::sync::mpsc::unbounded_channel();
        let driving = tokio::spawn(async move {
            held.drive(&world, "bench", Vec::new(), &mut controls, Arc::new(())).await
        });
        let mut waits = 0_u64;
        loop {
            settle(&store, &model).await;
            if model.calls() > u64::from(turns) {
                break;
            }
            ensure!(!driving.is_finished(), "the run stopped early");
            ensure!(store.acknowledge()?, "the run waits, and not for the store");
            waits += 1;
        }
        driving.abort();
        let waits = u32::try_from(waits).context("fewer commits than that")?;
        Ok(f64::from(waits) / f64::from(turns))
    })
}

/// Lets the run go on until it can do nothing more.
async fn settle(store: &Withholding, model: &workload::Answers) {
    let mut seen = (0, 0);
    let mut idle = 0;
    while idle < IDLE_ROUNDS {
        tokio::task::yield_now().await;
        let now = (store.submitted(), model.calls());
        idle = if now == seen { idle + 1 } else { 0 };
        seen = now;
    }
}

/// A store in memory that says "durable" only when it is told to.
#[derive(Default)]
struct Withholding {
    inner: MemoryStore,
    gate: Mutex<Gate>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    submitted: u64,
    withheld: Vec<(Pending, oneshot::Sender<Result<(), StoreError>>)>,
}

impl Withholding {
    fn lock(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_gate(&self) {
        self.lock().open = true;
    }

    fn close_gate(&self) {
        self.lock().open = false;
    }

    fn submitted(&self) -> u64 {
        self.lock().submitted
    }

    /// Acknowledges all that was submitted; false if there is nothing.
    fn acknowledge(&self) -> Result<bool> {
        let withheld = std::mem::take(&mut self.lock().withheld);
        let any = !withheld.is_empty();
        for (mut kept, acknowledge) in withheld {
            let kept = kept.try_recv().context("the store in memory answers at once")?;
            // A run that was given up no longer listens.
            let _ = acknowledge.send(kept);
        }
        Ok(any)
    }
}

#[async_trait]
impl Store for Withholding {
    async fn acquire(&self, run: &RunId, now: Timestamp) -> Result<Lease, StoreError> {
        self.inner.acquire(run, now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }

    fn let_go(&self, lease: &Lease) {
        self.inner.let_go(lease);
    }

    fn append(&self, step: Append) -> Pending {
        let kept = self.inner.append(step);
        let mut gate = self.lock();
        gate.submitted += 1;
        if gate.open {
            return kept;
        }
        let (acknowledge, pending) = oneshot::channel();
        gate.withheld.push((kept, acknowledge));
        pending
    }

    async fn load(&self, run: &RunId) -> Result<Loaded, StoreError> {
        self.inner.load(run).await
    }

    async fn records(&self, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, StoreError> {
        self.inner.records(run, from, to).await
    }

    async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.inner.blob(digest).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        self.inner.list(filter).await
    }

    async fn post(&self, run: &RunId, signal: &Signal, now: Timestamp) -> Result<(), StoreError> {
        self.inner.post(run, signal, now).await
    }

    async fn take_signals(&self, lease: &Lease) -> Result<Vec<Signal>, StoreError> {
        self.inner.take_signals(lease).await
    }

    async fn prune(&self, before: Timestamp, dry_run: bool) -> Result<Pruned, StoreError> {
        self.inner.prune(before, dry_run).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_waits_twice_and_a_read_once() {
        assert!(per_turn(EffectClass::Write, 10).unwrap() <= 2.0);
        assert!(per_turn(EffectClass::Read, 10).unwrap() <= 1.0);
    }
}
