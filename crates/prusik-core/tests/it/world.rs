//! A random world around a run: a model, tools with a ledger, a journal that loses what is not
//! durable, crashes, people, and a driver that follows the core's protocol. Everything is decided by
//! a tape of bytes; where it ends, everybody behaves, so that every run comes to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use prusik_core::agent::{Agent, ContextPolicy};
use prusik_core::budget::{Budget, BudgetKind};
use prusik_core::contract::{Contract, EffectClass, FailureTerm, KeyPlace, RetryPolicy};
use prusik_core::effect::{Action, Effect, EffectId, ToolCall};
use prusik_core::event::{Event, ParkReason, Verdict};
use prusik_core::ids::{Attempt, CallId, RunId, Seq, Timestamp, Turn};
use prusik_core::input::{Input, Now};
use prusik_core::ledger::{EntryKind, Note};
use prusik_core::message::{Block, OpaqueBlock, ToolInput, ToolUse};
use prusik_core::model::{
    Answer, ModelError, ModelErrorKind, ModelRequest, Purpose, StopReason, Usage,
};
use prusik_core::outcome::{Outcome, Refusal, Reply, ToolResult};
use prusik_core::record::{Head, Record};
use prusik_core::run::{Definition, RECALL, RECORD, Run, State, Status, Transcript, calls_of};
use serde_json::{Value, json};

use crate::{agents, messages};

const TOOLS: [&str; 5] = ["look", "put", "pay", "send", "tag"];
/// Inputs after which a run must have ended, however wild its tape was.
const STEPS_MAX: usize = 3_000;

/// Decisions, from first to last; none left means the first choice.
struct Tape {
    bytes: Vec<u8>,
    at: usize,
}

impl Tape {
    fn pick(&mut self, choices: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % choices
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.pick(n) == n - 1
    }

    fn is_over(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

/// What a run left behind.
pub struct Trace {
    pub definition: Arc<Definition>,
    pub records: Vec<Record>,
    /// The state and the messages at the end of each step, as they were live.
    pub live: Vec<(Seq, State, Option<Transcript>)>,
    pub snapshots: Vec<(Head, Vec<u8>)>,
    pub crashes: usize,
    pub landed: usize,
}

struct World {
    tape: Tape,
    definition: Arc<Definition>,
    run: Run,
    now: u64,
    records: Vec<Record>,
    durable: Seq,
    live: Vec<(Seq, State, Option<Transcript>)>,
    snapshots: Vec<(Head, Vec<u8>)>,
    /// Polled, waiting for their record.
    queued: Vec<Effect>,
    /// Performed, the reply not yet handed in.
    replies: Vec<Input>,
    /// How often each reference landed.
    ledger: BTreeMap<String, u32>,
    keys: BTreeMap<String, String>,
    asked: usize,
    steps: usize,
    crashes: usize,
}

/// Lives one run from its start to its end.
pub fn live(bytes: Vec<u8>) -> Trace {
    let mut tape = Tape { bytes, at: 0 };
    let definition = Arc::new(Definition::new(random_agent(&mut tape)));
    let budget = random_budget(&mut tape);
    let task = "Do the work.".to_owned();
    let (run, sealed) =
        Run::start(Arc::clone(&definition), RunId::new("r"), task, budget, Timestamp(1_000));
    let mut world = World {
        tape,
        definition,
        run,
        now: 1_000,
        records: sealed.records,
        durable: Seq(1),
        live: Vec::new(),
        snapshots: Vec::new(),
        queued: Vec::new(),
        replies: Vec::new(),
        ledger: BTreeMap::new(),
        keys: BTreeMap::new(),
        asked: 0,
        steps: 0,
        crashes: 0,
    };
    world.remember();
    world.input(Input::TimerFired);
    while !world.run.state().ended() {
        world.step();
    }
    world.check_ledger();
    Trace {
        definition: world.definition,
        records: world.records,
        live: world.live,
        snapshots: world.snapshots,
        crashes: world.crashes,
        landed: world.ledger.len(),
    }
}

fn random_agent(tape: &mut Tape) -> Agent {
    let mut agent = agents::agent();
    for tool in &mut agent.tools {
        if tool.name == "find" {
            continue;
        }
        let effect = [EffectClass::Read, EffectClass::Idempotent, EffectClass::Write][tape.pick(3)];
        let mut contract = Contract::of(effect);
        if effect == EffectClass::Idempotent {
            contract.key = Some(match tape.pick(3) {
                0 => KeyPlace::Argument("key".to_owned()),
                1 => KeyPlace::Meta("key".to_owned()),
                _ => KeyPlace::Call,
            });
        }
        if effect != EffectClass::Read && tape.pick(2) == 0 {
            let mut probe = agents::probe([0, 300][tape.pick(2)]);
            if tape.one_in(4) {
                probe.result = None;
            }
            contract.probe = Some(probe);
        }
        contract.parallel |= tape.one_in(3);
        let attempts_max = [3, 1, 2][tape.pick(3)];
        contract.retry =
            RetryPolicy { attempts_max, backoff_ms: 50, backoff_ms_max: 400, deadline_ms: None };
        let busy = FailureTerm { retry: true, ..FailureTerm::default() };
        contract.failures.insert("busy".to_owned(), busy);
        contract.result_bytes_max = [32_768, 16][tape.pick(2)];
        tool.contract = contract;
    }
    if tape.one_in(3) {
        agent.output = Some(json!({"type": ["integer", "null"]}));
    }
    if tape.one_in(4) {
        agent.model.price = None;
    }
    agent.limits.repeats_max = [3, 0, 2][tape.pick(3)];
    agent.context = match tape.pick(4) {
        0 | 1 => None,
        2 => Some(ContextPolicy { ledger_bytes_max: 300, ..small_window(5_000) }),
        _ => Some(ContextPolicy { record: false, ..small_window(4_000) }),
    };
    if agent.context.is_some() && tape.one_in(3) {
        agent.ledger.push(Note::new(EntryKind::Constraint, "Be quick."));
    }
    agent
}

/// A policy under which a few long results fill the context.
fn small_window(window_tokens: u64) -> ContextPolicy {
    ContextPolicy { summary_bytes_max: 600, ..ContextPolicy::of_window(window_tokens, 200) }
}

fn random_budget(tape: &mut Tape) -> Budget {
    let mut some = |n: u64| tape.one_in(3).then_some(n);
    Budget {
        turns: some(2),
        tokens: some(2_000),
        nano_usd: some(6_000_000),
        wall_ms: some(700),
        tool_calls: some(2),
    }
}

impl World {
    /// Notes the live state, to be compared with what its records lead to.
    fn remember(&mut self) {
        let state = self.run.state().clone();
        let spent = state.spent;
        // A ceiling may be lowered under what is spent; these never lower it.
        for kind in [BudgetKind::Turns, BudgetKind::ToolCalls] {
            let limit = state.budget.limit(kind).unwrap_or(u64::MAX);
            assert!(spent.of(kind) <= limit, "{kind}: {spent:?}");
        }
        self.live.push((self.run.head().seq, state, self.run.transcript().cloned()));
        if self.tape.one_in(5) {
            self.snapshots.push(self.run.snapshot());
        }
    }

    fn input(&mut self, input: Input) {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "the run does not end: {:#?}", self.run.state());
        self.now += 1;
        let entropy = self.tape.pick(256) as u64 * 7;
        let before = self.run.state().clone();
        match self.run.handle(input, Now { at: Timestamp(self.now), entropy }) {
            Ok(step) => {
                assert_eq!(*self.run.state(), before, "deciding changes nothing");
                let sealed = self.run.apply(step);
                self.records.extend(sealed.records);
                self.remember();
            }
            Err(_) => assert_eq!(*self.run.state(), before, "a refusal changes nothing"),
        }
        self.poll();
    }

    fn poll(&mut self) {
        for _ in 0..2 {
            while let Some(effect) = self.run.poll_effect(Timestamp(self.now)) {
                match effect.action {
                    Action::Abort(id) => {
                        // A read is given up wherever it is; a call may be on its way.
                        self.queued.retain(|e| {
                            e.action.id() != Some(id) || matches!(id, EffectId::Call { .. })
                        });
                    }
                    Action::LoadTranscript { .. }
                    | Action::CallModel(_)
                    | Action::CallTool(_)
                    | Action::Probe { .. } => {
                        assert!(effect.after <= self.run.head().seq, "waits for what is not there");
                        if let Action::CallModel(request) = &effect.action {
                            messages::check(request);
                            messages::check_context(request, self.run.state());
                        }
                        self.queued.push(effect);
                    }
                }
            }
            let due = self.run.poll_timeout().is_some_and(|at| at.0 <= self.now);
            if !due {
                return;
            }
            let now = Now { at: Timestamp(self.now), entropy: 0 };
            let step = self.run.handle(Input::TimerFired, now).expect("it runs");
            let sealed = self.run.apply(step);
            self.records.extend(sealed.records);
            self.remember();
        }
        let at = self.run.poll_timeout();
        assert!(at.is_none_or(|at| at.0 > self.now), "a driver would spin: {:#?}", self.run);
    }

    fn step(&mut self) {
        match self.tape.pick(24) {
            20 => self.crash(),
            21 => self.garbage(),
            22 => self.input(Input::Interrupted),
            23 if self.tape.one_in(4) => {
                self.input(Input::Cancelled { by: "ann".into(), reason: "why not".into() });
            }
            19 => self.flush(),
            17 | 18 => self.perform(),
            15 | 16 => self.deliver(),
            _ if !self.replies.is_empty() => self.deliver(),
            _ if !self.queued.is_empty() => self.perform(),
            _ => self.wait(),
        }
    }

    fn flush(&mut self) {
        self.durable = self.run.head().seq;
    }

    /// Performs an effect whose record is durable.
    fn perform(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let place = self.tape.pick(self.queued.len());
        if self.queued[place].after > self.durable {
            self.flush();
        }
        let effect = self.queued.remove(place);
        match effect.action {
            Action::LoadTranscript { from, through } => {
                let from = usize::try_from(from.0).unwrap() - 1;
                let through = usize::try_from(through.0).unwrap();
                self.run.load_transcript(events(&self.records[from..through])).unwrap();
                self.input(Input::TimerFired);
            }
            Action::CallModel(request) => {
                let reply = self.model(&request);
                self.replies.push(reply);
            }
            Action::CallTool(call) => {
                let reply = self.tool(&call);
                let (call, attempt) = (call.call, call.attempt);
                self.replies.push(Input::CallReplied { call, attempt, reply, ms: 1 });
            }
            Action::Probe { call, probe } => {
                let reply = self.probe(&probe);
                self.replies.push(Input::ProbeReplied { call, reply });
            }
            Action::Abort(_) => unreachable!("never queued"),
        }
    }

    fn deliver(&mut self) {
        if !self.replies.is_empty() {
            let place = self.tape.pick(self.replies.len());
            let input = self.replies.remove(place);
            self.input(input);
        }
    }

    /// Nothing is under way: either the run wants to be woken, or somebody must help it.
    fn wait(&mut self) {
        match self.run.state().status.clone() {
            Status::Running => {
                let at = self.run.poll_timeout();
                let at = at.unwrap_or_else(|| panic!("the run is stuck: {:#?}", self.run));
                self.now = self.now.max(at.0);
                self.input(Input::TimerFired);
            }
            Status::Parked(reason) => self.help(&reason),
            Status::Ended(_) => {}
        }
    }

    fn help(&mut self, reason: &ParkReason) {
        self.now += 1_000;
        for call in self.run.state().doubts() {
            let open = &self.run.state().calls[&call];
            let landed = self.ledger.contains_key(reference(open.arguments()));
            let verdict = match (self.tape.pick(4), landed) {
                (3, _) => Verdict::Unknown,
                (2, true) => Verdict::Landed(None),
                (_, true) => Verdict::Landed(Some(json!({"paid": "yes"}))),
                (_, false) => Verdict::NotLanded,
            };
            self.input(Input::Settled { call, verdict, by: "ann".into() });
        }
        if let ParkReason::Budget { kind, .. } = reason {
            let spent = self.run.state().spent;
            let more = |wanted| (wanted == *kind).then(|| spent.of(wanted) + 20_000_000);
            let budget = Budget {
                turns: more(BudgetKind::Turns),
                tokens: more(BudgetKind::Tokens),
                nano_usd: more(BudgetKind::NanoUsd),
                wall_ms: more(BudgetKind::WallMs),
                tool_calls: more(BudgetKind::ToolCalls),
            };
            self.input(Input::BudgetRaised { budget, by: "ann".into() });
        }
        let message = self.tape.one_in(3).then(|| "Go on.".to_owned());
        let before = self.records.len();
        self.input(Input::Resumed { by: "ann".into(), message });
        if self.records.len() == before {
            // Her word has no room in the ledger.
            self.input(Input::Resumed { by: "ann".into(), message: None });
        }
        assert!(self.records.len() > before, "a helped run goes on: {:#?}", self.run.state());
    }

    /// Kills the driver: what is not durable is gone, and so is every reply.
    fn crash(&mut self) {
        self.crashes += 1;
        if self.tape.pick(2) == 1 {
            self.flush();
        }
        let durable = self.durable;
        self.records.truncate(usize::try_from(durable.0).unwrap());
        self.live.retain(|(seq, _, _)| *seq <= durable);
        self.snapshots.retain(|(head, _)| head.seq <= durable);
        self.queued.clear();
        self.replies.clear();
        let definition = Arc::clone(&self.definition);
        let restored = match self.snapshots.last() {
            Some((head, bytes)) if self.tape.pick(2) == 0 => {
                let rest = &self.records[usize::try_from(head.seq.0).unwrap()..];
                Run::restore(definition, *head, bytes, rest).unwrap().expect("our own snapshot")
            }
            Some(_) | None => Run::replay(definition, &self.records).unwrap(),
        };
        self.run = restored;
        let (seq, state, _) = self.live.last().expect("the first step is durable");
        assert_eq!((self.run.head().seq, self.run.state()), (*seq, state), "replay = live");
        if self.tape.pick(4) == 3 {
            // A person is quicker than the next driver.
            return self.input(Input::Interrupted);
        }
        self.input(Input::Recovered { by: "next".into() });
    }

    /// Hands in what nobody waits for, or what means nothing now.
    fn garbage(&mut self) {
        let call = CallId::new(Turn(1 + u32::try_from(self.tape.pick(3)).unwrap()), 1);
        let (turn, attempt) = (call.turn, Attempt(99));
        let by = "ann".to_owned();
        let reply = Reply::Returned(ToolResult::text("a lie"));
        let input = match self.tape.pick(10) {
            8 => Input::CompactionRequested { by },
            9 => {
                let note = Note::new(EntryKind::Fact, "Ann is away.");
                Input::Noted { by, note, supersedes: None }
            }
            0 => Input::TimerFired,
            1 => Input::CallReplied { call, attempt, reply, ms: 0 },
            2 => Input::ModelAnswered { turn, attempt, answer: answer(Vec::new()), ms: 0 },
            3 => {
                let error = ModelError::new(ModelErrorKind::Server, "late");
                Input::ModelFailed { turn, attempt, error }
            }
            4 => {
                let doubts = self.run.state().doubts();
                if doubts.contains(&call) {
                    return;
                }
                Input::Settled { call, verdict: Verdict::NotLanded, by }
            }
            5 => Input::Resumed { by, message: Some(String::new()) },
            6 => Input::BudgetRaised { budget: Budget::default(), by },
            // Refused while something is under way; else it changes nothing that matters.
            _ => Input::Recovered { by },
        };
        self.input(input);
    }

    fn model(&mut self, request: &ModelRequest) -> Input {
        let (turn, attempt) = (request.turn, request.attempt);
        let kind = match self.tape.pick(16) {
            15 => Some(ModelErrorKind::Overloaded),
            14 => Some(ModelErrorKind::Authentication),
            _ => None,
        };
        let has_policy = self.definition.agent().context.is_some();
        let kind = kind.or_else(|| {
            (has_policy && self.tape.one_in(30)).then_some(ModelErrorKind::ContextFull)
        });
        if let Some(kind) = kind {
            return Input::ModelFailed { turn, attempt, error: ModelError::new(kind, "no") };
        }
        if request.purpose == Purpose::Summary {
            return Input::ModelAnswered { turn, attempt, answer: self.summary(), ms: 1 };
        }
        let mut answer = self.answer();
        if has_policy {
            answer.usage.input = messages::bytes(request) / 2;
        }
        Input::ModelAnswered { turn, attempt, answer, ms: 1 }
    }

    /// Writes a summary, or something that is none.
    fn summary(&mut self) -> Answer {
        let good = json!({"asked": "the work", "done": ["this and that"]}).to_string();
        let text = match self.tape.pick(8) {
            7 => String::new(),
            6 => "I cannot.".to_owned(),
            5 => json!({"asked": "x", "done": ["y"], "handles": [{"handle": "99.1"}]}).to_string(),
            4 => json!({"asked": "x", "done": ["y".repeat(700)]}).to_string(),
            3 => good[..good.len() / 2].to_owned(),
            _ => good,
        };
        let stop = if self.tape.one_in(8) { StopReason::MaxTokens } else { StopReason::EndTurn };
        let mut content = vec![Block::Text(text)];
        if self.tape.one_in(8) {
            let block = self.block();
            content.push(block);
        }
        Answer { stop, ..answer(content) }
    }

    fn answer(&mut self) -> Answer {
        let mut content = Vec::new();
        // A context fills up only if the run goes on for a while.
        let least = usize::from(self.definition.agent().context.is_some() && !self.tape.one_in(8));
        let calls = if self.tape.is_over() { 0 } else { self.tape.pick(5).max(least) };
        for _ in 0..calls {
            let block = self.block();
            content.push(block);
        }
        if calls == 0 {
            content.push(Block::Text(["7", "null", "", "seven"][self.tape.pick(4)].to_owned()));
        }
        let has_calls = content.iter().any(|block| matches!(block, Block::ToolUse(_)));
        let stop = match self.tape.pick(16) {
            15 => StopReason::MaxTokens,
            14 => StopReason::PauseTurn,
            13 => StopReason::StopSequence,
            12 if self.tape.one_in(6) => StopReason::Refusal,
            12 => StopReason::ToolUse,
            11 if self.tape.one_in(6) => StopReason::Other("odd".into()),
            _ if has_calls => StopReason::ToolUse,
            _ => StopReason::EndTurn,
        };
        Answer { stop, ..answer(content) }
    }

    fn block(&mut self) -> Block {
        self.asked += 1;
        let reference = format!("ref{}", self.asked);
        let input = match self.tape.pick(12) {
            11 => ToolInput::Malformed("{".to_owned()),
            10 => ToolInput::Json(json!({"ref": reference, "n": "one"})),
            9 => ToolInput::Json(json!([reference])),
            8 => ToolInput::Json(json!({"ref": reference, "n": 1})),
            _ => ToolInput::Json(json!({"ref": reference})),
        };
        let name = match self.tape.pick(20) {
            19 => "nope",
            18 => "find",
            17 => return Block::Text(" ".to_owned()),
            16 => return Block::Text("Let me see.".to_owned()),
            15 if self.definition.agent().context.is_some() => return self.note(),
            15 => {
                let block = json!({"type": "thinking"});
                return Block::Opaque(OpaqueBlock { provider: "p".into(), block });
            }
            n => TOOLS[n % TOOLS.len()],
        };
        let id = if self.tape.one_in(6) { String::new() } else { format!("id{}", self.asked % 7) };
        Block::ToolUse(ToolUse { id, name: name.to_owned(), input })
    }

    fn note(&mut self) -> Block {
        let text = ["Blue it is.", "", "Long. ", "Green."][self.tape.pick(4)];
        let text = if text == "Long. " { text.repeat(40) } else { text.to_owned() };
        let mut input = json!({"kind": "decision", "text": text});
        match self.tape.pick(4) {
            3 => input["supersedes"] = json!("L1"),
            2 => input["reason"] = json!("two\nlines"),
            _ => {}
        }
        let name = [RECORD, RECORD, RECALL][self.tape.pick(3)].to_owned();
        let id = format!("note{}", self.asked);
        Block::ToolUse(ToolUse { id, name, input: ToolInput::Json(input) })
    }

    /// Performs a call as an honest tool would: what lands is in the ledger, a key lands once, and a
    /// refusal means that nothing landed.
    fn tool(&mut self, call: &ToolCall) -> Reply {
        if call.tool == RECALL {
            return Reply::Returned(ToolResult::text("It was blue."));
        }
        let contract = &self.definition.agent().tool(&call.tool).expect("it is held").contract;
        let long = if self.definition.agent().context.is_some() { 1_500 } else { 20 };
        let lost = Reply::Lost { reason: "gone".into() };
        let result = match self.tape.pick(6) {
            5 => ToolResult::text(""),
            0 | 4 if long > 20 => ToolResult::text("long ".repeat(long)),
            4 => ToolResult::text("long ".repeat(long)),
            _ => ToolResult::json(json!({"done": true})),
        };
        let word = self.tape.pick(12);
        if contract.effect == EffectClass::Read {
            return match word {
                11 => lost,
                10 => Reply::not_sent("closed"),
                9 => refusal("busy"),
                8 => refusal("no"),
                _ => Reply::Returned(result),
            };
        }
        let reference = reference(&call.arguments).to_owned();
        let key = match &contract.key {
            Some(KeyPlace::Argument(name)) => call.arguments[name].as_str().map(str::to_owned),
            Some(KeyPlace::Meta(_)) => call.meta_key.as_ref().map(|(_, key)| key.clone()),
            Some(KeyPlace::Call) => Some(reference.clone()),
            None => None,
        };
        assert_eq!(key.is_some(), contract.effect == EffectClass::Idempotent);
        let known = key.as_ref().is_some_and(|key| self.keys.contains_key(key));
        match word {
            11 => return Reply::not_sent("closed"),
            10 => return lost,
            9 => return refusal("busy"),
            8 if !known => return refusal("no"),
            _ => {}
        }
        if let Some(key) = key {
            let first = self.keys.entry(key).or_insert_with(|| reference.clone());
            assert_eq!(*first, reference, "one key, two calls");
        }
        if !known {
            *self.ledger.entry(reference.clone()).or_default() += 1;
            assert_eq!(self.ledger[&reference], 1, "{reference} landed twice");
        }
        if word == 7 { lost } else { Reply::Returned(result) }
    }

    fn probe(&mut self, probe: &ToolCall) -> Reply {
        match self.tape.pick(8) {
            7 => Reply::Lost { reason: "gone".into() },
            6 => Reply::Returned(ToolResult::text("garbage")),
            _ => {
                let found = self.ledger.contains_key(reference(&probe.arguments));
                Reply::Returned(ToolResult::json(json!({"found": found})))
            }
        }
    }

    /// What the journal says of each call is what happened.
    fn check_ledger(&self) {
        let mut asked: BTreeMap<CallId, String> = BTreeMap::new();
        for record in &self.records {
            let event = record.event().unwrap();
            if let Event::ModelAnswered(answered) = &event {
                for (id, tool_use) in calls_of(answered.turn, &answered.content) {
                    let ToolInput::Json(arguments) = &tool_use.input else { continue };
                    let tool = self.definition.agent().tool(&tool_use.name);
                    if tool.is_some_and(|tool| tool.contract.effect != EffectClass::Read) {
                        asked.insert(id, reference(arguments).to_owned());
                    }
                }
            }
            let Event::CallCompleted(completed) = event else { continue };
            let Some(reference) = asked.get(&completed.call) else { continue };
            let landed = self.ledger.contains_key(reference);
            match completed.outcome {
                Outcome::Ok(_) => assert!(landed, "{reference} is said to have landed"),
                Outcome::Failed(failure) => assert!(!landed, "{reference} landed: {failure:?}"),
                Outcome::InDoubt { .. }
                | Outcome::Denied { .. }
                | Outcome::Rejected { .. }
                | Outcome::Deferred { .. } => {}
            }
        }
        // What landed was asked for in the journal: nothing is performed before it is durable.
        for reference in self.ledger.keys() {
            assert!(
                asked.values().any(|asked| asked == reference),
                "{reference} came from nowhere"
            );
        }
    }
}

fn refusal(message: &str) -> Reply {
    Reply::Refused(Refusal::new(message))
}

fn answer(content: Vec<Block>) -> Answer {
    let usage = Usage { input: 50, output: 10, ..Usage::default() };
    Answer { content, stop: StopReason::EndTurn, usage, model: "m".to_owned() }
}

/// Names a call in the ledger: no two calls of the model share a reference.
fn reference(arguments: &Value) -> &str {
    arguments.get("ref").and_then(Value::as_str).unwrap_or("none")
}

/// Reads the events of records, as a driver does for a transcript.
pub fn events(records: &[Record]) -> impl Iterator<Item = (Seq, Event)> {
    records.iter().map(|record| (record.seq, record.event().unwrap()))
}
