//! What is undone when a run fails, is cancelled, or a person wants it.

use std::collections::BTreeMap;

use prusik_core::agent::{Agent, OnFailure};
use prusik_core::contract::{Contract, EffectClass, Undo};
use prusik_core::event::Verdict;
use prusik_core::input::Input;
use prusik_core::model::StopReason;
use serde_json::json;

use super::{begin_with, tell};
use crate::agents;
use crate::story::{Story, asks, lost, refused, returned, says, stopped};

/// `pay` is undone by `refund`, a write that can be probed; `put` by `take`, whose argument comes from
/// the result; `send` by nothing.
fn agent(on_failure: OnFailure) -> Agent {
    let undo = |tool: &str, name: &str, value: &str| {
        let arguments = BTreeMap::from([(name.to_owned(), json!(value))]);
        Some(Undo { tool: tool.to_owned(), arguments })
    };
    let mut agent =
        agents::with_contract("pay", |pay| pay.undo = undo("refund", "ref", "=args.ref"));
    let put = agent.tools.iter_mut().find(|tool| tool.name == "put").unwrap();
    put.contract.undo = undo("take", "n", "=result.id");
    let mut refund = Contract::of(EffectClass::Write);
    refund.probe = Some(agents::probe(0));
    for (name, contract) in [("refund", refund), ("take", Contract::of(EffectClass::Idempotent))] {
        let mut tool = agents::tool(name, contract);
        tool.shown = false;
        agent.tools.push(tool);
    }
    Agent { on_failure, ..agent }
}

fn compensate(story: &mut Story) -> &mut Story {
    story.input("ann compensates", Input::Compensated { by: "ann".to_owned() })
}

/// Pays, puts, looks and sends; each is done.
fn work(story: &mut Story) -> &mut Story {
    story
        .answers(asks([("pay", json!({"ref": "a"})), ("put", json!({"ref": "b"}))]))
        .replies("1.1", returned(json!("paid")))
        .replies("1.2", returned(json!({"id": 7})))
        .answers(asks([("look", json!({})), ("send", json!({"ref": "c"}))]))
        .replies("2.1", returned(json!("seen")))
        .replies("2.2", returned(json!("sent")))
}

#[test]
fn a_failed_run_is_undone_newest_first_and_says_what_stays() {
    let mut story = begin_with(agent(OnFailure::Compensate));
    work(&mut story)
        .answers(stopped(says("No."), StopReason::Refusal))
        .replies("4.1", returned(json!("taken")))
        .replies("4.2", returned(json!("refunded")));
    tell!(story);
}

#[test]
fn a_completed_run_is_undone_when_a_person_says_so_and_only_once() {
    let mut story = begin_with(agent(OnFailure::Leave));
    work(&mut story).answers(says("Done."));
    compensate(&mut story)
        .replies("4.1", returned(json!("taken")))
        .replies("4.2", returned(json!("refunded")));
    compensate(&mut story);
    tell!(story);
}

#[test]
fn an_undo_that_fails_is_listed_and_made_again_when_asked() {
    let mut story = begin_with(agent(OnFailure::Leave));
    work(&mut story).answers(says("Done."));
    compensate(&mut story)
        .replies("4.1", refused("not today"))
        .replies("4.2", returned(json!("refunded")));
    compensate(&mut story).replies("5.1", returned(json!("taken")));
    tell!(story);
}

#[test]
fn an_undo_that_is_lost_is_probed_and_one_that_dies_is_recovered() {
    let mut story = begin_with(agent(OnFailure::Leave));
    work(&mut story).answers(says("Done."));
    compensate(&mut story).crashes(0).replies("4.1", returned(json!("taken")));
    story
        .probe_replies("4.2", returned(json!({"found": false})))
        .replies("4.2", lost())
        .crashes(0)
        .probe_replies("4.2", returned(json!({"found": true})));
    tell!(story);
}

#[test]
fn a_run_in_doubt_is_settled_first() {
    let mut story = begin_with(agent(OnFailure::Leave));
    story.answers(asks([("send", json!({"ref": "a"}))])).replies("1.1", lost());
    compensate(&mut story).settled("1.1", Verdict::Unknown);
    compensate(&mut story);
    tell!(story);
}

#[test]
fn a_cancelled_run_lists_what_nobody_found_out() {
    let mut story = begin_with(agent(OnFailure::Leave));
    story
        .answers(asks([("pay", json!({"ref": "a"}))]))
        .replies("1.1", returned(json!("paid")))
        .answers(asks([("pay", json!({"ref": "b"}))]))
        .cancelled()
        .replies("2.1", lost());
    compensate(&mut story).replies("3.1", returned(json!("refunded")));
    tell!(story);
}

#[test]
fn a_run_that_would_fail_waits_for_a_person_where_its_agent_says_so() {
    let mut story = begin_with(agent(OnFailure::Park));
    story
        .answers(stopped(says("No."), StopReason::Refusal))
        .resumed()
        .answers(stopped(asks([("send", json!({"ref": "a"}))]), StopReason::Refusal));
    let message = Some("It is allowed.".to_owned());
    story
        .input("ann resumes with a word", Input::Resumed { by: "ann".to_owned(), message })
        .answers(says("Done."));
    tell!(story);
}
