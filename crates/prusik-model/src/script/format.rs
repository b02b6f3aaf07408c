//! The script's file format and its checks.

use prusik_core::expr::{Expr, ExprError, fill};
use prusik_core::model::{ModelErrorKind, StopReason, Usage};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// Longest pause that a script may ask for, in milliseconds.
const PAUSE_MS_MAX: u64 = 600_000;

/// A whole script.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Before each answer.
    #[serde(default, deserialize_with = "pause_ms")]
    pub delay_ms: u64,
    /// Before each word of an answer.
    #[serde(default, deserialize_with = "pause_ms")]
    pub word_ms: u64,
    /// What every request for a summary gets; without it, one that is made by rule.
    pub summary: Option<Summary>,
    pub turns: Vec<Entry>,
}

/// An entry that stands for no turn.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "EntryFile")]
pub(super) struct Summary(pub Entry);

/// What the model answers in one turn, or in several.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "EntryFile")]
pub(super) struct Entry {
    pub repeat: Repeat,
    /// The first whose condition holds is played.
    pub cases: Vec<Case>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Repeat {
    Times(u32),
    Forever,
}

/// One possible answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "CaseFile")]
pub(super) struct Case {
    pub when: Option<Expr>,
    pub think: Option<Template>,
    pub say: Option<Template>,
    pub call: Vec<Call>,
    pub stop: Option<StopReason>,
    pub usage: Option<Usage>,
    pub error: Option<Failure>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "CallFile")]
pub(super) enum Call {
    Json { tool: String, arguments: Template },
    Raw { tool: String, raw: String },
}

/// An attempt that fails on purpose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    pub kind: ModelErrorKind,
    pub message: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// How many attempts fail before the case's answer is given; without it, all of them.
    pub times: Option<u32>,
}

/// A value whose strings are expressions where they start with `=`.
#[derive(Debug, Clone)]
pub(super) struct Template(Value);

/// What the expressions of an entry read; the variables are built only where they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Needs {
    Nothing,
    LastResults,
    AllResults,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    repeat: Option<Repeat>,
    cases: Option<Vec<Case>>,
    when: Option<Expr>,
    think: Option<Template>,
    say: Option<Template>,
    #[serde(default)]
    call: Vec<Call>,
    stop: Option<StopReason>,
    #[serde(default, deserialize_with = "usage")]
    usage: Option<Usage>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    when: Option<Expr>,
    think: Option<Template>,
    say: Option<Template>,
    #[serde(default)]
    call: Vec<Call>,
    stop: Option<StopReason>,
    #[serde(default, deserialize_with = "usage")]
    usage: Option<Usage>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallFile {
    tool: String,
    arguments: Option<Template>,
    raw: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsageFile {
    #[serde(rename = "in", default)]
    input: u64,
    #[serde(rename = "out", default)]
    output: u64,
    #[serde(default)]
    cache_read: u64,
    #[serde(default)]
    cache_write: u64,
}

impl Repeat {
    pub(super) fn turns(self) -> u64 {
        match self {
            Self::Times(times) => u64::from(times),
            Self::Forever => u64::MAX,
        }
    }
}

impl Entry {
    pub(super) fn needs(&self) -> Needs {
        self.cases.iter().map(Case::needs).max().unwrap_or(Needs::Nothing)
    }
}

impl Case {
    fn needs(&self) -> Needs {
        let arguments = self.call.iter().filter_map(|call| match call {
            Call::Json { arguments, .. } => Some(arguments),
            Call::Raw { .. } => None,
        });
        let templates = self.think.iter().chain(&self.say).chain(arguments);
        let when = self.when.as_ref().map(|when| expression_needs(when.as_str()));
        templates
            .map(|template| value_needs(&template.0))
            .chain(when)
            .max()
            .unwrap_or(Needs::Nothing)
    }
}

fn value_needs(value: &Value) -> Needs {
    match value {
        Value::String(text) => expression_in(text).map_or(Needs::Nothing, expression_needs),
        Value::Array(items) => items.iter().map(value_needs).max().unwrap_or(Needs::Nothing),
        Value::Object(map) => map.values().map(value_needs).max().unwrap_or(Needs::Nothing),
        Value::Null | Value::Bool(_) | Value::Number(_) => Needs::Nothing,
    }
}

fn expression_needs(expression: &str) -> Needs {
    if expression.contains("all_results") { Needs::AllResults } else { Needs::LastResults }
}

/// Returns the expression in a template's string, if it is one.
fn expression_in(text: &str) -> Option<&str> {
    text.strip_prefix('=').filter(|rest| !rest.starts_with('=')).map(str::trim)
}

impl Template {
    pub(super) fn fill(&self, variables: &[(&str, &Value)]) -> Result<Value, ExprError> {
        fill(&self.0, variables)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        check_expressions(&value).map_err(serde::de::Error::custom)?;
        Ok(Self(value))
    }
}

fn check_expressions(value: &Value) -> Result<(), ExprError> {
    match value {
        Value::String(text) => {
            expression_in(text).map_or(Ok(()), |expression| Expr::parse(expression).map(|_| ()))
        }
        Value::Array(items) => items.iter().try_for_each(check_expressions),
        Value::Object(map) => map.values().try_for_each(check_expressions),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

impl<'de> Deserialize<'de> for Repeat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let times = value.as_u64().and_then(|times| u32::try_from(times).ok());
        match (times.filter(|times| *times > 0), value.as_str()) {
            (Some(times), _) => Ok(Self::Times(times)),
            (None, Some("forever")) => Ok(Self::Forever),
            (None, _) => Err(serde::de::Error::custom(format!(
                "`repeat` is {value}, where a number of turns (1 or more) or `forever` is due"
            ))),
        }
    }
}

impl TryFrom<EntryFile> for Entry {
    type Error = String;

    fn try_from(file: EntryFile) -> Result<Self, String> {
        let repeat = file.repeat.unwrap_or(Repeat::Times(1));
        let own = CaseFile {
            when: file.when,
            think: file.think,
            say: file.say,
            call: file.call,
            stop: file.stop,
            usage: file.usage,
            error: file.error,
        };
        match file.cases {
            None => Ok(Self { repeat, cases: vec![own.try_into()?] }),
            Some(_) if !own.is_blank() => {
                Err("a turn with `cases` says everything in them: move the rest into a case".into())
            }
            Some(cases) if cases.is_empty() => Err("`cases` is empty: add one".into()),
            Some(cases) => Ok(Self { repeat, cases }),
        }
    }
}

impl TryFrom<EntryFile> for Summary {
    type Error = String;

    fn try_from(file: EntryFile) -> Result<Self, String> {
        if file.repeat.is_some() {
            return Err("`summary` answers every request for one: leave `repeat` out".into());
        }
        Entry::try_from(file).map(Self)
    }
}

impl CaseFile {
    fn is_blank(&self) -> bool {
        self.when.is_none() && self.usage.is_none() && self.error.is_none() && !self.answers()
    }

    fn answers(&self) -> bool {
        self.say.is_some() || self.think.is_some() || !self.call.is_empty() || self.stop.is_some()
    }
}

impl TryFrom<CaseFile> for Case {
    type Error = String;

    fn try_from(file: CaseFile) -> Result<Self, String> {
        let answers = file.answers();
        match &file.error {
            None if !answers => {
                Err("an answer needs one of `say`, `call`, `stop` and `error`".into())
            }
            Some(Failure { times: None, .. }) if answers => Err(
                "an `error` without `times` fails every attempt, so the answer beside it is never \
                 given: say how many `times` it fails, or remove the answer"
                    .into(),
            ),
            Some(Failure { times: Some(_), .. }) if !answers => Err(
                "an `error` with `times` needs the answer that comes after it: add `say` or `call`"
                    .into(),
            ),
            Some(_) | None => Ok(Self {
                when: file.when,
                think: file.think,
                say: file.say,
                call: file.call,
                stop: file.stop,
                usage: file.usage,
                error: file.error,
            }),
        }
    }
}

impl TryFrom<CallFile> for Call {
    type Error = String;

    fn try_from(file: CallFile) -> Result<Self, String> {
        match (file.arguments, file.raw) {
            (Some(_), Some(_)) => Err("a call has `arguments` or `raw`, not both".into()),
            (None, Some(raw)) => Ok(Self::Raw { tool: file.tool, raw }),
            (arguments, None) => {
                let arguments = arguments.unwrap_or(Template(json!({})));
                Ok(Self::Json { tool: file.tool, arguments })
            }
        }
    }
}

fn usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usage>, D::Error> {
    let file = Option::<UsageFile>::deserialize(deserializer)?;
    Ok(file.map(|file| Usage {
        input: file.input,
        output: file.output,
        cache_read: file.cache_read,
        cache_write: file.cache_write,
    }))
}

fn pause_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let ms = u64::deserialize(deserializer)?;
    if ms > PAUSE_MS_MAX {
        let problem = format!("{ms} ms is longer than the longest pause, {PAUSE_MS_MAX} ms");
        return Err(serde::de::Error::custom(problem));
    }
    Ok(ms)
}
