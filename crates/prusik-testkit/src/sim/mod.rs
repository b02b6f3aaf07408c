//! The simulator: the real engine and the real core over fake time, a fake disk, fake tools and a
//! fake model, with everything that can go wrong drawn from one seed.
//!
//! A schedule is one such life of one or two runs. Processes open a run, drive it and die at any
//! seam; steps reach the disk late, or not at all; tools fail, hang and land late; clocks jump; people
//! interrupt, cancel, settle and raise. After a while the faults stop, and every run must end. What
//! must hold ([`Invariant`]) is checked as it happens, against a ledger of what really landed.

mod asked;
mod book;
mod clock;
mod disk;
mod ledger;
mod many;
mod memory;
mod messages;
mod model;
mod plan;
mod session;
mod summary;
mod tools;
mod undone;
mod words;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use prusik_core::ids::Digest;

pub use self::many::{Summary, simulate_many};
use self::session::{DRIVE_MS_MAX, session};
use self::world::Sim;
pub use self::world::{Counts, Invariant, Violation};

/// Longer than any step is on its way to the disk, in fake milliseconds.
const LATE_MS_MAX: u64 = 10_000;
/// Processes that one run may need; far more than any schedule does.
const SESSIONS_MAX: usize = 400;

/// What a schedule came to.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    pub violations: Vec<Violation>,
    pub counts: Counts,
    /// Everything that happened, in its order: the same for the same seed.
    pub trace: Digest,
    /// The same in words, where that was asked for.
    pub story: Vec<String>,
}

/// Lives the schedule of a seed.
pub fn simulate(seed: u64) -> Report {
    run_schedule(seed, false)
}

/// Lives the schedule of a seed, and tells it.
pub fn tell(seed: u64) -> Report {
    run_schedule(seed, true)
}

fn run_schedule(seed: u64, told: bool) -> Report {
    // Kept here, so that a schedule that panics can still be told.
    let kept: OnceLock<Sim> = OnceLock::new();
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing");
        runtime.block_on(async {
            let sim = kept.get_or_init(|| Sim::new(seed, told)).clone();
            schedule(seed, sim).await
        })
    }));
    lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let detail = text.unwrap_or_else(|| "a panic without words".to_owned());
        Report {
            seed,
            violations: vec![Violation { invariant: Invariant::NoPanic, detail }],
            counts: Counts::default(),
            trace: Digest::ZERO,
            story: kept.get().and_then(Sim::story).unwrap_or_default(),
        }
    })
}

async fn schedule(seed: u64, sim: Sim) -> Report {
    let runs = sim.with(|world| world.plan.runs);
    let keepers: Vec<_> = (0..runs).map(|run| tokio::spawn(keep(sim.clone(), run))).collect();
    for keeper in keepers {
        if let Err(error) = keeper.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    sim.with(|world| {
        world.last_judgement();
        world.counts.runs = runs as u64;
        Report {
            seed,
            violations: world.violations.clone(),
            counts: world.counts,
            trace: world.trace,
            story: world.story.take().unwrap_or_default(),
        }
    })
}

/// Sees to it that a run is driven until it has ended: one process after the other, and, where a
/// lease is lost, one beside the other.
async fn keep(sim: Sim, run: usize) {
    let mut zombies = Vec::new();
    for _ in 0..SESSIONS_MAX {
        let (process, lost) = sim.with(|world| {
            let process = world.new_process(run);
            (process, std::sync::Arc::clone(&world.processes[process].lost_lease))
        });
        let mut driving = tokio::spawn(session(sim.clone(), run, process));
        tokio::select! {
            biased;
            done = &mut driving => {
                if let Err(error) = done {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            () = lost.notified() => zombies.push(driving),
            () = tokio::time::sleep(Duration::from_millis(2 * DRIVE_MS_MAX)) => {
                driving.abort();
                sim.with(|world| {
                    let detail = format!("process {process} waits for nothing");
                    world.violate(Invariant::Liveness, detail);
                });
            }
        }
        let over = sim.with(|world| {
            !world.violations.is_empty() || world.books[run].ended() && world.pick(2) == 0
        });
        if over {
            // What a person has set going in an ended run may still be on its way to the disk.
            sim.pass(LATE_MS_MAX).await;
            if sim.with(|world| !world.violations.is_empty() || world.books[run].ended()) {
                break;
            }
        }
        let pause = sim.with(|world| world.rng.u64(1..800));
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    for zombie in zombies {
        zombie.abort();
    }
    // What is still on its way when all is over must not contradict what was written.
    let rest = sim.with(|world| {
        let now = world.true_ms();
        world.ledger.quiet_at_ms().map_or(0, |at| at.saturating_sub(now) + 1)
    });
    sim.pass(rest).await;
}
