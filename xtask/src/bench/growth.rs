//! Stored bytes as a run grows, and the time until a long run goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use prusik_core::budget::Budget;
use prusik_core::contract::EffectClass;
use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq};
use prusik_core::record::JournalError;
use prusik_engine::Engine;
use prusik_store::{SqliteStore, Store};
use rusqlite::Connection;

use super::workload::{self, End};

/// A store that holds one run, closed and checkpointed.
pub struct Grown {
    pub turns: u32,
    pub run: RunId,
    pub file_bytes: u64,
    pub blob_bytes: u64,
    pub payload_bytes: u64,
}

impl Grown {
    pub fn stored_over_payload(&self) -> f64 {
        self.file_bytes as f64 / self.payload_bytes as f64
    }
}

/// Makes a fresh store with a run of so many turns, abandoned while it waits for its next answer.
pub async fn grow(path: &Path, turns: u32) -> Result<Grown> {
    let store = Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>;
    let engine = Engine::new(store);
    let (world, model) = workload::world(u64::from(turns), turns, End::Hang);
    let agent = workload::agent(EffectClass::Write);
    let mut held = engine.start(agent, "Look items up.".to_owned(), Budget::default()).await?;
    let run = held.id().clone();
    let (_keep, mut controls) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        driven = held.drive(&world, "bench", Vec::new(), &mut controls, Arc::new(())) => driven?,
        _ = model.reached() => {}
    }
    // The last to let go of the store closes the file, which empties the WAL into it.
    drop((held, engine, world));
    let blob_bytes = closed(path)?;
    let file_bytes = std::fs::metadata(path)?.len();
    let payload_bytes = u64::from(turns) * workload::TURN_BYTES as u64;
    Ok(Grown { turns, run, file_bytes, blob_bytes, payload_bytes })
}

/// Checks that the file is all there is, and returns the bytes of its blobs.
fn closed(path: &Path) -> Result<u64> {
    let conn = Connection::open(path)?;
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    ensure!(busy == 0, "somebody still has {} open", path.display());
    let bytes: i64 =
        conn.query_row("SELECT coalesce(sum(length(bytes)), 0) FROM blobs", [], |row| row.get(0))?;
    Ok(bytes.cast_unsigned())
}

/// Where the time of a resume goes, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Resume {
    /// From opening the store to the model being asked with the whole transcript: the median.
    pub all_ms: f64,
    /// Parts of it, each measured alone: opening the store and loading the run from its snapshot…
    pub open_ms: f64,
    /// …reading the records…
    pub records_ms: f64,
    /// …and making the transcript of them.
    pub transcript_ms: f64,
}

/// Measures how long the run takes from nothing to its next effect, the model call.
pub async fn resume(path: &Path, grown: &Grown, times: u32) -> Result<Resume> {
    let (mut all, mut open, mut read, mut build) = (vec![], vec![], vec![], vec![]);
    for _ in 0..times {
        all.push(to_next_effect(path, grown).await?);
        let started = Instant::now();
        let store = Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>;
        let engine = Engine::new(Arc::clone(&store));
        let mut run = engine.read(&grown.run).await?;
        open.push(super::ms(started.elapsed()));
        let through = snapshot_seq(path)?;
        let started = Instant::now();
        let records = store.records(&grown.run, Seq(1), through).await?;
        read.push(super::ms(started.elapsed()));
        let started = Instant::now();
        let events = records.iter().map(|record| Ok((record.seq, record.event()?)));
        let events: Vec<(Seq, Event)> = events.collect::<Result<_, JournalError>>()?;
        run.load_transcript(events)?;
        build.push(super::ms(started.elapsed()));
    }
    Ok(Resume {
        all_ms: super::median(&mut all),
        open_ms: super::median(&mut open),
        records_ms: super::median(&mut read),
        transcript_ms: super::median(&mut build),
    })
}

fn snapshot_seq(path: &Path) -> Result<Seq> {
    let conn = Connection::open(path)?;
    let seq: i64 =
        conn.query_row("SELECT coalesce(max(seq), 0) FROM snapshots", [], |row| row.get(0))?;
    Ok(Seq(seq.cast_unsigned()))
}

async fn to_next_effect(path: &Path, grown: &Grown) -> Result<f64> {
    let (world, model) = workload::world(u64::from(grown.turns), grown.turns, End::Hang);
    let (_keep, mut controls) = tokio::sync::mpsc::unbounded_channel();
    let started = Instant::now();
    let store = Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>;
    let engine = Engine::new(store);
    let mut held = engine.open(&grown.run).await?;
    let reached = tokio::select! {
        driven = held.drive(&world, "bench", Vec::new(), &mut controls, Arc::new(())) => {
            driven?;
            anyhow::bail!("the run did not go on");
        }
        reached = model.reached() => reached,
    };
    let at = reached.last.context("it was just reached")?;
    let messages = 1 + 2 * grown.turns as usize;
    ensure!(reached.messages == messages, "{} of {messages} messages", reached.messages);
    Ok(super::ms(at - started))
}
