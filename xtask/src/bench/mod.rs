//! `cargo xtask bench`: the numbers that the design is held to, measured in one run.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::struct_excessive_bools,
    reason = "figures are rounded for people, and arguments are flags"
)]

mod commits;
mod growth;
mod peers;
mod report;
mod review;
mod throughput;
mod turns;
mod window;
mod workload;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use prusik_core::contract::EffectClass;
use prusik_engine::Engine;
use prusik_store::SqliteStore;

use self::growth::{Grown, Resume};
use self::peers::Peer;
use self::review::Review;
use self::throughput::{RUNS, Throughput};
use self::turns::Turns;
use self::window::Window;

#[derive(clap::Args)]
pub struct Args {
    /// Measure LangGraph and DBOS with the same work, too; `cargo xtask setup --peers` installs them
    #[arg(long)]
    peers: bool,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
    /// Write the table into docs/benchmarks.md, too
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Small numbers: proves that the benchmark works, and nothing else
    #[arg(long)]
    quick: bool,
    /// Where the stores are made; the system's folder for temporary files by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Drive many runs at once in this folder and print the peak memory: a process of its own
    #[arg(long, hide = true, value_name = "DIR")]
    memory_in: Option<PathBuf>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Turns of the runs whose stored bytes are measured. The last one is resumed, too.
    growth: [u32; 3],
    resumes: u32,
    rounds: u32,
    turns_per_block: u32,
    memory_turns: u32,
    peer_turns: u32,
    /// Turns of the runs in a small window.
    window_turns: [u32; 2],
}

const FULL: Sizes = Sizes {
    growth: [100, 1_000, 10_000],
    resumes: 9,
    rounds: 9,
    turns_per_block: 200,
    memory_turns: 40,
    peer_turns: 300,
    window_turns: [2_000, 10_000],
};

const QUICK: Sizes = Sizes {
    growth: [5, 10, 600],
    resumes: 1,
    rounds: 1,
    turns_per_block: 8,
    memory_turns: 2,
    peer_turns: 5,
    window_turns: [60, 90],
};

/// All that was measured.
pub struct Numbers {
    commits_per_turn: f64,
    commits_per_read_turn: f64,
    turns: Turns,
    growth: Vec<Grown>,
    resume: Resume,
    windows: Vec<Window>,
    throughput: Throughput,
    peak_memory_mib: f64,
    review: Review,
    peers: Option<Vec<Peer>>,
}

/// Measures, and prints what came of it.
pub fn run_bench(args: &Args) -> Result<()> {
    let sizes = if args.quick { QUICK } else { FULL };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(folder) = &args.memory_in {
        return runtime.block_on(hold_many_runs(folder, sizes));
    }
    if cfg!(debug_assertions) && !args.quick {
        bail!(
            "these numbers mean nothing in a debug build; \
             `cargo run --release -p xtask -- bench` measures"
        );
    }
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a folder for the stores")?;
    let numbers = measure(&runtime, folder.path(), sizes, args)?;
    let table = report::markdown(&numbers, folder.path());
    if args.write {
        crate::page::write("cargo xtask bench --write", &table)?;
    }
    print(&if args.json { report::json(&numbers).to_string() } else { table });
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what this command prints")]
fn print(text: &str) {
    println!("{}", text.trim_end());
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    folder: &Path,
    sizes: Sizes,
    args: &Args,
) -> Result<Numbers> {
    eprintln!("bench: commits that a turn waits for");
    let commits_per_turn = commits::per_turn(EffectClass::Write, sizes.turns_per_block)?;
    let commits_per_read_turn = commits::per_turn(EffectClass::Read, sizes.turns_per_block)?;
    eprintln!("bench: a turn over its bare commits");
    let turns = spawned(runtime, {
        let folder = folder.to_owned();
        async move { turns::measure(&folder, sizes.rounds, sizes.turns_per_block).await }
    })?;
    let mut growth = Vec::new();
    for turns in sizes.growth {
        eprintln!("bench: stored bytes of {turns} turns");
        let path = folder.join(format!("growth-{turns}.db"));
        growth.push(spawned(runtime, async move { growth::grow(&path, turns).await })?);
    }
    let longest = growth.last().context("several sizes are measured")?;
    eprintln!("bench: resume of {} turns", longest.turns);
    let path = folder.join(format!("growth-{}.db", longest.turns));
    let resume = runtime.block_on(growth::resume(&path, longest, sizes.resumes))?;
    let mut windows = Vec::new();
    for turns in sizes.window_turns {
        eprintln!("bench: {turns} turns in a window of {} tokens", prusik_testkit::long::WINDOW);
        // The longer the run, the less one round differs from the next.
        let rounds = sizes.rounds.min(20_000 / turns);
        let folder = folder.to_owned();
        windows.push(spawned(runtime, async move {
            window::measure(&folder, turns, rounds, sizes.resumes).await
        })?);
    }
    eprintln!("bench: {RUNS:?} runs at once");
    let throughput = spawned(runtime, {
        let folder = folder.to_owned();
        async move { throughput::measure(&folder, sizes.rounds, sizes.turns_per_block).await }
    })?;
    eprintln!("bench: memory");
    let peak_memory_mib = memory_of_child(folder, args.quick)?;
    eprintln!("bench: a review of {} tools", review::TOOLS);
    let review = review::measure(sizes.rounds);
    let peers =
        if args.peers { Some(peers::measure(runtime, folder, sizes.peer_turns)?) } else { None };
    Ok(Numbers {
        commits_per_turn,
        commits_per_read_turn,
        turns,
        growth,
        resume,
        windows,
        throughput,
        peak_memory_mib,
        review,
        peers,
    })
}

/// Runs on a worker of the runtime, where the product's drivers run, and not on the main thread.
fn spawned<T: Send + 'static>(
    runtime: &tokio::runtime::Runtime,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    runtime.block_on(runtime.spawn(work)).context("the measurement panicked")?
}

/// Measures memory in a process that does nothing else.
fn memory_of_child(folder: &Path, quick: bool) -> Result<f64> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program);
    child.arg("bench").arg("--memory-in").arg(folder);
    if quick {
        child.arg("--quick");
    }
    let output = child.output().context("cannot start the process that measures memory")?;
    if !output.status.success() {
        bail!("measuring memory failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().with_context(|| format!("{printed:?} is no number of MiB"))
}

async fn hold_many_runs(folder: &Path, sizes: Sizes) -> Result<()> {
    let store = Arc::new(SqliteStore::open(folder.join("memory.db"))?);
    let engine = Engine::new(store);
    throughput::at_once(&engine, RUNS[RUNS.len() - 1], sizes.memory_turns, 0).await?;
    print(&throughput::peak_memory_mib()?.to_string());
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns the middle one, or the mean of the two in the middle; 0 of nothing.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
