//! Scripted answers: a YAML or JSON file says what the model answers in each turn, so that agents
//! can be tested without a model.
//!
//! A script is a pure function of the request. It keeps no position of its own: the turn is
//! counted from the conversation, so that a run resumed in another process goes on where it was.

mod format;
mod scene;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use prusik_core::ids::Turn;
use prusik_core::message::{Block, Message, OpaqueBlock, Role, ToolInput, ToolUse};
use prusik_core::model::{
    Answer, ModelError, ModelErrorKind, ModelRequest, Purpose, StopReason, Usage,
};
use prusik_core::run::turns_before;
use serde_json::{Value, json};

use crate::{Delta, Model, tool_input};
use format::{Call, Case, Entry, File, Template};
use scene::Scene;

/// Largest script, in bytes.
const SCRIPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much of the last results an error quotes, in bytes.
const QUOTE_BYTES_MAX: usize = 300;
/// Bytes that the estimate of a usage takes for one token.
const TOKEN_BYTES: usize = 4;

/// A parsed script.
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    file: File,
    /// The last turn of each entry; `u64::MAX` where it repeats forever.
    last_turns: Vec<u64>,
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
        let turn = turn_of(request);
        let entry =
            match request.purpose {
                Purpose::Turn => self.entry(turn).ok_or_else(|| {
                    let last = self.last_turns.last().copied().unwrap_or_default();
                    format!("it ends after turn {last}; add an entry under `turns`")
                }),
                Purpose::Summary => self.file.summary.as_ref().ok_or_else(|| {
                    "a summary is asked for; add `summary:` beside `turns`".to_owned()
                }),
            };
        let entry = entry.map_err(|way_out| self.drift(turn, request, &way_out))?;
        let scene = Scene::of(request, turn, entry.needs());
        for case in &entry.cases {
            let applies = match &case.when {
                Some(when) => when
                    .eval_bool(&scene.variables())
                    .map_err(|error| self.drift(turn, request, &error.to_string()))?,
                None => true,
            };
            if applies {
                return self.play(case, turn, request, &scene);
            }
        }
        let way_out = "no `when` of this turn holds; add a case without `when`";
        Err(self.drift(turn, request, way_out))
    }

    fn entry(&self, turn: Turn) -> Option<&Entry> {
        let index = self.last_turns.partition_point(|last| *last < u64::from(turn.0));
        self.file.turns.get(index)
    }

    fn play(
        &self,
        case: &Case,
        turn: Turn,
        request: &ModelRequest,
        scene: &Scene,
    ) -> Result<Answer, ModelError> {
        if let Some(error) = &case.error
            && error.times.is_none_or(|times| request.attempt.0 <= times)
        {
            let message = error.message.clone().unwrap_or_else(|| {
                format!("the script `{}` fails turn {turn} on purpose", self.name)
            });
            let retry_after_ms = error.retry_after_ms;
            return Err(ModelError { kind: error.kind, message, retry_after_ms });
        }
        let fill = |template: &Template| {
            template
                .fill(&scene.variables())
                .map_err(|error| self.drift(turn, request, &error.to_string()))
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
        let usage = case.usage.unwrap_or_else(|| estimate(request, &content));
        Ok(Answer { content, stop, usage, model: request.model.model.clone() })
    }

    fn drift(&self, turn: Turn, request: &ModelRequest, way_out: &str) -> ModelError {
        let message = format!(
            "the script `{}` has no answer for turn {turn}: {way_out}. {}",
            self.name,
            describe_last_results(request)
        );
        ModelError::new(ModelErrorKind::Drift, message)
    }
}

/// Returns the turn that `request` asks for: one more than the answers it holds and those that its
/// head stands for.
fn turn_of(request: &ModelRequest) -> Turn {
    let answers = request.messages.iter().filter(|message| message.role == Role::Assistant).count();
    let head = request.messages.first().map_or(&[][..], |head| std::slice::from_ref(&**head));
    let answers = u32::try_from(answers).unwrap_or(u32::MAX);
    Turn(answers.saturating_add(turns_before(head))).next()
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

/// Returns a usage that grows with the system prompt, the newest message and the answer. The rest
/// of the conversation is left out, so that an answer costs the same work in every turn.
fn estimate(request: &ModelRequest, content: &[Block]) -> Usage {
    let newest = request.messages.last().map_or(0, |message| blocks_bytes(&message.content));
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(TOKEN_BYTES)).unwrap_or(u64::MAX);
    Usage {
        input: tokens(request.system.len() + newest),
        output: tokens(blocks_bytes(content)),
        ..Usage::default()
    }
}

fn blocks_bytes(blocks: &[Block]) -> usize {
    let bytes = |block: &Block| match block {
        Block::Text(text) => text.len(),
        Block::Opaque(opaque) => opaque.block.to_string().len(),
        Block::ToolUse(call) => match &call.input {
            ToolInput::Json(value) => call.name.len() + value.to_string().len(),
            ToolInput::Malformed(text) => call.name.len() + text.len(),
        },
        Block::ToolResult(result) => {
            result.content.iter().map(prusik_core::message::Content::bytes).sum()
        }
    };
    blocks.iter().map(bytes).sum()
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
