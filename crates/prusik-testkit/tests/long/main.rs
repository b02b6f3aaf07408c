//! Long work: thousands of turns in a small window, with facts that are needed at the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kill;
mod survives;

use std::sync::Arc;

use prusik_core::event::{Ending, Event};
use prusik_core::ids::{RunId, Seq};
use prusik_store::Store;
use prusik_testkit::long::{Mark, Scenario};

async fn events(store: &Arc<dyn Store>, run: &RunId) -> Vec<(Seq, Event)> {
    let records = store.records(run, Seq(1), Seq(u64::MAX)).await.expect("they are there");
    records.iter().map(|record| (record.seq, record.event().expect("it can be read"))).collect()
}

/// The answer needs facts of the task and of turns 12, 400 and 900.
fn ends_with_the_right_answer(scenario: &Scenario, events: &[(Seq, Event)]) {
    let Some((_, Event::RunFinished(finished))) = events.last() else { panic!("it goes on") };
    let Ending::Completed { answer, failures, .. } = &finished.ending else {
        panic!("{finished:?}")
    };
    let marks = scenario.mark(answer);
    let marks = [marks.constraint, marks.decision, marks.row, marks.value];
    assert_eq!(marks, [Mark::Right; 4], "{answer}");
    assert!(failures.is_empty(), "{failures:?}");
}
