//! Calls that take together or not at all.

use std::collections::BTreeMap;

use prusik_core::agent::{Agent, Group, OnFailure};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, DenyRule, EffectClass, Undo};
use prusik_core::event::Verdict;
use prusik_core::expr::Expr;
use prusik_core::ids::{RunId, Seq, Timestamp};
use prusik_core::input::Input;
use prusik_core::model::StopReason;
use prusik_core::run::fork;
use serde_json::json;

use super::{begin_with, tell};
use crate::agents;
use crate::story::{Story, asks, lost, refused, returned, says, stopped};

/// The group `order` holds `put`, which `take` undoes, and `send`, which nothing does; `pay` stands
/// outside.
fn agent() -> Agent {
    let arguments = BTreeMap::from([("n".to_owned(), json!("=result.id"))]);
    let undo = Undo { tool: "take".to_owned(), arguments };
    let mut agent = agents::with_contract("put", |put| put.undo = Some(undo));
    let mut take = agents::tool("take", Contract::of(EffectClass::Idempotent));
    take.shown = false;
    agent.tools.push(take);
    let tools = ["put", "send"].map(str::to_owned).into();
    agent.groups = vec![Group { name: "order".to_owned(), tools }];
    agent
}

fn begin() -> Story {
    begin_with(agent())
}

fn commit() -> (&'static str, serde_json::Value) {
    ("commit_group", json!({"group": "order"}))
}

fn undo() -> (&'static str, serde_json::Value) {
    ("undo_group", json!({"group": "order"}))
}

/// Puts twice and sends twice, of which the sending waits.
fn order(story: &mut Story) -> &mut Story {
    story
        .answers(asks([("put", json!({"ref": "a"})), ("send", json!({"ref": "b"}))]))
        .replies("1.1", returned(json!({"id": 7})))
        .answers(asks([("send", json!({"ref": "c"})), ("put", json!({"ref": "d"}))]))
        .replies("2.2", returned(json!({"id": 8})))
}

#[test]
fn what_cannot_be_undone_waits_for_the_commit() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .replies("3.513", returned(json!("sent b")))
        .replies("3.514", returned(json!("sent c")))
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn a_commit_that_fails_undoes_the_group_and_says_what_stays() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .replies("3.513", returned(json!("sent b")))
        .replies("3.514", refused("no such address"))
        .replies("3.515", returned(json!("taken")))
        .replies("3.516", refused("too late"))
        .answers(says("It did not work."));
    tell!(story);
}

#[test]
fn a_group_can_be_begun_again_after_a_commit_that_failed() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .replies("3.513", refused("no such address"))
        .replies("3.515", returned(json!("taken")))
        .replies("3.516", returned(json!("taken")))
        .answers(asks([("put", json!({"ref": "e"})), ("send", json!({"ref": "f"})), commit()]))
        .replies("4.1", returned(json!({"id": 9})))
        .replies("4.513", returned(json!("sent f")))
        .answers(says("Done at last."));
    tell!(story);
}

#[test]
fn a_call_that_never_began_does_not_stand_in_the_way() {
    let mut agent = agent();
    let rule = DenyRule { when: Expr::parse("args.ref == 'x'").unwrap(), tell: None };
    let send = agent.tools.iter_mut().find(|tool| tool.name == "send").unwrap();
    send.contract.deny.insert("no_x".to_owned(), rule);
    let mut story = begin_with(agent);
    story
        .answers(asks([
            ("send", json!({"n": "many"})),
            ("send", json!({"ref": "x"})),
            ("send", json!({"ref": "b"})),
            commit(),
        ]))
        .replies("1.513", returned(json!("sent b")))
        .answers(says("One of them is out."));
    tell!(story);
}

#[test]
fn an_undo_that_returns_nonsense_has_undone_all_the_same() {
    let mut agent = agent();
    let take = agent.tools.iter_mut().find(|tool| tool.name == "take").unwrap();
    take.contract.empty_fails = true;
    let mut story = begin_with(agent);
    story
        .answers(asks([("put", json!({"ref": "a"})), undo()]))
        .replies("1.1", returned(json!({"id": 7})))
        .replies("1.513", returned(json!(null)))
        .answers(says("Nothing was done."));
    tell!(story);
}

#[test]
fn what_cannot_be_undone_does_not_end_like_a_success() {
    let mut story = begin();
    story
        .answers(asks([("put", json!({"ref": "a"})), undo()]))
        .replies("1.1", returned(json!({"no": "id"})))
        .answers(says("All is as before."));
    tell!(story);
}

#[test]
fn a_commit_that_the_budget_cannot_pay_for_is_not_begun() {
    let budget = Budget { tool_calls: Some(3), ..Budget::default() };
    let mut story = Story::of(agent(), budget);
    order(&mut story).answers(asks([commit()]));
    let raised = Budget { tool_calls: Some(9), ..Budget::default() };
    story
        .input("ann raises", Input::BudgetRaised { budget: raised, by: "ann".to_owned() })
        .resumed()
        .replies("3.513", returned(json!("sent b")))
        .replies("3.514", returned(json!("sent c")))
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn a_cancel_in_the_middle_of_a_commit_outlives_a_park() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .cancelled()
        .replies("3.513", lost())
        .settled("3.513", Verdict::Landed(None))
        .resumed()
        .replies("3.514", returned(json!("sent c")));
    tell!(story);
}

#[test]
fn undos_that_were_never_made_are_made_after_a_park() {
    let mut story = begin();
    story
        .answers(asks([("put", json!({"ref": "a"})), ("put", json!({"ref": "b"}))]))
        .replies("1.1", returned(json!({"id": 7})))
        .replies("1.2", returned(json!({"id": 8})))
        .answers(asks([undo()]))
        .interrupted()
        .replies("2.513", returned(json!("taken")))
        .cancelled()
        .replies("2.515", returned(json!("taken")));
    tell!(story);
}

#[test]
fn the_model_may_think_better_of_it_and_begin_again() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([undo(), ("send", json!({"ref": "e"})), commit()]))
        .replies("3.513", returned(json!("taken")))
        .replies("3.514", returned(json!("taken")))
        .replies("3.515", returned(json!("sent e")))
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn a_call_that_failed_is_made_good_before_the_commit() {
    let mut story = begin();
    story
        .answers(asks([("put", json!({"ref": "a"})), ("send", json!({"ref": "b"}))]))
        .replies("1.1", refused("no room"))
        .answers(asks([commit()]))
        .answers(asks([("put", json!({"ref": "a"})), commit()]))
        .replies("3.1", returned(json!({"id": 7})))
        .replies("3.513", returned(json!("sent b")))
        .answers(asks([commit()]))
        .answers(says("Done."));
    tell!(story);
}

#[test]
fn a_final_answer_is_sent_back_while_a_group_is_open_and_then_the_run_fails() {
    let mut story = begin();
    order(&mut story)
        .answers(says("Done."))
        .answers(says("Done, I said."))
        .answers(says("Done!"))
        .replies("5.513", returned(json!("taken")))
        .replies("5.514", returned(json!("taken")));
    tell!(story);
}

#[test]
fn a_cancelled_run_undoes_its_groups_and_leaves_the_rest() {
    let mut story = begin();
    story
        .answers(asks([("pay", json!({"ref": "x"})), ("put", json!({"ref": "a"}))]))
        .replies("1.1", returned(json!("paid")))
        .replies("1.2", returned(json!({"id": 7})))
        .cancelled()
        .crashes(0)
        .cancelled()
        .replies("2.513", returned(json!("taken")));
    tell!(story);
}

#[test]
fn a_run_that_is_cancelled_in_the_middle_of_a_commit_commits_first() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .replies("3.513", returned(json!("sent b")))
        .cancelled()
        .replies("3.514", returned(json!("sent c")));
    tell!(story);
}

#[test]
fn a_commit_that_is_given_up_says_what_stays() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .replies("3.513", returned(json!("sent b")))
        .replies("3.514", lost())
        .cancelled()
        .replies("3.515", returned(json!("taken")))
        .replies("3.516", lost())
        .sleep()
        .interrupted()
        .replies("3.516", lost())
        .cancelled();
    tell!(story);
}

#[test]
fn a_commit_that_is_lost_is_settled_and_goes_on() {
    let mut story = begin();
    order(&mut story)
        .answers(asks([commit()]))
        .replies("3.513", lost())
        .settled("3.513", Verdict::Landed(None))
        .resumed()
        .crashes(0)
        .settled("3.514", Verdict::Unknown)
        .resumed()
        .replies("3.515", returned(json!("taken")))
        .replies("3.516", returned(json!("taken")))
        .answers(says("Nobody knows."));
    tell!(story);
}

#[test]
fn a_member_that_nobody_knows_about_cannot_be_committed() {
    let mut story = begin();
    story
        .answers(asks([("put", json!({"ref": "a"}))]))
        .replies("1.1", lost())
        .sleep()
        .replies("1.1", lost())
        .sleep()
        .replies("1.1", lost())
        .settled("1.1", Verdict::Unknown)
        .resumed()
        .answers(asks([commit()]))
        .answers(asks([undo(), commit()]))
        .answers(says("Nobody knows."));
    tell!(story);
}

#[test]
fn a_parked_run_with_an_open_group_can_be_cancelled_and_given_up() {
    let mut story = begin();
    order(&mut story)
        .interrupted()
        .cancelled()
        .interrupted()
        .replies("3.513", returned(json!("taken")))
        .cancelled();
    tell!(story);
}

#[test]
fn a_refusing_model_has_its_group_undone_and_compensation_takes_the_rest() {
    let mut story = begin_with(Agent { on_failure: OnFailure::Compensate, ..agent() });
    order(&mut story)
        .answers(stopped(says("No."), StopReason::Refusal))
        .replies("4.1", returned(json!("taken")))
        .replies("4.2", returned(json!("taken")));
    story.input("ann compensates", Input::Compensated { by: "ann".to_owned() });
    tell!(story);
}

#[test]
fn a_run_is_not_forked_where_a_group_is_open() {
    let mut story = begin();
    order(&mut story);
    let forked = |at: u64| {
        let (definition, now) = (story.definition(), Timestamp(9_000));
        fork(definition, &story.records, Seq(at), RunId::new("run-2"), now).map(|_| ())
    };
    let last = story.records.last().unwrap().seq.0;
    let error = forked(last).unwrap_err().to_string();
    assert!(error.contains("a group is open there"), "{error}");
    assert_eq!(forked(1), Ok(()));
}

#[test]
fn a_group_takes_no_more_than_it_can_keep() {
    let mut story = begin();
    let long = "x".repeat(70_000);
    story.answers(asks([("send", json!({"ref": long}))]));
    for turn in 0..11 {
        let send = |i: usize| ("send", json!({"ref": format!("{turn} {i}")}));
        story.answers(asks([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(send)));
    }
    let told = story.text();
    assert!(told.contains("may have 65536 bytes of arguments; this one has 70010"), "{told}");
    assert_eq!(told.matches("completed: {\"deferred").count(), 100, "{told}");
    let refused = "completed: failed {\"kind\":\"group_refused\",\"message\":\"The group";
    assert_eq!(told.matches(refused).count(), 10, "{told}");
}
