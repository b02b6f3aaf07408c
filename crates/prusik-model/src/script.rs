//! Scripted answers: a YAML or JSON file says what the model answers in each turn, so that agents
//! can be tested without a model.
//!
//! A script is a pure function of the request. It keeps no position of its own: the turn is
//! counted from the conversation, so that a run resumed in another process goes on where it was.

mod compacted;
mod estimate;
mod format;
mod scene;
mod summary;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use prusik_core::ids::Turn;
use prusik_core::message::{Block, Message, OpaqueBlock, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest, StopReason};
use serde_json::{Value, json};

use crate::{Delta, Model, tool_input};
use estimate::estimate;
use format::{Call, Case, Entry, File, Template};
use scene::Scene;

pub use compacted::turn_asked;

/// Largest script, in bytes.
const SCRIPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much of the last results an error quotes, in bytes.
const QUOTE_BYTES_MAX: usize = 300;

/// A parsed script.
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    file: File,
    /// The last turn of each entry; `u64::MAX` where it repeats forever.
    last_turns: Vec<u64>,
}

/// What a script has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    pub answer: Answer,
    pub usage: UsageSource,
}

/// Where the usage of an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageSource {
    /// The script says it.
    Script,
    /// It was estimated by the request's length.
    Estimate,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Turn(Turn),
    /// A summary of the conversation before this turn.
    Summary(Turn),
}

impl Asked {
    fn of(request: &ModelRequest) -> Self {
        let turn = turn_asked(&request.messages);
        if compacted::asks_for_summary(&request.messages) {
            Self::Summary(turn)
        } else {
            Self::Turn(turn)
        }
    }

    fn turn(self) -> Turn {
        match self {
            Self::Turn(turn) | Self::Summary(turn) => turn,
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Turn(turn) => write!(f, "turn {turn}"),
            Self::Summary(turn) => write!(f, "the summary before turn {turn}"),
        }
    }
}

/// Why a text is not a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", position(name, *line, *column))]
pub struct ScriptError {
    pub name: String,
    /// Counted from 1; none where the mistake is not in one place.
    pub line: Option<u64>,
    pub column: Option<u64>,
    pub problem: String,
}

fn position(name: &str, line: Option<u64>, column: Option<u64>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("{name}:{line}:{column}"),
        (Some(line), None) => format!("{name}:{line}"),
        (None, _) => name.to_owned(),
    }
}

impl Script {
    /// Parses a script; `name` is how errors call it, mostly its path. Keys that the format does
    /// not know are refused, and every expression is parsed.
    pub fn parse(yaml_or_json: &str, name: &str) -> Result<Self, ScriptError> {
        let error =
            |line, column, problem| ScriptError { name: name.to_owned(), line, column, problem };
        if yaml_or_json.len() > SCRIPT_BYTES_MAX {
            let problem = format!("the script has more than {SCRIPT_BYTES_MAX} bytes");
            return Err(error(None, None, problem));
        }
        let file: File = serde_saphyr::from_str(yaml_or_json).map_err(|problem| {
            let at = problem.location().filter(|at| at.line() > 0);
            let plain = problem.render_with_options(plain_rendering());
            error(at.map(|at| at.line()), at.map(|at| at.column()), plain)
        })?;
        if file.turns.is_empty() {
            return Err(error(None, None, "`turns` is empty: add what the model answers".into()));
        }
        let mut last = 0u64;
        let last_turns = file
            .turns
            .iter()
            .map(|entry| {
                last = last.saturating_add(entry.repeat.turns());
                last
            })
            .collect();
        Ok(Self { name: name.to_owned(), file, last_turns })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how long the model seems to think before it answers.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.file.delay_ms)
    }

    /// Returns how long each word of an answer takes.
    pub fn word_pace(&self) -> Duration {
        Duration::from_millis(self.file.word_ms)
    }

    /// Returns what the script answers. Equal requests get equal answers.
    pub fn answer(&self, request: &ModelRequest) -> Result<Answer, ModelError> {
        self.play(request).map(|played| played.answer)
    }

    /// Returns what the script answers, and where its usage comes from.
    pub fn play(&self, request: &ModelRequest) -> Result<Played, ModelError> {
        let asked = Asked::of(request);
        let entry = match asked {
            Asked::Turn(turn) => self.entry(turn),
            Asked::Summary(_) => match &self.file.summary {
                Some(summary) => Some(&summary.0),
                None => return Ok(summed_up(request)),
            },
        };
        let Some(entry) = entry else {
            let last = self.last_turns.last().copied().unwrap_or_default();
            let way_out = format!("it ends after turn {last}; add an entry under `turns`");
            return Err(self.drift(asked, request, &way_out));
        };
        let scene = Scene::of(request, asked.turn(), entry.needs());
        for case in &entry.cases {
            let applies = match &case.when {
                Some(when) => when
                    .eval_bool(&scene.variables())
                    .map_err(|error| self.drift(asked, request, &error.to_string()))?,
                None => true,
            };
            if applies {
                return self.play_case(case, asked, request, &scene);
            }
        }
        let way_out = "no `when` of it holds; add a case without `when`";
        Err(self.drift(asked, request, way_out))
    }

    fn entry(&self, turn: Turn) -> Option<&Entry> {
        let index = self.last_turns.partition_point(|last| *last < u64::from(turn.0));
        self.file.turns.get(index)
    }

    fn play_case(
        &self,
        case: &Case,
        asked: Asked,
        request: &ModelRequest,
        scene: &Scene,
    ) -> Result<Played, ModelError> {
        let turn = asked.turn();
        if let Some(error) = &case.error
            && error.times.is_none_or(|times| request.attempt.0 <= times)
        {
            let message = error
                .message
                .clone()
                .unwrap_or_else(|| format!("the script `{}` fails {asked} on purpose", self.name));
            let retry_after_ms = error.retry_after_ms;
            return Err(ModelError { kind: error.kind, message, retry_after_ms });
        }
        let fill = |template: &Template| {
            template
                .fill(&scene.variables())
                .map_err(|error| self.drift(asked, request, &error.to_string()))
        };
        let mut content = Vec::new();
        if let Some(thought) = &case.think {
            content.push(thinking(&text_of(fill(thought)?), turn));
        }
        if let Some(say) = &case.say {
            content.push(Block::Text(text_of(fill(say)?)));
        }
        for (index, call) in case.call.iter().enumerate() {
            let (name, input) = match call {
                Call::Json { tool, arguments } => (tool, ToolInput::Json(fill(arguments)?)),
                Call::Raw { tool, raw } => (tool, tool_input(raw)),
            };
            let id = format!("toolu_{turn}_{}", index + 1);
            content.push(Block::ToolUse(ToolUse { id, name: name.clone(), input }));
        }
        let stop = case.stop.clone().unwrap_or(if case.call.is_empty() {
            StopReason::EndTurn
        } else {
            StopReason::ToolUse
        });
        let (usage, source) = match case.usage {
            Some(usage) => (usage, UsageSource::Script),
            None => (estimate(request, &content), UsageSource::Estimate),
        };
        let answer = Answer { content, stop, usage, model: request.model.model.clone() };
        Ok(Played { answer, usage: source })
    }

    fn drift(&self, asked: Asked, request: &ModelRequest, way_out: &str) -> ModelError {
        let message = format!(
            "the script `{}` has no answer for {asked}: {way_out}. {}",
            self.name,
            describe_last_results(request)
        );
        ModelError::new(ModelErrorKind::Drift, message)
    }
}

/// Returns the summary that is given where a script does not say any.
fn summed_up(request: &ModelRequest) -> Played {
    let content = vec![Block::Text(summary::document(request))];
    let usage = estimate(request, &content);
    let (stop, model) = (StopReason::EndTurn, request.model.model.clone());
    Played { answer: Answer { content, stop, usage, model }, usage: UsageSource::Estimate }
}

fn plain_rendering() -> serde_saphyr::RenderOptions<'static> {
    let mut options = serde_saphyr::RenderOptions::new(&serde_saphyr::UserMessageFormatter);
    options.snippets = serde_saphyr::SnippetMode::Off;
    options
}

/// Returns what is said as text: a string as it is, every other value as JSON.
fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Returns a thinking block as the Anthropic API shapes it, with a signature that depends on the
/// turn alone.
fn thinking(text: &str, turn: Turn) -> Block {
    let block = json!({
        "type": "thinking", "thinking": text, "signature": format!("scripted-signature-{turn}"),
    });
    Block::Opaque(OpaqueBlock { provider: crate::anthropic::PROVIDER.to_owned(), block })
}

fn describe_last_results(request: &ModelRequest) -> String {
    let results = scene::last_results(&request.messages);
    if results.is_empty() {
        return "There are no results of tools before it.".to_owned();
    }
    let mut text = results
        .iter()
        .map(|result| {
            let word = if result["is_error"] == true { "error" } else { "ok" };
            let tool = result["tool"].as_str().unwrap_or_default();
            format!("{tool} ({word}): {}", result["text"].as_str().unwrap_or_default())
        })
        .collect::<Vec<_>>()
        .join("; ");
    if text.len() > QUOTE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(QUOTE_BYTES_MAX));
        text.push('…');
    }
    format!("The last results were: {text}")
}

/// A model that answers from a script, word by word if the script sets a pace.
#[derive(Debug, Clone)]
pub struct ScriptedModel {
    script: Script,
}

impl ScriptedModel {
    pub fn new(script: Script) -> Self {
        Self { script }
    }

    pub fn script(&self) -> &Script {
        &self.script
    }
}

#[async_trait]
impl Model for ScriptedModel {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        pause(self.script.delay()).await;
        let answer = self.script.answer(request)?;
        for block in &answer.content {
            match block {
                Block::Text(text) => {
                    for word in text.split_inclusive(char::is_whitespace) {
                        pause(self.script.word_pace()).await;
                        progress(Delta::Text(word.to_owned()));
                    }
                }
                Block::Opaque(opaque) => {
                    if let Some(text) = opaque.block["thinking"].as_str() {
                        progress(Delta::Thinking(text.to_owned()));
                    }
                }
                Block::ToolUse(call) => progress(Delta::ToolUse { name: call.name.clone() }),
                Block::ToolResult(_) => {}
            }
        }
        Ok(answer)
    }
}

/// Waits; a pace of zero does not even touch the timer, so that benchmarks measure the engine.
async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Returns the tool results of `message`, each with the name of its tool in `calls`, the answer
/// before it.
fn pairs<'a>(
    calls: Option<&'a Message>,
    message: &'a Message,
) -> impl Iterator<Item = (&'a str, &'a prusik_core::message::ToolResultBlock)> {
    message.content.iter().filter_map(move |block| {
        let Block::ToolResult(result) = block else { return None };
        let name = calls.and_then(|calls| {
            calls.content.iter().find_map(|block| match block {
                Block::ToolUse(call) if call.id == result.id => Some(call.name.as_str()),
                Block::ToolUse(_) | Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => {
                    None
                }
            })
        });
        Some((name.unwrap_or_default(), result))
    })
}
