//! A run that is many times as long as its window: whether its turns get slower, and how soon it goes
//! on after its process is gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
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
    /// The turns of the run.
    pub turns: u32,
    /// A turn late in the run over an early one: the median of the runs.
    pub late_over_early: f64,
    /// Medians, in microseconds, without what the model takes.
    pub early_us: f64,
    pub late_us: f64,
    /// From opening the store to the model being asked again: the median.
    pub resume_ms: f64,
}

/// The turns of the early block and of the late one; each sees several compactions.
const BLOCK: u32 = 200;

/// Measures runs of so many turns. Early are those around turn 100 to 300, or the first half of a short
/// run; late are the last ones.
pub async fn measure(folder: &Path, turns: u32, rounds: u32, resumes: u32) -> Result<Window> {
    let block = BLOCK.min(turns / 3);
    let early_from = if block == BLOCK { 100 } else { 1 };
    let (mut ratios, mut early, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 0..rounds {
        let path = folder.join(format!("window-{turns}-{round}.db"));
        let (run, model) = grow(&path, turns, u64::from(round)).await?;
        let of_early = model.of_turns(early_from, early_from + block)?;
        let of_late = model.of_turns(turns - block, turns)?;
        ratios.push(of_late.as_secs_f64() / of_early.as_secs_f64());
        early.push(of_early.as_secs_f64() * 1e6 / f64::from(block));
        late.push(of_late.as_secs_f64() * 1e6 / f64::from(block));
        last = Some((path, run, u64::from(round)));
    }
    let (path, run, seed) = last.context("there is a round")?;
    let mut resume = Vec::new();
    for _ in 0..resumes {
        resume.push(to_next_call(&path, &run, turns, seed).await?);
    }
    Ok(Window {
        turns,
        late_over_early: super::median(&mut ratios),
        early_us: super::median(&mut early),
        late_us: super::median(&mut late),
        resume_ms: super::median(&mut resume),
    })
}

/// Makes a store with a run of so many turns, abandoned while it waits for the next answer.
async fn grow(path: &Path, turns: u32, seed: u64) -> Result<(RunId, Arc<Watched>)> {
    let store = Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>;
    let engine = Engine::new(store);
    let scenario = scenario(turns, seed);
    let mut held = engine.start(long::agent(&scenario), scenario.task(), Budget::default()).await?;
    let model = drive(&mut held, &scenario, turns).await?;
    Ok((held.id().clone(), model))
}

/// The scenario ends well after the last turn that is measured.
fn scenario(turns: u32, seed: u64) -> Scenario {
    Scenario::new(turns + 100, seed)
}

async fn to_next_call(path: &Path, run: &RunId, turns: u32, seed: u64) -> Result<f64> {
    let started = Instant::now();
    let store = Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>;
    let engine = Engine::new(store);
    let mut held = engine.open(run).await?;
    let model = drive(&mut held, &scenario(turns, seed), turns).await?;
    let calls = model.calls.lock().expect("no panic held it");
    ensure!(calls.len() == 1, "the model was asked {} times", calls.len());
    Ok(super::ms(calls[0].asked - started))
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
