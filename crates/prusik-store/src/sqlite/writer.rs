//! The one thread that writes: it takes all that waits, does it in one transaction, commits once
//! and then answers everybody.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use prusik_core::ids::{RunId, Timestamp};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::error::{Failure, io_error, sql_error};
use super::lease::{self, Owner};
use super::write::{self, PackedStep};
use crate::{Lease, Signal, StoreError};

/// What one commit takes at most.
const GROUP_REQUESTS_MAX: usize = 1024;
const GROUP_BYTES_MAX: usize = 32 << 20;
/// What waits for the writer at most; a disk that falls behind by more has failed.
const QUEUE_REQUESTS_MAX: usize = 65_536;
const QUEUE_BYTES_MAX: usize = 512 << 20;

/// Something to write.
#[derive(Debug)]
pub enum Request {
    Append { step: Box<PackedStep>, reply: Reply<()> },
    Acquire { run: RunId, now: Timestamp, reply: Reply<Lease> },
    Release { lease: Lease, reply: Reply<()> },
    Post { run: RunId, json: String, now: Timestamp, reply: Reply<()> },
    TakeSignals { lease: Lease, reply: Reply<Vec<Signal>> },
    PruneRun { run: RunId, before: Timestamp, reply: Reply<Option<u64>> },
    DropBlobs { reply: Reply<(u64, u64)> },
    Reclaim { reply: Reply<bool> },
}

/// Where an answer goes, and the answer until the commit allows it to go there.
#[derive(Debug)]
pub struct Reply<T> {
    to: oneshot::Sender<Result<T, StoreError>>,
    outcome: Option<Result<T, StoreError>>,
}

impl<T> Reply<T> {
    pub fn new() -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (to, answer) = oneshot::channel();
        (Self { to, outcome: None }, answer)
    }

    /// Keeps what came of the work; a failure of the database is handed on instead.
    fn keep(&mut self, result: Result<T, Failure>) -> rusqlite::Result<()> {
        self.outcome = match result {
            Ok(value) => Some(Ok(value)),
            Err(Failure::Refused(error)) => Some(Err(error)),
            Err(Failure::Sql(error)) => return Err(error),
        };
        Ok(())
    }

    /// Whoever asked may be gone; what was written stays written. Returns what nobody takes.
    fn send(self, committed: Result<(), StoreError>) -> Option<T> {
        let outcome = self.outcome;
        let answer = committed.and_then(|()| outcome.expect("it was kept before the commit"));
        self.to.send(answer).err().and_then(Result::ok)
    }
}

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { step, .. } => step.bytes(),
            Self::Post { json, .. } => json.len(),
            Self::Acquire { .. }
            | Self::Release { .. }
            | Self::TakeSignals { .. }
            | Self::PruneRun { .. }
            | Self::DropBlobs { .. }
            | Self::Reclaim { .. } => 0,
        }
    }

    fn perform(&mut self, conn: &Connection, owner: &mut Owner) -> rusqlite::Result<()> {
        match self {
            Self::Append { step, reply } => reply.keep(write::append(conn, owner, step)),
            Self::Acquire { run, now, reply } => reply.keep(lease::acquire(conn, owner, run, *now)),
            Self::Release { lease, reply } => reply.keep(lease::release(conn, owner, lease)),
            Self::Post { run, json, now, reply } => reply.keep(write::post(conn, run, json, *now)),
            Self::TakeSignals { lease, reply } => {
                reply.keep(write::take_signals(conn, owner, lease))
            }
            Self::PruneRun { run, before, reply } => {
                reply.keep(write::prune_run(conn, run, *before))
            }
            Self::DropBlobs { reply } => reply.keep(write::drop_blobs(conn)),
            Self::Reclaim { reply } => reply.keep(write::reclaim(conn)),
        }
    }

    /// Returns the lease that nobody waits for any more.
    fn answer(self, committed: Result<(), StoreError>) -> Option<Lease> {
        match self {
            Self::Append { reply, .. } | Self::Release { reply, .. } | Self::Post { reply, .. } => {
                reply.send(committed).and(None)
            }
            Self::Acquire { reply, .. } => reply.send(committed),
            Self::TakeSignals { reply, .. } => reply.send(committed).and(None),
            Self::PruneRun { reply, .. } => reply.send(committed).and(None),
            Self::DropBlobs { reply } => reply.send(committed).and(None),
            Self::Reclaim { reply } => reply.send(committed).and(None),
        }
    }
}

/// The way to the writing thread, which ends when this is dropped, after all that waits is done.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    queue: Option<mpsc::Sender<Request>>,
    waiting: Arc<Waiting>,
    thread: Option<JoinHandle<()>>,
}

/// What waits in the queue.
#[derive(Debug, Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Writer {
    pub fn start(conn: Connection, path: &Path, owner: Owner) -> Result<Self, StoreError> {
        let (queue, requests) = mpsc::channel();
        let waiting = Arc::new(Waiting::default());
        let worker =
            Worker { conn, path: path.to_owned(), owner, waiting: Arc::clone(&waiting), requests };
        let thread = std::thread::Builder::new()
            .name("prusik-store".to_owned())
            .spawn(move || worker.work())
            .map_err(|error| io_error(path, &error))?;
        Ok(Self { path: path.to_owned(), queue: Some(queue), waiting, thread: Some(thread) })
    }

    /// Puts a request into the queue, or answers it if there is no room.
    pub fn submit(&self, request: Request) {
        let bytes = request.bytes();
        let requests_before = self.waiting.requests.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = requests_before < QUEUE_REQUESTS_MAX
            && (bytes_before == 0 || bytes_before.saturating_add(bytes) <= QUEUE_BYTES_MAX);
        let refused = if fits {
            let queue = self.queue.as_ref().expect("it is closed on drop alone");
            match queue.send(request) {
                Ok(()) => return,
                Err(mpsc::SendError(request)) => {
                    let _nothing = request.answer(Err(self.gone()));
                    None
                }
            }
        } else {
            Some(request)
        };
        self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(request) = refused {
            let _nothing = request.answer(Err(StoreError::Io {
                at: self.path.display().to_string(),
                detail: format!(
                    "{requests_before} writes of {bytes_before} bytes wait for the disk, which \
                     does not keep up"
                ),
            }));
        }
    }

    /// Submits what `request` makes and waits for the answer.
    pub async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = Reply::new();
        self.submit(request(reply));
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Takes a run. If whoever asks goes away before the answer has come, it is given back.
    pub async fn acquire(&self, run: RunId, now: Timestamp) -> Result<Lease, StoreError> {
        let (reply, answer) = Reply::new();
        self.submit(Request::Acquire { run, now, reply });
        let mut asking = Asking { writer: self, answer };
        (&mut asking.answer).await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Gives a run back. Nobody waits for the answer.
    pub fn let_go(&self, lease: Lease) {
        let (reply, _) = Reply::new();
        self.submit(Request::Release { lease, reply });
    }

    fn gone(&self) -> StoreError {
        StoreError::Io {
            at: self.path.display().to_string(),
            detail: "the writing thread has ended; start again".to_owned(),
        }
    }
}

/// Somebody who waits for a lease, and may go away in between.
struct Asking<'a> {
    writer: &'a Writer,
    answer: oneshot::Receiver<Result<Lease, StoreError>>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // From here on the writing thread keeps what it cannot hand over.
        self.answer.close();
        if let Ok(Ok(lease)) = self.answer.try_recv() {
            self.writer.let_go(lease);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

struct Worker {
    conn: Connection,
    path: PathBuf,
    owner: Owner,
    waiting: Arc<Waiting>,
    requests: mpsc::Receiver<Request>,
}

impl Worker {
    fn work(mut self) {
        let mut group = Vec::new();
        while let Ok(first) = self.requests.recv() {
            let mut bytes = first.bytes();
            group.push(first);
            while group.len() < GROUP_REQUESTS_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = self.requests.try_recv() else { break };
                bytes += next.bytes();
                group.push(next);
            }
            self.waiting.requests.fetch_sub(group.len(), Ordering::Relaxed);
            self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.serve(&mut group);
        }
    }

    /// Performs a group and answers it. If the database fails in the middle, what each request
    /// comes to is found out one by one, so that one that does not fit fails alone.
    fn serve(&mut self, group: &mut Vec<Request>) {
        match self.commit(group) {
            Ok(()) => group.drain(..).for_each(|request| self.answer(request, Ok(()))),
            Err(Stage::Begin(error)) => {
                group.drain(..).for_each(|request| self.answer(request, Err(error.clone())));
            }
            Err(Stage::Work(error)) if group.len() == 1 => {
                group.drain(..).for_each(|request| self.answer(request, Err(error.clone())));
            }
            Err(Stage::Work(error)) => {
                tracing::warn!(requests = group.len(), %error, "a group commit failed");
                for mut request in group.drain(..) {
                    let committed = self.commit(std::slice::from_mut(&mut request));
                    self.answer(request, committed.map_err(Stage::into_error));
                }
            }
        }
    }

    /// Answers, and gives a run back that was taken for somebody who is gone.
    fn answer(&self, request: Request, committed: Result<(), StoreError>) {
        if let Some(lease) = request.answer(committed)
            && let Err(Failure::Sql(error)) = lease::release(&self.conn, &self.owner, &lease)
        {
            let error = self.explain(&error);
            tracing::warn!(run = %lease.run, %error, "a run that nobody wants stays taken");
        }
    }

    fn commit(&mut self, group: &mut [Request]) -> Result<(), Stage> {
        self.execute("BEGIN IMMEDIATE").map_err(|error| Stage::Begin(self.explain(&error)))?;
        let performed = group
            .iter_mut()
            .try_for_each(|request| request.perform(&self.conn, &mut self.owner))
            .and_then(|()| self.execute("COMMIT"));
        performed.map_err(|error| {
            let error = self.explain(&error);
            // Some failures have rolled back already.
            if !self.conn.is_autocommit()
                && let Err(error) = self.execute("ROLLBACK")
            {
                tracing::error!(%error, "a failed transaction could not be rolled back");
            }
            Stage::Work(error)
        })
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    fn explain(&self, error: &rusqlite::Error) -> StoreError {
        sql_error(&self.path, error)
    }
}

/// Where a commit failed.
enum Stage {
    /// Before anything was done: another program has the database, and will have it for all.
    Begin(StoreError),
    Work(StoreError),
}

impl Stage {
    fn into_error(self) -> StoreError {
        match self {
            Self::Begin(error) | Self::Work(error) => error,
        }
    }
}
