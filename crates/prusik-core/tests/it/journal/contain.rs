//! Events of containment, with everything in them and with nothing that may be left out.

use std::collections::BTreeMap;

use prusik_core::event::{
    ApprovalAnswered, ApprovalRequested, Decision, Event, GrantSpent, PlanMade, PolicyAdopted,
};
use prusik_core::grant::{ArgumentKind, Doubt, Plan, PlannedWrite, Slot};
use prusik_core::ids::{CallId, Digest, Timestamp, Turn};
use prusik_core::label::Label;
use prusik_core::policy::Concern;
use serde_json::json;

const CALL: CallId = CallId { turn: Turn(3), index: 1 };

pub fn plan_made() -> Vec<Event> {
    let holes = ArgumentKind::ALL.map(|kind| (kind.as_str().to_owned(), Slot::Hole(kind)));
    let mut arguments = BTreeMap::from(holes);
    arguments.insert("to".into(), Slot::Pinned(json!({"iban": "DE1", "n": 1.5})));
    let write = PlannedWrite { tool: "pay".into(), arguments, times: 3 };
    let plan = Plan { reads: vec!["look".into()], writes: vec![write] };
    [plan, Plan::default()].map(|plan| Event::PlanMade(PlanMade { call: CALL, plan })).into()
}

pub fn grant_spent() -> Vec<Event> {
    vec![Event::GrantSpent(GrantSpent { call: CALL, grant: 2 })]
}

pub fn policy_adopted() -> Vec<Event> {
    let adopted = [Some(Digest::of(b"policy")), None];
    adopted.map(|policy| Event::PolicyAdopted(PolicyAdopted { policy })).into()
}

pub fn approval_requested() -> Vec<Event> {
    let full = ApprovalRequested {
        call: CALL,
        digest: Digest::of(b"question"),
        label: Label::of("fetch"),
        grant: Some(0),
        doubts: vec![Doubt { argument: "to".into(), why: "it says who is affected".into() }],
        policies: vec![Concern { rule: "large".into(), why: "who is it?".into() }],
        people: 2,
        expires: Timestamp(1_700_000_000_000),
    };
    let policies = Vec::new();
    let no_policy = ApprovalRequested { policies: policies.clone(), ..full.clone() };
    let bare =
        ApprovalRequested { grant: None, doubts: Vec::new(), policies, people: 1, ..full.clone() };
    let mut label = Label::of("fetch");
    label.readers = Some(["ann".to_owned(), "bob".to_owned()].into());
    let secret = ApprovalRequested { label, ..no_policy.clone() };
    [no_policy, bare, full, secret].map(Event::ApprovalRequested).into()
}

pub fn approval_answered() -> Vec<Event> {
    let decisions = [
        Decision::Approved { arguments: None, endorsed: false },
        Decision::Approved { arguments: Some(json!({"to": "DE2"})), endorsed: true },
        Decision::Denied { reason: Some("too much".into()) },
        Decision::Denied { reason: None },
        Decision::Expired,
    ];
    let answered = |decision| {
        let (digest, by) = (Digest::of(b"question"), "ann".into());
        Event::ApprovalAnswered(ApprovalAnswered { call: CALL, digest, by, decision })
    };
    decisions.map(answered).into()
}
