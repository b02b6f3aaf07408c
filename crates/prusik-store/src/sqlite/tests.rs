//! What happens when the disk, the file or another program fails the writer. The failures are made
//! on its own connection, where a test from outside could not make them.

use std::path::PathBuf;

use prusik_core::event::{Event, RunResumed};
use prusik_core::message::Blob;
use prusik_core::record::Head;

use super::*;
use crate::verify;

struct Run {
    lease: Lease,
    head: Head,
}

impl Run {
    async fn start(store: &SqliteStore, id: &str) -> Self {
        let lease = store.acquire(&RunId::new(id), Timestamp(0)).await.unwrap();
        Self { lease, head: Head::START }
    }

    fn step(&mut self, blob_bytes: usize) -> Append {
        let event = Event::RunResumed(RunResumed { by: "ann".to_owned(), repeated: Vec::new() });
        let record = self.head.seal(Timestamp(1), &event);
        // No two blobs alike, and none that can be packed.
        let mut bytes = Vec::with_capacity(blob_bytes + 32);
        let mut digest = record.hash;
        while bytes.len() < blob_bytes {
            bytes.extend(digest.0);
            digest = Digest::of(&digest.0);
        }
        let run = self.lease.run.clone();
        Append {
            lease: self.lease.clone(),
            records: vec![record],
            blobs: if bytes.is_empty() { Vec::new() } else { vec![Blob::new(bytes)] },
            refs: Vec::new(),
            row: RunRow {
                run,
                agent: String::new(),
                task: String::new(),
                status: "running".to_owned(),
                note: String::new(),
                ended: false,
                turns: 0,
                tokens: 0,
                nano_usd: 0,
                created: Timestamp(0),
                updated: Timestamp(0),
            },
            snapshot: None,
        }
    }

    async fn append(&mut self, store: &SqliteStore, blob_bytes: usize) -> Result<(), StoreError> {
        let before = self.head;
        let answer = store.append(self.step(blob_bytes)).await.unwrap();
        if answer.is_err() {
            self.head = before;
        }
        answer
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prusik.db");
    (folder, path)
}

/// Two megabytes in pages of 4 KiB.
fn small_disk(path: &Path) -> SqliteStore {
    let tune = |conn: &Connection| conn.execute_batch("PRAGMA max_page_count = 512");
    SqliteStore::open_tuned(path, tune).unwrap()
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_goes_on_with_room() {
    let (_folder, path) = place();
    let store = small_disk(&path);
    let mut run = Run::start(&store, "a").await;
    let error = loop {
        if let Err(error) = run.append(&store, 100_000).await {
            break error;
        }
        assert!(run.head.seq.0 < 100, "the disk is never full");
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("prusik.db is full"), "{error}");
    assert!(run.head.seq.0 > 5);
    assert_eq!(verify(&store, &run.lease.run).await.unwrap(), run.head);
    // What still fits is still taken.
    run.append(&store, 0).await.unwrap();
    drop(store);

    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(verify(&store, &run.lease.run).await.unwrap(), run.head);
    run.lease = store.acquire(&run.lease.run, Timestamp(0)).await.unwrap();
    run.append(&store, 100_000).await.unwrap();
}

#[tokio::test]
async fn a_step_that_does_not_fit_fails_alone() {
    let (_folder, path) = place();
    let store = small_disk(&path);
    let mut runs = Vec::new();
    for n in 0..20 {
        runs.push(Run::start(&store, &n.to_string()).await);
    }
    // Submitted together, they make one group or few; the tenth is larger than the disk, and what
    // its run had on its way after it must fail with it.
    let mut pending = Vec::new();
    for (n, run) in runs.iter_mut().enumerate() {
        pending.push(store.append(run.step(if n == 10 { 3_000_000 } else { 1000 })));
    }
    let after = store.append(runs[10].step(0));
    for (n, answer) in pending.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        if n == 10 {
            assert!(matches!(answer, Err(StoreError::DiskFull { .. })), "{answer:?}");
        } else {
            assert_eq!(answer, Ok(()), "run {n}");
            assert_eq!(verify(&store, &runs[n].lease.run).await.unwrap(), runs[n].head);
        }
    }
    let run = runs[10].lease.run.clone();
    assert_eq!(
        after.await.unwrap(),
        Err(StoreError::OutOfOrder { run: run.clone(), head: Seq(0), got: Seq(1) })
    );
    assert_eq!(store.load(&run).await, Err(StoreError::UnknownRun { run }));
}

#[tokio::test]
async fn a_read_only_file_says_so() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let mut run = Run::start(&store, "a").await;
    run.append(&store, 0).await.unwrap();
    drop(store);
    // Permissions do not bind the superuser, so the connection itself is told.
    let tune = |conn: &Connection| conn.execute_batch("PRAGMA query_only = ON");
    let store = SqliteStore::open_tuned(&path, tune).unwrap();
    let error = store.acquire(&run.lease.run, Timestamp(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("must be writable"), "{error}");
    assert_eq!(verify(&store, &run.lease.run).await.unwrap(), run.head);
}

#[tokio::test]
async fn a_locked_file_says_so_and_goes_on_when_it_is_free() {
    let (_folder, path) = place();
    let tune = |conn: &Connection| conn.busy_timeout(std::time::Duration::from_millis(20));
    let store = SqliteStore::open_tuned(&path, tune).unwrap();
    let mut run = Run::start(&store, "a").await;
    run.append(&store, 0).await.unwrap();

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = run.append(&store, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("locked by another program"), "{error}");
    assert_eq!(verify(&store, &run.lease.run).await.unwrap(), run.head, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    run.append(&store, 0).await.unwrap();
}

#[tokio::test]
async fn a_removed_lock_folder_is_made_again() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let mut run = Run::start(&store, "a").await;
    run.append(&store, 0).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("owners")).unwrap();
    // To others this owner is dead now; its fence protects them from it.
    let other = SqliteStore::open(&path).unwrap();
    other.acquire(&run.lease.run, Timestamp(0)).await.unwrap();
    let error = run.append(&store, 0).await.unwrap_err();
    assert_eq!(error, StoreError::Fenced { run: run.lease.run });
}
