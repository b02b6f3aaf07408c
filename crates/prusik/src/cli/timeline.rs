//! A run's events, gathered into turns and calls as people think of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use prusik_core::event::{
    ApprovalRequested, CloseHow, CompactHow, ContextCompacted, Decision, Event, Found,
    GroupClosingStarted, Kept, ParkReason, PlannedCall, PromptReason, Resolver, Verdict,
};
use prusik_core::ids::{CallId, Timestamp, Turn};
use prusik_core::ledger::Author;
use prusik_core::message::ToolInput;
use prusik_core::outcome::Outcome;
use prusik_core::run::{
    COMMIT_GROUP, Definition, PLAN, RECALL, RECORD, State, UNDO_GROUP, calls_of, text_of,
};

use super::text::{Paint, count, counted, duration, one_line, printable, usd};

/// Turns a run's events into lines, one event after the other: the same lines live and later.
pub struct Timeline {
    definition: Arc<Definition>,
    paint: Paint,
    calls: BTreeMap<CallId, Called>,
    parked_at: Option<Timestamp>,
}

/// What is remembered of a call until its outcome is there.
struct Called {
    tool: String,
    arguments: String,
}

/// Characters of arguments and messages that fit beside the rest of a line.
const ARGUMENT_CHARS: usize = 72;
const MESSAGE_CHARS: usize = 160;
/// As much of a digest as tells it from others.
const DIGEST_CHARS: usize = 12;

impl Timeline {
    pub fn new(definition: Arc<Definition>, paint: Paint) -> Self {
        Self { definition, paint, calls: BTreeMap::new(), parked_at: None }
    }

    /// Remembers the calls that were open when the run was loaded.
    pub fn remember(&mut self, state: &State) {
        for (id, call) in &state.calls {
            let called = Called { tool: call.tool.clone(), arguments: written(&call.input) };
            self.calls.insert(*id, called);
        }
    }

    /// Returns the lines that an event adds. `with_text` asks for the model's text as well, which
    /// a live view has shown already.
    pub fn lines(&mut self, event: &Event, at: Timestamp, with_text: bool) -> Vec<String> {
        let paint = self.paint;
        match event {
            Event::RunStarted(started) if with_text => {
                vec![format!("{} {}", paint.bold("task"), printable(&started.task))]
            }
            Event::RunRecovered(recovered) => {
                let mut line = format!("taken over by {}", printable(&recovered.by));
                if !recovered.repeated.is_empty() {
                    line.push_str(&format!("; made again: call {}", join(&recovered.repeated)));
                }
                vec![paint.yellow(&format!("↻ {line}"))]
            }
            Event::ModelAnswered(answered) => {
                for (id, tool_use) in calls_of(answered.turn, &answered.content) {
                    let arguments = written(&tool_use.input);
                    self.calls.insert(id, Called { tool: tool_use.name.clone(), arguments });
                }
                let text = text_of(&answered.content);
                let mut lines = Vec::new();
                if with_text {
                    lines.push(self.turn_line(
                        answered.turn,
                        answered.usage.total(),
                        answered.nano_usd,
                        answered.ms,
                    ));
                    lines.extend(text.trim().lines().map(|line| format!("  {}", printable(line))));
                }
                lines
            }
            Event::ModelFailed(failed) => {
                let message = one_line(&failed.error.message, MESSAGE_CHARS);
                let next = match failed.retry_in_ms {
                    Some(ms) => format!("; again in {}", duration(ms)),
                    None => String::new(),
                };
                vec![
                    paint
                        .yellow(&format!("  ! model, attempt {}: {message}{next}", failed.attempt)),
                ]
            }
            Event::CallRetried(retried) => {
                let message = one_line(&retried.failure.message, MESSAGE_CHARS);
                let next = duration(retried.retry_in_ms);
                vec![paint.yellow(&format!(
                    "  ! {} attempt {}: {message}; again in {next}",
                    self.name(retried.call),
                    retried.attempt
                ))]
            }
            Event::CallCompleted(completed) => {
                vec![self.call_line(
                    completed.call,
                    &completed.outcome,
                    completed.attempt.0,
                    completed.ms,
                )]
            }
            Event::CallDoubted(doubted) => {
                let who = match doubted.resolved_by {
                    Resolver::Probe => "its probe is asked",
                    Resolver::Person => "a person must say",
                };
                let reason = one_line(&doubted.reason, MESSAGE_CHARS);
                vec![paint.yellow(&format!(
                    "  ? {} {} {} in doubt: {reason}; {who}",
                    doubted.call,
                    self.name(doubted.call),
                    self.arguments(doubted.call)
                ))]
            }
            Event::CallProbed(probed) => {
                let found = match &probed.found {
                    Found::Landed => "the probe says: it landed".to_owned(),
                    Found::NotLanded => {
                        "the probe says: it did not land; it is made now".to_owned()
                    }
                    Found::Unclear { reason } => {
                        format!("the probe gave no answer: {}", one_line(reason, MESSAGE_CHARS))
                    }
                };
                vec![paint.cyan(&format!("  ? {} {} {found}", probed.call, self.name(probed.call)))]
            }
            Event::PlanMade(made) => vec![paint.dim(&format!(
                "  plan: {} calls, and reads with {}",
                made.plan.writes.iter().map(|write| write.times).sum::<u32>(),
                one_line(&made.plan.reads.join(", "), MESSAGE_CHARS)
            ))],
            Event::ApprovalRequested(request) => vec![paint.cyan(&format!(
                "  ? {} {} asks: {}",
                request.call,
                self.name(request.call),
                one_line(&reasons(request), MESSAGE_CHARS)
            ))],
            Event::PolicyAdopted(adopted) => vec![paint.dim(&match &adopted.policy {
                Some(policy) => format!("  held to policy {}", &policy.to_string()[..DIGEST_CHARS]),
                None => "  held to no policy any more".to_owned(),
            })],
            Event::ApprovalAnswered(answered) => vec![paint.cyan(&format!(
                "  ? {} {} {} {}",
                answered.call,
                self.name(answered.call),
                decided(&answered.decision),
                printable(&answered.by)
            ))],
            Event::CallSettled(settled) => {
                let verdict = match &settled.verdict {
                    Verdict::Landed(_) => "landed",
                    Verdict::NotLanded => "did not land",
                    Verdict::Unknown => "unknown",
                };
                let by = printable(&settled.by);
                vec![paint.cyan(&format!(
                    "  ? {} {} settled by {by}: {verdict}",
                    settled.call,
                    self.name(settled.call)
                ))]
            }
            Event::Prompted(prompted) => {
                let who = match prompted.why {
                    PromptReason::Continue => "asked to continue",
                    PromptReason::Repair => "sent back",
                    PromptReason::Loop => "told about a loop",
                    PromptReason::Person => "told by a person",
                    PromptReason::Ledger => "told about the ledger",
                };
                vec![paint.dim(&format!("  → {who}: {}", one_line(&prompted.text, MESSAGE_CHARS)))]
            }
            Event::BudgetRaised(raised) => {
                vec![paint.cyan(&format!("↑ budget raised by {}", printable(&raised.by)))]
            }
            Event::RunParked(parked) => {
                self.parked_at = Some(at);
                vec![paint.yellow(&format!("⏸ parked: {}", park_reason(&parked.reason)))]
            }
            Event::RunResumed(resumed) => {
                let after = self.parked_at.take().map_or(String::new(), |parked| {
                    format!(" after {}", duration(at.since_ms(parked)))
                });
                vec![paint.cyan(&format!("▶ resumed by {}{after}", printable(&resumed.by)))]
            }
            Event::RunForked(forked) => {
                vec![paint.cyan(&format!("⑂ forked from {} at record {}", forked.from, forked.at))]
            }
            Event::CompensationStarted(started) => {
                vec![paint.cyan(&format!("↶ undone from here, by {}", printable(&started.by)))]
            }
            Event::CompensationPlanned(planned) => {
                let mut lines = self.undo_lines(&planned.undos);
                lines.extend(planned.kept.iter().map(|kept| self.kept_line(kept)));
                lines
            }
            Event::GroupClosingStarted(closing) => self.closing_lines(closing),
            Event::CancelRequested(wish) => {
                let by = printable(&wish.by);
                vec![paint.yellow(&format!("✗ cancelled by {by}, once the group is closed"))]
            }
            Event::EntryRecorded(recorded) => {
                let entry = &recorded.entry;
                let text = one_line(&entry.note.text, MESSAGE_CHARS);
                let by = match &entry.author {
                    Author::Model(_) => String::new(),
                    Author::Agent | Author::Contract(_) | Author::Person(_) | Author::Word(_) => {
                        format!(", by {}", printable(&entry.author.words()))
                    }
                };
                let old =
                    entry.supersedes.map_or(String::new(), |old| format!(" (not {old} any more)"));
                let line = format!("  ✎ {} {}: {text}{old}{by}", entry.id, entry.note.kind);
                vec![paint.cyan(&line)]
            }
            Event::CompactionRequested(wish) => {
                let by = printable(&wish.by);
                vec![paint.cyan(&format!("⇊ {by} wants the context compacted"))]
            }
            Event::CompactionStarted(started) => {
                let line = format!(
                    "  ⇊ {} tokens of context: a summary of turns 1 to {} is asked for",
                    count(started.tokens),
                    started.through
                );
                vec![paint.dim(&line)]
            }
            Event::SummaryAnswered(answered) => {
                let (usage, cost) = (answered.usage, answered.nano_usd);
                let head = format!("summary · {} tokens", count(usage.total()));
                let cost = if cost > 0 { format!(" · {}", usd(cost)) } else { String::new() };
                let time = duration(answered.ms);
                let mut lines = vec![paint.dim(&format!("  {head}{cost} · {time}"))];
                if let Some(refused) = &answered.refused {
                    let problems = one_line(&refused.problems.join("; "), MESSAGE_CHARS);
                    lines.push(paint.yellow(&format!("  ! the summary is refused: {problems}")));
                }
                lines
            }
            Event::ContextCompacted(compacted) => vec![paint.cyan(&compacted_line(compacted))],
            // What a grant covers is told with the call itself.
            Event::RunStarted(_)
            | Event::CallsStarted(_)
            | Event::GrantSpent(_)
            | Event::RunFinished(_) => Vec::new(),
        }
    }

    fn undo_lines(&mut self, undos: &[PlannedCall]) -> Vec<String> {
        let mut lines = Vec::new();
        for undo in undos {
            let (of, undone) = (undo.of, self.name(undo.of).to_owned());
            let arguments = undo.arguments.to_string();
            let shown = one_line(&arguments, ARGUMENT_CHARS);
            let tool = undo.tool.clone();
            let line = format!("  ↶ {} {tool} {shown} undoes {of} {undone}", undo.call);
            lines.push(self.paint.dim(&line));
            self.calls.insert(undo.call, Called { tool, arguments });
        }
        lines
    }

    fn kept_line(&self, kept: &Kept) -> String {
        let why = one_line(&kept.why, MESSAGE_CHARS);
        let line = format!("  ! {} {} stays: {why}", kept.call, self.name(kept.call));
        self.paint.yellow(&line)
    }

    fn closing_lines(&mut self, closing: &GroupClosingStarted) -> Vec<String> {
        let groups = closing.groups.join(", ");
        let groups = printable(&groups);
        let mut lines = match closing.how {
            CloseHow::Commit => {
                for call in &closing.calls {
                    let called =
                        Called { tool: call.tool.clone(), arguments: call.arguments.to_string() };
                    self.calls.insert(call.call, called);
                }
                let waiting = counted(closing.calls.len(), "call");
                let text = format!("  ⇉ group {groups} is committed; {waiting} waited for that");
                vec![self.paint.cyan(&text)]
            }
            CloseHow::Undo => {
                let why = closing.because.as_ref().map_or(String::new(), |because| {
                    format!(": {}", one_line(because, MESSAGE_CHARS))
                });
                let mut lines =
                    vec![self.paint.yellow(&format!("  ⇇ group {groups} is undone{why}"))];
                lines.extend(self.undo_lines(&closing.calls));
                lines
            }
        };
        lines.extend(closing.kept.iter().map(|kept| self.kept_line(kept)));
        lines
    }

    fn turn_line(&self, turn: Turn, tokens: u64, nano_usd: u64, ms: u64) -> String {
        let cost = if nano_usd > 0 { format!(" · {}", usd(nano_usd)) } else { String::new() };
        let line = format!("turn {turn} · {} tokens{cost} · {}", count(tokens), duration(ms));
        self.paint.dim(&line)
    }

    fn call_line(&self, id: CallId, outcome: &Outcome, attempt: u32, ms: u64) -> String {
        let paint = self.paint;
        let called = self.calls.get(&id);
        let arguments = called.map_or(String::new(), |c| one_line(&c.arguments, ARGUMENT_CHARS));
        let tool = one_line(self.name(id), 32);
        let class = self.class(id);
        let tries = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        let head = format!("{id:<5} {tool:<20} {class:<10} {:>8}", duration(ms));
        match outcome {
            Outcome::Ok(result) => {
                let blob = match &result.whole {
                    Some(handle) => format!(" → {} bytes kept as a blob", count(handle.bytes)),
                    None => String::new(),
                };
                format!("  {} {head}  {}{tries}{blob}", paint.green("✓"), paint.dim(&arguments))
            }
            Outcome::Failed(failure) => {
                let message = one_line(&failure.message, MESSAGE_CHARS);
                let what = paint.red(&format!("{}: {message}", failure.kind));
                format!(
                    "  {} {head}  {}{tries}\n          {what}",
                    paint.red("✗"),
                    paint.dim(&arguments)
                )
            }
            Outcome::Denied { message, .. } => {
                format!(
                    "  {} {head}  {}",
                    paint.red("⊘"),
                    paint.red(&format!("denied: {}", one_line(message, MESSAGE_CHARS)))
                )
            }
            Outcome::Rejected { by, reason } => {
                let what =
                    format!("rejected by {}: {}", printable(by), one_line(reason, MESSAGE_CHARS));
                format!("  {} {head}  {}", paint.red("⊘"), paint.red(&what))
            }
            Outcome::InDoubt { reason } => {
                let what = format!("in doubt: {}", one_line(reason, MESSAGE_CHARS));
                format!("  {} {head}  {}", paint.yellow("?"), paint.yellow(&what))
            }
            Outcome::Deferred { group } => {
                let what = paint.cyan(&format!("waits for group {}", printable(group)));
                format!("  {} {head}  {} {what}", paint.cyan("…"), paint.dim(&arguments))
            }
        }
    }

    /// Returns the tool's name of a call.
    pub fn name(&self, id: CallId) -> &str {
        self.calls.get(&id).map_or("?", |called| called.tool.as_str())
    }

    /// Returns the arguments of a call, as text.
    pub fn arguments(&self, id: CallId) -> String {
        self.calls.get(&id).map_or(String::new(), |c| one_line(&c.arguments, ARGUMENT_CHARS))
    }

    /// Returns the effect class of a call's tool.
    pub fn class(&self, id: CallId) -> &'static str {
        match self.name(id) {
            COMMIT_GROUP | UNDO_GROUP => "group",
            RECORD | RECALL => "context",
            PLAN => "plan",
            name => {
                let tool = self.definition.agent().tool(name);
                tool.map_or("?", |tool| tool.contract.effect.as_str())
            }
        }
    }
}

fn written(input: &ToolInput) -> String {
    match input {
        ToolInput::Json(value) => value.to_string(),
        ToolInput::Malformed(text) => text.clone(),
    }
}

/// Returns what is to be looked at in a call.
pub fn reasons(request: &ApprovalRequested) -> String {
    let doubts = request.doubts.iter().map(|doubt| match doubt.argument.as_str() {
        "" => doubt.why.clone(),
        argument => format!("`{argument}`: {}", doubt.why),
    });
    let policies = request.policies.iter();
    let policies = policies.map(|of| format!("the policy `{}` asks: {}", of.rule, of.why));
    doubts.chain(policies).collect::<Vec<_>>().join("; ")
}

fn decided(decision: &Decision) -> &'static str {
    match decision {
        Decision::Approved { arguments: Some(_), .. } => "approved with other arguments by",
        Decision::Approved { .. } => "approved by",
        Decision::Denied { .. } => "denied by",
        Decision::Expired => "was not answered in time by",
    }
}

/// Returns why a run waits, for people.
pub fn park_reason(reason: &ParkReason) -> String {
    match reason {
        ParkReason::Budget { kind, limit, spent } => {
            let show = |n: u64| match kind {
                prusik_core::budget::BudgetKind::NanoUsd => usd(n),
                prusik_core::budget::BudgetKind::WallMs => duration(n),
                prusik_core::budget::BudgetKind::Turns
                | prusik_core::budget::BudgetKind::Tokens
                | prusik_core::budget::BudgetKind::ToolCalls => count(n),
            };
            format!(
                "the next step would pass the {kind} budget ({} of {} spent)",
                show(*spent),
                show(*limit)
            )
        }
        ParkReason::InDoubt { calls } => {
            format!("nobody knows whether call {} took effect", join(calls))
        }
        ParkReason::Approval { calls } => {
            format!("somebody is asked whether call {} may be made", join(calls))
        }
        ParkReason::Loop { tool, times } => {
            format!("`{}` gave the same result {times} times", printable(tool))
        }
        ParkReason::Model { error } => one_line(&error.message, 400),
        ParkReason::Failed { message, .. } => {
            format!("it would have failed: {}", one_line(message, 400))
        }
        ParkReason::Interrupted => "you stopped it".to_owned(),
    }
}

fn compacted_line(compacted: &ContextCompacted) -> String {
    let what = match (compacted.how, &compacted.replaced) {
        (CompactHow::Summarized, Some(replaced)) => {
            format!("a summary stands for turns 1 to {}", replaced.through)
        }
        (CompactHow::Outlined, Some(replaced)) => {
            format!("an outline stands for turns 1 to {}", replaced.through)
        }
        (CompactHow::Folded | CompactHow::Summarized | CompactHow::Outlined, _) => {
            match compacted.folded.len() {
                _ if compacted.tokens_after == compacted.tokens_before => {
                    "nothing in it can be made smaller".to_owned()
                }
                1 => "1 old result is folded".to_owned(),
                more => format!("{more} old results are folded"),
            }
        }
    };
    let ContextCompacted { tokens_before, tokens_after, checked, .. } = compacted;
    format!(
        "⇊ context: {} to {} tokens, {what}; {} hold",
        count(*tokens_before),
        count(*tokens_after),
        counted(checked.len(), "check")
    )
}

fn join(calls: &[CallId]) -> String {
    calls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
