//! Long work that is broken off again and again goes on to the same answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use prusik_core::budget::Budget;
use prusik_core::event::Event;
use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::model::{Answer, ModelError, ModelRequest};
use prusik_engine::Engine;
use prusik_model::{Delta, Model};
use prusik_store::{Append, Filter, MemoryStore, SqliteStore, Store};
use prusik_testkit::long::{LongModel, Scenario, TURNS, agent, work, world};

use crate::{ends_with_the_right_answer, events};

/// A model during whose answers the process dies: after so many, no answer comes any more.
struct Mortal {
    model: LongModel,
    answers_left: AtomicU64,
}

#[async_trait]
impl Model for Mortal {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let left = self.answers_left.load(Ordering::Relaxed);
        if left == 0 {
            return std::future::pending().await;
        }
        self.answers_left.store(left - 1, Ordering::Relaxed);
        Model::answer(&self.model, request, progress).await
    }
}

/// Fifty processes, each of which is gone in the middle of its work; the last one ends it.
#[tokio::test]
async fn a_run_that_is_broken_off_fifty_times_ends_with_the_same_answer() {
    let scenario = Scenario::new(TURNS, 11);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let mut random = fastrand::Rng::with_seed(5);
    let (mut run, mut broken_off): (Option<RunId>, u32) = (None, 0);
    for life in 0..=50 {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
        let engine = Engine::new(Arc::clone(&store));
        let mut held = match &run {
            None => engine.start(agent(&scenario), scenario.task(), Budget::default()).await,
            Some(run) => engine.open(run).await,
        }
        .unwrap();
        run = Some(held.id().clone());
        let left = if life == 50 { u64::MAX } else { random.u64(1..75) };
        let model = Mortal { model: LongModel::default(), answers_left: AtomicU64::new(left) };
        let model = Arc::new(model);
        let world = world(&scenario, Arc::clone(&model) as _);
        let (_sender, mut controls) = tokio::sync::mpsc::unbounded_channel();
        let driven = held.drive(&world, "test", Vec::new(), &mut controls, Arc::new(()));
        let dies = async {
            while model.answers_left.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            driven = driven => driven.unwrap(),
            () = dies => broken_off += 1,
        }
    }
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
    let events = events(&store, &run.unwrap()).await;
    ends_with_the_right_answer(&scenario, &events);
    assert!(broken_off >= 45, "{broken_off}");
}

/// Any part of the journal that a crash may have left leads to the same answer.
/// `PRUSIK_LONG_CUTS` asks for more of them.
#[tokio::test]
async fn whatever_a_crash_leaves_of_the_journal_goes_on_to_the_same_answer() {
    let cuts = std::env::var("PRUSIK_LONG_CUTS").ok().and_then(|cuts| cuts.parse().ok());
    let scenario = Scenario::new(TURNS, 13);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let run = work(&store, &scenario, Arc::new(LongModel::default())).await.unwrap();
    let whole = events(&store, &run).await;
    ends_with_the_right_answer(&scenario, &whole);
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..cuts.unwrap_or(3) {
        let at = Seq(random.u64(1..whole.len() as u64));
        let left = cut(&store, &run, at).await;
        let engine = Engine::new(Arc::clone(&left));
        let mut held = engine.open(&run).await.unwrap();
        let world = world(&scenario, Arc::new(LongModel::default()));
        let (_sender, mut controls) = tokio::sync::mpsc::unbounded_channel();
        held.drive(&world, "test", Vec::new(), &mut controls, Arc::new(())).await.unwrap();
        let events = events(&left, &run).await;
        ends_with_the_right_answer(&scenario, &events);
    }
}

/// Returns a store that holds the run through a record, or through the step that the record is of.
async fn cut(store: &Arc<dyn Store>, run: &RunId, at: Seq) -> Arc<dyn Store> {
    let records = store.records(run, Seq(1), Seq(u64::MAX)).await.unwrap();
    // Records of one step have one time; those of two steps may have.
    let step = records[usize::try_from(at.0).unwrap() - 1].at;
    let through = records.iter().take_while(|record| record.at <= step).count();
    let records = &records[..through];
    let mut digests: Vec<Digest> = Vec::new();
    for record in records {
        match record.event().unwrap() {
            Event::RunStarted(started) => digests.push(started.definition),
            Event::CallCompleted(completed) => {
                digests.extend(completed.outcome.whole().map(|handle| handle.digest));
            }
            _ => {}
        }
    }
    let mut blobs = Vec::new();
    for digest in &digests {
        let bytes = store.blob(digest).await.unwrap();
        blobs.push(prusik_core::message::Blob::new(bytes));
    }
    let row = store.list(&Filter::default()).await.unwrap().remove(0);
    let left: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let lease = left.acquire(run, Timestamp(1)).await.unwrap();
    let step = Append {
        lease: lease.clone(),
        records: records.to_vec(),
        blobs,
        refs: digests,
        row,
        snapshot: None,
    };
    left.append(step).await.unwrap().unwrap();
    left.release(&lease).await.unwrap();
    left
}
