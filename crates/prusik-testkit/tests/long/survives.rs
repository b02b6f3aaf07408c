//! What survives of long work.

use std::sync::Arc;

use prusik_core::event::{Ending, Event, Invariant};
use prusik_store::{MemoryStore, Store};
use prusik_testkit::long::{LongModel, Scenario, TURNS};

use crate::drive::{Seen, WINDOW, events, work};

#[tokio::test]
async fn two_thousand_turns_in_a_small_window_end_with_the_right_answer() {
    let scenario = Scenario::new(TURNS, 7);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let model = Seen::new(LongModel { window_tokens: Some(WINDOW), ..LongModel::default() });
    let run = work(&store, &scenario, Arc::clone(&model) as _).await;
    let events = events(&store, &run).await;
    let (mut ways, mut refused) = (std::collections::BTreeMap::new(), 0);
    for (seq, event) in &events {
        match event {
            Event::ContextCompacted(compacted) => {
                *ways.entry(format!("{:?} {:?}", compacted.how, compacted.why)).or_insert(0) += 1;
                assert_eq!(compacted.checked, Invariant::ALL, "at record {seq}");
                eprintln!("DBG {seq} {:?} {} -> {} folded {}", compacted.how, compacted.tokens_before, compacted.tokens_after, compacted.folded.len());
            }
            Event::SummaryAnswered(s) => { refused += u32::from(s.refused.is_some());
               if let Some(r) = &s.refused { eprintln!("DBG refused {:?}", r.problems); } }
            Event::ModelFailed(f) => eprintln!("DBG failed {:?}", f.error),
            _ => {}
        }
    }
    let (_, Event::RunFinished(finished)) = events.last().unwrap() else { panic!("it goes on") };
    let Ending::Completed { answer, .. } = &finished.ending else { panic!("{finished:?}") };
    eprintln!("DBG {ways:?} refused {refused} {answer} {:?} expected {:?}", scenario.mark(answer), scenario.expected());
    panic!("x");
}
