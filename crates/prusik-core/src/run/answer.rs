//! What a model's answer leads to. Each stop reason has its own outcome.

use serde_json::Value;

use super::decide::Draft;
use super::group::{COMMIT_GROUP, UNDO_GROUP};
use super::state::Stage;
use super::transcript::text_of;
use crate::event::{Ending, Event, FailReason, ModelAnswered, PromptReason};
use crate::ids::{Attempt, CallId, Turn};
use crate::json;
use crate::message::{Block, ToolInput, ToolUse};
use crate::model::{Answer, StopReason};
use crate::outcome::{Failure, Outcome, kind};

/// Pauses of one turn that are gone along with.
const PAUSES_MAX: u32 = 16;

const CUT: &str = "Your answer was cut off at the token limit.";

impl Draft<'_> {
    pub(super) fn answered(&mut self, turn: Turn, attempt: Attempt, answer: Answer, ms: u64) {
        let price = self.definition.agent().model.price;
        let nano_usd = price.map_or(0, |price| price.cost_nano_usd(&answer.usage));
        let text = text_of(&answer.content);
        let stop = answer.stop.clone();
        self.emit(Event::ModelAnswered(ModelAnswered {
            turn,
            attempt,
            content: answer.content.into_iter().filter_map(readable).collect(),
            stop: answer.stop,
            usage: answer.usage,
            nano_usd,
            model: answer.model,
            ms,
        }));
        let calls = !self.state.calls.is_empty();
        match stop {
            StopReason::Refusal => {
                let message =
                    if text.trim().is_empty() { "the model refused".into() } else { text };
                self.fail(FailReason::Refused, message);
            }
            StopReason::ContextFull if self.definition.agent().context.is_some() => {
                self.cut_off(calls);
            }
            StopReason::ContextFull => {
                self.fail(
                    FailReason::ContextFull,
                    "the conversation no longer fits the model's window",
                );
            }
            StopReason::Other(reason) => {
                let message = format!("the model stopped for an unknown reason: {reason}");
                self.fail(FailReason::UnknownStop, message);
            }
            StopReason::MaxTokens => self.cut_off(calls),
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse if calls => {
                self.refuse_bad_calls();
            }
            StopReason::EndTurn | StopReason::StopSequence => self.final_answer(&text),
            StopReason::ToolUse => {
                self.repair("You stopped to use a tool, but named none. Call one, or give your final answer.");
            }
            // The calls that come with a paused turn belong to the provider's own tools, whose
            // blocks are opaque; our own calls are open like any other.
            StopReason::PauseTurn if calls => self.refuse_bad_calls(),
            StopReason::PauseTurn => self.paused(),
        }
    }

    /// The provider goes on with the same conversation; what it wrote so far stays.
    fn paused(&mut self) {
        let pauses = self.state.agent_loop().pauses;
        if pauses > PAUSES_MAX {
            let message = format!("the model paused its turn {pauses} times in a row");
            self.fail(FailReason::Truncated, message);
        }
    }

    /// The answer was cut. Text is continued; calls are not made, since the model had not finished
    /// saying what it wants.
    fn cut_off(&mut self, calls: bool) {
        let continues = self.state.agent_loop().continues;
        if continues > self.definition.agent().limits.continues_max {
            let message = format!(
                "{continues} answers in a row were cut at {} tokens; raise the model's max_tokens",
                self.definition.agent().model.max_tokens
            );
            self.fail(FailReason::Truncated, message);
        } else if calls {
            let message = format!("{CUT} None of its calls was made; make fewer or shorter ones.");
            for id in self.open_calls() {
                self.not_started(id, kind::NOT_STARTED, message.clone(), Vec::new());
            }
        } else {
            let text = format!("{CUT} Continue exactly where it stopped.");
            self.prompt(PromptReason::Continue, text);
        }
    }

    /// Answers the calls that cannot be made: unknown tools and arguments that do not fit.
    fn refuse_bad_calls(&mut self) {
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let Some(held) = self.definition.held(&call.tool).filter(|held| held.tool.shown) else {
                let names: Vec<&str> =
                    self.definition.declarations.iter().map(|tool| tool.name.as_str()).collect();
                let message =
                    format!("There is no tool `{}`. You have: {}.", call.tool, names.join(", "));
                self.not_started(id, kind::UNKNOWN_TOOL, message, Vec::new());
                continue;
            };
            let (message, at) = match &*call.input {
                ToolInput::Malformed(text) => {
                    let message = format!(
                        "The arguments are not JSON, or nest deeper than {} levels: {}",
                        json::DEPTH_MAX,
                        shorten(text)
                    );
                    (message, vec![String::new()])
                }
                // Whatever the schema says: a key could not be put into anything else.
                ToolInput::Json(arguments) if !arguments.is_object() => {
                    let text = shorten(&arguments.to_string());
                    let message = format!("The arguments are not a JSON object: {text}");
                    (message, vec![String::new()])
                }
                ToolInput::Json(arguments) => {
                    let found = held.arguments.mismatches(arguments);
                    if found.is_empty() {
                        continue;
                    }
                    let problems: Vec<String> = found
                        .iter()
                        .map(|m| {
                            format!("{}: {} (schema {})", place(&m.at), m.problem, m.schema_at)
                        })
                        .collect();
                    (
                        format!("The arguments do not fit the schema. {}", problems.join("; ")),
                        found.into_iter().map(|mismatch| mismatch.at).collect(),
                    )
                }
            };
            self.not_started(id, kind::INVALID_ARGUMENTS, message, at);
        }
        self.record_entries();
        self.make_plans();
        self.deny_calls();
        self.gate_calls();
    }

    /// Refuses the calls that a rule of the project forbids. A rule that cannot be evaluated forbids.
    fn deny_calls(&mut self) {
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            let Some(held) = self.definition.held(&call.tool) else { continue };
            if let Some((rule, message)) = held.tool.contract.forbids(call.arguments()) {
                self.deny(id, rule.to_owned(), message);
            }
        }
        self.refuse_beyond_groups();
    }

    pub(super) fn open_calls(&self) -> Vec<CallId> {
        let open = self.state.calls.iter().filter(|(_, call)| call.stage != Stage::Done);
        open.map(|(id, _)| *id).collect()
    }

    pub(super) fn not_started(&mut self, id: CallId, kind: &str, message: String, at: Vec<String>) {
        let failure = Failure { at, ..Failure::new(kind, message).retryable() };
        self.complete(id, Attempt(0), Outcome::Failed(failure), 0);
    }

    fn final_answer(&mut self, text: &str) {
        let answer = format!("{}{text}", self.state.agent_loop().partial);
        if answer.trim().is_empty() {
            self.repair("Your answer was empty. Give your final answer, or call a tool.");
            return;
        }
        let open = self.state.open_groups();
        if !open.is_empty() {
            self.send_back_open_groups(&open.join(", "));
            return;
        }
        let Some(schema) = self.definition.output() else {
            self.completed(answer, None);
            return;
        };
        let problems: Vec<String> = match serde_json::from_str(unfenced(&answer)) {
            Err(error) => vec![format!("it is not JSON: {error}")],
            Ok(value) if !json::is_shallow(&value) => {
                vec![format!("it nests deeper than {} levels", json::DEPTH_MAX)]
            }
            Ok(value) => {
                let found = schema.mismatches(&value);
                if found.is_empty() {
                    self.completed(answer, Some(value));
                    return;
                }
                found.iter().map(|m| format!("{}: {}", place(&m.at), m.problem)).collect()
            }
        };
        self.repair(&format!(
            "Your final answer must be one JSON value that fits the output schema, and nothing \
             else. What is wrong with it: {}",
            problems.join("; ")
        ));
    }

    /// What the answer says was done may be undone a moment later: it is asked for again.
    fn send_back_open_groups(&mut self, open: &str) {
        if self.state.agent_loop().repairs >= self.definition.agent().limits.repairs_max {
            let message = format!("the model gave its final answer and left {open} open");
            self.fail(FailReason::GroupOpen, message);
        } else {
            let text = format!(
                "These groups are still open: {open}. Call {COMMIT_GROUP} to make what they did \
                 final, or {UNDO_GROUP}; then give your final answer again."
            );
            self.prompt(PromptReason::Repair, text);
        }
    }

    fn completed(&mut self, answer: String, output: Option<Value>) {
        let failures = self.state.failed.calls();
        let contained = self.state.authority.refused.clone();
        let (label, foreign_links) = self.label_of_answer(&answer);
        let ending =
            Ending::Completed { answer, output, failures, contained, label, foreign_links };
        self.finish(ending);
    }

    fn repair(&mut self, text: &str) {
        let repairs = self.state.agent_loop().repairs;
        if repairs >= self.definition.agent().limits.repairs_max {
            let message = format!("after {repairs} repairs: {text}");
            self.fail(FailReason::InvalidOutput, message);
        } else {
            self.prompt(PromptReason::Repair, text);
        }
    }
}

/// Returns a block of an answer such that its record can be read back: arguments that nest too deep
/// are kept as text, and what nobody but the provider could shorten is left out.
fn readable(block: Block) -> Option<Block> {
    match block {
        Block::ToolUse(ToolUse { id, name, input: ToolInput::Json(value) })
            if !json::is_shallow(&value) =>
        {
            let input = ToolInput::Malformed(value.to_string());
            Some(Block::ToolUse(ToolUse { id, name, input }))
        }
        Block::Opaque(opaque) if !json::is_shallow(&opaque.block) => None,
        // Results come from tools, never from a model.
        Block::ToolResult(_) => None,
        Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => Some(block),
    }
}

/// Returns JSON without the Markdown fence that models like to put around it.
pub(super) fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) else {
        return text;
    };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

fn place(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole" } else { pointer }
}

/// Returns the beginning of a text that may be very long.
fn shorten(text: &str) -> String {
    const BYTES_MAX: usize = 200;
    if text.len() <= BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(BYTES_MAX)])
}
