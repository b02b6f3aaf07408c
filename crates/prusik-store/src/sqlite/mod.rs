//! The embedded store: one SQLite file, its WAL beside it, and a folder of lock files.

mod error;
mod lease;
mod read;
mod schema;
mod write;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::record::Record;
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::lease::Owner;
use self::read::Readers;
use self::write::PackedStep;
use self::writer::{Reply, Request, Writer};
use crate::prepare::{check_run_id, signal_json};
use crate::{Append, Filter, Lease, Loaded, Pending, Pruned, RunRow, Signal, Store, StoreError};

/// A store in a file, `.prusik/prusik.db` by custom. Any number of processes may have it open;
/// each open store is an owner of leases for as long as it lives.
#[derive(Debug)]
pub struct SqliteStore {
    // Closed before the writer, which then is the last to close the file and empties the WAL.
    readers: Arc<Readers>,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the store, and makes it with its folder if it does not exist.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_tuned(path.as_ref(), |_| Ok(()))
    }

    /// Opens the store with the writing connection changed by `tune`, so that tests can make it
    /// fail.
    fn open_tuned(
        path: &Path,
        tune: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Self, StoreError> {
        let conn = schema::open_writer(path)?;
        tune(&conn).map_err(|error| error::sql_error(path, &error))?;
        let owner = Owner::new(path.parent().unwrap_or(Path::new("")).join("owners"));
        let writer = Writer::start(conn, path, owner)?;
        Ok(Self { readers: Readers::new(path), writer })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn acquire(&self, run: &RunId, now: Timestamp) -> Result<Lease, StoreError> {
        check_run_id(run)?;
        self.writer.acquire(run.clone(), now).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.writer.ask(|reply| Request::Release { lease: lease.clone(), reply }).await
    }

    fn let_go(&self, lease: &Lease) {
        self.writer.let_go(lease.clone());
    }

    fn append(&self, step: Append) -> Pending {
        match PackedStep::new(step) {
            Ok(step) => {
                let (reply, pending) = Reply::new();
                let step = Box::new(step);
                self.writer.submit(Request::Append { step, reply });
                pending
            }
            Err(error) => {
                let (answer, pending) = oneshot::channel();
                // The receiver is right here.
                let _ = answer.send(Err(error));
                pending
            }
        }
    }

    async fn load(&self, run: &RunId) -> Result<Loaded, StoreError> {
        let run = run.clone();
        self.readers.read(move |conn| read::load(conn, &run)).await
    }

    async fn records(&self, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, StoreError> {
        let run = run.clone();
        self.readers.read(move |conn| read::records(conn, &run, from, to)).await
    }

    async fn blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let digest = *digest;
        self.readers.read(move |conn| read::blob(conn, &digest)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let filter = filter.clone();
        self.readers.read(move |conn| read::list(conn, &filter)).await
    }

    async fn post(&self, run: &RunId, signal: &Signal, now: Timestamp) -> Result<(), StoreError> {
        let json = signal_json(run, signal)?;
        self.writer.ask(|reply| Request::Post { run: run.clone(), json, now, reply }).await
    }

    async fn take_signals(&self, lease: &Lease) -> Result<Vec<Signal>, StoreError> {
        self.writer.ask(|reply| Request::TakeSignals { lease: lease.clone(), reply }).await
    }

    async fn prune(&self, before: Timestamp, dry_run: bool) -> Result<Pruned, StoreError> {
        let found = self.readers.read(move |conn| read::prunable(conn, before)).await?;
        if dry_run {
            return Ok(found);
        }
        // A transaction for each run, so that the runs that go on need not wait for all of it. What
        // a crash leaves undone, the next pruning does.
        let mut pruned = Pruned::default();
        for run in found.runs {
            let bytes = self
                .writer
                .ask(|reply| Request::PruneRun { run: run.clone(), before, reply })
                .await?;
            if let Some(bytes) = bytes {
                pruned.runs.push(run);
                pruned.bytes += bytes;
            }
        }
        let (blobs, bytes) = self.writer.ask(|reply| Request::DropBlobs { reply }).await?;
        pruned.blobs = blobs;
        pruned.bytes += bytes;
        while self.writer.ask(|reply| Request::Reclaim { reply }).await? {}
        Ok(pruned)
    }
}
