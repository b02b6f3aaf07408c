//! What a run costs as it grows, and how often a turn waits for the disk.

use std::sync::Arc;

use prusik_core::budget::Budget;
use prusik_core::effect::Action;
use prusik_core::ids::{RunId, Seq, Timestamp};
use prusik_core::input::{Input, Now};
use prusik_core::record::Record;
use prusik_core::run::{Definition, Run};
use serde_json::json;

use crate::agents;
use crate::story::{asks, returned};

/// Runs turns of one call each; returns the run, its records, and the commits waited for.
fn turns(tool: &str, turns: usize) -> (Run, Vec<Record>, usize) {
    let definition = Arc::new(Definition::new(agents::agent()));
    let (mut run, sealed) = Run::start(
        definition,
        RunId::new("r"),
        "Do the work.".to_owned(),
        Budget::default(),
        Timestamp(0),
    );
    let mut records = sealed.records;
    let (mut durable, mut waited) = (Seq(1), 0);
    let now = Now { at: Timestamp(1), entropy: 0 };
    for turn in 0..turns {
        // The model, then the tool.
        for _ in 0..2 {
            let effect = run.poll_effect(now.at).expect("a turn has two effects");
            assert!(run.poll_effect(now.at).is_none());
            if effect.after > durable {
                waited += 1;
                durable = run.head().seq;
            }
            let input = match effect.action {
                Action::CallModel(request) => Input::ModelAnswered {
                    turn: request.turn,
                    attempt: request.attempt,
                    answer: asks([(tool, json!({"ref": format!("r{turn}")}))]),
                    ms: 1,
                },
                Action::CallTool(call) => Input::CallReplied {
                    call: call.call,
                    attempt: call.attempt,
                    reply: returned(json!({"n": turn})),
                    ms: 1,
                },
                other => panic!("{other:?}"),
            };
            let step = run.handle(input, now).unwrap();
            records.extend(run.apply(step).records);
        }
    }
    (run, records, waited)
}

#[test]
fn a_turn_waits_for_two_commits_and_a_reading_one_for_one() {
    assert_eq!(turns("look", 50).2, 50);
    for tool in ["put", "pay", "send", "tag"] {
        // The last turn's outcome is waited for by the next.
        assert_eq!(turns(tool, 50).2, 99, "{tool}");
    }
}

#[test]
fn a_state_and_a_record_do_not_grow_with_the_run() {
    let size = |n| {
        let (run, records, _) = turns("look", n);
        let body: usize = records.iter().map(|record| record.body.len()).sum();
        (run.snapshot().1.len(), body)
    };
    let (small, short) = size(200);
    let (large, long) = size(2_000);
    assert!(large < small + 200, "a snapshot of {small} bytes became {large}");
    assert!(long < short * 11, "{short} bytes of records became {long}");
}
