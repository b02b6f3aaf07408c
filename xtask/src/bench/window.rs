//! A run that is many times as long as its window: whether its turns get slower, and how soon it goes
//! on after its process is gone.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use prusik_core::budget::Budget;
use prusik_core::ids::RunId;
use prusik_core::model::{Answer, ModelError, ModelRequest};
use prusik_engine::{Engine, Held};
use prusik_model::{Delta, Model};
use prusik_store::{SqliteStore, Store};
use prusik_testkit::long::{self, LongModel, Scenario};
use tokio::sync::watch;

/// What was measured.
pub struct Window {
    /// The turns of the long run.
    pub turns: u32,
    /// A turn late in the long run over an early one of a fresh run: the median of the blocks.
    pub late_over_early: f64,
    /// Medians, in microseconds, without what the model takes.
    pub early_us: f64,
    pub late_us: f64,
    /// From opening the store to the model being asked again: the median.
    pub resume_ms: f64,
}

/// The turns of a block; each block sees several compactions.
const BLOCK: u32 = 200;
/// Where the block of a fresh run begins.
const EARLY: u32 = 100;

/// Measures blocks of a run that has so many turns already, each beside the block of a fresh run: the
/// speed of a disk changes from minute to minute.
pub async fn measure(folder: &Path, turns: u32, rounds: u32, resumes: u32) -> Result<Window> {
    let (block, early) = if turns < 2 * BLOCK { (turns / 3, 1) } else { (BLOCK, EARLY) };
    let scenario = Scenario::new(turns + block * (rounds + 1), u64::from(turns));
    let path = folder.join(format!("window-{turns}.db"));
    let run = start(&path, &scenario, turns).await?;
    let (mut ratios, mut of_early, mut of_late) = (Vec::new(), Vec::new(), Vec::new());
    let mut reached = turns;
    for round in 0..rounds {
        let fresh = folder.join(format!("window-{turns}-{round}.db"));
        let young = start(&fresh, &scenario, early).await?;
        // Both are taken up by a process to which the store is new.
        let early_us = block_us(&fresh, &young, &scenario, early..early + block).await?;
        let late_us = block_us(&path, &run, &scenario, reached..reached + block).await?;
        reached += block;
        ratios.push(late_us / early_us);
        of_early.push(early_us);
        of_late.push(late_us);
    }
    let mut resume = Vec::new();
    for _ in 0..resumes {
        let (ms, model) = go_on(&path, &run, &scenario, reached).await?;
        ensure!(model.calls.lock().expect("no panic held it").len() == 1, "it was asked for more");
        resume.push(ms);
    }
    Ok(Window {
        turns,
        late_over_early: super::median(&mut ratios),
        early_us: super::median(&mut of_early),
        late_us: super::median(&mut of_late),
        resume_ms: super::median(&mut resume),
    })
}

/// Makes a store with a run of so many turns, abandoned while it waits for the next answer.
async fn start(path: &Path, scenario: &Scenario, turns: u32) -> Result<RunId> {
    let engine = Engine::new(Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>);
    let agent = long::agent(scenario);
    let mut held = engine.start(agent, scenario.task(), Budget::default()).await?;
    drive(&mut held, scenario, turns).await?;
    Ok(held.id().clone())
}

/// Drives a run on through a block of turns; returns what one took, in microseconds.
async fn block_us(path: &Path, run: &RunId, scenario: &Scenario, block: Range<u32>) -> Result<f64> {
    let (_, model) = go_on(path, run, scenario, block.end).await?;
    let time = model.of_turns(block.start + 1, block.end)?;
    Ok(time.as_secs_f64() * 1e6 / f64::from(block.len() as u32 - 1))
}

/// Takes the run up as a new process would, and drives it until it has so many turns. Returns the time
/// until the model was asked first.
async fn go_on(
    path: &Path,
    run: &RunId,
    scenario: &Scenario,
    turns: u32,
) -> Result<(f64, Arc<Watched>)> {
    let started = Instant::now();
    let engine = Engine::new(Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>);
    let mut held = engine.open(run).await?;
    let model = drive(&mut held, scenario, turns).await?;
    let asked = model.calls.lock().expect("no panic held it").first().map(|call| call.asked);
    Ok((super::ms(asked.context("it was asked")? - started), model))
}

/// Drives a run until its model is asked for what follows the last turn.
async fn drive(held: &mut Held, scenario: &Scenario, turns: u32) -> Result<Arc<Watched>> {
    let (done, mut reached) = watch::channel(false);
    let model = Arc::new(Watched { turns, calls: Mutex::default(), done });
    let world = long::world(scenario, Arc::clone(&model) as Arc<dyn Model>);
    let (_keep, mut controls) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        driven = held.drive(&world, "bench", Vec::new(), &mut controls, Arc::new(())) => {
            driven?;
            anyhow::bail!("the run ended before its last turn");
        }
        reached = reached.wait_for(|reached| *reached) => { reached?; }
    }
    Ok(model)
}

/// The model of long work, which notes when it is asked and when it has answered, and never answers
/// what follows the last turn.
struct Watched {
    turns: u32,
    calls: Mutex<Vec<Call>>,
    done: watch::Sender<bool>,
}

struct Call {
    turn: u32,
    asked: Instant,
    answered: Instant,
}

impl Watched {
    /// Returns the time from turn `from` to turn `to` in which the model was not at work: summaries and
    /// folding belong to it, what the model took for them does not.
    fn of_turns(&self, from: u32, to: u32) -> Result<Duration> {
        let calls = self.calls.lock().expect("no panic held it");
        let at = |turn| {
            calls.iter().position(|call| call.turn == turn).context("every turn was asked for")
        };
        let calls = &calls[at(from)?..=at(to)?];
        Ok(calls.windows(2).map(|pair| pair[1].asked - pair[0].answered).sum())
    }
}

#[async_trait]
impl Model for Watched {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let (turn, asked) = (request.turn.0, Instant::now());
        let note = |answered| {
            let call = Call { turn, asked, answered };
            self.calls.lock().expect("no panic held it").push(call);
        };
        if turn > self.turns {
            note(asked);
            self.done.send_replace(true);
            return std::future::pending().await;
        }
        let answer = Model::answer(&LongModel::default(), request, progress).await;
        note(Instant::now());
        answer
    }
}
