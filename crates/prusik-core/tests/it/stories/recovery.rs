//! After a crash: each class of effect, at each stage.

use prusik_core::contract::{Contract, EffectClass, RetryPolicy};
use prusik_core::event::Verdict;
use serde_json::json;

use super::{begin, begin_with, tell};
use crate::agents;
use crate::story::{Story, asks, lost, not_sent, refused, returned, says};

fn calling(tool: &str) -> Story {
    let mut story = begin();
    story.answers(asks([(tool, json!({"ref": "a"}))]));
    story
}

#[test]
fn an_answer_that_was_not_durable_is_asked_for_again() {
    let mut story = calling("send");
    story.crashes(2).answers(says("Done."));
    tell!(story);
}

#[test]
fn a_model_call_is_made_again() {
    let mut story = begin();
    story.crashes(0).crashes(0).answers(says("Done."));
    tell!(story);
}

#[test]
fn a_read_is_repeated() {
    let mut story = calling("look");
    story.crashes(0).replies("1.1", returned(json!("seen"))).crashes(1);
    story.replies("1.1", returned(json!("seen again"))).crashes(0).answers(says("Done."));
    tell!(story);
}

#[test]
fn an_idempotent_call_is_repeated_with_the_same_key() {
    let mut story = calling("put");
    story.crashes(0).replies("1.1", not_sent()).sleep().replies("1.1", returned(json!("put")));
    tell!(story);
}

#[test]
fn a_write_with_a_probe_landed() {
    let mut story = calling("pay");
    story.crashes(0).probe_replies("1.1", returned(json!({"found": true})));
    story.answers(says("Done."));
    tell!(story);
}

#[test]
fn a_write_with_a_probe_did_not_land() {
    let mut story = calling("pay");
    story
        .crashes(0)
        .probe_replies("1.1", returned(json!({"found": false})))
        .replies("1.1", returned(json!("paid")));
    tell!(story);
}

#[test]
fn a_probe_is_asked_again_after_another_crash_and_after_an_interrupt() {
    let mut story = calling("pay");
    story.crashes(0).crashes(0).interrupted().resumed().interrupted().crashes(0).resumed();
    story.probe_replies("1.1", returned(json!({"found": true})));
    tell!(story);
}

#[test]
fn a_probe_that_fails_is_retried_and_then_a_person_is_asked() {
    let mut story = calling("pay");
    story
        .crashes(0)
        .probe_replies("1.1", lost())
        .sleep()
        .probe_replies("1.1", returned(json!({"lost": 1})))
        .sleep()
        .probe_replies("1.1", refused("out of order"))
        .resumed()
        .settled("1.1", Verdict::Landed(Some(json!({"paid": "a"}))))
        .resumed()
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn a_write_that_never_lands_gives_up() {
    let policy =
        RetryPolicy { attempts_max: 2, backoff_ms: 0, backoff_ms_max: 0, deadline_ms: None };
    let mut story = begin_with(agents::with_contract("pay", |contract| contract.retry = policy));
    story.answers(asks([("pay", json!({"ref": "a"}))])).replies("1.1", lost());
    story.probe_replies("1.1", returned(json!({"found": false})));
    story.replies("1.1", lost()).probe_replies("1.1", returned(json!({"found": false})));
    tell!(story);
}

#[test]
fn a_probe_waits_as_its_contract_says_and_nobody_spins() {
    let wait = |contract: &mut Contract| contract.probe = Some(agents::probe(5_000));
    let mut story = begin_with(agents::with_contract("pay", wait));
    story
        .answers(asks([("pay", json!({"ref": "a"})), ("pay", json!({"ref": "b"}))]))
        .crashes(0)
        .sleep()
        .probe_replies("1.1", returned(json!({"found": true})))
        .probe_replies("1.2", returned(json!({"found": false})));
    tell!(story);
}

#[test]
fn a_probe_that_cannot_be_asked_leaves_it_to_a_person() {
    let mut story = begin();
    story.answers(asks([("pay", json!({"n": 1}))])).replies("1.1", lost());
    tell!(story);
}

#[test]
fn a_write_without_a_probe_waits_for_a_person() {
    let verdicts = [
        Verdict::Landed(Some(json!("sent"))),
        Verdict::Landed(None),
        Verdict::NotLanded,
        Verdict::Unknown,
    ];
    let told: Vec<String> = verdicts
        .into_iter()
        .map(|verdict| {
            let mut story = calling("send");
            story.crashes(0).crashes(0).settled("1.1", verdict.clone()).resumed();
            story.settled("1.1", verdict);
            story.text().to_owned()
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_result_that_a_person_gives_must_fit() {
    let mut agent = agents::agent();
    let send = agent.tools.iter_mut().find(|tool| tool.name == "send").unwrap();
    send.output_schema = Some(json!({"type": "string"}));
    let mut story = begin_with(agent);
    story.answers(asks([("send", json!({"ref": "a"}))])).crashes(0);
    story.settled("1.1", Verdict::Landed(Some(json!(7))));
    let deep = (0..120).fold(json!(1), |value, _| json!([value]));
    story.settled("1.1", Verdict::Landed(Some(deep)));
    story.settled("1.1", Verdict::Landed(Some(json!("sent"))));
    tell!(story);
}

#[test]
fn one_in_doubt_lets_its_neighbours_finish() {
    let mut story = begin();
    let tags = [("tag", json!({"ref": "a"})), ("tag", json!({"ref": "b"})), ("look", json!({}))];
    story
        .answers(asks(tags))
        .replies("1.1", lost())
        .replies("1.3", returned(json!("seen")))
        .replies("1.2", returned(json!("tagged")));
    story.settled("1.1", Verdict::NotLanded).resumed().replies("1.1", returned(json!("tagged")));
    tell!(story);
}

#[test]
fn calls_behind_a_crash_are_each_resolved_by_their_own_rule() {
    let mut story = begin();
    assert_eq!(Contract::of(EffectClass::Read).effect, EffectClass::Read);
    let calls = [
        ("look", json!({})),
        ("put", json!({"ref": "b"})),
        ("pay", json!({"ref": "c"})),
        ("send", json!({"ref": "d"})),
    ];
    story
        .answers(asks(calls))
        .crashes(0)
        .replies("1.1", returned(json!("seen")))
        .replies("1.2", returned(json!("put")))
        .probe_replies("1.3", returned(json!({"found": false})))
        .replies("1.3", returned(json!("paid")))
        .replies("1.4", returned(json!("sent")));
    tell!(story);
}

#[test]
fn a_retry_waits_until_the_resumption_is_durable() {
    let mut story = begin();
    story
        .answers(asks([("send", json!({"ref": "a"}))]))
        .replies("1.1", not_sent())
        .interrupted()
        .resumed()
        .sleep();
    // The retry stands behind the record of the resumption: lost with it, it was never made.
    story.crashes(0);
    tell!(story);
}

/// The intents of both were written together; the second may begin only when the journal says that
/// the run goes on, or whoever resumes it after a crash would do it once more.
#[test]
fn what_was_written_before_a_park_waits_for_the_resume_to_be_durable() {
    let mut story = begin();
    story.answers(asks([("pay", json!({"ref": "a"})), ("pay", json!({"ref": "b"}))]));
    story.interrupted().replies("1.1", returned(json!("paid"))).resumed();
    tell!(story);
}

#[test]
fn a_try_that_a_crash_has_cut_off_does_not_count() {
    let mut story = begin();
    story
        .answers(asks([("look", json!({}))]))
        .crashes(0)
        .crashes(0)
        .crashes(0)
        .replies("1.1", lost())
        .sleep()
        .replies("1.1", lost())
        .sleep()
        .replies("1.1", lost())
        .answers(says("It is nowhere to be seen."));
    tell!(story);
}
