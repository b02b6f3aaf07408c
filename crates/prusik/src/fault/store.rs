//! A store at one of whose appends the process dies, or the disk is full or slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::record::Record;
use prusik_store::{
    Append, Filter, Lease, Loaded, Pending, Pruned, RunRow, Signal, Store, StoreError,
};

/// What happens at the appends of this process, which count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreFaults {
    pub crash: Option<Point>,
    /// The disk is full at this append, and at it alone.
    pub full_at: Option<u64>,
    /// How long the slowest append is held up, in milliseconds.
    pub slow_ms: u64,
}

/// When the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before anything of this append is written.
    Before(u64),
    /// As soon as this append is durable.
    After(u64),
}

impl Point {
    /// Reads `before:N` or `after:N`.
    pub fn parse(text: &str) -> Option<Self> {
        let (when, append) = text.split_once(':')?;
        let append = append.parse().ok()?;
        match when {
            "before" => Some(Self::Before(append)),
            "after" => Some(Self::After(append)),
            _ => None,
        }
    }
}

/// A store with faults.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: StoreFaults,
    appends: AtomicU64,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn Store>, faults: StoreFaults) -> Self {
        Self { inner, faults, appends: AtomicU64::new(0) }
    }
}

/// Dies at once and without a word.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[async_trait]
impl Store for FaultyStore {
    fn append(&self, step: Append) -> Pending {
        let append = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        let crash = self.faults.crash;
        if crash == Some(Point::Before(append)) {
            die();
        }
        let (sender, receiver) = tokio::sync::oneshot::channel();
        if self.faults.full_at == Some(append) {
            let (at, detail) = ("the store".to_owned(), "no space left (a fault on demand)".into());
            let _ = sender.send(Err(StoreError::DiskFull { at, detail }));
            return receiver;
        }
        let pending = self.inner.append(step);
        let dies = crash == Some(Point::After(append));
        let held_up_ms = match self.faults.slow_ms {
            0 => 0,
            slow_ms => append.wrapping_mul(7) % (slow_ms + 1),
        };
        if !dies && held_up_ms == 0 {
            return pending;
        }
        tokio::spawn(async move {
            let answer = pending.await;
            if dies {
                die();
            }
            tokio::time::sleep(std::time::Duration::from_millis(held_up_ms)).await;
            if let Ok(answer) = answer {
                let _ = sender.send(answer);
            }
        });
        receiver
    }

    async fn acquire(&self, run: &RunId, now: Timestamp) -> Result<Lease, StoreError> {
        self.inner.acquire(run, now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }

    fn let_go(&self, lease: &Lease) {
        self.inner.let_go(lease);
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
