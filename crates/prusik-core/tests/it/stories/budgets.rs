//! Ceilings park a run before the spend, and a raised one lets it go on.

use prusik_core::budget::Budget;
use prusik_core::contract::RetryPolicy;
use serde_json::json;

use super::tell;
use crate::agents;
use crate::story::{Story, asks, not_sent, returned, says};

fn within(budget: Budget) -> Story {
    Story::of(agents::agent(), budget)
}

#[test]
fn turns() {
    let mut story = within(Budget { turns: Some(1), ..Budget::default() });
    story
        .answers(asks([("look", json!({}))]))
        .replies("1.1", returned(json!("seen")))
        .resumed()
        .raised(Budget { turns: Some(2), ..Budget::default() })
        .resumed()
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn no_turns_at_all() {
    tell!(within(Budget { turns: Some(0), ..Budget::default() }));
}

#[test]
fn tokens_lower_the_cap_of_an_answer_and_then_park_the_run() {
    let mut story = within(Budget { tokens: Some(1_100), ..Budget::default() });
    story
        .answers(asks([("look", json!({}))]))
        .replies("1.1", returned(json!("seen")))
        .answers(asks([("look", json!({"n": 2}))]))
        .replies("2.1", returned(json!("x".repeat(2_000))))
        .raised(Budget { tokens: Some(9_000), ..Budget::default() })
        .resumed();
    tell!(story);
}

#[test]
fn money_lowers_the_cap_of_an_answer_and_then_parks_the_run() {
    // A thousand tokens in cost 1,250,000 nano-dollars at the dearest, and out 5,000,000.
    let mut story = within(Budget { nano_usd: Some(4_000_000), ..Budget::default() });
    let mut dear = asks([("look", json!({}))]);
    dear.usage.output = 600;
    story
        .answers(dear)
        .replies("1.1", returned(json!("seen")))
        .raised(Budget { nano_usd: Some(40_000_000), ..Budget::default() })
        .resumed();
    tell!(story);
}

#[test]
fn tool_calls_that_fit_are_made_first() {
    let mut story = within(Budget { tool_calls: Some(1), ..Budget::default() });
    story
        .answers(asks([("tag", json!({"ref": "a"})), ("tag", json!({"ref": "b"}))]))
        .replies("1.1", returned(json!("tagged")))
        .raised(Budget { tool_calls: Some(2), ..Budget::default() })
        .resumed()
        .replies("1.2", returned(json!("tagged")));
    tell!(story);
}

#[test]
fn a_call_that_waits_for_its_retry_goes_first_too() {
    let mut story = within(Budget { tool_calls: Some(1), ..Budget::default() });
    story
        .answers(asks([("tag", json!({"ref": "a"})), ("tag", json!({"ref": "b"}))]))
        .replies("1.1", not_sent())
        .sleep()
        .replies("1.1", returned(json!("tagged")));
    tell!(story);
}

#[test]
fn wall_time_counts_only_while_the_run_is_driven() {
    let mut story = within(Budget { wall_ms: Some(100), ..Budget::default() });
    story.sleep();
    story.now += 1_000_000;
    story.resumed().raised(Budget { wall_ms: Some(200), ..Budget::default() }).resumed();
    story.now += 50;
    story.answers(says("Done."));
    tell!(story);
}

#[test]
fn at_the_end_of_wall_time_a_write_is_waited_for() {
    let mut story = within(Budget { wall_ms: Some(100), ..Budget::default() });
    story
        .answers(asks([("send", json!({"ref": "a"}))]))
        .sleep()
        .resumed()
        .replies("1.1", returned(json!("sent")));
    tell!(story);
}

#[test]
fn a_ceiling_lowered_under_a_model_call_waits_for_its_answer() {
    let mut story = within(Budget::default());
    story
        .raised(Budget { turns: Some(1), tokens: Some(1), ..Budget::default() })
        .answers(asks([("look", json!({}))]))
        .replies("1.1", returned(json!("seen")));
    tell!(story);
}

#[test]
fn a_clock_that_goes_back_does_not_stop_a_retry() {
    let agent = agents::with_contract("look", |contract| {
        contract.retry = RetryPolicy {
            attempts_max: 2,
            backoff_ms: 500,
            backoff_ms_max: 500,
            deadline_ms: None,
        };
    });
    let mut story = Story::of(agent, Budget::default());
    story.answers(asks([("look", json!({}))]));
    story.now -= 900;
    story.replies("1.1", not_sent()).sleep().replies("1.1", returned(json!("seen")));
    tell!(story);
}

#[test]
fn absurd_numbers_do_not_empty_a_counter() {
    let mut story = within(Budget { tokens: Some(1_000_000), ..Budget::default() });
    let mut answer = asks([("look", json!({}))]);
    answer.usage.input = u64::MAX;
    answer.usage.output = u64::MAX;
    story.answers(answer.clone()).replies("1.1", returned(json!("seen")));
    story.raised(Budget { tokens: Some(u64::MAX), ..Budget::default() }).resumed();
    tell!(story);
}
