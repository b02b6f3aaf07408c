//! The simulator and the oracle, as a part of every test run; `cargo xtask simulate` has more of both.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prusik_testkit::oracle::{self, Kind};
use prusik_testkit::sim::{self, Summary, simulate_many};

/// Fails with the seeds of schedules that went wrong; `cargo xtask simulate --seed N --tell` has each
/// one's story.
fn all_hold(summary: &Summary) {
    let failed: Vec<_> = summary.failed.iter().map(|r| (r.seed, &r.violations)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn what_must_hold_holds_in_every_schedule() {
    let summary = simulate_many(0, 350, 3);
    all_hold(&summary);
    assert_eq!(summary.schedules, 350);
    // What is never put to the test proves nothing.
    let counts = &summary.counts;
    let seen = [
        counts.crashes,
        counts.takeovers,
        counts.store_faults,
        counts.landed_late,
        counts.probes,
        counts.settled,
        counts.parked,
        counts.completed,
        counts.failed,
        counts.cancelled,
        counts.folds,
        counts.summaries,
        counts.outlines,
        counts.entries_of_people,
        counts.entries_superseded,
        counts.recalls,
    ];
    assert!(seen.iter().all(|count| *count >= 20), "{}", summary.line());
    let rare = [counts.prompts_refused, counts.contexts_full, counts.summaries_refused];
    assert!(rare.iter().all(|count| *count >= 5), "{}", summary.line());
    assert!(counts.landed > 1_000 && counts.records > 10_000, "{}", summary.line());
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in 0..40 {
        let (first, second) = (sim::simulate(seed), sim::simulate(seed));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
        assert_eq!(sim::tell(seed).trace, first.trace, "seed {seed}, told");
    }
    assert_ne!(sim::simulate(1).trace, sim::simulate(2).trace);
}

#[tokio::test]
async fn sqlite_does_what_the_contract_says() {
    for seed in 0..40 {
        oracle::compare(Kind::Sqlite, seed).await.unwrap();
    }
}

#[tokio::test]
async fn memory_does_what_the_contract_says() {
    for seed in 0..400 {
        oracle::compare(Kind::Memory, seed).await.unwrap();
    }
}
