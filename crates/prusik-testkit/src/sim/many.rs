//! Many schedules, over all processors.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counts, Report, simulate};

/// What many schedules came to.
#[derive(Debug, Default)]
pub struct Summary {
    pub schedules: u64,
    pub counts: Counts,
    /// By seed.
    pub failed: Vec<Report>,
}

/// Lives the schedules of `seeds` seeds from `first` on, until so many have failed.
pub fn simulate_many(first: u64, seeds: u64, failures_max: usize) -> Summary {
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= seeds {
                        return;
                    }
                    let report = simulate(first + place);
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.schedules += 1;
                    summary.counts.add(&report.counts);
                    if !report.violations.is_empty() {
                        summary.failed.push(report);
                    }
                    if summary.failed.len() >= failures_max {
                        next.store(seeds, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.failed.sort_by_key(|report| report.seed);
    summary
}

impl Summary {
    /// Returns all of it in one line, for people.
    pub fn line(&self) -> String {
        let c = &self.counts;
        format!(
            "{} schedules, {} failed: {} runs ({} completed, {} failed, {} cancelled, {} undone), \
             {} groups closed, {} records, \
             {} sessions, {} crashes, {} takeovers, {} store faults, {} model calls, {} tool calls, \
             {} effects landed ({} late), {} probes, {} settled, {} parked, {} beyond any fence; \
             {} folds, {} summaries ({} refused), {} outlines, {} prompts refused, {} contexts full, \
             {} ledger entries ({} of people, {} superseded), {} recalls",
            self.schedules,
            self.failed.len(),
            c.runs,
            c.completed,
            c.failed,
            c.cancelled,
            c.compensated,
            c.groups_closed,
            c.records,
            c.sessions,
            c.crashes,
            c.takeovers,
            c.store_faults,
            c.model_calls,
            c.tool_calls,
            c.landed,
            c.landed_late,
            c.probes,
            c.settled,
            c.parked,
            c.beyond_fence,
            c.folds,
            c.summaries,
            c.summaries_refused,
            c.outlines,
            c.prompts_refused,
            c.contexts_full,
            c.entries,
            c.entries_of_people,
            c.entries_superseded,
            c.recalls,
        )
    }
}
