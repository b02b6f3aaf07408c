//! A law: whatever is done, in whatever order, SQLite answers as memory does.

use proptest::prelude::*;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_store::{Filter, Lease, Pruned, Signal, Store, StoreError, verify};

use crate::support::{Driver, File, Memory, Place, blob, event, land, row};

const RUNS: usize = 3;
const OWNERS: usize = 2;

#[derive(Debug, Clone)]
enum Op {
    Acquire {
        owner: usize,
        run: usize,
    },
    Release {
        owner: usize,
        run: usize,
    },
    Append {
        owner: usize,
        run: usize,
        step: Step,
    },
    /// Several steps that are submitted before the first is answered.
    Pipeline {
        owner: usize,
        run: usize,
        steps: Vec<Step>,
    },
    Reopen {
        owner: usize,
    },
    Load {
        run: usize,
    },
    Records {
        run: usize,
        from: u64,
        to: u64,
    },
    Blob {
        blob: u8,
    },
    List {
        prefix: Option<String>,
        status: Option<&'static str>,
        limit: Option<u32>,
    },
    Post {
        run: usize,
        interrupt: bool,
    },
    TakeSignals {
        owner: usize,
        run: usize,
    },
    Prune {
        before: u64,
        dry_run: bool,
    },
}

#[derive(Debug, Clone)]
struct Step {
    texts: Vec<u8>,
    blobs: Vec<u8>,
    refs: Vec<u8>,
    /// How many records before the newest the snapshot stands.
    snapshot: Option<u64>,
    /// How many records to skip, which is an error unless 0.
    skip: u64,
    ended: bool,
    at: u64,
}

fn step() -> impl Strategy<Value = Step> {
    (
        prop::collection::vec(any::<u8>(), 0..4),
        prop::collection::vec(0..6_u8, 0..2),
        prop::collection::vec(0..6_u8, 0..2),
        prop::option::weighted(0.2, 0..3_u64),
        prop_oneof![9 => Just(0), 1 => 1..3_u64],
        prop::bool::weighted(0.3),
        0..100_u64,
    )
        .prop_map(|(texts, blobs, refs, snapshot, skip, ended, at)| Step {
            texts,
            blobs,
            refs,
            snapshot,
            skip,
            ended,
            at,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let (run, owner) = (0..RUNS, 0..OWNERS);
    let who = (owner.clone(), run.clone());
    let status = prop::option::of(prop::sample::select(vec!["running", "completed"]));
    prop_oneof![
        4 => who.clone().prop_map(|(owner, run)| Op::Acquire { owner, run }),
        1 => who.clone().prop_map(|(owner, run)| Op::Release { owner, run }),
        8 => (who.clone(), step())
            .prop_map(|((owner, run), step)| Op::Append { owner, run, step }),
        3 => (who.clone(), prop::collection::vec(step(), 2..5))
            .prop_map(|((owner, run), steps)| Op::Pipeline { owner, run, steps }),
        1 => owner.prop_map(|owner| Op::Reopen { owner }),
        3 => run.clone().prop_map(|run| Op::Load { run }),
        2 => (run.clone(), 0..9_u64, 0..9_u64)
            .prop_map(|(run, from, to)| Op::Records { run, from, to }),
        1 => (0..6_u8).prop_map(|blob| Op::Blob { blob }),
        2 => (prop::option::of("r?[0-3]?"), status, prop::option::of(0..4_u32))
            .prop_map(|(prefix, status, limit)| Op::List { prefix, status, limit }),
        1 => (run, any::<bool>()).prop_map(|(run, interrupt)| Op::Post { run, interrupt }),
        1 => who.prop_map(|(owner, run)| Op::TakeSignals { owner, run }),
        1 => (0..110_u64, any::<bool>()).prop_map(|(before, dry_run)| Op::Prune { before, dry_run }),
    ]
}

/// Does all that is asked and writes down each answer.
struct World<P: Place> {
    place: P,
    owners: Vec<Option<P::Store>>,
    /// What each owner last believed about each run, true or not.
    beliefs: Vec<Vec<Driver>>,
}

fn run_id(run: usize) -> RunId {
    RunId::new(format!("r{run}"))
}

fn blob_text(blob: u8) -> String {
    format!("blob {blob} ").repeat(1 + usize::from(blob) * 40)
}

/// Forgets who holds a run: each store says it in its own words.
fn plain<T>(answer: Result<T, StoreError>) -> Result<T, StoreError> {
    answer.map_err(|error| match error {
        StoreError::Leased { run, .. } => StoreError::Leased { run, owner: String::new() },
        other => other,
    })
}

impl<P: Place> World<P> {
    fn new() -> Self {
        let place = P::new();
        let belief = |run| Driver {
            lease: Lease { run: run_id(run), fence: prusik_core::ids::Fence(0) },
            head: prusik_core::record::Head::START,
            row: row(&run_id(run), "running", false),
        };
        Self {
            owners: (0..OWNERS).map(|_| Some(place.open())).collect(),
            beliefs: vec![(0..RUNS).map(belief).collect(); OWNERS],
            place,
        }
    }

    fn store(&self, owner: usize) -> &P::Store {
        self.owners[owner].as_ref().unwrap()
    }

    fn make(&mut self, owner: usize, run: usize, step: &Step) -> prusik_store::Append {
        let belief = &mut self.beliefs[owner][run];
        belief.head.seq.0 += step.skip;
        let earlier = belief.head;
        let mut append = belief.steps(&[]);
        for text in &step.texts {
            let text = format!("{text} ").repeat(usize::from(*text));
            append.records.push(belief.head.seal(Timestamp(step.at), &event(&text)));
        }
        append.blobs = step.blobs.iter().map(|n| blob(&blob_text(*n))).collect();
        append.refs = step.refs.iter().map(|n| blob(&blob_text(*n)).digest).collect();
        append.row.ended = step.ended;
        append.row.status = String::from(if step.ended { "completed" } else { "running" });
        append.row.updated = Timestamp(step.at);
        append.snapshot = step.snapshot.map(|back| {
            let at = (append.records.len() as u64).checked_sub(1 + back);
            let record = at.map(|at| &append.records[usize::try_from(at).unwrap()]);
            let head = record.map_or(earlier, |record| prusik_core::record::Head {
                seq: record.seq,
                hash: record.hash,
            });
            prusik_store::Snapshot { head, bytes: format!("state {head:?}").into_bytes() }
        });
        append
    }

    /// After a refusal a driver starts from what is stored, as an engine would.
    async fn correct(&mut self, owner: usize, run: usize) {
        let head = match self.store(owner).records(&run_id(run), Seq(1), Seq(u64::MAX)).await {
            Ok(records) => records.last().map_or(prusik_core::record::Head::START, |last| {
                prusik_core::record::Head { seq: last.seq, hash: last.hash }
            }),
            Err(_) => prusik_core::record::Head::START,
        };
        self.beliefs[owner][run].head = head;
    }

    async fn answer(&mut self, op: &Op) -> String {
        match op {
            Op::Acquire { owner, run } => {
                let lease = plain(self.store(*owner).acquire(&run_id(*run), Timestamp(0)).await);
                if let Ok(lease) = &lease {
                    self.beliefs[*owner][*run].lease = lease.clone();
                    self.correct(*owner, *run).await;
                }
                format!("{lease:?}")
            }
            Op::Release { owner, run } => {
                let lease = &self.beliefs[*owner][*run].lease;
                format!("{:?}", self.store(*owner).release(lease).await)
            }
            Op::Append { owner, run, step } => {
                let append = self.make(*owner, *run, step);
                let answer = land(self.store(*owner), append).await;
                if answer.is_err() {
                    self.correct(*owner, *run).await;
                }
                format!("{answer:?}")
            }
            Op::Pipeline { owner, run, steps } => {
                let mut pending = Vec::new();
                for step in steps {
                    let append = self.make(*owner, *run, step);
                    pending.push(self.store(*owner).append(append));
                }
                let mut answers = Vec::new();
                for answer in pending {
                    answers.push(answer.await.unwrap());
                }
                self.correct(*owner, *run).await;
                format!("{answers:?}")
            }
            Op::Reopen { owner } => {
                self.owners[*owner] = None;
                self.owners[*owner] = Some(self.place.open());
                String::new()
            }
            Op::Load { run } => {
                let loaded = self.store(0).load(&run_id(*run)).await;
                if let Ok(loaded) = &loaded {
                    let whole = self.store(1).records(&run_id(*run), Seq(1), Seq(u64::MAX)).await;
                    assert!(whole.unwrap().ends_with(&loaded.records));
                    verify(self.store(1), &run_id(*run)).await.unwrap();
                }
                format!("{loaded:?}")
            }
            Op::Records { run, from, to } => {
                format!("{:?}", self.store(0).records(&run_id(*run), Seq(*from), Seq(*to)).await)
            }
            Op::Blob { blob } => {
                format!("{:?}", self.store(1).blob(&Digest::of(blob_text(*blob).as_bytes())).await)
            }
            Op::List { prefix, status, limit } => {
                let filter = Filter {
                    id_prefix: prefix.clone(),
                    status: status.map(str::to_owned),
                    limit: *limit,
                };
                format!("{:?}", self.store(0).list(&filter).await)
            }
            Op::Post { run, interrupt } => {
                let signal = if *interrupt {
                    Signal::Interrupt
                } else {
                    Signal::Cancel { by: "ann".to_owned(), reason: String::new() }
                };
                format!("{:?}", self.store(1).post(&run_id(*run), &signal, Timestamp(0)).await)
            }
            Op::TakeSignals { owner, run } => {
                let lease = &self.beliefs[*owner][*run].lease;
                format!("{:?}", self.store(*owner).take_signals(lease).await)
            }
            Op::Prune { before, dry_run } => {
                let pruned = self.store(0).prune(Timestamp(*before), *dry_run).await;
                // Stores differ in how many bytes they take.
                format!("{:?}", pruned.map(|pruned| Pruned { bytes: 0, ..pruned }))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_as_memory_does(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut sqlite, mut memory) = (World::<File>::new(), World::<Memory>::new());
            for op in &ops {
                let (found, expected) = (sqlite.answer(op).await, memory.answer(op).await);
                assert_eq!(found, expected, "{op:?}");
            }
        });
    }
}
