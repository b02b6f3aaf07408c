//! Random operations, done to a real store and to the plain one, with every answer compared.

use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use prusik_core::event::{Event, PromptReason, Prompted};
use prusik_core::ids::{Digest, Fence, RunId, Seq, Timestamp};
use prusik_core::ledger::{EntryKind, Note};
use prusik_core::message::Blob;
use prusik_core::record::Head;
use prusik_store::{
    Append, Filter, Lease, MemoryStore, RunRow, Signal, Snapshot, SqliteStore, Store, StoreError,
};

use super::plain::{Owner, Plain};

const RUNS: usize = 3;
const STORES: usize = 2;
const ALL: Seq = Seq(u64::MAX);
/// Operations of one sequence.
const OPS: usize = 50;

/// Which store is put to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Memory,
}

/// An answer that is not what the contract says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub kind: Kind,
    pub seed: u64,
    pub operation: String,
    pub found: String,
    pub expected: String,
}

/// Does the operations of a seed to both. The runtime must drive I/O and time of its own.
pub async fn compare(kind: Kind, seed: u64) -> Result<(), Mismatch> {
    let mut pair = Pair::new(kind, seed);
    for _ in 0..OPS {
        pair.operation().await?;
    }
    pair.everything_is_the_same("at the end").await
}

/// Where the real store lives, and how another process would open it.
enum Place {
    Sqlite(tempfile::TempDir),
    Memory(MemoryStore),
}

impl Place {
    fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(folder) => Arc::new(open_file(folder.path())),
            Self::Memory(first) => Arc::new(first.another_owner()),
        }
    }
}

fn open_file(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder.join("prusik.db")).expect("a new folder takes a store")
}

/// What one open store believes about a run, right or wrong.
#[derive(Clone)]
struct Belief {
    lease: Lease,
    head: Head,
}

struct Pair {
    kind: Kind,
    seed: u64,
    rng: Rng,
    place: Place,
    plain: Plain,
    stores: Vec<(Owner, Arc<dyn Store>)>,
    beliefs: Vec<Vec<Belief>>,
    owners: Owner,
}

impl Pair {
    fn new(kind: Kind, seed: u64) -> Self {
        let place = match kind {
            Kind::Sqlite => Place::Sqlite(tempfile::tempdir().expect("a temporary folder")),
            Kind::Memory => Place::Memory(MemoryStore::new()),
        };
        let (plain, rng) = (Plain::default(), Rng::with_seed(seed));
        let mut pair = Self {
            kind,
            seed,
            rng,
            place,
            plain,
            stores: Vec::new(),
            beliefs: Vec::new(),
            owners: 0,
        };
        for _ in 0..STORES {
            let opened = pair.open();
            pair.stores.push(opened);
            let belief = |run| Belief {
                lease: Lease { run: run_id(run), fence: Fence(0) },
                head: Head::START,
            };
            pair.beliefs.push((0..RUNS).map(belief).collect());
        }
        pair
    }

    fn open(&mut self) -> (Owner, Arc<dyn Store>) {
        self.owners += 1;
        self.plain.is_born(self.owners);
        (self.owners, self.place.open())
    }

    fn same(&self, operation: &str, found: String, expected: String) -> Result<(), Mismatch> {
        if found == expected {
            return Ok(());
        }
        let (kind, seed, operation) = (self.kind, self.seed, operation.to_owned());
        Err(Mismatch { kind, seed, operation, found, expected })
    }

    async fn operation(&mut self) -> Result<(), Mismatch> {
        let (at, run) = (self.rng.usize(..STORES), self.rng.usize(..RUNS));
        let (owner, store) = self.stores[at].clone();
        let id = run_id(run);
        match self.rng.usize(..32) {
            0..=5 => self.acquire(at, run).await,
            6..=17 => self.append(at, run).await,
            18 => {
                let lease = self.beliefs[at][run].lease.clone();
                self.plain.release(owner, &lease);
                if self.rng.bool() {
                    // It takes its turn before all that is asked of this store next; another one sees
                    // it once that is done.
                    store.let_go(&lease);
                    let found = plainly(store.take_signals(&lease).await);
                    let expected = plainly(self.plain.take_signals(owner, &lease));
                    return self.same("let_go", found, expected);
                }
                let found = plainly(store.release(&lease).await);
                self.same("release", found, plainly(Ok(())))
            }
            19 | 20 => {
                let by = "ann".to_owned();
                let signal = match self.rng.usize(..4) {
                    0 => Signal::Interrupt,
                    1 => Signal::Compact { by },
                    2 => {
                        let note = Note::new(EntryKind::Fact, "the till is empty");
                        Signal::Note { by, note, supersedes: None }
                    }
                    n => Signal::Cancel { by, reason: n.to_string() },
                };
                let found = plainly(store.post(&id, &signal, Timestamp(0)).await);
                let expected = plainly(self.plain.post(&id, &signal));
                self.same("post", found, expected)
            }
            21..=23 => {
                let lease = self.beliefs[at][run].lease.clone();
                // Twice, because what was taken must be gone.
                for _ in 0..2 {
                    let found = plainly(store.take_signals(&lease).await);
                    let expected = plainly(self.plain.take_signals(owner, &lease));
                    self.same("take_signals", found, expected)?;
                }
                Ok(())
            }
            24 | 25 => {
                let found = plainly(store.load(&id).await);
                self.same("load", found, plainly(self.plain.load(&id)))
            }
            26 => {
                let (from, to) = (Seq(self.rng.u64(..8)), Seq(self.rng.u64(..12)));
                let found = plainly(store.records(&id, from, to).await);
                self.same("records", found, plainly(self.plain.records(&id, from, to)))
            }
            27 => {
                let filter = Filter {
                    id_prefix: [None, Some("r"), Some("r1"), Some("q")][self.rng.usize(..4)]
                        .map(str::to_owned),
                    status: [None, Some("running"), Some("completed")][self.rng.usize(..3)]
                        .map(str::to_owned),
                    limit: [None, Some(0), Some(2)][self.rng.usize(..3)],
                };
                let found = plainly(store.list(&filter).await);
                self.same("list", found, plainly(Ok(self.plain.list(&filter))))
            }
            28 | 29 => self.prune(&*store).await,
            30 => {
                self.dies(at);
                Ok(())
            }
            _ => self.power_is_cut().await,
        }
    }

    async fn acquire(&mut self, at: usize, run: usize) -> Result<(), Mismatch> {
        let (owner, store) = self.stores[at].clone();
        let found = store.acquire(&run_id(run), Timestamp(0)).await;
        let expected = self.plain.acquire(owner, &run_id(run));
        if let Ok(lease) = &expected {
            let head = self.head(run);
            self.beliefs[at][run] = Belief { lease: lease.clone(), head };
        }
        self.same("acquire", plainly(found), plainly(expected))
    }

    fn head(&self, run: usize) -> Head {
        let last = self.plain.journal(&run_id(run)).last();
        last.map_or(Head::START, |last| Head { seq: last.seq, hash: last.hash })
    }

    /// Appends one step or several at once, right or wrong. What is answered to be durable must be
    /// seen by everybody at once.
    async fn append(&mut self, at: usize, run: usize) -> Result<(), Mismatch> {
        let (owner, store) = self.stores[at].clone();
        let steps: Vec<Append> = (0..=self.rng.usize(..3)).map(|_| self.step(at, run)).collect();
        let answers: Vec<_> = steps.iter().map(|step| store.append(step.clone())).collect();
        for (step, answer) in steps.into_iter().zip(answers) {
            let label = format!("append of {} records", step.records.len());
            let found = answer.await.unwrap_or_else(|_| {
                Err(StoreError::Io { at: "nobody".to_owned(), detail: "answered".to_owned() })
            });
            let expected = self.plain.append(owner, step);
            self.same(&label, plainly(found), plainly(expected))?;
        }
        let head = self.head(run);
        self.beliefs[at][run].head = head;
        let (_, other) = &self.stores[(at + 1) % STORES];
        let seen = other.records(&run_id(run), head.seq, head.seq).await;
        let there = self.plain.records(&run_id(run), head.seq, head.seq);
        self.same("records after an append", plainly(seen), plainly(there))
    }

    fn step(&mut self, at: usize, run: usize) -> Append {
        let mut belief = self.beliefs[at][run].clone();
        let before = belief.head;
        let wrong = self.rng.usize(..24);
        if wrong == 0 {
            belief.head.seq.0 += 1 + self.rng.u64(..2);
        }
        if wrong == 1 {
            belief.lease.fence.0 = belief.lease.fence.0.saturating_sub(1);
        }
        let time = Timestamp(self.rng.u64(..100));
        let mut records: Vec<_> = (0..self.rng.usize(..4))
            .map(|_| belief.head.seal(time, &event(&mut self.rng)))
            .collect();
        if let (2, Some(record)) = (wrong, records.first_mut()) {
            record.body.push(b' ');
        }
        let (first, second) = (self.blob(), self.blob());
        let mut blobs = vec![first; self.rng.usize(..2)];
        if let (3, Some(blob)) = (wrong, blobs.first_mut()) {
            blob.bytes.push(0);
        }
        let snapshot = (self.rng.usize(..5) == 0).then(|| {
            let mut head = if self.rng.bool() { belief.head } else { before };
            if wrong == 4 {
                head.hash = Digest::of(b"another");
            }
            Snapshot { head, bytes: format!("state {}", self.rng.u8(..)).into_bytes() }
        });
        let ended = self.rng.usize(..4) == 0;
        self.beliefs[at][run].head = belief.head;
        let lease = belief.lease;
        let refs = vec![second.digest; self.rng.usize(..2)];
        Append { row: row(&lease.run, time, ended), lease, records, blobs, refs, snapshot }
    }

    fn blob(&mut self) -> Blob {
        let number = self.rng.usize(..5);
        Blob::new(format!("blob {number} ").repeat(1 + number * 40).into_bytes())
    }

    async fn prune(&mut self, store: &dyn Store) -> Result<(), Mismatch> {
        let (before, dry_run) = (Timestamp(self.rng.u64(..120)), self.rng.bool());
        let found = store.prune(before, dry_run).await.map(|mut pruned| {
            pruned.bytes = 0;
            pruned.runs.sort();
            pruned
        });
        let expected = plainly(Ok(self.plain.prune(before, dry_run)));
        self.same("prune", plainly(found), expected)?;
        for number in 0..5 {
            let digest = Digest::of(format!("blob {number} ").repeat(1 + number * 40).as_bytes());
            let found = plainly(store.blob(&digest).await);
            self.same("blob", found, plainly(self.plain.blob(&digest)))?;
        }
        Ok(())
    }

    /// An open store goes away with a step on its way, and another process takes its place.
    fn dies(&mut self, at: usize) {
        let (owner, store) = self.stores.remove(at);
        let run = self.rng.usize(..RUNS);
        let step = self.step(at, run);
        drop(store.append(step.clone()));
        drop(store);
        // Refused or not: nobody is left to be told.
        drop(self.plain.append(owner, step));
        self.plain.dies(owner);
        let opened = self.open();
        self.stores.insert(at, opened);
    }

    /// The machine stops, and what its disk holds is opened again, elsewhere.
    async fn power_is_cut(&mut self) -> Result<(), Mismatch> {
        let Place::Sqlite(folder) = &self.place else {
            return self.everything_is_the_same("now").await;
        };
        let copy = tempfile::tempdir().expect("a temporary folder");
        for name in ["prusik.db", "prusik.db-wal"] {
            // There is no log right after it was emptied.
            drop(std::fs::copy(folder.path().join(name), copy.path().join(name)));
        }
        let store = open_file(copy.path());
        self.compare_all("after a power cut", &store).await
    }

    async fn everything_is_the_same(&self, when: &str) -> Result<(), Mismatch> {
        for (_, store) in &self.stores {
            self.compare_all(when, &**store).await?;
        }
        Ok(())
    }

    async fn compare_all(&self, when: &str, store: &dyn Store) -> Result<(), Mismatch> {
        for id in (0..RUNS).map(run_id) {
            let found = plainly(store.records(&id, Seq(1), ALL).await);
            self.same(when, found, plainly(self.plain.records(&id, Seq(1), ALL)))?;
            self.same(when, plainly(store.load(&id).await), plainly(self.plain.load(&id)))?;
        }
        let rows = self.plain.list(&Filter::default());
        self.same(when, plainly(store.list(&Filter::default()).await), plainly(Ok(rows)))
    }
}

fn run_id(run: usize) -> RunId {
    RunId::new(format!("r{run}"))
}

fn event(rng: &mut Rng) -> Event {
    let text = format!("{} ", rng.u8(..)).repeat(rng.usize(1..60));
    Event::Prompted(Prompted { text, why: PromptReason::Person })
}

fn row(run: &RunId, updated: Timestamp, ended: bool) -> RunRow {
    RunRow {
        run: run.clone(),
        agent: "clerk".to_owned(),
        task: "pay".to_owned(),
        status: if ended { "completed" } else { "running" }.to_owned(),
        note: String::new(),
        ended,
        turns: 1,
        tokens: updated.0,
        nano_usd: 2,
        created: Timestamp(1_000),
        updated,
    }
}

/// Returns an answer in words that every store shares: which error it is and what it names, but not
/// how it is put.
fn plainly<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let error = match answer {
        Ok(value) => return format!("{value:?}"),
        Err(error) => error,
    };
    match error {
        StoreError::Leased { run, .. } => format!("{run} is leased"),
        StoreError::Corrupt { .. } => "corrupt".to_owned(),
        StoreError::Fenced { .. }
        | StoreError::UnknownRun { .. }
        | StoreError::UnknownBlob { .. }
        | StoreError::OutOfOrder { .. }
        | StoreError::DiskFull { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::Locked { .. }
        | StoreError::NewerSchema { .. }
        | StoreError::Io { .. } => format!("{error:?}"),
    }
}
