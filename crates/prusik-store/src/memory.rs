//! The store in its most obvious form, kept in memory: for tests, and as the oracle that other
//! stores are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use prusik_core::ids::{Digest, Fence, RunId, Seq, Timestamp};
use prusik_core::record::{Head, Record};
use tokio::sync::oneshot;

use crate::prepare::{
    FIRST_FENCE, SIGNALS_WAITING_MAX, check_run_id, check_step, fenced, follow, signal_json,
    too_many_signals, unknown,
};
use crate::{
    Append, Filter, Lease, Loaded, Pending, Pruned, RunRow, Signal, Snapshot, Store, StoreError,
};

/// A store that forgets everything when its last owner is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Mutex<Shared>>,
    owner: u64,
}

#[derive(Debug, Default)]
struct Shared {
    runs: BTreeMap<RunId, Run>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    live_owners: BTreeSet<u64>,
    owners_ever: u64,
}

#[derive(Debug)]
struct Run {
    fence: Fence,
    owner: Option<u64>,
    row: Option<RunRow>,
    records: Vec<Record>,
    snapshot: Option<Snapshot>,
    refs: BTreeSet<Digest>,
    signals: Vec<Signal>,
}

impl Run {
    fn head(&self) -> Head {
        self.records
            .last()
            .map_or(Head::START, |record| Head { seq: record.seq, hash: record.hash })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::owner_of(Arc::default())
    }

    /// Returns another owner of the same runs, as a second process would be.
    pub fn another_owner(&self) -> Self {
        Self::owner_of(Arc::clone(&self.shared))
    }

    fn owner_of(shared: Arc<Mutex<Shared>>) -> Self {
        let mut guard = lock(&shared);
        guard.owners_ever += 1;
        let owner = guard.owners_ever;
        guard.live_owners.insert(owner);
        drop(guard);
        Self { shared, owner }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    fn append_now(&self, step: Append) -> Result<(), StoreError> {
        check_step(&step)?;
        let mut shared = self.lock();
        let Shared { runs, blobs, .. } = &mut *shared;
        let run = held(runs, &step.lease, self.owner)?;
        follow(&step, run.head(), |seq| {
            let found = run.records.iter().find(|record| record.seq == seq);
            Ok::<_, StoreError>(found.map(|record| record.hash))
        })?;
        for digest in &step.refs {
            let comes_along = step.blobs.iter().any(|blob| blob.digest == *digest);
            if !comes_along && !blobs.contains_key(digest) {
                return Err(StoreError::UnknownBlob { digest: *digest });
            }
        }
        run.refs.extend(&step.refs);
        for blob in step.blobs {
            run.refs.insert(blob.digest);
            blobs.insert(blob.digest, blob.bytes);
        }
        run.records.extend(step.records);
        run.row = Some(RunRow { run: step.lease.run, ..step.row });
        run.snapshot = step.snapshot.or(run.snapshot.take());
        Ok(())
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.lock().live_owners.remove(&self.owner);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic elsewhere cannot leave it half changed: steps are checked before they change it.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held<'a>(
    runs: &'a mut BTreeMap<RunId, Run>,
    lease: &Lease,
    owner: u64,
) -> Result<&'a mut Run, StoreError> {
    runs.get_mut(&lease.run)
        .filter(|run| run.owner == Some(owner) && run.fence == lease.fence)
        .ok_or_else(|| fenced(&lease.run))
}

fn known<'a>(shared: &'a Shared, run: &RunId) -> Result<&'a Run, StoreError> {
    shared.runs.get(run).filter(|found| !found.records.is_empty()).ok_or_else(|| unknown(run))
}

#[async_trait]
impl Store for MemoryStore {
    async fn acquire(&self, run: &RunId, _now: Timestamp) -> Result<Lease, StoreError> {
        check_run_id(run)?;
        let mut shared = self.lock();
        let Shared { runs, live_owners, .. } = &mut *shared;
        let fence = match runs.get_mut(run) {
            None => {
                runs.insert(
                    run.clone(),
                    Run {
                        fence: FIRST_FENCE,
                        owner: Some(self.owner),
                        row: None,
                        records: Vec::new(),
                        snapshot: None,
                        refs: BTreeSet::new(),
                        signals: Vec::new(),
                    },
                );
                FIRST_FENCE
            }
            Some(found) => {
                if let Some(owner) = found.owner.filter(|owner| live_owners.contains(owner)) {
                    let owner = format!("owner {owner} of this process");
                    return Err(StoreError::Leased { run: run.clone(), owner });
                }
                found.owner = Some(self.owner);
                found.fence = found.fence.next();
                found.fence
            }
        };
        Ok(Lease { run: run.clone(), fence })
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.let_go(lease);
        Ok(())
    }

    fn let_go(&self, lease: &Lease) {
        if let Ok(run) = held(&mut self.lock().runs, lease, self.owner) {
            run.owner = None;
        }
    }

    fn append(&self, step: Append) -> Pending {
        let (answer, pending) = oneshot::channel();
        // The receiver may be gone; the step landed all the same.
        let _ = answer.send(self.append_now(step));
        pending
    }

    async fn load(&self, run: &RunId) -> Result<Loaded, StoreError> {
        let shared = self.lock();
        let found = known(&shared, run)?;
        let after = found.snapshot.as_ref().map_or(Seq(0), |snapshot| snapshot.head.seq);
        Ok(Loaded {
            snapshot: found.snapshot.clone(),
            records: found.records.iter().filter(|record| record.seq > after).cloned().collect(),
        })
    }

    async fn records(&self, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, StoreError> {
        let shared = self.lock();
        let records = &known(&shared, run)?.records;
        Ok(records.iter().filter(|r| from <= r.seq && r.seq <= to).cloned().collect())
    }

    async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let shared = self.lock();
        shared.blobs.get(digest).cloned().ok_or(StoreError::UnknownBlob { digest: *digest })
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let shared = self.lock();
        let mut rows: Vec<RunRow> = shared
            .runs
            .values()
            .filter(|run| !run.records.is_empty())
            .filter_map(|run| run.row.clone())
            .filter(|row| {
                let prefix = filter.id_prefix.as_deref().unwrap_or_default();
                row.run.as_str().starts_with(prefix)
                    && filter.status.as_ref().is_none_or(|status| row.status == *status)
            })
            .collect();
        rows.sort_by(|a, b| (b.created, &b.run).cmp(&(a.created, &a.run)));
        rows.truncate(filter.limit.map_or(usize::MAX, |limit| limit as usize));
        Ok(rows)
    }

    async fn post(&self, run: &RunId, signal: &Signal, _now: Timestamp) -> Result<(), StoreError> {
        signal_json(run, signal)?;
        let mut shared = self.lock();
        known(&shared, run)?;
        let found = shared.runs.get_mut(run).expect("it is known");
        if found.signals.len() >= SIGNALS_WAITING_MAX {
            return Err(too_many_signals(run));
        }
        found.signals.push(signal.clone());
        Ok(())
    }

    async fn take_signals(&self, lease: &Lease) -> Result<Vec<Signal>, StoreError> {
        let mut shared = self.lock();
        Ok(std::mem::take(&mut held(&mut shared.runs, lease, self.owner)?.signals))
    }

    async fn prune(&self, before: Timestamp, dry_run: bool) -> Result<Pruned, StoreError> {
        let mut shared = self.lock();
        let old = |run: &Run| {
            run.row.as_ref().is_some_and(|row| row.ended)
                && run.records.last().is_some_and(|record| record.at < before)
        };
        let (dropped, kept): (Vec<_>, Vec<_>) = shared.runs.iter().partition(|(_, run)| old(run));
        let named: BTreeSet<Digest> =
            kept.iter().flat_map(|(_, run)| run.refs.iter().copied()).collect();
        let unnamed: Vec<Digest> =
            shared.blobs.keys().filter(|digest| !named.contains(digest)).copied().collect();
        let record_bytes: usize =
            dropped.iter().flat_map(|(_, run)| &run.records).map(|record| record.body.len()).sum();
        let blob_bytes: usize = unnamed.iter().map(|digest| shared.blobs[digest].len()).sum();
        let pruned = Pruned {
            runs: dropped.iter().map(|(id, _)| (*id).clone()).collect(),
            blobs: unnamed.len() as u64,
            bytes: (record_bytes + blob_bytes) as u64,
        };
        if !dry_run {
            shared.runs.retain(|_, run| !old(run));
            shared.blobs.retain(|digest, _| named.contains(digest));
        }
        Ok(pruned)
    }
}
