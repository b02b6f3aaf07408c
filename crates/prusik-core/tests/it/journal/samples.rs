//! Events of every kind, with everything in them and with nothing that may be left out.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::budget::{Budget, BudgetKind};
use prusik_core::event::{
    AfterClosing, BudgetRaised, CallCompleted, CallDoubted, CallFailed, CallProbed, CallRetried,
    CallSettled, CallsStarted, CancelRequested, CloseHow, CompensationPlanned, CompensationStarted,
    Ending, Event, FailReason, Found, GroupClosingStarted, Kept, ModelAnswered, ModelFailed,
    ParkReason, PlannedCall, PromptReason, Prompted, Resolver, RunFinished, RunForked, RunParked,
    RunRecovered, RunResumed, RunStarted, Undoing, Verdict,
};
use prusik_core::event::{CompactHow, CompactReason, Decision, Invariant};
use prusik_core::grant::{ArgumentKind, Slot};
use prusik_core::ids::{Attempt, CallId, Digest, RunId, Seq, Turn};
use prusik_core::label::Label;
use prusik_core::ledger::{Author, EntryKind};
use prusik_core::message::{
    Block, Content, Handle, Image, OpaqueBlock, ToolInput, ToolResultBlock, ToolUse,
};
use prusik_core::model::{ModelError, ModelErrorKind, StopReason, Usage};
use prusik_core::outcome::{Failure, Outcome, ToolResult};
use serde_json::json;

use super::{contain, context, variants};

const CALL: CallId = CallId { turn: Turn(3), index: 1 };
const OTHER: CallId = CallId { turn: Turn(3), index: 2 };

const BUDGET: Budget = Budget {
    turns: Some(50),
    tokens: Some(200_000),
    nano_usd: Some(2_000_000_000),
    wall_ms: Some(600_000),
    tool_calls: Some(100),
};

/// Returns the names of every enum that an event may hold.
pub fn inner_variants() -> Vec<(&'static str, BTreeSet<String>)> {
    vec![
        ("Resolver", variants::<Resolver>()),
        ("Found", variants::<Found>()),
        ("Verdict", variants::<Verdict>()),
        ("PromptReason", variants::<PromptReason>()),
        ("ParkReason", variants::<ParkReason>()),
        ("Ending", variants::<Ending>()),
        ("FailReason", variants::<FailReason>()),
        ("BudgetKind", variants::<BudgetKind>()),
        ("StopReason", variants::<StopReason>()),
        ("ModelErrorKind", variants::<ModelErrorKind>()),
        ("Block", variants::<Block>()),
        ("ToolInput", variants::<ToolInput>()),
        ("Content", variants::<Content>()),
        ("Outcome", variants::<Outcome>()),
        ("Undoing", variants::<Undoing>()),
        ("CloseHow", variants::<CloseHow>()),
        ("AfterClosing", variants::<AfterClosing>()),
        ("EntryKind", variants::<EntryKind>()),
        ("Author", variants::<Author>()),
        ("Decision", variants::<Decision>()),
        ("ArgumentKind", variants::<ArgumentKind>()),
        ("Slot", variants::<Slot>()),
        ("CompactReason", variants::<CompactReason>()),
        ("CompactHow", variants::<CompactHow>()),
        ("Invariant", variants::<Invariant>()),
    ]
}

pub fn all() -> BTreeMap<&'static str, Vec<Event>> {
    BTreeMap::from([
        ("run_started", run_started()),
        ("run_recovered", run_recovered()),
        ("model_answered", model_answered()),
        ("model_failed", model_failed()),
        ("calls_started", vec![Event::CallsStarted(CallsStarted { calls: vec![CALL, OTHER] })]),
        ("call_retried", call_retried()),
        ("call_completed", call_completed()),
        ("call_doubted", call_doubted()),
        ("call_probed", call_probed()),
        ("call_settled", call_settled()),
        ("prompted", prompted()),
        ("budget_raised", budget_raised()),
        ("run_parked", run_parked()),
        ("run_resumed", run_resumed()),
        ("run_forked", run_forked()),
        ("compensation_started", compensation_started()),
        ("compensation_planned", compensation_planned()),
        ("group_closing_started", group_closing_started()),
        ("cancel_requested", vec![Event::CancelRequested(wish())]),
        ("entry_recorded", context::entry_recorded()),
        ("plan_made", contain::plan_made()),
        ("grant_spent", contain::grant_spent()),
        ("policy_adopted", contain::policy_adopted()),
        ("approval_requested", contain::approval_requested()),
        ("approval_answered", contain::approval_answered()),
        ("compaction_requested", context::compaction_requested()),
        ("compaction_started", context::compaction_started()),
        ("summary_answered", context::summary_answered()),
        ("context_compacted", context::context_compacted()),
        ("run_finished", run_finished()),
    ])
}

fn run_started() -> Vec<Event> {
    let started = |budget| {
        Event::RunStarted(RunStarted {
            run: RunId::new("0193-a"),
            agent: "clerk".into(),
            definition: Digest::of(b"definition"),
            task: "Pay the invoices.\n\"Now\" – ünïcode.".into(),
            budget,
        })
    };
    vec![started(BUDGET), started(Budget::default())]
}

fn run_recovered() -> Vec<Event> {
    let recovered = |repeated| Event::RunRecovered(RunRecovered { by: "host:42".into(), repeated });
    vec![recovered(vec![CALL, OTHER]), recovered(Vec::new())]
}

fn run_resumed() -> Vec<Event> {
    let resumed = |repeated| Event::RunResumed(RunResumed { by: "ann".into(), repeated });
    vec![resumed(vec![CALL]), resumed(Vec::new())]
}

fn model_answered() -> Vec<Event> {
    let tool_use = |input| Block::ToolUse(ToolUse { id: "id1".into(), name: "pay".into(), input });
    let content = vec![
        Block::Text("I pay.".into()),
        Block::Opaque(OpaqueBlock {
            provider: "anthropic".into(),
            block: json!({"type": "thinking", "signature": "c2ln", "thinking": ""}),
        }),
        tool_use(ToolInput::Json(json!({"z": 1, "a": [0.1, 1e300, -7, null, true, "é"]}))),
        tool_use(ToolInput::Malformed("{\"z\": ".into())),
        Block::ToolResult(ToolResultBlock {
            id: "id1".into(),
            content: vec![Content::Text("x".into())],
            is_error: true,
        }),
    ];
    let answered = |content, stop, usage, nano_usd| {
        Event::ModelAnswered(ModelAnswered {
            turn: Turn(3),
            attempt: Attempt(2),
            content,
            stop,
            usage,
            nano_usd,
            model: "model-1".into(),
            ms: 1_234,
        })
    };
    let usage = Usage { input: 1, output: 2, cache_read: 3, cache_write: 4 };
    let mut events = vec![answered(content, StopReason::ToolUse, usage, 99)];
    let stops = [
        StopReason::EndTurn,
        StopReason::MaxTokens,
        StopReason::StopSequence,
        StopReason::Refusal,
        StopReason::PauseTurn,
        StopReason::ContextFull,
        StopReason::Other("odd".into()),
    ];
    events.extend(stops.map(|stop| answered(Vec::new(), stop, Usage::default(), 0)));
    events
}

fn model_failed() -> Vec<Event> {
    let kinds = [
        ModelErrorKind::RateLimited,
        ModelErrorKind::Overloaded,
        ModelErrorKind::Server,
        ModelErrorKind::Unreachable,
        ModelErrorKind::Timeout,
        ModelErrorKind::StreamCut,
        ModelErrorKind::BadResponse,
        ModelErrorKind::Authentication,
        ModelErrorKind::NotFound,
        ModelErrorKind::InvalidRequest,
        ModelErrorKind::ContextFull,
        ModelErrorKind::Billing,
        ModelErrorKind::Drift,
    ];
    let failed = |(kind, more): (ModelErrorKind, Option<u64>)| {
        let error = ModelError { kind, message: "no".into(), retry_after_ms: more };
        Event::ModelFailed(ModelFailed {
            turn: Turn(1),
            attempt: Attempt(1),
            error,
            retry_in_ms: more,
        })
    };
    let some = kinds.iter().enumerate().map(|(i, kind)| (*kind, (i == 0).then_some(7_000)));
    some.map(failed).collect()
}

fn failure() -> Failure {
    Failure {
        kind: "busy".into(),
        message: "later".into(),
        retryable: true,
        landed: false,
        advice: Some("Wait.".into()),
        at: vec!["/a/0".into(), String::new()],
        whole: None,
    }
}

fn plain_failure() -> Failure {
    Failure::new("x", "y")
}

fn call_retried() -> Vec<Event> {
    let retried = |failure| {
        Event::CallRetried(CallRetried {
            call: CALL,
            attempt: Attempt(1),
            failure,
            retry_in_ms: 200,
        })
    };
    vec![retried(failure()), retried(plain_failure())]
}

fn call_completed() -> Vec<Event> {
    let image = Image { media_type: "image/png".into(), data: "AAAA".into() };
    let content = vec![
        Content::Text("text".into()),
        Content::Image(image),
        Content::Json(json!({"b": 1, "a": null})),
        Content::Json(json!(null)),
    ];
    let whole = Some(Handle { digest: Digest::of(b"whole"), bytes: 5 });
    let outcomes = [
        Outcome::Ok(ToolResult { content, whole }),
        Outcome::Ok(ToolResult::default()),
        Outcome::Failed(failure()),
        Outcome::Failed(plain_failure()),
        Outcome::Denied { rule: "r".into(), message: "m".into() },
        Outcome::Rejected { by: "ann".into(), reason: "no".into() },
        Outcome::InDoubt { reason: "lost".into() },
    ];
    let completed = |outcome, undo| {
        let attempt = Attempt(1);
        let echo = Label::trusted();
        Event::CallCompleted(CallCompleted { call: CALL, attempt, outcome, ms: 12, undo, echo })
    };
    let mut events: Vec<Event> = outcomes.map(|outcome| completed(outcome, None)).into();
    let ok = || Outcome::Ok(ToolResult::default());
    let undo = Undoing::Call { tool: "refund".into(), arguments: json!({"id": 7}) };
    let landed = Failure { landed: true, ..plain_failure() };
    events.push(completed(Outcome::Failed(landed), None));
    events.push(completed(ok(), Some(undo)));
    events.push(completed(ok(), Some(Undoing::Impossible { reason: "no id".into() })));
    events.push(completed(Outcome::Deferred { group: "order".into() }, None));
    let whole = Some(Handle { digest: Digest::of(b"unfit"), bytes: 5 });
    events.push(completed(Outcome::Failed(Failure { whole, ..plain_failure() }), None));
    let mut echoing = completed(ok(), None);
    if let Event::CallCompleted(completed) = &mut echoing {
        completed.echo = Label::of("fetch");
    }
    events.push(echoing);
    events
}

fn call_doubted() -> Vec<Event> {
    let doubted = |resolved_by| {
        let reason = "lost".into();
        Event::CallDoubted(CallDoubted { call: CALL, attempt: Attempt(1), reason, resolved_by })
    };
    [Resolver::Probe, Resolver::Person].map(doubted).into()
}

fn call_probed() -> Vec<Event> {
    let probed =
        |(found, retry_in_ms)| Event::CallProbed(CallProbed { call: CALL, found, retry_in_ms });
    [
        (Found::Landed, None),
        (Found::NotLanded, None),
        (Found::Unclear { reason: "cut".into() }, Some(200)),
    ]
    .map(probed)
    .into()
}

fn call_settled() -> Vec<Event> {
    let verdicts = [
        Verdict::Landed(Some(json!({"id": 7}))),
        Verdict::Landed(None),
        Verdict::NotLanded,
        Verdict::Unknown,
    ];
    let settled =
        |verdict| Event::CallSettled(CallSettled { call: CALL, verdict, by: "ann".into() });
    verdicts.map(settled).into()
}

fn prompted() -> Vec<Event> {
    let reasons = [
        PromptReason::Continue,
        PromptReason::Repair,
        PromptReason::Loop,
        PromptReason::Person,
        PromptReason::Ledger,
    ];
    reasons.map(|why| Event::Prompted(Prompted { text: "Go on.".into(), why })).into()
}

fn budget_raised() -> Vec<Event> {
    let raised = |budget| Event::BudgetRaised(BudgetRaised { budget, by: "ann".into() });
    vec![raised(BUDGET), raised(Budget { turns: Some(1), ..Budget::default() })]
}

fn run_parked() -> Vec<Event> {
    let error = ModelError::new(ModelErrorKind::Billing, "no credit");
    let mut reasons = vec![
        ParkReason::InDoubt { calls: vec![CALL, OTHER] },
        ParkReason::Loop { tool: "look".into(), times: 6 },
        ParkReason::Model { error },
        ParkReason::Interrupted,
    ];
    let budgets = BudgetKind::ALL.map(|kind| ParkReason::Budget { kind, limit: 10, spent: 9 });
    reasons.extend(budgets);
    reasons.push(ParkReason::Failed { reason: FailReason::Refused, message: "no".into() });
    reasons.push(ParkReason::Approval { calls: vec![CALL, OTHER] });
    reasons.into_iter().map(|reason| Event::RunParked(RunParked { reason })).collect()
}

fn run_forked() -> Vec<Event> {
    let forked =
        |writes| Event::RunForked(RunForked { from: RunId::new("0193-a"), at: Seq(9), writes });
    vec![forked(vec![CALL]), forked(Vec::new())]
}

fn failed_ending() -> Ending {
    Ending::Failed { reason: FailReason::Refused, message: "no".into(), kept: vec![] }
}

fn kept() -> Kept {
    Kept { call: OTHER, why: "the contract of send names no undo".into() }
}

fn compensation_started() -> Vec<Event> {
    let started = |was: Option<Ending>, kept| {
        let (by, was) = ("ann".to_owned(), was.map(Box::new));
        Event::CompensationStarted(CompensationStarted { by, was, kept })
    };
    vec![started(Some(failed_ending()), vec![kept()]), started(None, vec![])]
}

fn compensation_planned() -> Vec<Event> {
    let undo = PlannedCall {
        call: CallId { turn: Turn(4), index: 1 },
        of: CALL,
        tool: "refund".into(),
        arguments: json!({"id": 7}),
    };
    let planned =
        |undos, kept, more| Event::CompensationPlanned(CompensationPlanned { undos, kept, more });
    vec![planned(vec![undo], vec![kept()], true), planned(vec![], vec![], false)]
}

fn group_closing_started() -> Vec<Event> {
    let calls = vec![PlannedCall {
        call: CallId { turn: Turn(2), index: 513 },
        of: CALL,
        tool: "mail".into(),
        arguments: json!({"to": "bob"}),
    }];
    let closing = |how, calls, kept, because, then| {
        let groups = vec!["order".to_owned()];
        Event::GroupClosingStarted(GroupClosingStarted { groups, how, calls, kept, because, then })
    };
    let because = Some("call 2.1 could not be made".to_owned());
    let end = AfterClosing::End(Box::new(failed_ending()));
    vec![
        closing(CloseHow::Commit, calls.clone(), vec![], None, AfterClosing::Answer(OTHER)),
        closing(CloseHow::Undo, calls, vec![kept()], because, end),
    ]
}

fn wish() -> CancelRequested {
    CancelRequested { by: "ann".into(), reason: "wrong task".into() }
}

fn run_finished() -> Vec<Event> {
    let answer = || "Done.".to_owned();
    let completed = |output| Ending::Completed {
        answer: answer(),
        output,
        failures: Vec::new(),
        contained: Vec::new(),
        label: Label::trusted(),
        foreign_links: Vec::new(),
    };
    let denied = |message: &str| CallFailed {
        call: CALL,
        tool: "pay".into(),
        outcome: "denied".into(),
        message: message.into(),
    };
    let mut endings = vec![
        completed(Some(json!({"paid": 3}))),
        completed(Some(json!(null))),
        completed(None),
        Ending::Cancelled {
            by: "ann".into(),
            reason: "wrong task".into(),
            in_doubt: Vec::new(),
            kept: Vec::new(),
        },
    ];
    let reasons = [
        FailReason::Refused,
        FailReason::Truncated,
        FailReason::InvalidOutput,
        FailReason::MalformedCalls,
        FailReason::ContextFull,
        FailReason::UnknownStop,
    ];
    endings.extend(reasons.map(|reason| Ending::Failed {
        reason,
        message: "why".into(),
        kept: vec![],
    }));
    endings.extend([
        Ending::Completed {
            answer: answer(),
            output: Some(json!({"paid": 3})),
            failures: vec![denied("limit: too much")],
            contained: Vec::new(),
            label: Label::trusted(),
            foreign_links: Vec::new(),
        },
        Ending::Cancelled {
            by: "ann".into(),
            reason: "late".into(),
            in_doubt: vec![CALL],
            kept: vec![],
        },
        Ending::Compensated {
            by: "on_failure".into(),
            was: Some(Box::new(failed_ending())),
            undone: vec![CALL],
            kept: vec![kept()],
        },
        Ending::Compensated { by: "ann".into(), was: None, undone: vec![], kept: vec![] },
        Ending::Failed { reason: FailReason::GroupOpen, message: "why".into(), kept: vec![kept()] },
        Ending::Cancelled {
            by: "ann".into(),
            reason: "late".into(),
            in_doubt: vec![],
            kept: vec![kept()],
        },
        Ending::Completed {
            answer: answer(),
            output: None,
            failures: Vec::new(),
            contained: vec![denied("{\"to\":\"eve\"}")],
            label: Label::of("fetch"),
            foreign_links: vec!["https://eve.example/x".into()],
        },
    ]);
    endings.into_iter().map(|ending| Event::RunFinished(RunFinished { ending })).collect()
}
