//! Tool calls of one turn: order, batches, arguments, retries, results.

use prusik_core::contract::{EffectClass, KeyPlace, RetryPolicy};
use prusik_core::message::{Block, Content, Image, ToolInput, ToolUse};
use prusik_core::outcome::{Reply, ToolResult};
use serde_json::{Value, json};

use super::{begin, begin_with, tell};
use crate::agents;
use crate::story::{asks, lost, not_sent, refused, returned, says};

#[test]
fn reads_run_side_by_side_and_answer_in_the_models_order() {
    let mut story = begin();
    story
        .answers(asks([("look", json!({"n": 1})), ("look", json!({"n": 2}))]))
        .replies("1.2", returned(json!("second")))
        .replies("1.1", returned(json!("first")))
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn writes_keep_the_models_order_and_intents_come_when_due() {
    let mut story = begin();
    let (a, b) = (json!({"ref": "a"}), json!({"ref": "b"}));
    story
        .answers(asks([("send", a.clone()), ("look", json!({})), ("send", b.clone())]))
        .replies("1.1", returned(json!("sent a")))
        .replies("1.2", returned(json!("seen")))
        .replies("1.3", returned(json!("sent b")));
    tell!(story);
}

#[test]
fn intents_of_calls_that_resolve_alone_are_written_early() {
    let mut story = begin();
    story
        .answers(asks([
            ("pay", json!({"ref": "a"})),
            ("put", json!({"ref": "b"})),
            ("look", json!({})),
            ("send", json!({"ref": "c"})),
            ("pay", json!({"ref": "d"})),
        ]))
        .replies("1.1", returned(json!("paid")))
        .replies("1.2", returned(json!("put")))
        .replies("1.3", returned(json!("seen")))
        .replies("1.4", returned(json!("sent")))
        .replies("1.5", returned(json!("paid")));
    tell!(story);
}

#[test]
fn writes_that_allow_it_run_beside_others() {
    let mut story = begin();
    story
        .answers(asks([
            ("tag", json!({"ref": "a"})),
            ("tag", json!({"ref": "b"})),
            ("look", json!({})),
            ("send", json!({"ref": "c"})),
        ]))
        .replies("1.3", returned(json!("seen")))
        .replies("1.2", returned(json!("tagged b")))
        .replies("1.1", returned(json!("tagged a")));
    tell!(story);
}

#[test]
fn bad_calls_are_answered_and_the_others_are_made() {
    let mut story = begin();
    let mut answer = asks([
        ("nope", json!({})),
        ("pay", json!({"ref": "a", "n": "many"})),
        ("find", json!({})),
        ("look", json!([1])),
        ("look", json!({"n": 1})),
    ]);
    answer.content.push(Block::ToolUse(ToolUse {
        id: "id6".into(),
        name: "look".into(),
        input: ToolInput::Malformed("{\"n\": 1".into()),
    }));
    story.answers(answer).replies("1.5", returned(json!("seen"))).answers(says("Done."));
    tell!(story);
}

#[test]
fn only_bad_calls_turn_after_turn_fail_the_run() {
    let mut story = begin();
    for _ in 0..3 {
        story.answers(asks([("nope", json!({}))]));
    }
    tell!(story);
}

#[test]
fn ids_that_a_model_leaves_out_or_repeats_are_made_up() {
    let mut story = begin();
    let mut answer = asks([("look", json!({})), ("look", json!({})), ("look", json!({}))]);
    for (block, id) in answer.content.iter_mut().zip(["same", "same", ""]) {
        let Block::ToolUse(tool_use) = block else { unreachable!() };
        tool_use.id = id.to_owned();
    }
    story.answers(answer);
    for call in ["1.1", "1.2", "1.3"] {
        story.replies(call, returned(json!(call)));
    }
    let messages = story.run.transcript().unwrap().messages();
    insta::assert_json_snapshot!(&messages[1..]);
}

#[test]
fn more_calls_than_anyone_can_mean_are_not_made() {
    let mut story = begin();
    let mut answer = asks([("nope", json!({}))]);
    let one = answer.content[0].clone();
    answer.content = (0..70_000).map(|_| one.clone()).collect();
    story.answers(answer);
    let transcript = story.run.transcript().unwrap();
    let [_, asked, answered] = transcript.messages() else { panic!("three messages") };
    assert_eq!((asked.content.len(), answered.content.len()), (512, 512));
}

#[test]
fn retries_follow_the_contract() {
    let mut story = begin();
    story
        .answers(asks([("pay", json!({"ref": "a"}))]))
        .replies("1.1", refused("the bank is busy"))
        .sleep()
        .replies("1.1", not_sent())
        .sleep()
        .replies("1.1", refused("busy again"))
        .answers(asks([("pay", json!({"ref": "b"}))]))
        .replies("2.1", refused("no such account"))
        .answers(asks([("look", json!({}))]))
        .replies("3.1", lost())
        .sleep()
        .replies("3.1", lost())
        .sleep()
        .replies("3.1", lost());
    tell!(story);
}

#[test]
fn a_lost_idempotent_call_is_repeated_with_its_key_until_it_is_in_doubt() {
    let mut story = begin();
    story
        .answers(asks([("put", json!({"ref": "a"}))]))
        .replies("1.1", lost())
        .sleep()
        .replies("1.1", lost())
        .sleep()
        .replies("1.1", lost());
    tell!(story);
}

#[test]
fn a_refusal_that_may_pass_does_not_hide_an_attempt_that_may_have_landed() {
    let busy = |contract: &mut prusik_core::contract::Contract| {
        contract.failures = agents::agent().tool("pay").unwrap().contract.failures.clone();
        contract.retry =
            RetryPolicy { attempts_max: 2, backoff_ms: 0, backoff_ms_max: 0, deadline_ms: None };
        contract.key = Some(KeyPlace::Meta("key".to_owned()));
    };
    let mut story = begin_with(agents::with_contract("put", busy));
    story
        .answers(asks([("put", json!({"ref": "a"}))]))
        .replies("1.1", lost())
        .replies("1.1", refused("busy"));
    tell!(story);
}

#[test]
fn a_key_argument_is_neither_shown_nor_asked_for() {
    let agent = agents::agent();
    let put = agent.tool("put").unwrap();
    assert_eq!(put.contract.effect, EffectClass::Idempotent);
    assert_eq!(put.declaration().input_schema, put.input_schema, "nothing is added");
    let mut with_key = put.clone();
    with_key.input_schema = json!({
        "type": "object", "additionalProperties": false, "required": ["key", "ref"],
        "properties": {"key": {"type": "string"}, "ref": {"type": "string"}},
    });
    let shown = json!({
        "type": "object", "additionalProperties": false, "required": ["ref"],
        "properties": {"ref": {"type": "string"}},
    });
    assert_eq!(with_key.declaration().input_schema, shown);
    with_key.input_schema = json!(true);
    assert_eq!(with_key.declaration().input_schema, json!(true));
}

#[test]
fn a_schema_without_a_type_lets_no_list_through() {
    let mut agent = agents::agent();
    let put = agent.tools.iter_mut().find(|tool| tool.name == "put").unwrap();
    put.input_schema = json!({});
    let mut story = begin_with(agent);
    let bad = [json!([1]), json!("x"), Value::Null, json!(7)];
    story.answers(asks(bad.map(|arguments| ("put", arguments))));
    tell!(story);
}

#[test]
fn large_results_become_blobs_and_empty_ones_say_so() {
    let small = |contract: &mut prusik_core::contract::Contract| contract.result_bytes_max = 40;
    let mut story = begin_with(agents::with_contract("look", small));
    let image = Content::Image(Image { media_type: "image/png".into(), data: "AAAA".repeat(20) });
    let blank = vec![Content::Text(" ".into()), Content::Text("x".into())];
    story
        .answers(asks([("look", json!({"n": 1})), ("look", json!({"n": 2}))]))
        .replies("1.1", Reply::Returned(ToolResult::text("0123456789".repeat(50))))
        .replies("1.2", Reply::Returned(ToolResult::text(" ")))
        .answers(asks([("look", json!({"n": 3})), ("look", json!({"n": 4}))]))
        .replies("2.1", Reply::Returned(ToolResult { content: vec![image], whole: None }))
        .replies("2.2", Reply::Returned(ToolResult { content: blank, whole: None }));
    tell!(story);
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

#[test]
fn what_nests_too_deep_to_be_read_back_is_kept_as_text() {
    let mut story = begin();
    story
        .answers(asks([("look", json!({"x": deep(120)})), ("look", json!({"x": deep(90)}))]))
        .replies("1.2", returned(deep(120)))
        .crashes(0)
        .answers(says("Done."));
    tell!(story);
}
