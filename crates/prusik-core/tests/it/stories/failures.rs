//! How failures are told apart, and what a run that met them ends as.

use prusik_core::contract::{DenyRule, FailureTerm, RetryPolicy};
use prusik_core::expr::Expr;
use prusik_core::outcome::{Refusal, Reply, ToolResult};
use serde_json::json;

use super::{begin, begin_with, tell};
use crate::agents;
use crate::story::{asks, refused, returned, says};

#[test]
fn a_run_with_a_failed_write_does_not_look_like_a_success() {
    let mut story = begin();
    story
        .answers(asks([("send", json!({"ref": "a"})), ("look", json!({"n": 1}))]))
        .replies("1.1", refused("no such address"))
        .replies("1.2", refused("no such file"))
        // Another read stands for the one that failed; another write does not.
        .answers(asks([("look", json!({"n": 2})), ("send", json!({"ref": "b"}))]))
        .replies("2.1", returned(json!("seen")))
        .replies("2.2", returned(json!("sent")))
        .answers(says("All sent."));
    tell!(story);
}

#[test]
fn a_write_that_failed_and_was_made_good_is_forgotten() {
    let mut story = begin();
    story
        .answers(asks([("send", json!({"ref": "a"})), ("nonsense", json!({}))]))
        .replies("1.1", refused("not now"))
        .answers(asks([("send", json!({"ref": "a"})), ("put", json!({"ref": 7}))]))
        .replies("2.1", returned(json!("sent")))
        .answers(asks([("put", json!({"ref": "b"}))]))
        .replies("3.1", returned(json!("put")))
        .answers(says("Sent."));
    tell!(story);
}

#[test]
fn a_rule_denies_what_it_means_and_what_it_cannot_judge() {
    let rule = |when: &str, tell: Option<&str>| DenyRule {
        when: Expr::parse(when).unwrap(),
        tell: tell.map(str::to_owned),
    };
    let mut story = begin_with(agents::with_contract("send", |send| {
        send.deny.insert("limit".into(), rule("args.n > 10", Some("Ask a person to send it.")));
    }));
    let send = |n| ("send", json!({"ref": "a", "n": n}));
    story
        .answers(asks([send(11), send(10), ("send", json!({"ref": "a"}))]))
        .replies("1.2", returned(json!("sent")))
        .answers(says("Sent."));
    tell!(story);
}

#[test]
fn a_result_that_means_a_failure_is_one() {
    let term = FailureTerm {
        retry: false,
        tell: Some("Ask for another card.".to_owned()),
        when: Some(Expr::parse("reply.value.status == 'declined'").unwrap()),
        ..FailureTerm::default()
    };
    let mut story = begin_with(agents::with_contract("send", |send| {
        send.failures.insert("declined".into(), term);
    }));
    story
        .answers(asks([("send", json!({"ref": "a"})), ("send", json!({"ref": "b"}))]))
        .replies("1.1", returned(json!({"status": "declined"})))
        .replies("1.2", returned(json!({"status": "sent"})))
        .answers(says("One was declined."));
    tell!(story);
}

#[test]
fn an_answer_that_is_not_what_it_promises_is_a_failure_that_took_effect() {
    let unfit = || Reply::Unfit {
        result: ToolResult::json(json!({"m": 1})),
        problem: "at the top: `n` is missing".to_owned(),
    };
    let mut story = begin_with(agents::with_contract("look", |look| look.empty_fails = true));
    story
        .answers(asks([
            ("look", json!({})),
            ("look", json!({"n": 1})),
            ("send", json!({"ref": "a"})),
        ]))
        .replies("1.1", unfit())
        .replies("1.2", Reply::Returned(ToolResult::text(" ")))
        .replies("1.3", unfit())
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn a_failure_names_all_of_a_result_that_it_cannot_quote() {
    let small = |contract: &mut prusik_core::contract::Contract| contract.result_bytes_max = 40;
    let mut story = begin_with(agents::with_contract("look", small));
    let result = ToolResult::text("0123456789".repeat(50));
    let problem = "at the top: it is not an object".to_owned();
    story
        .answers(asks([("look", json!({"n": 1}))]))
        .replies("1.1", Reply::Unfit { result, problem });
    tell!(story);
}

#[test]
fn a_server_that_says_when_to_come_back_is_believed_within_the_deadline() {
    let mut story = begin_with(agents::with_contract("look", |look| {
        look.retry = RetryPolicy { deadline_ms: Some(5_000), attempts_max: 9, ..RetryPolicy::TOOL };
    }));
    let later = |retry_after_ms| {
        let refusal = Refusal::of_kind("rate_limited", "too many requests");
        Reply::Refused(Refusal { retry_after_ms: Some(retry_after_ms), ..refusal })
    };
    story
        .answers(asks([("look", json!({}))]))
        .replies("1.1", later(3_000))
        .sleep()
        .replies("1.1", later(3_000))
        .answers(says("It is busy."));
    tell!(story);
}
