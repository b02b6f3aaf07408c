//! The keys of `prusik.yaml` and of an agent's front matter, as they are written.
//!
//! The comments of this file are the descriptions of the JSON Schema that editors show.

mod containment;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::containment::{
    ArgumentConfig, ArgumentKindConfig, BoundedArgument, ContainmentConfig, ContainmentOff,
    ContainmentSetting, ReturnsConfig, UnplannedConfig,
};
use super::values::{ExprText, Patterns, SchemaText, SecretRef, Template, TemplateText, Usd, Wall};

/// A Prusik project: models, MCP servers, tool contracts and budgets.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "prusik.yaml")]
pub struct ProjectFile {
    /// The models, by alias. An agent names one by `model:`; `default` is used otherwise.
    #[serde(default)]
    pub models: BTreeMap<String, ModelConfig>,
    /// The MCP servers, by name. A server's tools are called `server__tool`. Servers of `.mcp.json`
    /// are read too where that file exists.
    #[serde(default)]
    pub servers: BTreeMap<String, ServerConfig>,
    /// The contracts, by the tool's name as the model sees it: a built-in tool's name, or
    /// `server__tool`. A tool without a contract is taken for a write that cannot be repeated.
    #[serde(default)]
    pub tools: BTreeMap<String, ContractConfig>,
    /// Calls that take together or not at all, by the group's name. Those that can be undone are
    /// made at once; those that cannot wait until the model commits the group.
    #[serde(default)]
    pub groups: BTreeMap<String, GroupConfig>,
    /// What `prusik lint` accepts and how much it takes for too much.
    #[serde(default)]
    pub lint: LintConfig,
    /// The ceilings of a run, for every agent that does not set its own. A run at a ceiling parks.
    #[serde(default)]
    pub budget: BudgetConfig,
    /// The folder that the built-in file tools are confined to.
    #[serde(default = "default_workspace")]
    pub workspace: PathBuf,
    /// How the built-in shell runs. An agent holds it only if it names it, and then it is `confined` where
    /// this is left out.
    #[serde(default)]
    pub shell: Option<Shell>,
    /// What the shell's sandbox grants beyond the workspace, and its limits.
    #[serde(default)]
    pub sandbox: Option<SandboxConfig>,
    /// The SQLite file with the journals of the runs.
    #[serde(default = "default_store")]
    pub store: PathBuf,
}

fn default_workspace() -> PathBuf {
    "workspace".into()
}

fn default_store() -> PathBuf {
    ".prusik/prusik.db".into()
}

/// What `prusik lint` accepts and how much it takes for too much.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LintConfig {
    /// Findings that are accepted for every tool: the rule's id, and the reason.
    #[serde(default)]
    pub allow: BTreeMap<String, String>,
    /// Most tools that one agent may hold without a warning; 40 when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub tools_max: Option<u32>,
    /// Most tokens that an agent's tools may cost with every model call without a warning; 10000
    /// when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub tool_tokens_max: Option<u64>,
}

/// How the built-in shell runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// In a sandbox: the workspace writable, the system read-only, all else hidden, no network. Where
    /// there can be no sandbox, it refuses to run.
    Confined,
    /// With every right of the user who runs Prusik.
    Unconfined,
}

/// What a sandbox grants, and its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Domains that may be reached over HTTP and HTTPS: `example.com`, `*.example.com` for all below it,
    /// with `:PORT` another port. None when it is left out. It needs bubblewrap.
    pub network: Vec<String>,
    /// Folders beside the workspace that may be written, relative to the project or below `~/`.
    pub writable: Vec<PathBuf>,
    /// Files and folders that may be read besides those of the system.
    pub readable: Vec<PathBuf>,
    /// Most memory of all processes together, in MiB; 2048 when it is left out.
    #[schemars(range(min = 16))]
    pub memory_mb: Option<u64>,
    /// Most processes at a time; 256 when it is left out.
    #[schemars(range(min = 1))]
    pub processes: Option<u32>,
    /// The largest file that may be written, in MiB; 1024 when it is left out.
    #[schemars(range(min = 1))]
    pub file_mb: Option<u64>,
    /// Most that a shell command may print, in MiB; 64 when it is left out.
    #[schemars(range(min = 1))]
    pub output_mb: Option<u64>,
}

/// What answers the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The Anthropic Messages API.
    Anthropic,
    /// OpenAI's chat completions, and servers that speak it: Ollama, vLLM, llama.cpp.
    Openai,
    /// A script of turns: no model, no key, no network.
    Scripted,
    /// Answers recorded from another model of this project.
    Recorded,
}

impl Provider {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Openai => "openai",
            Self::Scripted => "scripted",
            Self::Recorded => "recorded",
        }
    }
}

/// Whether a recorded model answers from its cassette or fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CassetteMode {
    /// Answer from the cassette, and fail where it holds no such request.
    #[default]
    Replay,
    /// Ask the model that `of` names, and write its answers into the cassette.
    Record,
}

/// A model and how it is reached.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What answers the prompts.
    pub provider: Provider,
    /// The provider's name of the model, such as `claude-sonnet-4-5`.
    #[serde(default)]
    pub model: Option<String>,
    /// Where the API is, if not at the provider's own address: `http://localhost:11434/v1`.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Where the key is: `env:NAME` or `file:PATH`, never the key itself. Without this it is
    /// `env:ANTHROPIC_API_KEY` or `env:OPENAI_API_KEY`; an OpenAI-compatible server on this
    /// machine needs none.
    #[serde(default)]
    pub api_key: Option<SecretRef>,
    /// Most tokens that one answer may have.
    #[serde(default = "default_max_tokens")]
    #[schemars(range(min = 1))]
    pub max_tokens: u32,
    /// What the model can take in, prompt and answer together, in tokens. When it is left out, what is
    /// known of the model's name counts; of a local server say what it is started with.
    #[serde(default)]
    #[schemars(range(min = 2000))]
    pub window_tokens: Option<u64>,
    /// How much the answers vary, from 0 to 2.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
    /// Tokens that the model may think for before it answers, fewer than `max_tokens`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub thinking_tokens: Option<u32>,
    /// What the model costs, where the built-in list does not know or you pay another price.
    #[serde(default)]
    pub price: Option<PriceConfig>,
    /// The script of a `scripted` model.
    #[serde(default)]
    pub script: Option<PathBuf>,
    /// The file with the answers of a `recorded` model.
    #[serde(default)]
    pub cassette: Option<PathBuf>,
    /// Whether a `recorded` model answers from its cassette or fills it.
    #[serde(default)]
    pub mode: Option<CassetteMode>,
    /// The alias of the model that a `recorded` one is recorded from.
    #[serde(default)]
    pub of: Option<String>,
}

fn default_max_tokens() -> u32 {
    4096
}

/// What a model costs, in USD for a million tokens.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// Input that no cache holds.
    pub input: Usd,
    /// Output.
    pub output: Usd,
    /// Input that a cache holds; as `input` when it is left out.
    #[serde(default)]
    pub cache_read: Option<Usd>,
    /// Input that is written into a cache; as `input` when it is left out.
    #[serde(default)]
    pub cache_write: Option<Usd>,
}

/// An MCP server: a program that is started (`command`), or an address (`url`).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The program to start. It speaks MCP on its standard input and output.
    #[serde(default)]
    pub command: Option<Template>,
    /// The program's arguments.
    #[serde(default)]
    pub args: Vec<Template>,
    /// The program's environment, which holds nothing else of yours but what a program needs to
    /// start. A value may be `env:NAME` or `file:PATH`, or hold `${NAME}`.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// The folder that the program starts in; the project's when it is left out.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// The address of a server that speaks streamable HTTP.
    #[serde(default)]
    pub url: Option<Template>,
    /// Headers sent with every request. A value may be `env:NAME` or `file:PATH`, or hold
    /// `${NAME}`: `Bearer ${TOKEN}`.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// How long the server may take to start, in milliseconds.
    #[serde(default = "default_start_timeout_ms")]
    #[schemars(range(min = 1))]
    pub start_timeout_ms: u64,
    /// When the server is left alone because it does not answer.
    #[serde(default)]
    pub breaker: BreakerConfig,
    /// Runs the program in a sandbox: the workspace writable, the project and the system read-only, all else
    /// hidden, no network. `{}` grants nothing more. Nothing confines the program when it is left out.
    #[serde(default)]
    pub sandbox: Option<SandboxConfig>,
}

/// When a server is left alone because it does not answer. One call then tries it out, and if that is
/// answered all goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Calls in a row without an answer; 0 if the server is never left alone.
    pub failures_max: u32,
    /// How long it is left alone, in milliseconds.
    pub cooldown_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures_max: 5, cooldown_ms: 10_000 }
    }
}

pub(crate) fn default_start_timeout_ms() -> u64 {
    30_000
}

/// What a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing; may be repeated.
    Read,
    /// May be repeated with the same key: the second call lands on the first.
    Idempotent,
    /// May not be repeated.
    Write,
}

/// What a tool does, how it fails, how it is repeated and limited.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractConfig {
    /// What a call does to the world. What nobody declared is a `write`.
    #[serde(default)]
    pub effect: Option<Effect>,
    /// How the key of an `idempotent` call reaches the tool.
    #[serde(default)]
    pub key: Option<KeyConfig>,
    /// The read that tells whether a call landed whose outcome was lost.
    #[serde(default)]
    pub probe: Option<ProbeConfig>,
    /// The call that reverses this one. A `write` without it is irreversible.
    #[serde(default)]
    pub undo: Option<UndoConfig>,
    /// The kinds of failure that the tool may report. A failure that is declared did not land.
    #[serde(default)]
    pub failures: BTreeMap<String, FailureConfig>,
    /// Calls that are not made, by the name of the rule that forbids them.
    #[serde(default)]
    pub deny: BTreeMap<String, DenyConfig>,
    /// What a result that says nothing is: `ok`, or a failure, where something is always due.
    #[serde(default)]
    pub empty: EmptyConfig,
    /// How long one try may take, in milliseconds.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_ms: Option<u64>,
    /// How often and how soon a failed try is repeated, where that is safe.
    #[serde(default)]
    pub retry: Option<RetryConfig>,
    /// A result above this is kept aside; the model sees its head, its tail and a handle.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub result_bytes_max: Option<u64>,
    /// Whether calls may run beside other calls of the same turn. Reads always may.
    #[serde(default)]
    pub parallel: Option<bool>,
    /// What of a result goes into the run's ledger, so that no summary loses it.
    #[serde(default)]
    pub records: Vec<RecordConfig>,
    /// What its arguments decide, by their names: `content`, `closed`, `money`, `destructive_id` or
    /// `identity`, which an argument is that is not named here.
    #[serde(default)]
    pub arguments: BTreeMap<String, ArgumentConfig>,
    /// Who can have written what it returns: `untrusted` if anybody, `trusted` if nobody from outside.
    #[serde(default)]
    pub returns: Option<ReturnsConfig>,
    /// Those who may see what it returns; everybody when it is left out.
    #[serde(default)]
    pub readers: Option<Vec<String>>,
    /// Who sees what a call says: names, or `=args.recipients` for what the call names. Nobody knows when
    /// it is left out.
    #[serde(default)]
    pub audience: Option<Vec<TemplateText>>,
    /// Places of a structured result that hold the id of what the call has made, such as `event.id`.
    #[serde(default)]
    pub creates: Vec<String>,
    /// Whether the arguments of a read leave the machine, so that it could carry something out.
    #[serde(default)]
    pub leaves: bool,
    /// How many people must say yes when a call is asked about.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub people: Option<u32>,
    /// Findings of `prusik lint` that are accepted for this tool: the rule's id, and the reason.
    #[serde(default)]
    pub allow: BTreeMap<String, String>,
    /// Calls that `prusik certify` may try the tool with. A run never makes them.
    #[serde(default)]
    pub examples: Vec<ExampleConfig>,
}

/// What of a result goes into the run's ledger.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordConfig {
    /// What the entry is.
    pub kind: KindConfig,
    /// CEL over `args` and `result`: the entry's text.
    pub text: ExprText,
    /// CEL over the same: whether there is something to record. There always is when it is left out.
    #[serde(default)]
    pub when: Option<ExprText>,
}

/// What an entry of the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindConfig {
    /// What is to be reached.
    Goal,
    /// What must or must not be done on the way.
    Constraint,
    /// What was decided.
    Decision,
    /// What is known.
    Fact,
    /// What is not known yet.
    Question,
    /// Where something is.
    Artefact,
}

/// A call that a tool may be tried with.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExampleConfig {
    /// Its arguments, without the key. Text that starts with `=` is CEL over `after`, the list of
    /// what the calls of `after` returned; `==` at the start stands for one `=`.
    #[serde(default)]
    pub arguments: BTreeMap<String, TemplateText>,
    /// The declared failure that it must be reported as. The call succeeds when it is left out.
    #[serde(default)]
    pub fails: Option<String>,
    /// Calls that are made first, in this order, and succeed.
    #[serde(default)]
    pub after: Vec<SetupConfig>,
}

/// A call that is made before another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupConfig {
    /// The tool to call.
    pub tool: String,
    /// Its arguments, in the same way.
    #[serde(default)]
    pub arguments: BTreeMap<String, TemplateText>,
}

/// Calls that take together or not at all.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The tools whose calls belong to the group. None of them is a read, and none is in another
    /// group.
    pub tools: Vec<String>,
}

/// How the key of an `idempotent` call reaches the tool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyConfig {
    /// In this argument, which the model neither sees nor fills.
    Argument(String),
    /// In this field of the MCP request's `_meta`.
    Meta(String),
    /// Nowhere: the same arguments are the same call.
    Call,
}

/// The read that tells whether a call landed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// The tool to ask; its own contract says `effect: read`.
    pub tool: String,
    /// Its arguments. Text that starts with `=` is CEL over `args` (the call's arguments) and
    /// `key`; `==` at the start stands for one `=`.
    #[serde(default)]
    pub arguments: BTreeMap<String, TemplateText>,
    /// CEL over `result` (what the probe returned), `args` and `key`: true if the call landed.
    pub landed: ExprText,
    /// CEL over the same: what the call would have returned. The probe's own result when it is
    /// left out.
    #[serde(default)]
    pub result: Option<ExprText>,
    /// How long to wait before asking, in milliseconds: as long as a call that was on the wire
    /// when its answer was lost may still take to land.
    /// The call's own `timeout_ms` when it is left out. Zero is right only where a call cannot
    /// land any more once its answer is lost.
    #[serde(default)]
    pub wait_ms: Option<u64>,
}

/// The call that reverses another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoConfig {
    /// The tool to call.
    pub tool: String,
    /// Its arguments. Text that starts with `=` is CEL over `args` and `result` of the call.
    #[serde(default)]
    pub arguments: BTreeMap<String, TemplateText>,
}

/// A kind of failure that a tool may report.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailureConfig {
    /// Whether the same call may succeed later.
    #[serde(default)]
    pub retry: bool,
    /// What the model is told to do about it.
    #[serde(default)]
    pub tell: Option<String>,
    /// A text that the tool's error message holds when it means this kind; the kind's own name
    /// when it is left out.
    #[serde(default)]
    pub matches: Option<String>,
    /// CEL over `reply` that is true when the tool means this kind, instead of `matches`. `reply` has
    /// `is_error`, `message`, `code` (of JSON-RPC or HTTP, or null) and `value` (the structured part,
    /// or null), so that a failure can be found in what the tool takes for a success.
    #[serde(default)]
    pub when: Option<ExprText>,
}

/// A rule that forbids calls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DenyConfig {
    /// CEL over `args`: true for a call that must not be made. A call of which it cannot be said,
    /// because an argument is missing, is not made either.
    pub when: ExprText,
    /// What the model is told, such as what it can do instead.
    #[serde(default)]
    pub tell: Option<String>,
}

/// What a result that says nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmptyConfig {
    /// A success.
    #[default]
    Ok,
    /// A failure.
    Error,
}

/// What becomes of a run that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailureConfig {
    /// It has failed, and what it did stays.
    #[default]
    Leave,
    /// It waits for a person, who puts it back to work, undoes it or ends it.
    Park,
    /// What it did is undone, newest first, as far as the contracts say how.
    Compensate,
}

/// How often and how soon a failed try is repeated: exponentially, with jitter.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryConfig {
    /// Tries in all; 1 means no retry. One that a crash has cut off does not count.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub attempts_max: Option<u32>,
    /// The ceiling of the first wait, in milliseconds.
    #[serde(default)]
    pub backoff_ms: Option<u64>,
    /// The ceiling of every wait, in milliseconds.
    #[serde(default)]
    pub backoff_ms_max: Option<u64>,
    /// No try begins later than this after the first one began, in milliseconds.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
}

/// The ceilings of a run. One that is left out does not bind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Calls of the model.
    #[serde(default)]
    pub turns: Option<u64>,
    /// Input and output tokens together, cached ones included.
    #[serde(default)]
    pub tokens: Option<u64>,
    /// Money, in USD.
    #[serde(default)]
    pub usd: Option<Usd>,
    /// Time in which the run is at work, such as `30m` or `1h30m`. Parked time does not count.
    #[serde(default)]
    pub wall: Option<Wall>,
    /// Calls of tools.
    #[serde(default)]
    pub tool_calls: Option<u64>,
}

/// An agent: the front matter of `agents/NAME.md`. The text below it is the system prompt.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "The front matter of an agent")]
pub struct AgentFile {
    /// The agent's name; the file's when it is left out.
    #[serde(default)]
    pub name: Option<String>,
    /// What the agent is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The tools that the agent holds, as a list or separated by commas: names, or patterns such
    /// as `bank__*`. Others do not exist for it; without this line it holds none.
    #[serde(default)]
    pub tools: Patterns,
    /// The alias of a model in `prusik.yaml`.
    #[serde(default)]
    pub model: Option<String>,
    /// JSON Schema of the task's input, or the path of a file with it.
    #[serde(default)]
    pub input: Option<SchemaText>,
    /// JSON Schema that the final answer must fit, or the path of a file with it.
    #[serde(default)]
    pub output: Option<SchemaText>,
    /// The ceilings of a run of this agent; those left out are the project's.
    #[serde(default)]
    pub budget: BudgetConfig,
    /// The same as `budget: { turns: … }`.
    #[serde(default)]
    pub max_turns: Option<u64>,
    /// Bounds of the agent's behaviour that are not money or time.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What becomes of a run that fails: `leave`, `park` or `compensate`.
    #[serde(default)]
    pub on_failure: OnFailureConfig,
    /// How the context is kept within the model's window.
    #[serde(default)]
    pub context: ContextConfig,
    /// What the model must never forget, whatever is summarized: entries such as
    /// `- constraint: Never pay an invoice twice.`
    #[serde(default)]
    pub ledger: Vec<EntryConfig>,
    /// What calls are held to once something from outside has been read. `off` holds them to nothing.
    #[serde(default)]
    pub containment: ContainmentSetting,
}

/// How the context is kept within the model's window. Shares are of what the window has beside the
/// reserve.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextConfig {
    /// How much of the model's window is used, in tokens: all of it when it is left out.
    #[serde(default)]
    #[schemars(range(min = 2000))]
    pub window_tokens: Option<u64>,
    /// What is kept free for the answer, in tokens: the model's `max_tokens`, and a quarter of the
    /// window at most, when it is left out.
    #[serde(default)]
    pub reserve_tokens: Option<u64>,
    /// A prompt that takes more than this share is made smaller.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub compact_at_percent: Option<u8>,
    /// What it is made smaller to, if that is possible.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub target_percent: Option<u8>,
    /// The newest turns stay as they are up to this share.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub keep_percent: Option<u8>,
    /// Most bytes that the entries of the ledger have together; by the window when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub ledger_bytes_max: Option<u64>,
    /// Longest summary, in bytes; by the window when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub summary_bytes_max: Option<u64>,
    /// The alias of the model that writes summaries; the agent's own when it is left out. Its window
    /// must be as large.
    #[serde(default)]
    pub summary_model: Option<String>,
    /// Whether the model may record entries itself, with the tool `record`; `true` when it is left out.
    #[serde(default)]
    pub record: Option<bool>,
}

/// An entry of the ledger: what it is, with its text, and what belongs to it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryConfig {
    /// What is to be reached.
    #[serde(default)]
    pub goal: Option<String>,
    /// What must or must not be done on the way.
    #[serde(default)]
    pub constraint: Option<String>,
    /// What was decided.
    #[serde(default)]
    pub decision: Option<String>,
    /// What is known.
    #[serde(default)]
    pub fact: Option<String>,
    /// What is not known yet.
    #[serde(default)]
    pub question: Option<String>,
    /// Where something is.
    #[serde(default)]
    pub artefact: Option<String>,
    /// Why it was decided so.
    #[serde(default)]
    pub reason: Option<String>,
    /// What was decided against.
    #[serde(default)]
    pub rejected: Vec<String>,
    /// Where it is known from.
    #[serde(default)]
    pub source: Option<String>,
}

/// Bounds of an agent's behaviour that are not money or time.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// The same call with the same result this many times is pointed out to the model, and twice
    /// this many times parks the run.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub repeats_max: Option<u32>,
    /// Answers cut at the token limit that are continued in a row before the run fails.
    #[serde(default)]
    pub continues_max: Option<u32>,
    /// Final answers that do not fit `output` and are sent back before the run fails.
    #[serde(default)]
    pub repairs_max: Option<u32>,
    /// Turns in a row without a single well-formed call before the run fails.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub malformed_turns_max: Option<u32>,
}
