//! Interruption, cancellation and forks.

use std::fmt::Write as _;
use std::sync::Arc;

use prusik_core::budget::Budget;
use prusik_core::ids::{RunId, Seq, Timestamp};
use prusik_core::input::Input;
use prusik_core::run::{ForkError, Run, fork};
use serde_json::json;

use super::{begin, begin_with, tell};
use crate::agents;
use crate::story::{Story, asks, lost, refused, returned, says};

#[test]
fn an_interrupt_drops_reads_and_the_model() {
    let mut story = begin();
    story.interrupted().resumed();
    story
        .answers(asks([("look", json!({}))]))
        .interrupted()
        .resumed()
        .replies("1.1", returned(json!("seen")));
    tell!(story);
}

#[test]
fn an_interrupt_waits_for_writes() {
    let mut story = begin();
    story
        .answers(asks([("send", json!({"ref": "a"})), ("pay", json!({"ref": "b"}))]))
        .interrupted()
        .resumed()
        .replies("1.1", returned(json!("sent")))
        .resumed()
        .replies("1.2", returned(json!("paid")));
    tell!(story);
}

#[test]
fn an_idempotent_call_that_an_interrupt_lost_is_repeated_on_resume() {
    let mut story = begin();
    story
        .answers(asks([("put", json!({"ref": "a"}))]))
        .interrupted()
        .replies("1.1", lost())
        .resumed()
        .sleep()
        .replies("1.1", returned(json!("put")));
    tell!(story);
}

#[test]
fn a_write_between_two_attempts_is_not_in_doubt_after_an_interrupt() {
    let mut story = begin_with(agents::with_contract("send", |contract| {
        contract.failures = agents::agent().tool("pay").unwrap().contract.failures.clone();
    }));
    story
        .answers(asks([("send", json!({"ref": "a"}))]))
        .replies("1.1", refused("busy"))
        .interrupted()
        .resumed()
        .sleep()
        .replies("1.1", returned(json!("sent")));
    tell!(story);
}

#[test]
fn a_run_that_is_interrupted_right_after_a_load_is_recovered_first() {
    let mut story = begin();
    story.answers(asks([("send", json!({"ref": "a"}))])).dies();
    story.interrupted().resumed();
    tell!(story);
}

#[test]
fn a_cancelled_run_tells_its_write_to_hurry_and_ends_when_it_is_back() {
    let mut story = begin();
    story
        .answers(asks([("send", json!({"ref": "a"}))]))
        .cancelled()
        .interrupted()
        .resumed()
        .replies("1.1", lost());
    tell!(story);
}

#[test]
fn a_run_cancelled_in_doubt_asks_nothing_more_and_says_what_is_open() {
    let mut story = begin();
    story.answers(asks([("pay", json!({"ref": "a"}))])).cancelled().replies("1.1", lost());
    tell!(story);
}

#[test]
fn a_parked_run_is_cancelled_at_once_and_an_ended_one_takes_nothing() {
    let mut story = begin();
    story.interrupted().cancelled().resumed().cancelled();
    tell!(story);
}

#[test]
fn a_word_for_the_model_comes_after_the_results() {
    let mut story = begin();
    let resume = |message: &str| Input::Resumed { by: "ann".into(), message: Some(message.into()) };
    story
        .answers(asks([("look", json!({}))]))
        .interrupted()
        .input("ann resumes with a word", resume("Be quick."))
        .replies("1.1", returned(json!("seen")))
        .interrupted()
        .input("ann resumes with a blank", resume(" "));
    tell!(story);
}

#[test]
fn an_answer_that_nobody_waits_for_is_refused() {
    let mut story = begin();
    let id = |text: &str| text.parse().unwrap();
    let attempt = prusik_core::ids::Attempt(1);
    let reply = returned(json!(1));
    story
        .answers(asks([("send", json!({"ref": "a"}))]))
        .input("stale probe", Input::ProbeReplied { call: id("1.1"), reply: reply.clone() })
        .input("stale call", Input::CallReplied { call: id("7.7"), attempt, reply, ms: 1 })
        .settled("1.1", prusik_core::event::Verdict::NotLanded)
        .input("recovered in the middle", Input::Recovered { by: "x".into() })
        .replies("1.1", returned(json!("sent")));
    tell!(story);
}

fn forked(story: &Story, at: u64) -> Result<Run, ForkError> {
    let new = RunId::new("run-2");
    fork(story.definition(), &story.records, Seq(at), new, Timestamp(9_000)).map(
        |(run, sealed, writes)| {
            let again = Run::replay(Arc::clone(story.definition()), &sealed.records).unwrap();
            assert_eq!(again.state(), run.state());
            assert_eq!(again.transcript(), run.transcript());
            let listed: Vec<String> = writes.iter().map(ToString::to_string).collect();
            let expected: &[&str] = if at >= 4 { &["1.1"] } else { &[] };
            assert_eq!(listed, expected, "the writes behind record {at}");
            run
        },
    )
}

#[test]
fn a_fork_begins_between_turns_and_lists_the_writes_behind_it() {
    let mut story = Story::of(agents::agent(), Budget { turns: Some(3), ..Budget::default() });
    story
        .answers(asks([("pay", json!({"ref": "a"}))]))
        .replies("1.1", returned(json!("paid")))
        .answers(asks([("look", json!({}))]))
        .replies("2.1", returned(json!("seen")))
        .interrupted()
        .resumed()
        .answers(says("Done."));
    let mut told = story.text().to_owned();
    for at in 0..=u64::try_from(story.records.len()).unwrap() + 1 {
        let outcome = match forked(&story, at) {
            Ok(mut run) => {
                assert!(run.poll_effect(Timestamp(9_000)).is_some(), "it goes on");
                "a fork".to_owned()
            }
            Err(error) => error.to_string(),
        };
        writeln!(told, "fork at {at}: {outcome}").unwrap();
    }
    insta::assert_snapshot!(told);
}
