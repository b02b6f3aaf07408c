//! Journals to append, and stores to append them to.

use std::path::{Path, PathBuf};

use prusik_core::event::{Event, PromptReason, Prompted};
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::message::Blob;
use prusik_core::record::{Head, Record};
use prusik_store::{Append, Lease, MemoryStore, RunRow, Snapshot, SqliteStore, Store, StoreError};

/// A place where runs live, which several owners can open.
pub trait Place {
    type Store: Store;

    fn new() -> Self;
    fn open(&self) -> Self::Store;
}

/// A folder with a SQLite file.
pub struct File(tempfile::TempDir);

impl File {
    pub fn path(&self) -> PathBuf {
        self.0.path().join(".prusik/prusik.db")
    }
}

impl Place for File {
    type Store = SqliteStore;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).unwrap()
    }
}

/// Memory, kept alive by one owner that holds no run.
pub struct Memory(MemoryStore);

impl Place for Memory {
    type Store = MemoryStore;

    fn new() -> Self {
        Self(MemoryStore::new())
    }

    fn open(&self) -> MemoryStore {
        self.0.another_owner()
    }
}

/// A run as its driver sees it.
#[derive(Debug, Clone)]
pub struct Driver {
    pub lease: Lease,
    pub head: Head,
    pub row: RunRow,
}

impl Driver {
    /// Takes a new run.
    pub async fn start(store: &dyn Store, run: &str) -> Self {
        let run = RunId::new(run);
        let lease = store.acquire(&run, Timestamp(1_700_000_000_000)).await.unwrap();
        Self { lease, head: Head::START, row: row(&run, "running", false) }
    }

    /// Makes a step of one record, and moves on as if it had landed.
    pub fn step(&mut self, text: &str) -> Append {
        self.steps(&[text])
    }

    pub fn steps(&mut self, texts: &[&str]) -> Append {
        let records = texts.iter().map(|text| self.record(text)).collect();
        Append {
            lease: self.lease.clone(),
            records,
            blobs: Vec::new(),
            refs: Vec::new(),
            row: self.row.clone(),
            snapshot: None,
        }
    }

    fn record(&mut self, text: &str) -> Record {
        let at = Timestamp(1000 + self.head.seq.0);
        self.head.seal(at, &event(text))
    }

    /// Appends a step of one record and waits for it.
    pub async fn append(&mut self, store: &dyn Store, text: &str) -> Result<(), StoreError> {
        let step = self.step(text);
        land(store, step).await
    }

    pub fn snapshot(&self, text: &str) -> Snapshot {
        Snapshot { head: self.head, bytes: text.as_bytes().to_vec() }
    }
}

pub fn event(text: &str) -> Event {
    Event::Prompted(Prompted { text: text.to_owned(), why: PromptReason::Person })
}

pub fn row(run: &RunId, status: &str, ended: bool) -> RunRow {
    RunRow {
        run: run.clone(),
        agent: "clerk".to_owned(),
        task: "pay the invoices".to_owned(),
        status: status.to_owned(),
        note: String::new(),
        ended,
        turns: 3,
        tokens: 1200,
        nano_usd: 5,
        created: Timestamp(1000),
        updated: Timestamp(2000),
    }
}

/// Submits a step and waits until it is durable.
pub async fn land(store: &dyn Store, step: Append) -> Result<(), StoreError> {
    store.append(step).await.expect("a store answers every step")
}

pub async fn all_records(store: &dyn Store, run: &RunId) -> Vec<Record> {
    store.records(run, Seq(1), Seq(u64::MAX)).await.unwrap()
}

/// Returns text that no compressor makes much smaller.
pub fn noise(bytes: usize, seed: u64) -> String {
    let mut text = String::with_capacity(bytes + 64);
    let mut digest = Digest::of(&seed.to_le_bytes());
    while text.len() < bytes {
        // Six bits to a character, as base64 has.
        for byte in digest.0 {
            const LETTERS: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            text.push(char::from(LETTERS[usize::from(byte & 63)]));
        }
        digest = Digest::of(&digest.0);
    }
    text.truncate(bytes);
    text
}

pub fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes().to_vec())
}

/// Changes the database behind the store's back.
pub fn tamper(path: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(sql).unwrap();
}
