//! Tools that are Rust functions: what the attribute makes of them, and how they are called.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use prusik_core::contract::{Contract, EffectClass, FailureTerm, KeyPlace, RecordTerm, Returns};
use prusik_core::expr::Expr;
use prusik_core::grant::ArgumentTerm;
use prusik_core::ledger::EntryKind;
use prusik_core::outcome::{Failure as Failed, Outcome, Refusal, Reply, ToolResult, kind};
use prusik_tool::{CallAttempt, ToolInfo};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::failure::{Failure, FailureKind};
use crate::project::config::RetryConfig;

/// A tool that is a Rust function, with its contract: what [`macro@crate::tool`] makes of the function.
#[derive(Clone)]
pub struct RustTool {
    tool: Arc<dyn prusik_tool::Tool>,
    terms: Terms,
    failures: &'static [FailureKind],
    arguments: BTreeMap<String, ArgumentTerm>,
    returns: Returns,
}

/// What an attribute says beyond the schema.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub name: &'static str,
    pub description: &'static str,
    pub effect: EffectClass,
    pub key: Option<Key>,
    pub probe: Option<Probe>,
    pub undo: Option<Undo>,
    pub record: Option<Record>,
    pub timeout_ms: Option<u64>,
    pub result_bytes_max: Option<u64>,
    pub retry: RetryConfig,
    pub empty_fails: bool,
    pub parallel: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Key {
    Argument(&'static str),
    Call,
}

/// A template of arguments.
pub type Arguments = &'static [(&'static str, Literal)];

#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub tool: &'static str,
    pub arguments: Arguments,
    pub landed: &'static str,
    pub result: Option<&'static str>,
    pub wait_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub struct Undo {
    pub tool: &'static str,
    pub arguments: Arguments,
}

/// What of a result goes into the ledger.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub kind: EntryKind,
    pub text: &'static str,
    pub when: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub enum Literal {
    Text(&'static str),
    Bool(bool),
    Int(i64),
    Float(f64),
}

/// What the attribute implements for a function.
pub trait Body: Send + Sync + 'static {
    type Arguments: DeserializeOwned + JsonSchema + Send;
    type Value: Serialize + JsonSchema + Send;
    type Failure: Failure;

    fn perform(
        &self,
        arguments: Self::Arguments,
        call: &Call<'_>,
    ) -> impl Future<Output = Result<Self::Value, Self::Failure>> + Send;
}

/// A `Result` under whatever name.
#[diagnostic::on_unimplemented(
    message = "a tool returns `Result<T, E>`, and not `{Self}`",
    label = "this is to be a `Result`"
)]
pub trait IsResult {
    type Value;
    type Failure;
}

impl<T, E> IsResult for Result<T, E> {
    type Value = T;
    type Failure = E;
}

/// Makes a tool of a function.
pub fn tool<B: Body>(terms: Terms, body: B) -> RustTool {
    let info = ToolInfo {
        name: terms.name.to_owned(),
        description: terms.description.to_owned(),
        input_schema: arguments_schema::<B::Arguments>(),
        output_schema: result_schema::<B::Value>(),
        hints: None,
    };
    RustTool {
        tool: Arc::new(Function { info, body }),
        terms,
        failures: B::Failure::KINDS,
        arguments: BTreeMap::new(),
        returns: Returns::default(),
    }
}

/// One call of a tool, as the tool sees it.
pub struct Call<'a> {
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(String) + Send + Sync),
}

impl Call<'_> {
    /// Tells whoever watches the run how far the call has come, in words.
    pub fn progress(&self, text: impl Into<String>) {
        (self.progress)(text.into());
    }

    /// Returns what fires when the call is to stop. The function is dropped then at its next `await`;
    /// a thread that it has started is not, and may ask this.
    pub fn cancelled(&self) -> &CancellationToken {
        self.cancel
    }
}

struct Function<B> {
    info: ToolInfo,
    body: B,
}

#[async_trait]
impl<B: Body> prusik_tool::Tool for Function<B> {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        if attempt.cancel.is_cancelled() {
            return Reply::not_sent("cancelled before it started");
        }
        let arguments = match serde_json::from_value(attempt.arguments.clone()) {
            Ok(arguments) => arguments,
            Err(error) => {
                return Reply::Refused(Refusal::of_kind(
                    kind::INVALID_ARGUMENTS,
                    error.to_string(),
                ));
            }
        };
        let call = Call { cancel: &attempt.cancel, progress: attempt.progress };
        // Nothing of the function's own state is used after a panic but what all calls share, which is
        // the function's to guard.
        let work = AssertUnwindSafe(self.body.perform(arguments, &call)).catch_unwind();
        tokio::select! {
            biased;
            done = work => match done {
                Ok(Ok(value)) => returned(&value),
                Ok(Err(failure)) => failed(&failure),
                Err(panic) => {
                    let reason = format!("`{}` panicked: {}", self.info.name, said(panic.as_ref()));
                    Reply::Lost { reason }
                }
            },
            () = attempt.cancel.cancelled() => Reply::Lost { reason: "cancelled".to_owned() },
        }
    }
}

fn returned(value: &impl Serialize) -> Reply {
    match serde_json::to_value(value) {
        Ok(Value::Null) => Reply::Returned(ToolResult::default()),
        Ok(Value::String(text)) => Reply::Returned(ToolResult::text(text)),
        Ok(value) => Reply::Returned(ToolResult::json(value)),
        Err(error) => Reply::Unfit {
            result: ToolResult::default(),
            problem: format!("it cannot be written as JSON: {error}"),
        },
    }
}

fn failed(failure: &impl Failure) -> Reply {
    let reported = failure.report();
    let message = failure.to_string();
    if reported.may_have_landed {
        return Reply::Lost { reason: message };
    }
    let message = if message.trim().is_empty() { reported.kind.to_owned() } else { message };
    Reply::Refused(Refusal {
        retry_after_ms: reported.retry_after_ms,
        ..Refusal::of_kind(reported.kind, message)
    })
}

/// Returns the words of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

/// Returns the schema of a type as models take it: in one piece, and without Rust's names.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut value = schema.to_value();
    strip(&mut value);
    value
}

/// Widths of Rust's numbers: no formats of JSON Schema, and `minimum` says what matters.
const RUST_FORMATS: [&str; 14] = [
    "uint", "uint8", "uint16", "uint32", "uint64", "uint128", "int8", "int16", "int", "int128",
    "int32", "int64", "float", "double",
];

/// Takes out what is about Rust and tells a model nothing.
fn strip(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("title").is_some_and(Value::is_string) {
                map.shift_remove("title");
            }
            let format = map.get("format").and_then(Value::as_str);
            if format.is_some_and(|format| RUST_FORMATS.contains(&format)) {
                map.shift_remove("format");
            }
            let values = ["default", "const", "enum", "examples"];
            let schemas = map.iter_mut().filter(|(key, _)| !values.contains(&key.as_str()));
            schemas.for_each(|(_, schema)| strip(schema));
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn arguments_schema<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>();
    if let Value::Object(map) = &mut schema {
        map.entry("properties").or_insert_with(|| json!({}));
    }
    schema
}

/// Returns the schema of a result; none for a result that says nothing.
fn result_schema<T: JsonSchema>() -> Option<Value> {
    let schema = schema_of::<T>();
    (schema.get("type") != Some(&json!("null"))).then_some(schema)
}

impl RustTool {
    /// Returns the name that the model sees.
    pub fn name(&self) -> &'static str {
        self.terms.name
    }

    /// Returns what the tool says of itself.
    pub fn info(&self) -> &ToolInfo {
        self.tool.info()
    }

    /// Returns the contract; fails where the attribute cannot mean anything.
    pub fn contract(&self) -> Result<Contract, ContractError> {
        let terms = &self.terms;
        let mut contract = Contract::of(terms.effect);
        contract.retry = terms.retry.over(contract.retry);
        contract.timeout_ms = terms.timeout_ms.unwrap_or(contract.timeout_ms);
        contract.result_bytes_max = terms.result_bytes_max.unwrap_or(contract.result_bytes_max);
        contract.empty_fails = terms.empty_fails;
        contract.parallel |= terms.parallel;
        contract.key = match terms.key {
            Some(Key::Argument(name)) => Some(self.key_argument(name)?),
            Some(Key::Call) => Some(KeyPlace::Call),
            None => None,
        };
        if let Some(probe) = &terms.probe {
            contract.probe = Some(prusik_core::contract::Probe {
                tool: probe.tool.to_owned(),
                arguments: self.template(probe.arguments, "probe")?,
                landed: self.expression(probe.landed, "probe.landed")?,
                result: match probe.result {
                    Some(result) => Some(self.expression(result, "probe.result")?),
                    None => None,
                },
                wait_ms: probe.wait_ms.unwrap_or(contract.timeout_ms),
            });
        }
        if let Some(undo) = &terms.undo {
            contract.undo = Some(prusik_core::contract::Undo {
                tool: undo.tool.to_owned(),
                arguments: self.template(undo.arguments, "undo")?,
            });
        }
        if let Some(record) = &terms.record {
            contract.records.push(RecordTerm {
                kind: record.kind,
                text: self.expression(record.text, "record.text")?,
                when: match record.when {
                    Some(when) => Some(self.expression(when, "record.when")?),
                    None => None,
                },
            });
        }
        contract.failures = self
            .failures
            .iter()
            .map(|kind| {
                let tell = Some(kind.tell.to_owned());
                let term = FailureTerm { retry: kind.retry, tell, ..FailureTerm::default() };
                (kind.kind.to_owned(), term)
            })
            .collect();
        contract.arguments.clone_from(&self.arguments);
        contract.returns.clone_from(&self.returns);
        Ok(contract)
    }

    /// Says what an argument decides. One of which nothing is said decides who or what is affected.
    pub fn argument(mut self, name: impl Into<String>, term: impl Into<ArgumentTerm>) -> Self {
        self.arguments.insert(name.into(), term.into());
        self
    }

    /// Says who can have written what the tool returns: anybody, if nothing is said.
    pub fn returns(mut self, returns: Returns) -> Self {
        self.returns = returns;
        self
    }

    fn key_argument(&self, name: &str) -> Result<KeyPlace, ContractError> {
        if self.info().input_schema["properties"][name]["type"] != "string" {
            let problem =
                format!("the parameter `{name}` takes the key, a text: make it a `String`");
            return Err(ContractError { tool: self.name(), key: "key", problem });
        }
        Ok(KeyPlace::Argument(name.to_owned()))
    }

    fn template(
        &self,
        arguments: Arguments,
        key: &'static str,
    ) -> Result<BTreeMap<String, Value>, ContractError> {
        let mut template = BTreeMap::new();
        for (name, literal) in arguments {
            let value = match literal {
                Literal::Text(text) => {
                    if let Some(expression) = text.strip_prefix('=').filter(|t| !t.starts_with('='))
                    {
                        self.expression(expression.trim(), key)?;
                    }
                    json!(text)
                }
                Literal::Bool(value) => json!(value),
                Literal::Int(number) => json!(number),
                Literal::Float(number) => json!(number),
            };
            template.insert((*name).to_owned(), value);
        }
        Ok(template)
    }

    fn expression(&self, text: &str, key: &'static str) -> Result<Expr, ContractError> {
        Expr::parse(text).map_err(|error| ContractError {
            tool: self.name(),
            key,
            problem: error.to_string(),
        })
    }

    pub(crate) fn as_tool(&self) -> Arc<dyn prusik_tool::Tool> {
        Arc::clone(&self.tool)
    }

    /// Calls the tool once, as tests do: arguments as JSON, the outcome as the contract has it.
    ///
    /// Nothing is journaled, retried or probed, and no limit is kept: a call whose outcome is lost is
    /// [`Outcome::InDoubt`].
    pub async fn call(&self, arguments: Value) -> Result<Outcome, ContractError> {
        let contract = self.contract()?;
        let attempt = CallAttempt {
            arguments: &arguments,
            meta_key: None,
            cancel: CancellationToken::new(),
            progress: &|_| (),
        };
        Ok(match self.tool.call(attempt).await {
            Reply::Returned(result) if contract.empty_fails && result.is_empty() => {
                Outcome::Failed(Failed::new(kind::EMPTY_RESULT, "the result says nothing"))
            }
            Reply::Returned(result) => Outcome::Ok(result),
            Reply::Refused(refusal) => Outcome::Failed(Failed::from_refusal(&contract, refusal)),
            Reply::Unfit { problem, .. } => Outcome::Failed(Failed {
                landed: true,
                ..Failed::new(kind::INVALID_RESULT, problem)
            }),
            Reply::NotSent { reason, .. } => {
                Outcome::Failed(Failed::new(kind::UNAVAILABLE, reason))
            }
            Reply::Lost { reason } => Outcome::InDoubt { reason },
        })
    }
}

impl fmt::Debug for RustTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RustTool({})", self.name())
    }
}

/// What is wrong with a tool's attribute and only shows when the program runs: an expression that is
/// not CEL, a key that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tool `{tool}`, `{key}`: {problem}")]
pub struct ContractError {
    /// The tool's name.
    pub tool: &'static str,
    /// The key of the attribute.
    pub key: &'static str,
    /// What is wrong, and the way out.
    pub problem: String,
}
