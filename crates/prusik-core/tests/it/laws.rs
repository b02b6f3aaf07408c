//! Laws that hold for every agent, every input and every crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use prusik_core::event::Event;
use prusik_core::run::Run;

use crate::world::{Trace, events, live};

/// `PROPTEST_CASES` asks for more; a failure prints the tape that leads to it.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn tape(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..bytes)
}

/// The records up to any step give the state and the messages that were there live, whether they
/// are read one by one or on top of a snapshot.
fn replay_is_live(trace: &Trace) {
    for (seq, state, transcript) in &trace.live {
        let records = &trace.records[..usize::try_from(seq.0).unwrap()];
        let run = Run::replay(Arc::clone(&trace.definition), records).unwrap();
        assert_eq!(run.state(), state, "at record {seq}");
        if let Some(transcript) = transcript {
            assert_eq!(run.transcript(), Some(transcript), "at record {seq}");
        }
        let (head, bytes) = run.snapshot();
        let restored = Run::restore(Arc::clone(&trace.definition), head, &bytes, &[]).unwrap();
        let mut restored = restored.expect("our own snapshot");
        assert_eq!(restored.state(), state, "from a snapshot at record {seq}");
        // What is no longer shown need not be read.
        let from = usize::try_from(state.view.from_seq.0).unwrap() - 1;
        restored.load_transcript(events(&records[from..])).unwrap();
        assert_eq!(restored.transcript(), run.transcript(), "at record {seq}");
    }
    let whole = Run::replay(Arc::clone(&trace.definition), &trace.records).unwrap();
    for (head, bytes) in &trace.snapshots {
        let through = usize::try_from(head.seq.0).unwrap();
        let rest = &trace.records[through..];
        let restored = Run::restore(Arc::clone(&trace.definition), *head, bytes, rest).unwrap();
        let mut restored = restored.expect("our own snapshot");
        assert_eq!(restored.state(), whole.state());
        assert!(restored.transcript().is_none());
        restored.load_transcript(events(&trace.records)).unwrap();
        assert_eq!(restored.transcript(), whole.transcript());
    }
}

proptest! {
    #![proptest_config(config())]

    /// `live` itself checks that nothing panics, nothing lands twice, no outcome is a lie, every
    /// request is well formed, no budget is passed, and the run comes to its end.
    #[test]
    fn every_run_ends_with_every_write_done_at_most_once(bytes in tape(400)) {
        live(bytes);
    }

    #[test]
    fn replay_equals_live_at_every_step(bytes in tape(250)) {
        replay_is_live(&live(bytes));
    }

    #[test]
    fn the_same_inputs_lead_to_the_same_events(bytes in tape(250)) {
        prop_assert_eq!(live(bytes.clone()).records, live(bytes).records);
    }
}

/// A law that is never put to the test proves nothing.
#[test]
fn the_world_is_wild_enough() {
    let (mut crashes, mut landed, mut records) = (0, 0, 0);
    let mut ways: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..300_u64 {
        let bytes = (0..900_u64).map(|i| {
            let mixed = (seed * 1_000 + i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            u8::try_from(mixed >> 56).unwrap()
        });
        let trace = live(bytes.collect());
        crashes += trace.crashes;
        landed += trace.landed;
        records += trace.records.len();
        for (_, event) in events(&trace.records) {
            let way = match event {
                Event::ContextCompacted(compacted) => format!("{:?}", compacted.how),
                Event::SummaryAnswered(answered) if answered.refused.is_some() => "Refused".into(),
                Event::EntryRecorded(_) => "Recorded".into(),
                _ => continue,
            };
            *ways.entry(way).or_default() += 1;
        }
    }
    assert!(crashes > 200 && landed > 200 && records > 2_000, "{crashes} {landed} {records}");
    for way in ["Folded", "Summarized", "Outlined", "Refused", "Recorded"] {
        assert!(ways.get(way).is_some_and(|times| *times > 1), "{way}: {ways:?}");
    }
}
