//! Time of a turn, as a multiple of the bare commits that it cannot do without.
//!
//! Blocks of turns and blocks of commits take turns on the same file system, and each block is
//! compared with its neighbour, because the speed of a disk changes from second to second.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use prusik_core::budget::Budget;
use prusik_core::contract::EffectClass;
use prusik_core::ids::{RunId, Seq};
use prusik_engine::Engine;
use prusik_store::{SqliteStore, Store};
use rusqlite::Connection;

use super::workload::{self, End};

/// What was measured.
pub struct Turns {
    /// The median, over the blocks, of turn over commits.
    pub over_commits: f64,
    /// Medians.
    pub turn_us: f64,
    pub commit_us: f64,
}

/// Measures turns with a `write` tool against two bare commits each.
pub async fn measure(folder: &Path, rounds: u32, turns: u32) -> Result<Turns> {
    let store = Arc::new(SqliteStore::open(folder.join("turns.db"))?) as Arc<dyn Store>;
    let engine = Engine::new(Arc::clone(&store));
    // The first blocks find cold caches on both sides.
    let (_, run) = block_of_turns(&engine, 0, turns).await?;
    let records = store.records(&run, Seq(1), Seq(u64::MAX)).await?;
    let bytes: usize = records.iter().map(|record| record.body.len()).sum();
    let bare = Bare::open(&folder.join("bare.db"), bytes / (2 * turns as usize))?;
    bare.commits(2 * turns)?;
    let (mut ratios, mut turn_us, mut commit_us) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let before = bare.commits(turns)?;
        let (run, _) = block_of_turns(&engine, u64::from(round) + 1, turns).await?;
        let after = bare.commits(turns)?;
        ratios.push(run.as_secs_f64() / (before + after).as_secs_f64());
        turn_us.push(run.as_secs_f64() * 1e6 / f64::from(turns));
        commit_us.push((before + after).as_secs_f64() * 1e6 / f64::from(2 * turns));
    }
    Ok(Turns {
        over_commits: super::median(&mut ratios),
        turn_us: super::median(&mut turn_us),
        commit_us: super::median(&mut commit_us),
    })
}

/// Runs one run alone; returns the time from its first model call to the one after its last turn.
async fn block_of_turns(engine: &Engine, seed: u64, turns: u32) -> Result<(Duration, RunId)> {
    let (world, model) = workload::world(seed, turns, End::Finish);
    let agent = workload::agent(EffectClass::Write);
    let mut held = engine.start(agent, "Look items up.".to_owned(), Budget::default()).await?;
    let run = held.id().clone();
    let (_keep, mut controls) = tokio::sync::mpsc::unbounded_channel();
    // A task of its own, as in the product: the driver shares the runtime's workers.
    tokio::spawn(async move {
        held.drive(&world, "bench", Vec::new(), &mut controls, Arc::new(())).await?;
        held.release().await?;
        anyhow::Ok(())
    })
    .await??;
    let reached = model.reached().await;
    let (first, last) = reached.first.zip(reached.last).context("the run reached its end")?;
    Ok((last - first, run))
}

/// A database with the store's settings and one plain table.
struct Bare {
    conn: Connection,
    body: Vec<u8>,
}

impl Bare {
    /// `bytes` is what one commit writes.
    fn open(path: &Path, bytes: usize) -> Result<Self> {
        let conn = Connection::open(path)?;
        conn.execute_batch(
            "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE log (key INTEGER PRIMARY KEY, body BLOB NOT NULL);",
        )?;
        let body = workload::Noise::new(7).text(bytes).into_bytes();
        Ok(Self { conn, body })
    }

    /// Makes so many commits of one row each.
    fn commits(&self, count: u32) -> Result<Duration> {
        let mut begin = self.conn.prepare("BEGIN IMMEDIATE")?;
        let mut insert = self.conn.prepare("INSERT INTO log (body) VALUES (?1)")?;
        let mut commit = self.conn.prepare("COMMIT")?;
        let started = Instant::now();
        for _ in 0..count {
            begin.execute([])?;
            insert.execute([&self.body])?;
            commit.execute([])?;
        }
        Ok(started.elapsed())
    }
}
