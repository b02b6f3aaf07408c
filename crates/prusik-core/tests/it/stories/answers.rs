//! What each way of stopping leads to, and what a final answer must be.

use prusik_core::message::{Block, OpaqueBlock};
use prusik_core::model::{ModelError, ModelErrorKind, StopReason};
use serde_json::json;

use super::{begin, begin_with, tell};
use crate::agents;
use crate::story::{asks, returned, says, stopped};

#[test]
fn one_turn_with_an_answer() {
    let mut story = begin();
    story.answers(says("Hello."));
    tell!(story);
}

#[test]
fn a_cut_answer_is_continued_and_put_together() {
    let mut story = begin();
    story
        .answers(stopped(says("One, t"), StopReason::MaxTokens))
        .answers(stopped(says("wo, th"), StopReason::MaxTokens))
        .answers(says("ree."));
    tell!(story);
}

#[test]
fn an_answer_that_is_cut_too_often_fails_the_run() {
    let mut story = begin();
    for _ in 0..4 {
        story.answers(stopped(says("and "), StopReason::MaxTokens));
    }
    tell!(story);
}

#[test]
fn calls_of_a_cut_answer_are_not_made() {
    let mut story = begin();
    for _ in 0..4 {
        story.answers(stopped(asks([("send", json!({"ref": "a"}))]), StopReason::MaxTokens));
    }
    tell!(story);
}

#[test]
fn each_other_reason_to_stop_has_its_own_ending() {
    let reasons = [
        StopReason::Refusal,
        StopReason::ContextFull,
        StopReason::Other("cosmic_ray".into()),
        StopReason::StopSequence,
    ];
    let told: Vec<String> = reasons
        .into_iter()
        .map(|reason| {
            let mut story = begin();
            story.answers(stopped(says("I would rather not."), reason));
            story.text().to_owned()
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_stop_for_tools_without_a_call_is_sent_back() {
    let mut story = begin();
    story.answers(stopped(says("I shall look."), StopReason::ToolUse)).answers(says("Done."));
    tell!(story);
}

#[test]
fn a_paused_turn_goes_on_as_one_message_and_one_answer() {
    let mut story = begin();
    let mut paused = stopped(says("I search. "), StopReason::PauseTurn);
    let block = json!({"type": "server_tool_use"});
    paused.content.push(Block::Opaque(OpaqueBlock { provider: "anthropic".into(), block }));
    story.answers(paused.clone()).answers(asks([("look", json!({}))]));
    story.replies("2.1", returned(json!("seen")));
    story.answers(paused).answers(says("Found it."));
    tell!(story);
}

#[test]
fn a_turn_that_pauses_for_ever_fails_the_run() {
    let mut story = begin();
    for _ in 0..17 {
        story.answers(stopped(says(""), StopReason::PauseTurn));
    }
    let last = story.text().lines().last().unwrap();
    assert!(last.contains("FAILED") && last.contains("paused its turn 17 times"), "{last}");
}

#[test]
fn an_empty_answer_is_sent_back_and_bounded() {
    let mut story = begin();
    story.answers(says(" ")).answers(says("")).answers(says(""));
    tell!(story);
}

#[test]
fn an_answer_is_repaired_until_it_fits_its_schema() {
    let schema = json!({
        "type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}},
    });
    let mut story = begin_with(agents::with_output(schema));
    story
        .answers(says("The sum is 7."))
        .answers(says("{\"sum\": \"7\"}"))
        .answers(says("```json\n{\"sum\": 7}\n```"));
    tell!(story);
}

#[test]
fn an_answer_that_never_fits_fails_the_run() {
    let mut story = begin_with(agents::with_output(json!({"type": "integer"})));
    story.answers(says("seven")).answers(says("\"7\"")).answers(says("7.5"));
    tell!(story);
}

#[test]
fn null_is_an_answer() {
    let mut story = begin_with(agents::with_output(json!({"type": "null"})));
    story.answers(says("null"));
    let live = story.run.state().clone();
    assert!(live.ended());
    story.crashes(0);
    assert_eq!(*story.run.state(), live, "a null is not nothing");
}

#[test]
fn an_answer_too_deep_to_be_read_back_is_sent_back() {
    let mut story = begin_with(agents::with_output(json!({})));
    story.answers(says(&format!("{}1{}", "[".repeat(120), "]".repeat(120)))).crashes(0);
    story.answers(says("[1]"));
    tell!(story);
}

#[test]
fn failing_models_are_retried_with_patience_and_then_park_the_run() {
    let mut story = begin();
    let overloaded = ModelError::new(ModelErrorKind::Overloaded, "overloaded");
    let mut limited = ModelError::new(ModelErrorKind::RateLimited, "slow down");
    limited.retry_after_ms = Some(7_000);
    story.model_fails(limited.clone()).sleep();
    for _ in 0..4 {
        story.model_fails(overloaded.clone()).sleep();
    }
    story.model_fails(overloaded.clone()).resumed().model_fails(overloaded);
    limited.retry_after_ms = Some(3_600_000);
    story.sleep().model_fails(limited);
    tell!(story);
}

#[test]
fn what_waiting_cannot_mend_parks_at_once_or_fails() {
    let mut story = begin();
    story
        .model_fails(ModelError::new(ModelErrorKind::Authentication, "no key for main"))
        .resumed()
        .model_fails(ModelError::new(ModelErrorKind::ContextFull, "too long"));
    tell!(story);
}

#[test]
fn the_same_call_again_and_again_is_pointed_out_and_then_parks_the_run() {
    let mut story = begin();
    for turn in 1..=6 {
        let call = format!("{turn}.1");
        story.answers(asks([("look", json!({"n": 1}))])).replies(&call, returned(json!("same")));
    }
    story.resumed().answers(says("I give up."));
    tell!(story);
}
