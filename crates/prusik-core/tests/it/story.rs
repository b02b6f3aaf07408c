//! Drives a run by hand and writes down what happens, to be read from top to bottom.

use std::fmt::Write as _;
use std::sync::Arc;

use prusik_core::agent::Agent;
use prusik_core::budget::Budget;
use prusik_core::effect::{Action, Effect, EffectId};
use prusik_core::event::{Decision, Ending, Event, Found, Kept, ParkReason, Verdict};
use prusik_core::ids::{Attempt, CallId, Digest, RunId, Timestamp, Turn};
use prusik_core::input::{Input, Now};
use prusik_core::message::{Block, Content, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelError, StopReason, Usage};
use prusik_core::outcome::{Outcome, Refusal, Reply, ToolResult};
use prusik_core::record::Record;
use prusik_core::run::{Definition, Run, State};
use serde_json::{Value, json};

use crate::messages;

/// A run and its story so far.
pub struct Story {
    pub run: Run,
    pub records: Vec<Record>,
    pub now: u64,
    definition: Arc<Definition>,
    under_way: Vec<Effect>,
    text: String,
}

/// An answer in the making.
pub fn says(text: &str) -> Answer {
    let content = if text.is_empty() { Vec::new() } else { vec![Block::Text(text.to_owned())] };
    Answer {
        content,
        stop: StopReason::EndTurn,
        usage: Usage { input: 100, output: 20, ..Usage::default() },
        model: "model-1".to_owned(),
    }
}

/// An answer that asks for calls: `("pay", json!({…}))`.
pub fn asks<const N: usize>(calls: [(&str, Value); N]) -> Answer {
    let mut answer = says("");
    for (name, input) in calls {
        let id = format!("id{}", answer.content.len() + 1);
        let input = ToolInput::Json(input);
        answer.content.push(Block::ToolUse(ToolUse { id, name: name.to_owned(), input }));
    }
    answer.stop = StopReason::ToolUse;
    answer
}

pub fn stopped(answer: Answer, stop: StopReason) -> Answer {
    Answer { stop, ..answer }
}

pub fn returned(value: Value) -> Reply {
    Reply::Returned(ToolResult::json(value))
}

pub fn refused(message: &str) -> Reply {
    Reply::Refused(Refusal::new(message))
}

pub fn not_sent() -> Reply {
    Reply::not_sent("connection refused".to_owned())
}

pub fn lost() -> Reply {
    Reply::Lost { reason: "no answer in time".to_owned() }
}

impl Story {
    pub fn of(agent: Agent, budget: Budget) -> Self {
        let definition = Arc::new(Definition::new(agent));
        let run = RunId::new("run-1");
        let at = Timestamp(1_000);
        let (run, sealed) =
            Run::start(Arc::clone(&definition), run, "Do the work.".to_owned(), budget, at);
        let mut story = Self {
            run,
            records: Vec::new(),
            now: 1_000,
            definition,
            under_way: Vec::new(),
            text: String::new(),
        };
        story.note(sealed);
        story.input("start", Input::TimerFired);
        story
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn state(&self) -> &State {
        self.run.state()
    }

    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    fn note(&mut self, sealed: prusik_core::run::Sealed) {
        for (record, event) in sealed.records.iter().zip(&sealed.events) {
            writeln!(self.text, "  {:>2} {}", record.seq, line(event)).expect("a string");
        }
        for blob in &sealed.blobs {
            if blob.digest != self.definition.digest() {
                writeln!(self.text, "     blob of {} bytes", blob.bytes.len()).expect("a string");
            }
        }
        self.records.extend(sealed.records);
    }

    pub fn input(&mut self, label: &str, input: Input) -> &mut Self {
        writeln!(self.text, "> {label}").expect("a string");
        let now = Now { at: Timestamp(self.now), entropy: 100 };
        match self.run.handle(input, now) {
            Ok(step) => {
                let sealed = self.run.apply(step);
                self.note(sealed);
            }
            Err(rejected) => writeln!(self.text, "  !! {rejected}").expect("a string"),
        }
        self.drain();
        self.now += 10;
        self
    }

    fn drain(&mut self) {
        let now = Timestamp(self.now);
        while let Some(effect) = self.run.poll_effect(now) {
            writeln!(self.text, "   * {}", effect_line(&effect)).expect("a string");
            match &effect.action {
                Action::Abort(_) => continue,
                Action::CallModel(request) => messages::check(request),
                Action::LoadTranscript { .. } | Action::CallTool(_) | Action::Probe { .. } => {}
            }
            self.under_way.push(effect);
        }
        let at = self.run.poll_timeout();
        assert!(at.is_none_or(|at| at > now), "a driver would spin: {at:?} at {now:?}");
        if let Some(at) = at {
            writeln!(self.text, "   wake in {} ms", at.since_ms(now)).expect("a string");
        }
    }

    fn take(&mut self, wanted: impl Fn(EffectId) -> bool) -> EffectId {
        let place = self.under_way.iter().rposition(|e| e.action.id().is_some_and(&wanted));
        let place = place.unwrap_or_else(|| panic!("nothing such is under way:\n{}", self.text));
        self.under_way.remove(place).action.id().expect("it matched")
    }

    fn model_under_way(&mut self) -> (Turn, Attempt) {
        let id = self.take(|id| matches!(id, EffectId::Model { .. }));
        let EffectId::Model { turn, attempt } = id else { unreachable!() };
        (turn, attempt)
    }

    pub fn answers(&mut self, answer: Answer) -> &mut Self {
        let (turn, attempt) = self.model_under_way();
        let label = format!("model answers [{}]: {}", word(&answer.stop), blocks(&answer.content));
        self.input(&label, Input::ModelAnswered { turn, attempt, answer, ms: 5 })
    }

    pub fn model_fails(&mut self, error: ModelError) -> &mut Self {
        let (turn, attempt) = self.model_under_way();
        let label = format!("model fails: {}", json!(error));
        self.input(&label, Input::ModelFailed { turn, attempt, error })
    }

    pub fn replies(&mut self, call: &str, reply: Reply) -> &mut Self {
        let wanted: CallId = call.parse().unwrap();
        let id = self.take(|id| matches!(id, EffectId::Call { call, .. } if call == wanted));
        let EffectId::Call { call, attempt } = id else { unreachable!() };
        let label = format!("{call} {}", reply_line(&reply));
        self.input(&label, Input::CallReplied { call, attempt, reply, ms: 3 })
    }

    pub fn probe_replies(&mut self, call: &str, reply: Reply) -> &mut Self {
        let wanted: CallId = call.parse().unwrap();
        self.take(|id| matches!(id, EffectId::Probe { call, .. } if call == wanted));
        let label = format!("probe of {call} {}", reply_line(&reply));
        self.input(&label, Input::ProbeReplied { call: wanted, reply })
    }

    /// Sleeps until the run wants to be woken.
    pub fn sleep(&mut self) -> &mut Self {
        let at = self.run.poll_timeout().expect("the run wants to be woken");
        let label = format!("{} ms later", at.0.saturating_sub(self.now));
        self.now = at.0;
        self.input(&label, Input::TimerFired)
    }

    pub fn interrupted(&mut self) -> &mut Self {
        self.input("a person interrupts", Input::Interrupted)
    }

    pub fn cancelled(&mut self) -> &mut Self {
        let input = Input::Cancelled { by: "ann".to_owned(), reason: "wrong task".to_owned() };
        self.input("ann cancels", input)
    }

    pub fn settled(&mut self, call: &str, verdict: Verdict) -> &mut Self {
        let label = format!("ann settles {call} as {}", json!(verdict));
        let input = Input::Settled { call: call.parse().unwrap(), verdict, by: "ann".to_owned() };
        self.input(&label, input)
    }

    /// A person answers what is asked about a call.
    pub fn decided(&mut self, call: &str, by: &str, decision: Decision) -> &mut Self {
        let call: CallId = call.parse().unwrap();
        let asked = self.state().authority.asked.get(&call);
        let digest = asked.map_or(Digest::of(b"none"), |asked| asked.request.digest);
        self.decided_about(call, digest, by, decision)
    }

    /// A person answers something about a call.
    pub fn decided_about(
        &mut self,
        call: CallId,
        digest: Digest,
        by: &str,
        decision: Decision,
    ) -> &mut Self {
        let label = format!("{by} answers {call}: {}", json!(decision));
        self.input(&label, Input::Decided { call, digest, by: by.to_owned(), decision })
    }

    pub fn raised(&mut self, budget: Budget) -> &mut Self {
        let label = format!("ann raises {}", json!(budget));
        self.input(&label, Input::BudgetRaised { budget, by: "ann".to_owned() })
    }

    pub fn resumed(&mut self) -> &mut Self {
        self.input("ann resumes", Input::Resumed { by: "ann".to_owned(), message: None })
    }

    /// Kills the driver and loads the run again, no more.
    pub fn dies(&mut self) {
        self.under_way.clear();
        self.run = Run::replay(Arc::clone(&self.definition), &self.records).unwrap();
    }

    /// Kills the driver and loads the run again from all records but the last `lost`.
    pub fn crashes(&mut self, lost: usize) -> &mut Self {
        self.records.truncate(self.records.len() - lost);
        self.dies();
        let label = format!("crash, {} records left", self.records.len());
        self.input(&label, Input::Recovered { by: "driver".to_owned() })
    }
}

fn word(stop: &StopReason) -> String {
    json!(stop).to_string().replace('"', "")
}

fn blocks(content: &[Block]) -> String {
    let parts: Vec<String> = content
        .iter()
        .map(|block| match block {
            Block::Text(text) => format!("{text:?}"),
            Block::Opaque(opaque) => format!("opaque {}", opaque.block),
            Block::ToolUse(ToolUse { name, input: ToolInput::Json(input), .. }) => {
                format!("{name}({input})")
            }
            Block::ToolUse(ToolUse { name, input: ToolInput::Malformed(text), .. }) => {
                format!("{name}(malformed {text})")
            }
            Block::ToolResult(result) => {
                let error = if result.is_error { "error " } else { "" };
                format!("{error}{}", contents(&result.content))
            }
        })
        .collect();
    parts.join(" | ")
}

fn contents(content: &[Content]) -> String {
    let parts: Vec<String> = content
        .iter()
        .map(|content| match content {
            Content::Text(text) => format!("{text:?}"),
            Content::Json(value) => value.to_string(),
            Content::Image(image) => image.media_type.clone(),
        })
        .collect();
    parts.join(", ")
}

fn reply_line(reply: &Reply) -> String {
    match reply {
        Reply::Returned(result) if result.bytes() > 200 => {
            format!("returns {} bytes", result.bytes())
        }
        Reply::Returned(result) => format!("returns {}", contents(&result.content)),
        Reply::Unfit { result, problem } => {
            format!("returns {}, which is unfit: {problem}", contents(&result.content))
        }
        Reply::Refused(refusal) => format!("refuses: {}", refusal.message),
        Reply::NotSent { reason, .. } => format!("is not sent: {reason}"),
        Reply::Lost { reason } => format!("is lost: {reason}"),
    }
}

fn effect_line(effect: &Effect) -> String {
    let after = effect.after;
    match &effect.action {
        Action::LoadTranscript { from, through } => {
            format!("load transcript from {from} through {through}")
        }
        Action::CallModel(request) => {
            let last = request.messages.last().expect("there is a task");
            format!(
                "ask model, turn {} try {}, up to {} tokens, after {after}: {}",
                request.turn,
                request.attempt,
                request.max_tokens,
                blocks(&last.content)
            )
        }
        Action::CallTool(call) => {
            let key = call.meta_key.as_ref().map_or(String::new(), |key| format!(" {key:?}"));
            let (id, attempt) = (call.call, call.attempt);
            format!("{id} {}{key} {}, try {attempt}, after {after}", call.tool, call.arguments)
        }
        Action::Probe { call, probe } => {
            format!("probe {call}: {} {}, after {after}", probe.tool, probe.arguments)
        }
        Action::Abort(id) => format!("abort {id:?}"),
    }
}

fn ids(calls: &[CallId]) -> String {
    calls.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn wait(retry_in_ms: Option<u64>) -> String {
    retry_in_ms.map_or(", no retry".to_owned(), |ms| format!(", again in {ms} ms"))
}

/// Returns an event in one line. Complete, so that a new kind must be thought of here.
fn line(event: &Event) -> String {
    match event {
        Event::RunStarted(e) => format!("run started: {}", e.task),
        Event::RunRecovered(e) => format!("run recovered; repeated: {}", ids(&e.repeated)),
        Event::ModelAnswered(e) => format!("model answered turn {} [{}]", e.turn, word(&e.stop)),
        Event::ModelFailed(e) => {
            format!("model failed turn {} try {}{}", e.turn, e.attempt, wait(e.retry_in_ms))
        }
        Event::CallsStarted(e) => format!("calls started: {}", ids(&e.calls)),
        Event::CallRetried(e) => {
            format!("{} failed ({}), again in {} ms", e.call, e.failure.kind, e.retry_in_ms)
        }
        Event::CallCompleted(e) => format!("{} completed: {}", e.call, outcome(&e.outcome)),
        Event::CallDoubted(e) => {
            format!("{} in doubt, ask {}: {}", e.call, json!(e.resolved_by), e.reason)
        }
        Event::CallProbed(e) => match &e.found {
            Found::Landed => format!("{} landed, says its probe", e.call),
            Found::NotLanded => format!("{} did not land, says its probe", e.call),
            Found::Unclear { reason } => {
                format!("{} unclear: {reason}{}", e.call, wait(e.retry_in_ms))
            }
        },
        Event::CallSettled(e) => format!("{} settled by {}: {}", e.call, e.by, json!(e.verdict)),
        Event::Prompted(e) => format!("prompted {}: {}", json!(e.why), e.text),
        Event::BudgetRaised(e) => format!("budget raised by {}: {}", e.by, json!(e.budget)),
        Event::RunParked(e) => match &e.reason {
            ParkReason::Model { error } => format!("PARKED model: {}", error.message),
            ParkReason::Budget { .. }
            | ParkReason::InDoubt { .. }
            | ParkReason::Approval { .. }
            | ParkReason::Loop { .. }
            | ParkReason::Interrupted
            | ParkReason::Failed { .. } => format!("PARKED {}", json!(e.reason)),
        },
        Event::RunResumed(e) => format!("run resumed; repeated: {}", ids(&e.repeated)),
        Event::RunForked(e) => {
            format!("forked from {} at {}; writes: {}", e.from, e.at, ids(&e.writes))
        }
        Event::CompensationStarted(e) => {
            format!("compensation by {}; kept: {}", e.by, json!(e.kept))
        }
        Event::CompensationPlanned(e) => {
            let undos: Vec<_> = e
                .undos
                .iter()
                .map(|undo| {
                    format!("{} {} {} for {}", undo.call, undo.tool, undo.arguments, undo.of)
                })
                .collect();
            format!("undo: {}; kept: {}", undos.join(", "), json!(e.kept))
        }
        Event::GroupClosingStarted(e) => {
            let calls: Vec<_> = e
                .calls
                .iter()
                .map(|call| {
                    format!("{} {} {} for {}", call.call, call.tool, call.arguments, call.of)
                })
                .collect();
            let (how, then) = (json!(e.how), json!(e.then));
            let because = e.because.as_deref().unwrap_or("-");
            let (groups, calls) = (e.groups.join(", "), calls.join(", "));
            let kept = json!(e.kept);
            format!("{how} {groups} ({because}): {calls}; kept: {kept}; then {then}")
        }
        Event::CancelRequested(e) => format!("cancel requested by {}: {}", e.by, e.reason),
        Event::EntryRecorded(e) => format!("recorded: {}", e.entry.render().replace('\n', " |")),
        Event::PlanMade(e) => format!("plan: {}", json!(e.plan)),
        Event::GrantSpent(e) => format!("{} is covered by grant {}", e.call, e.grant),
        Event::ApprovalRequested(e) => format!(
            "{} asks {} people, grant {:?}, label {}: {}{}",
            e.call,
            e.people,
            e.grant,
            e.label.words(),
            json!(e.doubts),
            e.policies.iter().fold(String::new(), |all, of| all + "; " + &of.rule + ": " + &of.why)
        ),
        Event::PolicyAdopted(e) => {
            let policy = e.policy.map(|policy| policy.to_string()[..8].to_owned());
            format!("held to policy {}", policy.as_deref().unwrap_or("-"))
        }
        Event::ApprovalAnswered(e) => {
            format!("{} answered by {}: {}", e.call, e.by, json!(e.decision))
        }
        Event::CompactionRequested(e) => format!("compaction requested by {}", e.by),
        Event::CompactionStarted(e) => {
            format!("summary wanted of turns 1 to {} ({:?}, {} tokens)", e.through, e.why, e.tokens)
        }
        Event::SummaryAnswered(e) => match &e.refused {
            None => format!("summary answered, turn {} try {}", e.turn, e.attempt),
            Some(refused) => format!(
                "summary refused, turn {} try {}: {}",
                e.turn,
                e.attempt,
                refused.problems.join("; ")
            ),
        },
        Event::ContextCompacted(e) => {
            let through = e.replaced.as_ref().map(|replaced| replaced.through.0);
            format!(
                "context {:?} ({:?}): turns through {through:?} replaced, {} results folded, {} to {} \
                 tokens, label {}",
                e.how,
                e.why,
                e.folded.len(),
                e.tokens_before,
                e.tokens_after,
                e.label.words()
            )
        }
        Event::RunFinished(e) => match &e.ending {
            Ending::Completed { answer, output, failures, contained, label, foreign_links } => {
                let said = output.as_ref().map_or(json!(answer), Clone::clone);
                let failed: Vec<_> = failures
                    .iter()
                    .map(|f| format!("; {} {} {}: {}", f.call, f.tool, f.outcome, f.message))
                    .collect();
                let contained: Vec<_> = contained
                    .iter()
                    .map(|c| format!("; contained {} {}", c.call, c.tool))
                    .collect();
                let label =
                    if label.is_none() { String::new() } else { format!("; {}", label.words()) };
                let links: Vec<_> =
                    foreign_links.iter().map(|l| format!("; leads to {l}")).collect();
                let parts = [failed, contained, vec![label], links].concat();
                format!("COMPLETED {said}{}", parts.concat())
            }
            Ending::Compensated { by, was, undone, kept } => {
                let was = if was.is_some() { "ended" } else { "parked" };
                let undone = ids(undone);
                format!("COMPENSATED by {by}, was {was}; undone: {undone}; kept: {}", json!(kept))
            }
            Ending::Failed { reason, message, kept } => {
                format!("FAILED {}: {message}{}", json!(reason), kept_line(kept))
            }
            Ending::Cancelled { by, reason, in_doubt, kept } => {
                let calls: Vec<_> = in_doubt.iter().map(ToString::to_string).collect();
                let doubt = if calls.is_empty() {
                    String::new()
                } else {
                    format!("; in doubt: {}", calls.join(", "))
                };
                format!("CANCELLED by {by}: {reason}{doubt}{}", kept_line(kept))
            }
        },
    }
}

fn kept_line(kept: &[Kept]) -> String {
    if kept.is_empty() { String::new() } else { format!("; kept: {}", json!(kept)) }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(result) => format!("ok {}", contents(&result.content)),
        Outcome::Failed(failure) => format!("failed {}", json!(failure)),
        Outcome::Denied { .. }
        | Outcome::Rejected { .. }
        | Outcome::InDoubt { .. }
        | Outcome::Deferred { .. } => json!(outcome).to_string(),
    }
}
