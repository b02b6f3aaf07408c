//! A model that behaves as badly as the schedule wants, and counts its tokens honestly.

use async_trait::async_trait;
use prusik_core::contract::EffectClass;
use prusik_core::message::{Block, OpaqueBlock, ToolInput, ToolUse};
use prusik_core::model::{
    Answer, ModelError, ModelErrorKind, ModelRequest, Purpose, StopReason, Usage,
};
use prusik_core::run::{COMMIT_GROUP, Stage, UNDO_GROUP};
use prusik_model::{Delta, Model};
use serde_json::json;

use super::asked::bytes;
use super::messages;
use super::plan::{FIND, SHOWN};
use super::world::{Invariant, Sim, World};

/// Answers after which even a wild model comes to an end.
const ANSWERS_MAX: u32 = 60;

/// The model as one process reaches it.
pub struct SimModel {
    pub sim: Sim,
    pub process: usize,
}

#[async_trait]
impl Model for SimModel {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let planned = self.sim.with(|world| {
            if !world.goes_on(self.process) {
                return None;
            }
            world.is_asked(self.process, request);
            let delay = world.delay_ms(400);
            Some((delay, world.answers(self.process, request)))
        });
        let Some((delay, answer)) = planned else { return std::future::pending().await };
        self.sim.pass(delay).await;
        progress(Delta::Text("…".to_owned()));
        if self.sim.with(|world| world.goes_on(self.process)) {
            answer
        } else {
            std::future::pending().await
        }
    }
}

impl World {
    /// Checks that the model may be asked now, and with this.
    fn is_asked(&mut self, process: usize, request: &ModelRequest) {
        self.counts.model_calls += 1;
        let run = self.processes[process].run;
        let (turn, attempt) = (request.turn, request.attempt);
        self.tell(|| format!("{run}: the model is asked, turn {turn}, attempt {attempt}"));
        if let Some(problem) = messages::problem(request) {
            self.violate(Invariant::WellFormedRequest, problem);
        }
        self.is_shown(process, request);
        if self.processes[process].superseded {
            return;
        }
        let cancelled = self.books[run].undoable.cancelled;
        self.check(Invariant::Ended, !cancelled, || {
            format!("turn {turn} is asked for, and the run was cancelled")
        });
        let answered = self.books[run].answered;
        self.check(Invariant::AnswersAreDurable, answered.next() == turn, || {
            format!("turn {turn} is asked for, and the last durable answer is {answered}")
        });
        let (own, durable) = (self.processes[process].memory.summaries, self.books[run].summaries);
        self.check(Invariant::AnswersAreDurable, own == durable, || {
            format!(
                "turn {turn} is asked for, {own} summaries were answered, {durable} are durable"
            )
        });
        let definition = std::sync::Arc::clone(&self.definition);
        let open = self.books[run].state().and_then(|state| {
            let mut calls = state.calls.iter();
            calls.find(|(_, call)| {
                let tool = definition.agent().tool(&call.tool);
                let reads = tool.is_none_or(|tool| tool.contract.effect == EffectClass::Read);
                !reads && call.stage != Stage::Done
            })
        });
        let open = open.map(|(id, _)| *id);
        self.check(Invariant::AnswersAreDurable, open.is_none(), || {
            format!("the model is asked while the outcome of {open:?} is not durable")
        });
        let Some(shadow) = &self.processes[process].shadow else { return };
        let (spent, budget) = (shadow.state().spent, shadow.state().budget);
        let within = |spent: u64, limit: Option<u64>| limit.is_none_or(|limit| spent < limit);
        let holds = within(spent.turns, budget.turns)
            && within(spent.tokens, budget.tokens)
            && within(spent.wall_ms, budget.wall_ms);
        self.check(Invariant::Budget, holds, || {
            format!("the model is asked with {spent:?} spent of {budget:?}")
        });
    }

    fn answers(&mut self, process: usize, request: &ModelRequest) -> Result<Answer, ModelError> {
        let fault = self.plan.call_fault_one_in.saturating_mul(3);
        if self.mishap(fault) {
            return Err(self.model_error());
        }
        let tokens = self.tokens_of(request);
        if let Some(window) = self.plan.window().filter(|window| tokens > *window) {
            self.counts.prompts_refused += 1;
            let message = format!("the prompt has {tokens} tokens, and the window {window}");
            return Err(ModelError::new(ModelErrorKind::ContextFull, message));
        }
        if request.purpose == Purpose::Summary {
            return Ok(self.sums_up(process, request));
        }
        let mut content = Vec::new();
        if let Some(open) = groups_open(request)
            && self.pick(4) > 0
        {
            content.extend(open.split(", ").map(|group| self.closes(group)));
            let usage = self.usage(request, &content);
            return Ok(Answer { content, stop: StopReason::ToolUse, usage, model: "m".to_owned() });
        }
        let wild = !self.calm && request.turn.0 < ANSWERS_MAX;
        let blocks = match self.pick(5) {
            _ if !wild => 0,
            // Where the context is to fill, most turns are not the last.
            0 if self.plan.is_long() && self.pick(5) > 0 => 1,
            blocks => blocks,
        };
        for _ in 0..blocks {
            let block = self.block(process);
            content.push(block);
        }
        let cut = self.is_cut(&mut content, request.max_tokens);
        let calls = content.iter().any(|block| matches!(block, Block::ToolUse(_)));
        if blocks == 0 {
            let texts = ["7", "null", "", "seven"];
            let text = if wild { texts[self.pick(texts.len())] } else { "7" };
            content.push(Block::Text(text.to_owned()));
        }
        let stop = match if wild { self.pick(24) } else { 0 } {
            _ if cut => StopReason::MaxTokens,
            23 if self.pick(4) == 0 => StopReason::ContextFull,
            23 => StopReason::MaxTokens,
            22 => StopReason::PauseTurn,
            21 => StopReason::StopSequence,
            20 if self.pick(6) == 0 => StopReason::Refusal,
            20 => StopReason::ToolUse,
            19 if self.pick(6) == 0 => StopReason::Other("odd".to_owned()),
            _ if calls => StopReason::ToolUse,
            _ => StopReason::EndTurn,
        };
        let usage = self.usage(request, &content);
        Ok(Answer { content, stop, usage, model: "m".to_owned() })
    }

    fn model_error(&mut self) -> ModelError {
        use ModelErrorKind as Kind;
        let kinds = [
            Kind::Overloaded,
            Kind::RateLimited,
            Kind::Server,
            Kind::StreamCut,
            Kind::Timeout,
            Kind::Authentication,
            Kind::Billing,
            Kind::InvalidRequest,
            Kind::ContextFull,
        ];
        let kind = kinds[self.pick(kinds.len())];
        let retry_after_ms =
            (kind == Kind::RateLimited).then(|| [0, 900, 20_000, 3_600_000][self.pick(4)]);
        ModelError { retry_after_ms, ..ModelError::new(kind, "on purpose") }
    }

    /// Counts as a provider does, one token for so many bytes: never more than the core's estimate, so
    /// that a ceiling that is passed is the core's fault.
    pub fn usage(&self, request: &ModelRequest, content: &[Block]) -> Usage {
        if !self.plan.says_usage {
            return Usage::default();
        }
        let written: usize = content.iter().map(bytes).sum();
        let output = (written as u64).div_ceil(self.plan.token_bytes);
        let output = output.min(u64::from(request.max_tokens));
        Usage { input: self.tokens_of(request), output, ..Usage::default() }
    }

    fn closes(&mut self, group: &str) -> Block {
        let number = self.new_name();
        let name = if self.pick(3) == 0 { UNDO_GROUP } else { COMMIT_GROUP };
        let (id, input) = (format!("close{number}"), ToolInput::Json(json!({"group": group})));
        Block::ToolUse(ToolUse { id, name: name.to_owned(), input })
    }

    /// Leaves out what is longer than an answer may be; true if something was.
    fn is_cut(&self, content: &mut Vec<Block>, max_tokens: u32) -> bool {
        // What nobody counts is estimated, and that generously.
        let token_bytes = if self.plan.says_usage { self.plan.token_bytes } else { 3 };
        let most = u64::from(max_tokens) * token_bytes;
        let mut written = 0;
        let fits = content.iter().take_while(|block| {
            written += bytes(block) as u64;
            written <= most
        });
        let fits = fits.count();
        let cut = fits < content.len();
        content.truncate(fits);
        cut
    }

    fn block(&mut self, process: usize) -> Block {
        if self.plan.is_long() && self.pick(5) == 0 {
            return self.words_to_itself(process);
        }
        let groups = &self.plan.agent.groups;
        if !groups.is_empty() {
            let names: Vec<String> = groups.iter().map(|group| group.name.clone()).collect();
            if self.pick(5) == 0 {
                let choice = self.pick(names.len() + 1);
                return self.closes(names.get(choice).map_or("nope", String::as_str));
            }
        }
        let number = self.new_name();
        let reference = format!("deed{number}");
        let input = match self.pick(24) {
            23 => ToolInput::Malformed("{".to_owned()),
            22 => ToolInput::Json(json!({"ref": reference, "n": "one"})),
            21 => ToolInput::Json(json!([reference])),
            20 => ToolInput::Json(json!({"ref": reference, "n": 1})),
            _ => ToolInput::Json(json!({"ref": reference})),
        };
        let name = match self.pick(30) {
            29 => "nope",
            28 => FIND,
            27 => return Block::Text(" ".to_owned()),
            26 => return Block::Text("Let me see.".to_owned()),
            25 => {
                let block = json!({"type": "thinking"});
                return Block::Opaque(OpaqueBlock { provider: "p".to_owned(), block });
            }
            n => SHOWN[n % SHOWN.len()],
        };
        let id = if self.pick(8) == 0 { String::new() } else { format!("id{}", number % 7) };
        Block::ToolUse(ToolUse { id, name: name.to_owned(), input })
    }
}

/// Returns the groups that the model is asked to close before it ends.
fn groups_open(request: &ModelRequest) -> Option<&str> {
    let last = request.messages.last()?.content.last()?;
    let Block::Text(text) = last else { return None };
    let (names, _) = text.strip_prefix("These groups are still open: ")?.split_once(". ")?;
    Some(names)
}
