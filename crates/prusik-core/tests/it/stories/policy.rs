//! What the organisation's policy makes of calls, whatever language it is written in.

use std::sync::Arc;

use prusik_core::agent::{Agent, Containment, Group};
use prusik_core::event::Decision;
use prusik_core::ids::Digest;
use prusik_core::input::Input;
use prusik_core::policy::{Concern, DenyAll, Policy, Question, Verdict};
use prusik_core::run::{Run, Status};
use serde_json::{Value, json};

use super::{begin_with, tell};
use crate::agents;
use crate::story::{Story, asks, returned, says};

const YES: Decision = Decision::Approved { arguments: None, endorsed: false };

/// A policy in Rust; the first field is what tells it from others.
#[derive(Debug)]
struct Rules(&'static str, fn(&Question<'_>) -> Verdict);

impl Policy for Rules {
    fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    fn judge(&self, question: &Question<'_>) -> Verdict {
        (self.1)(question)
    }
}

fn ask(rule: &str, why: &str) -> Verdict {
    Verdict::Ask(vec![Concern { rule: rule.to_owned(), why: why.to_owned() }])
}

fn deny(rule: &str, message: &str) -> Verdict {
    Verdict::Deny { rule: rule.to_owned(), message: message.to_owned() }
}

/// Nothing is sent above 100, above 10 a person is asked.
fn amounts(question: &Question<'_>) -> Verdict {
    match (question.tool.name.as_str(), question.arguments["n"].as_i64()) {
        ("send", None | Some(101..)) => deny("huge", "Not above 100."),
        ("send", Some(11..)) => ask("large", "is it meant?"),
        _ => Verdict::Allow,
    }
}

fn hold(story: &mut Story, policy: impl Policy + 'static) {
    story.run.hold_to(Some(Arc::new(policy)));
}

fn begin(agent: Agent) -> Story {
    let mut story = begin_with(agent);
    hold(&mut story, Rules("amounts", amounts));
    story
}

fn send(n: i64) -> prusik_core::model::Answer {
    asks([("send", json!({"ref": "bob", "n": n}))])
}

/// The state as somebody else's process would have it, from the journal alone.
fn check_replay(story: &Story) {
    let run = Run::replay(Arc::clone(story.definition()), &story.records).unwrap();
    assert_eq!(run.state(), story.state());
}

#[test]
fn a_policy_denies_asks_and_lets_pass() {
    let mut story = begin(agents::agent());
    story.answers(asks([
        ("send", json!({"ref": "bob", "n": 5})),
        ("send", json!({"ref": "bob", "n": 50})),
        ("send", json!({"ref": "bob", "n": 500})),
    ]));
    story.replies("1.1", returned(json!({"id": 1})));
    story.decided("1.2", "ann", YES).resumed().replies("1.2", returned(json!({"id": 2})));
    // A word is good for one call.
    story.answers(send(50)).decided("2.1", "ann", Decision::Denied { reason: None }).resumed();
    story.answers(says("Done."));
    check_replay(&story);
    tell!(story);
}

#[test]
fn other_arguments_of_a_person_are_judged_too() {
    let mut story = begin(agents::agent());
    story.answers(send(50));
    let other = |n: i64| Decision::Approved {
        arguments: Some(json!({"ref": "bob", "n": n})),
        endorsed: false,
    };
    story.decided("1.1", "ann", other(500)).decided("1.1", "ann", other(60)).resumed();
    tell!(story);
}

#[test]
fn a_policy_that_was_tightened_while_a_run_waited_holds() {
    let mut story = begin(agents::agent());
    story.answers(send(50)).decided("1.1", "ann", YES);
    hold(&mut story, Rules("nothing", |_| deny("closed", "Nothing is sent today.")));
    story.resumed().answers(says("Done."));
    check_replay(&story);
    tell!(story);
}

#[test]
fn what_a_person_has_said_yes_to_is_not_asked_again_by_a_new_policy() {
    let mut story = begin(agents::agent());
    story.answers(send(50)).decided("1.1", "ann", YES);
    hold(&mut story, Rules("the same rules, once more", amounts));
    story.resumed().replies("1.1", returned(json!({"id": 1})));
    story.answers(send(50)).decided("2.1", "ann", YES);
    // But what nobody has been asked yet is.
    hold(&mut story, Rules("another question", |_| ask("name", "is it bob?")));
    story.resumed().decided("2.1", "ann", YES).resumed();
    check_replay(&story);
    tell!(story);
}

fn contained() -> Agent {
    Agent { containment: Some(Containment::default()), ..agents::agent() }
}

/// Reads what may be hostile behind a plan.
fn planned(writes: &Value) -> Story {
    let mut story = begin(contained());
    story.answers(asks([("plan", json!({"reads": ["look"], "writes": writes}))]));
    story.answers(asks([("look", json!({}))])).replies("2.1", returned(json!({"note": "hurry"})));
    story
}

/// One question has all that is to be looked at; what a denied question took goes back.
#[test]
fn the_doubts_of_containment_and_of_the_policy_are_one_question() {
    let mut story = planned(&json!([
        {"tool": "send", "arguments": {"ref": {"hole": "identity"}, "n": {"hole": "closed"}}},
        {"tool": "send", "arguments": {"ref": {"pinned": "bob"}, "n": {"pinned": 50}}}]));
    story.answers(asks([("send", json!({"ref": "eve", "n": 20}))]));
    story.decided("3.1", "ann", Decision::Denied { reason: None }).resumed();
    assert_eq!(story.state().authority.grants[0].left, 1);
    story.answers(send(50)).decided("4.1", "ann", YES).resumed();
    tell!(story);
}

#[test]
fn a_policy_that_allows_lifts_no_refusal() {
    let mut story = planned(&json!([]));
    hold(&mut story, Rules("all", |_| Verdict::Allow));
    story.answers(send(5));
    let last = story.records.last().unwrap().event().unwrap();
    assert!(format!("{last:?}").contains("unplanned"), "{last:?}");
    // Nor does a question: what is refused is not asked about.
    hold(&mut story, Rules("ask", |_| ask("all", "is it?")));
    story.answers(send(6));
    assert_eq!(story.state().status, Status::Running);
}

#[test]
fn endorsing_what_a_policy_asks_about_endorses_no_later_call() {
    let mut story = begin(contained());
    story.answers(asks([("look", json!({}))])).replies("1.1", returned(json!({"note": "hurry"})));
    hold(&mut story, Rules("ask", |_| ask("all", "is it?")));
    story.answers(asks([("send", json!({"ref": "Do the work."}))]));
    let endorsed = Decision::Approved { arguments: None, endorsed: true };
    story.decided("2.1", "ann", endorsed).resumed().replies("2.1", returned(json!({"id": 1})));
    assert!(story.state().authority.endorsed.is_empty());
    story.answers(asks([("send", json!({}))]));
    let asked = story.state().authority.asked.values().next().unwrap();
    assert!(!asked.request.doubts.is_empty() && !asked.request.policies.is_empty());
}

#[test]
fn a_policy_that_cannot_be_used_denies_and_none_denies_nothing() {
    let mut story = begin_with(agents::agent());
    hold(&mut story, DenyAll { because: "it is broken".to_owned() });
    story.answers(send(1));
    story.run.hold_to(None);
    story.answers(send(1)).replies("2.1", returned(json!({"id": 1})));
    tell!(story);
}

/// A call that waits for its group was judged long ago, and is judged again when it is made.
#[test]
fn what_waits_for_its_group_is_held_to_the_policy_of_the_commit() {
    let group = Group { name: "order".to_owned(), tools: vec!["send".to_owned()] };
    let agent = || Agent { groups: vec![group.clone()], ..agents::agent() };
    let commit = || asks([("commit_group", json!({"group": "order"}))]);
    for tightened in [false, true] {
        let mut story = begin(agent());
        story.answers(send(50)).decided("1.1", "ann", YES).resumed();
        story.answers(asks([("look", json!({}))])).replies("2.1", returned(json!(1)));
        if tightened {
            hold(
                &mut story,
                Rules("asks anew", |of| match of.tool.name.as_str() {
                    "send" => ask("name", "is it bob?"),
                    _ => Verdict::Allow,
                }),
            );
            // The new policy is in force before the commit is asked for.
            story.answers(asks([("look", json!({}))])).replies("3.1", returned(json!(2)));
        } else {
            hold(&mut story, Rules("the same rules, once more", amounts));
        }
        story.answers(commit());
        check_replay(&story);
        let text = story.text();
        let is_made = text.contains("send {\"n\":50") || story.state().calls.len() > 1;
        assert_eq!(is_made, !tightened, "{text}");
        assert_eq!(text.contains("has changed since"), tightened, "{text}");
    }
}

/// What was done before is undone, whatever the policy says by now.
#[test]
fn an_undo_is_not_judged() {
    let take = std::collections::BTreeMap::from([("n".to_owned(), json!("=result.id"))]);
    let undo = prusik_core::contract::Undo { tool: "find".to_owned(), arguments: take };
    let mut story = begin(agents::with_contract("send", |send| send.undo = Some(undo)));
    story.answers(send(5)).replies("1.1", returned(json!({"id": 1}))).answers(says("Done."));
    hold(&mut story, DenyAll { because: "it is broken".to_owned() });
    story.input("ann wants it undone", Input::Compensated { by: "ann".to_owned() });
    assert!(story.text().contains("find"), "{}", story.text());
    assert!(!story.text().contains("it is broken"), "{}", story.text());
}
