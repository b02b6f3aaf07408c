//! Stores: where journals, blobs and leases live.
//!
//! A store knows records, not agents: it appends them, fenced and in order, and gives them back.
//! [`SqliteStore`] keeps them in one file; [`MemoryStore`] is the same in its most obvious form,
//! for tests and as an oracle. [`verify()`] checks a whole journal.

mod encoding;
mod memory;
mod prepare;
mod sqlite;
mod verify;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;
pub use verify::{VerifyError, verify};

use async_trait::async_trait;
use prusik_core::ids::{Digest, Fence, RunId, Seq, Timestamp};
use prusik_core::ledger::{EntryId, Note};
use prusik_core::message::Blob;
use prusik_core::record::{Head, Record};
use serde::{Deserialize, Serialize};

/// Keeps journals. One value is shared by all that drive runs in this process.
///
/// The contract, which the conformance suite checks on every implementation:
///
/// - When [`append`](Store::append) returns `Ok`, the step is durable: records, blobs and row.
/// - A step is atomic: after a crash all of it is there, or nothing.
/// - Appends of one run that are submitted one after the other land in that order, and a later one
///   never lands without the earlier ones.
/// - An append under an old fence changes nothing and fails with [`StoreError::Fenced`].
/// - Records are given back exactly as they were sealed, in order.
/// - [`load`](Store::load) fails on a damaged journal; [`records`](Store::records) gives back what
///   is there, so that [`verify()`] can name the place.
/// - A run without records is not known to anybody but the holder of its lease.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes a run for this process, a new run included. It fails with [`StoreError::Leased`]
    /// while another live owner has it; a dead owner's lease is taken over under the next fence.
    async fn acquire(&self, run: &RunId, now: Timestamp) -> Result<Lease, StoreError>;

    /// Gives a run back. Nothing happens if the lease is no longer the current one.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Gives a run back without waiting for it, behind the steps that were submitted before: for a
    /// holder that is dropped. A failure leaves the lease to the death of its owner.
    fn let_go(&self, lease: &Lease);

    /// Submits a step at once, in call order, and returns what resolves when it is durable.
    /// The step is on its way even if the returned value is dropped.
    fn append(&self, step: Append) -> Pending;

    /// Returns the newest snapshot, if there is one, and every record after it; all records if
    /// there is none.
    async fn load(&self, run: &RunId) -> Result<Loaded, StoreError>;

    /// Returns the records `from..=to`, those that exist.
    async fn records(&self, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, StoreError>;

    /// Returns a blob, checked against its digest.
    async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError>;

    /// Returns the rows of runs, newest first.
    async fn list(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError>;

    /// Leaves a message for whoever drives `run`.
    async fn post(&self, run: &RunId, signal: &Signal, now: Timestamp) -> Result<(), StoreError>;

    /// Takes the messages for `run`, oldest first; each is taken once.
    async fn take_signals(&self, lease: &Lease) -> Result<Vec<Signal>, StoreError>;

    /// Deletes ended runs whose last record is older than `before`, with the blobs that nothing
    /// else names.
    async fn prune(&self, before: Timestamp, dry_run: bool) -> Result<Pruned, StoreError>;
}

/// A step on its way to the disk.
pub type Pending = tokio::sync::oneshot::Receiver<Result<(), StoreError>>;

/// The right to append to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub run: RunId,
    pub fence: Fence,
}

/// One atomic step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    pub lease: Lease,
    /// In order, continuing the journal's head.
    pub records: Vec<Record>,
    /// Bytes that the records name. Storing one twice is no error.
    pub blobs: Vec<Blob>,
    /// Digests that the run holds on to from now on, whether their bytes are in `blobs` or were
    /// stored earlier; a pruned run lets go of them.
    pub refs: Vec<Digest>,
    /// What listings show of the run after this step.
    pub row: RunRow,
    /// Replaces the run's snapshot, if there is one.
    pub snapshot: Option<Snapshot>,
}

/// A run's state at a record, so that loading need not read all before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub head: Head,
    pub bytes: Vec<u8>,
}

/// What [`Store::load`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub snapshot: Option<Snapshot>,
    pub records: Vec<Record>,
}

/// One line of a listing. The store keeps it and does not look inside, but for `ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    pub run: RunId,
    pub agent: String,
    /// The first line of the task, cut.
    pub task: String,
    /// `running`, `parked`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// Why it is so and what to do, in one line; empty when there is nothing to say.
    pub note: String,
    /// Whether the run will never change again.
    pub ended: bool,
    pub turns: u64,
    pub tokens: u64,
    pub nano_usd: u64,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// Which rows to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only runs whose id starts with this.
    pub id_prefix: Option<String>,
    /// Only runs with this status.
    pub status: Option<String>,
    /// At most this many; none for all.
    pub limit: Option<u32>,
}

/// A message to the driver of a run, from another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    Cancel {
        by: String,
        reason: String,
    },
    Interrupt,
    /// Something is to be kept in the ledger.
    Note {
        by: String,
        note: Note,
        supersedes: Option<EntryId>,
    },
    /// The context is to be made smaller before the model is asked again.
    Compact {
        by: String,
    },
}

/// What pruning removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    pub runs: Vec<RunId>,
    pub blobs: u64,
    /// Bytes of records and blobs as they are stored.
    pub bytes: u64,
}

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("run {run} is being driven by {owner}; `prusik cancel {run}` stops it")]
    Leased { run: RunId, owner: String },
    #[error("run {run} was taken over by another driver; this one must stop")]
    Fenced { run: RunId },
    #[error("there is no run {run}")]
    UnknownRun { run: RunId },
    #[error("there is no blob {digest}")]
    UnknownBlob { digest: Digest },
    #[error("the journal of run {run} goes on after record {head}, not after {got}")]
    OutOfOrder { run: RunId, head: Seq, got: Seq },
    #[error("{at} is full: {detail}; free some space, then `prusik resume`")]
    DiskFull { at: String, detail: String },
    #[error("{at} cannot be written: {detail}")]
    ReadOnly { at: String, detail: String },
    #[error("{at} is locked by another program: {detail}")]
    Locked { at: String, detail: String },
    #[error("{at} is damaged: {detail}")]
    Corrupt { at: String, detail: String },
    #[error("{at} was written by a newer prusik (schema {found}, this one knows {known})")]
    NewerSchema { at: String, found: u32, known: u32 },
    #[error("{at}: {detail}")]
    Io { at: String, detail: String },
}
