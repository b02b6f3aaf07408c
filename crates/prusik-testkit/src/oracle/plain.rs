//! What a store promises, in the plainest words: the contract on `prusik_store::Store` written out
//! over a few maps. It shares no code with any store, and stands as the disk of the simulator.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::ids::{Digest, Fence, RunId, Seq, Timestamp};
use prusik_core::record::{Head, Record};
use prusik_store::{Append, Filter, Lease, Loaded, Pruned, RunRow, Signal, Snapshot, StoreError};

/// Names a process, or an open store, that takes leases.
pub type Owner = u32;

/// All runs, and all owners that live.
#[derive(Debug, Default)]
pub struct Plain {
    runs: BTreeMap<RunId, Kept>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    living: BTreeSet<Owner>,
}

#[derive(Debug, Default)]
struct Kept {
    fence: u64,
    owner: Option<Owner>,
    records: Vec<Record>,
    row: Option<RunRow>,
    snapshot: Option<Snapshot>,
    holds_on_to: BTreeSet<Digest>,
    signals: Vec<Signal>,
}

impl Plain {
    pub fn is_born(&mut self, owner: Owner) {
        self.living.insert(owner);
    }

    pub fn dies(&mut self, owner: Owner) {
        self.living.remove(&owner);
    }

    pub fn acquire(&mut self, owner: Owner, run: &RunId) -> Result<Lease, StoreError> {
        let kept = self.runs.entry(run.clone()).or_default();
        if kept.owner.is_some_and(|holder| self.living.contains(&holder)) {
            return Err(StoreError::Leased { run: run.clone(), owner: String::new() });
        }
        kept.fence += 1;
        kept.owner = Some(owner);
        Ok(Lease { run: run.clone(), fence: Fence(kept.fence) })
    }

    pub fn release(&mut self, owner: Owner, lease: &Lease) {
        if let Ok(kept) = self.held(owner, lease) {
            kept.owner = None;
        }
    }

    pub fn is_held(&mut self, owner: Owner, lease: &Lease) -> bool {
        self.held(owner, lease).is_ok()
    }

    pub fn append(&mut self, owner: Owner, step: Append) -> Result<(), StoreError> {
        let run = step.lease.run.clone();
        if let Some(blob) = step.blobs.iter().find(|blob| Digest::of(&blob.bytes) != blob.digest) {
            return Err(corrupt(&format!("blob {}", blob.digest)));
        }
        let known: BTreeSet<Digest> =
            self.blobs.keys().copied().chain(step.blobs.iter().map(|blob| blob.digest)).collect();
        let kept = self.held(owner, &step.lease)?;
        let mut head = head_of(&kept.records);
        for record in &step.records {
            if record.seq.0 != head.seq.0 + 1 {
                let got = Seq(record.seq.0.saturating_sub(1));
                return Err(StoreError::OutOfOrder { run, head: head.seq, got });
            }
            if hash_after(head.hash, record) != record.hash {
                return Err(corrupt("a record"));
            }
            head = Head { seq: record.seq, hash: record.hash };
        }
        if let Some(Snapshot { head: at, .. }) = &step.snapshot {
            let mut all = kept.records.iter().chain(&step.records);
            if !all.any(|record| record.seq == at.seq && record.hash == at.hash) {
                return Err(corrupt("a snapshot"));
            }
        }
        if let Some(digest) = step.refs.iter().find(|digest| !known.contains(digest)) {
            return Err(StoreError::UnknownBlob { digest: *digest });
        }
        kept.records.extend(step.records);
        kept.holds_on_to.extend(step.refs);
        kept.holds_on_to.extend(step.blobs.iter().map(|blob| blob.digest));
        kept.row = Some(RunRow { run, ..step.row });
        if step.snapshot.is_some() {
            kept.snapshot = step.snapshot;
        }
        self.blobs.extend(step.blobs.into_iter().map(|blob| (blob.digest, blob.bytes)));
        Ok(())
    }

    pub fn load(&self, run: &RunId) -> Result<Loaded, StoreError> {
        let kept = self.known(run)?;
        let through = kept.snapshot.as_ref().map_or(0, |snapshot| snapshot.head.seq.0);
        let records = kept.records.iter().filter(|record| record.seq.0 > through);
        Ok(Loaded { snapshot: kept.snapshot.clone(), records: records.cloned().collect() })
    }

    pub fn records(&self, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, StoreError> {
        let records = self.known(run)?.records.iter();
        Ok(records.filter(|record| record.seq >= from && record.seq <= to).cloned().collect())
    }

    /// Returns every record of a run, or none at all.
    pub fn journal(&self, run: &RunId) -> &[Record] {
        self.runs.get(run).map_or(&[], |kept| &kept.records)
    }

    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        self.blobs.get(digest).cloned().ok_or(StoreError::UnknownBlob { digest: *digest })
    }

    pub fn list(&self, filter: &Filter) -> Vec<RunRow> {
        let prefix = filter.id_prefix.as_deref().unwrap_or("");
        let mut rows: Vec<RunRow> =
            self.runs.values().filter_map(|kept| kept.row.clone()).collect();
        rows.retain(|row| !self.journal(&row.run).is_empty());
        rows.retain(|row| row.run.as_str().starts_with(prefix));
        rows.retain(|row| filter.status.as_ref().is_none_or(|status| *status == row.status));
        rows.sort_by_key(|row| std::cmp::Reverse((row.created, row.run.clone())));
        rows.truncate(filter.limit.map_or(usize::MAX, |limit| limit as usize));
        rows
    }

    pub fn post(&mut self, run: &RunId, signal: &Signal) -> Result<(), StoreError> {
        self.known(run)?;
        if let Some(kept) = self.runs.get_mut(run) {
            kept.signals.push(signal.clone());
        }
        Ok(())
    }

    pub fn take_signals(&mut self, owner: Owner, lease: &Lease) -> Result<Vec<Signal>, StoreError> {
        Ok(std::mem::take(&mut self.held(owner, lease)?.signals))
    }

    /// Prunes; `bytes` of the answer stays 0, since every store packs in its own way.
    pub fn prune(&mut self, before: Timestamp, dry_run: bool) -> Pruned {
        let is_old = |kept: &Kept| {
            kept.row.as_ref().is_some_and(|row| row.ended)
                && kept.records.last().is_some_and(|record| record.at < before)
        };
        let old: Vec<RunId> =
            self.runs.iter().filter(|(_, kept)| is_old(kept)).map(|(run, _)| run.clone()).collect();
        let needed: BTreeSet<Digest> = self
            .runs
            .iter()
            .filter(|(run, _)| !old.contains(run))
            .flat_map(|(_, kept)| kept.holds_on_to.iter().copied())
            .collect();
        let blobs = self.blobs.keys().filter(|digest| !needed.contains(digest)).count() as u64;
        if !dry_run {
            self.runs.retain(|run, _| !old.contains(run));
            self.blobs.retain(|digest, _| needed.contains(digest));
        }
        Pruned { runs: old, blobs, bytes: 0 }
    }

    fn known(&self, run: &RunId) -> Result<&Kept, StoreError> {
        let kept = self.runs.get(run).filter(|kept| !kept.records.is_empty());
        kept.ok_or_else(|| StoreError::UnknownRun { run: run.clone() })
    }

    fn held(&mut self, owner: Owner, lease: &Lease) -> Result<&mut Kept, StoreError> {
        let current = |kept: &&mut Kept| kept.fence == lease.fence.0 && kept.owner == Some(owner);
        let kept = self.runs.get_mut(&lease.run).filter(current);
        kept.ok_or_else(|| StoreError::Fenced { run: lease.run.clone() })
    }
}

fn head_of(records: &[Record]) -> Head {
    records.last().map_or(Head::START, |last| Head { seq: last.seq, hash: last.hash })
}

/// Returns the hash that a record must have behind another, as the format of records says.
fn hash_after(previous: Digest, record: &Record) -> Digest {
    Digest::of_parts(&[
        &record.version.0.to_le_bytes(),
        &record.seq.0.to_le_bytes(),
        &record.at.0.to_le_bytes(),
        &previous.0,
        &record.body,
    ])
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt { at: what.to_owned(), detail: String::new() }
}
