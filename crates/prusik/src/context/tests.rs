//! Tests of what is shown of a context, on runs that are driven by hand.

use std::sync::Arc;

use prusik_core::agent::{Agent, ContextPolicy, Limits, OnFailure, Tool};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::effect::Action;
use prusik_core::ids::{Attempt, CallId, RunId, Seq, Timestamp, Turn};
use prusik_core::input::{Input, Now};
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelRequest, ModelSpec, StopReason, Usage};
use prusik_core::outcome::{Reply, ToolResult};
use prusik_core::record::Record;
use prusik_core::run::{Definition, Run};
use serde_json::json;

use super::fill::{Group, filling};
use super::*;

const NOW: Now = Now { at: Timestamp(1_000), entropy: 3 };

/// A run whose model calls `look` in each turn, and whose provider counts half of what is sent.
struct Long {
    definition: Arc<Definition>,
    run: Run,
    records: Vec<Record>,
    asked: Option<ModelRequest>,
    /// What was sent, by the record that answered it.
    sent: Vec<(Seq, ModelRequest)>,
}

fn agent(window_tokens: u64) -> Agent {
    let look = Tool {
        name: "look".to_owned(),
        description: "Looks.".to_owned(),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        contract: Contract::of(EffectClass::Read),
        shown: true,
    };
    Agent {
        name: "main".to_owned(),
        system: "You look.".to_owned(),
        model: ModelSpec {
            alias: "default".to_owned(),
            model: "m".to_owned(),
            max_tokens: 300,
            temperature: None,
            thinking_tokens: None,
            price: None,
        },
        tools: vec![look],
        budget: Budget::default(),
        output: None,
        limits: Limits { repeats_max: 0, ..Limits::default() },
        on_failure: OnFailure::Leave,
        groups: Vec::new(),
        context: Some(ContextPolicy::of_window(window_tokens, 300)),
        ledger: Vec::new(),
        containment: None,
    }
}

impl Long {
    fn start(window_tokens: u64) -> Self {
        let definition = Arc::new(Definition::new(agent(window_tokens)));
        let (id, task) = (RunId::new("r"), "Look around.".to_owned());
        let (run, sealed) =
            Run::start(Arc::clone(&definition), id, task, Budget::default(), NOW.at);
        let records = sealed.records;
        let mut long = Self { definition, run, records, asked: None, sent: Vec::new() };
        long.hand(Input::TimerFired);
        long
    }

    fn hand(&mut self, input: Input) {
        let step = self.run.handle(input, NOW).unwrap();
        self.records.extend(self.run.apply(step).records);
        while let Some(effect) = self.run.poll_effect(NOW.at) {
            if let Action::CallModel(request) = effect.action {
                self.asked = Some((*request).clone());
            }
        }
    }

    /// Answers what was asked: a turn by a call, a summary by a summary.
    fn turn(&mut self, bytes: usize) {
        let request = self.asked.take().unwrap();
        let summary = request.purpose == Purpose::Summary;
        let content = if summary {
            Block::Text(json!({"asked": "look", "done": ["looked"]}).to_string())
        } else {
            let input = ToolInput::Json(json!({}));
            Block::ToolUse(ToolUse { id: "x".to_owned(), name: "look".to_owned(), input })
        };
        let stop = if summary { StopReason::EndTurn } else { StopReason::ToolUse };
        let sizes = request.messages.iter().flat_map(|message| &message.content);
        let input = sizes.map(prusik_core::run::bytes_of).sum::<u64>() / 2 + 400;
        let usage = Usage { input, output: 10, ..Usage::default() };
        let answer = Answer { content: vec![content], stop, usage, model: "m".to_owned() };
        let (turn, attempt) = (request.turn, request.attempt);
        self.sent.push((Seq(self.records.len() as u64 + 1), request));
        self.hand(Input::ModelAnswered { turn, attempt, answer, ms: 1 });
        if !summary {
            let reply = Reply::Returned(ToolResult::text("word ".repeat(bytes / 5)));
            let call = CallId::new(turn, 1);
            self.hand(Input::CallReplied { call, attempt: Attempt(1), reply, ms: 1 });
        }
    }

    fn view(&self, at: Option<u64>) -> ContextView {
        view(&self.definition, &self.records, at.map(Seq)).unwrap()
    }
}

fn tokens_of(view: &ContextView) -> u64 {
    view.segments.iter().map(|segment| segment.tokens).sum()
}

#[test]
fn every_request_is_shown_as_it_was_sent_and_its_pieces_are_all_of_it() {
    let mut long = Long::start(6_000);
    for turn in 0..40 {
        long.turn(600 + turn * 37 % 900);
    }
    assert!(long.run.state().view.compactions > 2);
    let mut kinds = Vec::new();
    for (seq, request) in &long.sent {
        let view = long.view(Some(seq.0));
        assert_eq!(view.request, *request, "record {seq}");
        assert_eq!(view.which, Which::Answered(*seq));
        assert!(view.is_counted);
        assert_eq!(tokens_of(&view), view.tokens);
        let blocks: usize = request.messages.iter().map(|message| message.content.len()).sum();
        assert_eq!(view.segments.len(), 1 + request.tools.len() + blocks, "each block is a piece");
        kinds.extend(view.segments.iter().map(|segment| segment.kind));
        kinds.dedup();
    }
    for kind in [SegmentKind::Folded, SegmentKind::History, SegmentKind::Request] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    let next = long.view(None);
    assert_eq!(next.which, Which::Next);
    assert_eq!(Some(&next.request), long.asked.as_ref());
    assert_eq!(tokens_of(&next), next.tokens);
    assert!(!next.is_counted && next.tokens >= long.run.state().tokens_in_window());
    let error = view(&long.definition, &long.records, Some(Seq(9_999))).unwrap_err();
    assert!(error.to_string().contains("its last one is"), "{error}");
    assert!(view(&long.definition, &long.records, Some(Seq(0))).is_err());
}

#[test]
fn while_calls_are_open_the_last_request_is_shown() {
    let mut long = Long::start(50_000);
    long.turn(100);
    let request = long.asked.take().unwrap();
    let input = ToolInput::Json(json!({}));
    let call = Block::ToolUse(ToolUse { id: "y".to_owned(), name: "look".to_owned(), input });
    let answer = Answer {
        content: vec![call],
        stop: StopReason::ToolUse,
        usage: Usage::default(),
        model: "m".to_owned(),
    };
    let (turn, attempt) = (request.turn, request.attempt);
    let seq = Seq(long.records.len() as u64 + 1);
    long.hand(Input::ModelAnswered { turn, attempt, answer, ms: 1 });
    let view = long.view(None);
    assert_eq!((view.which, &view.request), (Which::Last(seq), &request));
    assert!(!view.is_counted, "a server that counts nothing has counted nothing");
    long.hand(Input::Cancelled { by: "ann".to_owned(), reason: "enough".to_owned() });
}

#[test]
fn what_came_left_and_changed_between_two_points_is_named() {
    let mut long = Long::start(6_000);
    while long.run.state().view.compactions == 0 {
        long.turn(1_800);
    }
    let folded = long.view(None);
    let before = long.view(Some(long.sent.last().unwrap().0.0));
    let difference = folded.since(&before);
    let changed = difference.changes.iter().any(|change| {
        matches!(change, Change::Changed { before, after }
            if before.kind == SegmentKind::Result && after.kind == SegmentKind::Folded)
    });
    assert!(changed, "{:?}", difference.changes);
    while long.run.state().view.through == Turn(0) {
        long.turn(300);
    }
    let after = long.view(None);
    let difference = after.since(&before);
    let named = |wanted: fn(&Change) -> Option<&Segment>| -> Vec<&str> {
        let found = difference.changes.iter().filter_map(wanted);
        found.map(|segment| segment.name.as_str()).collect()
    };
    let added = named(|change| match change {
        Change::Added(segment) => Some(segment),
        Change::Gone(_) | Change::Changed { .. } => None,
    });
    let gone = named(|change| match change {
        Change::Gone(segment) => Some(segment),
        Change::Added(_) | Change::Changed { .. } => None,
    });
    assert!(added.contains(&"history") && gone.contains(&"answer of turn 1"), "{added:?} {gone:?}");
    // What is the same, has come or has changed is all of the one; what is not new is all of the other.
    let changed = difference.changes.len() - added.len() - gone.len();
    assert_eq!(difference.same + added.len() + changed, after.segments.len());
    assert_eq!(difference.same + gone.len() + changed, before.segments.len());
    assert_eq!(before.since(&before).changes, []);
}

#[test]
fn the_filling_read_in_one_pass_is_that_of_each_request() {
    let mut long = Long::start(6_000);
    for turn in 0..60 {
        long.turn(300 + turn * 61 % 1_100);
    }
    let filling = filling(&long.definition, &long.records).unwrap();
    let turns = long.sent.iter().filter(|(_, request)| request.purpose == Purpose::Turn);
    assert_eq!(filling.points.len(), turns.count());
    let compactions = usize::try_from(long.run.state().view.compactions).unwrap();
    assert_eq!(filling.compactions.len(), compactions);
    for point in &filling.points {
        let view = long.view(Some(point.seq.0));
        assert_eq!(point.total(), view.tokens);
        let bytes_of = |kinds: &[SegmentKind]| -> u64 {
            let of = view.segments.iter().filter(|segment| kinds.contains(&segment.kind));
            of.map(|segment| segment.bytes).sum()
        };
        let all: u64 = view.segments.iter().map(|segment| segment.bytes).sum();
        for (group, kinds) in [
            (Group::Fixed, &[SegmentKind::System, SegmentKind::Tool][..]),
            (Group::Head, &[SegmentKind::Task, SegmentKind::Ledger]),
            (Group::History, &[SegmentKind::History]),
            (Group::Folded, &[SegmentKind::Folded]),
        ] {
            let share = view.tokens * bytes_of(kinds) / all;
            let found = point.tokens[group as usize];
            assert!(found.abs_diff(share) <= 1, "{}: {found}, not {share}", group.words());
        }
    }
    let drawing = svg(&filling);
    assert_eq!(drawing.matches("class=\"compacted\"").count(), compactions);
    assert_eq!(drawing.matches("class=\"hit\"").count(), filling.points.len());
    assert!(!drawing.contains("<script") && drawing.matches("http").count() == 1, "one namespace");
    let page = html(&filling, &long.view(None));
    assert!(page.contains(&drawing) && page.contains("Compactions"));
}

#[test]
fn a_picture_of_very_many_requests_has_a_bounded_size() {
    let mut long = Long::start(6_000);
    for _ in 0..30 {
        long.turn(500);
    }
    let mut filling = filling(&long.definition, &long.records).unwrap();
    let points = filling.points.clone();
    filling.points = points.iter().cycle().take(50_000).copied().collect();
    let drawing = svg(&filling);
    assert!(drawing.len() < 500_000, "{}", drawing.len());
    filling.points.clear();
    assert!(svg(&filling).contains("has not answered yet"));
    filling.agent = "<script>\u{202e}".to_owned();
    assert!(!svg(&filling).contains("<script>"), "nothing that is named is markup");
}
