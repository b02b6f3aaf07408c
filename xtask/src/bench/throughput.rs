//! Turns per second of many runs at once on one store, and the memory that they take.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use prusik_core::budget::Budget;
use prusik_core::contract::EffectClass;
use prusik_engine::Engine;
use prusik_store::{SqliteStore, Store};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::workload::{self, End};

/// How many runs at once are measured.
pub const RUNS: [u32; 3] = [1, 16, 256];

/// What was measured.
pub struct Throughput {
    /// Medians of turns per second, in the order of [`RUNS`].
    pub turns_per_second: [f64; 3],
    /// The median, over the rounds, of the last over the first.
    pub last_over_first: f64,
}

/// Measures each number of runs in turn, several rounds. `turns` is what one run alone gets; more
/// runs get fewer turns each, but never less than an eighth.
pub async fn measure(folder: &Path, rounds: u32, turns: u32) -> Result<Throughput> {
    let store = Arc::new(SqliteStore::open(folder.join("throughput.db"))?) as Arc<dyn Store>;
    let engine = Engine::new(store);
    let mut rates = [const { Vec::new() }; 3];
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let mut of_round = [0.0; 3];
        for (i, runs) in RUNS.into_iter().enumerate() {
            let turns = (turns / runs).max(turns / 8).max(1);
            of_round[i] = at_once(&engine, runs, turns, u64::from(round)).await?;
            rates[i].push(of_round[i]);
        }
        ratios.push(of_round[2] / of_round[0]);
    }
    Ok(Throughput {
        turns_per_second: rates.map(|mut rates| super::median(&mut rates)),
        last_over_first: super::median(&mut ratios),
    })
}

/// Drives so many runs of so many turns at once and returns turns per second.
pub async fn at_once(engine: &Engine, runs: u32, turns: u32, seed: u64) -> Result<f64> {
    let ready = Arc::new(Barrier::new(runs as usize + 1));
    let mut tasks = JoinSet::new();
    for n in 0..runs {
        let (engine, ready) = (engine.clone(), Arc::clone(&ready));
        let (world, _) = workload::world(seed << 32 | u64::from(n), turns, End::Finish);
        tasks.spawn(async move {
            let agent = workload::agent(EffectClass::Write);
            let started = engine.start(agent, "Look items up.".to_owned(), Budget::default()).await;
            ready.wait().await;
            let mut held = started?;
            let (_keep, mut controls) = tokio::sync::mpsc::unbounded_channel();
            held.drive(&world, "bench", Vec::new(), &mut controls, Arc::new(())).await?;
            held.release().await?;
            anyhow::Ok(())
        });
    }
    ready.wait().await;
    let begun = Instant::now();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(f64::from(runs * turns) / begun.elapsed().as_secs_f64())
}

/// Returns the most memory that this process has held so far, in MiB.
pub fn peak_memory_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")
        .context("peak memory is read from /proc, which is there on Linux alone")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line
        .split_ascii_whitespace()
        .nth(1)
        .context("VmHWM has a number")?
        .parse()
        .context("VmHWM is a number")?;
    Ok(kib / 1024.0)
}
