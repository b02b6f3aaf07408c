//! A crash on demand: the process kills itself at a chosen append, so that the promise "killed at
//! any instant" can be tested on the very binary that is shipped.
//!
//! `PRUSIK_CRASH=before:7` kills it when the seventh step of this process is submitted, before any
//! of it is written; `after:7` kills it as soon as that step is durable. It is SIGKILL: nothing is
//! flushed, closed or said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::record::Record;
use prusik_store::{
    Append, Filter, Lease, Loaded, Pending, Pruned, RunRow, Signal, Store, StoreError,
};

use crate::cli::Stopped;

/// The variable that asks for a crash.
pub const VARIABLE: &str = "PRUSIK_CRASH";

/// A store at one of whose appends the process dies.
pub struct CrashingStore {
    inner: Arc<dyn Store>,
    point: Point,
    appends: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Before(u64),
    After(u64),
}

impl CrashingStore {
    pub fn new(inner: Arc<dyn Store>, point: &str) -> Result<Self, Stopped> {
        let wrong =
            || Stopped::misuse(format!("{VARIABLE} is before:N or after:N, and not `{point}`"));
        let (when, append) = point.split_once(':').ok_or_else(wrong)?;
        let append = append.parse().map_err(|_| wrong())?;
        let point = match when {
            "before" => Point::Before(append),
            "after" => Point::After(append),
            _ => return Err(wrong()),
        };
        Ok(Self { inner, point, appends: AtomicU64::new(0) })
    }
}

/// Dies at once and without a word.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[async_trait]
impl Store for CrashingStore {
    fn append(&self, step: Append) -> Pending {
        let append = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        if self.point == Point::Before(append) {
            die();
        }
        let pending = self.inner.append(step);
        if self.point != Point::After(append) {
            return pending;
        }
        let (_never, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let _ = pending.await;
            die();
        });
        receiver
    }

    async fn acquire(&self, run: &RunId, now: Timestamp) -> Result<Lease, StoreError> {
        self.inner.acquire(run, now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
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
