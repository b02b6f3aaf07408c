//! An agent that is put together in code: what a project writes into `agents/*.md` and `prusik.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prusik_core::agent::{self, Containment, ContextPolicy, Group, Limits, OnFailure};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::ledger::Note;
use prusik_core::schema::check_schema;
use prusik_tool::sandbox::{Confinement, Grounds, STEERING, Sandbox, SandboxPolicy};
use prusik_tool::{Builtins, ShellPolicy, Tool};
use schemars::JsonSchema;
use serde_json::Value;

use super::error::Error;
use super::model::Model;
use super::server::McpServer;
use super::tool::{RustTool, schema_of};
use super::workshop::{Home, OwnTool, Workshop};
use crate::project::{ToolFacts, hold, is_agent_name, pattern_matches, suggestion};
use crate::terms::{
    mistaken_for_context, mistaken_for_groups, mistaken_ledger, mistaken_names, mistaken_policy,
    mistaken_terms,
};

/// An agent: its prompt, its model and the tools that it holds, with their contracts.
///
/// Made with [`Agent::builder`]; a [`crate::Prusik`] drives its runs.
#[derive(Clone)]
pub struct Agent {
    parts: Arc<Parts>,
}

pub(crate) struct Parts {
    said: Said,
    model: Model,
    summarizer: Option<Model>,
    context: ContextPolicy,
    own: Vec<OwnTool>,
    /// Those of `own` that the model is not shown.
    hidden: BTreeSet<String>,
}

/// What is said of an agent beside its model and the tools of the program.
#[derive(Clone, Default)]
struct Said {
    name: String,
    prompt: String,
    servers: Vec<McpServer>,
    files: Option<PathBuf>,
    shell: Option<OwnShell>,
    patterns: Vec<String>,
    contracts: BTreeMap<String, Contract>,
    output: Option<Value>,
    budget: Budget,
    limits: Limits,
    on_failure: OnFailure,
    containment: Contained,
    groups: Vec<Group>,
    ledger: Vec<Note>,
}

/// What calls are held to once something from outside was read.
#[derive(Debug, Clone, Copy)]
enum Contained {
    By(Containment),
    ByNothing,
}

impl Default for Contained {
    fn default() -> Self {
        Self::By(Containment::default())
    }
}

/// How the shell of a program's agent runs.
#[derive(Debug, Clone)]
enum OwnShell {
    Within(SandboxPolicy),
    Unconfined,
}

/// Returns what shell commands in `folder` run in.
fn sandbox(folder: &Path, home: Option<&Home>, policy: SandboxPolicy) -> Sandbox {
    let own = folder.join(".prusik");
    let mut hidden = home.map_or_else(Vec::new, Home::hidden);
    hidden.push(own.clone());
    let grounds = Grounds {
        folder: folder.to_owned(),
        writable: vec![folder.to_owned()],
        readable: Vec::new(),
        protected: vec![own],
        hidden,
    };
    Sandbox::new(Confinement::of_this_machine(), grounds, policy)
}

/// Changes how a context is kept.
type ChangeContext = Arc<dyn Fn(&mut ContextPolicy) + Send + Sync>;

/// Why an agent does not hold together: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(agent, problems))]
pub struct AgentError {
    pub agent: String,
    pub problems: Vec<String>,
}

fn lines(agent: &str, problems: &[String]) -> String {
    let lines = problems.iter().map(|problem| format!("agent `{agent}`: {problem}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Collects what an agent is made of.
#[derive(Clone)]
#[must_use = "an agent is made by `build`"]
pub struct AgentBuilder {
    said: Said,
    model: Option<Model>,
    summarizer: Option<Model>,
    context: Option<ChangeContext>,
    tools: Vec<Given>,
}

#[derive(Clone)]
struct Given {
    tool: GivenTool,
    shown: bool,
}

#[derive(Clone)]
enum GivenTool {
    Rust(RustTool),
    Own(OwnTool),
}

impl Agent {
    /// Begins an agent. It needs a name, a prompt and a model.
    pub fn builder(name: impl Into<String>) -> AgentBuilder {
        let said = Said { name: name.into(), ..Said::default() };
        AgentBuilder { said, model: None, summarizer: None, context: None, tools: Vec::new() }
    }

    /// Returns the agent's name.
    pub fn name(&self) -> &str {
        &self.parts.said.name
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }
}

impl AgentBuilder {
    /// Sets the system prompt: what the agent is to do.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.said.prompt = prompt.into();
        self
    }

    /// Sets the model.
    pub fn model(mut self, model: Model) -> Self {
        self.model = Some(model);
        self
    }

    /// Adds a tool that the model may call.
    pub fn tool(self, tool: RustTool) -> Self {
        self.given(GivenTool::Rust(tool), true)
    }

    /// Adds a tool that only probes and undos call: the model does not see it.
    pub fn hidden_tool(self, tool: RustTool) -> Self {
        self.given(GivenTool::Rust(tool), false)
    }

    /// Adds a tool that implements the trait itself, with its contract.
    pub fn own_tool(self, tool: Arc<dyn Tool>, contract: Contract) -> Self {
        self.given(GivenTool::Own(OwnTool { tool, contract }), true)
    }

    fn given(mut self, tool: GivenTool, shown: bool) -> Self {
        self.tools.push(Given { tool, shown });
        self
    }

    /// Adds an MCP server. Which of its tools the agent holds is said by [`AgentBuilder::hold`], what
    /// they do by [`AgentBuilder::contract`].
    pub fn server(mut self, server: McpServer) -> Self {
        self.said.servers.push(server);
        self
    }

    /// Offers the built-in file tools (`read`, `write`, `edit`, `list`, `glob`, `grep`), confined to
    /// this folder. Which of them the agent holds is said by [`AgentBuilder::hold`].
    pub fn files(mut self, folder: impl Into<PathBuf>) -> Self {
        self.said.files = Some(folder.into());
        self
    }

    /// Offers the built-in `shell` beside the file tools. Its commands run in a sandbox, in which the folder can
    /// be written, the system read, and all else, the network too, is not there. The program `prusik`
    /// does the confining: it is looked for beside this program and on the `PATH`, or where `PRUSIK_HELPER`
    /// says. Without it, and where a machine cannot confine, the tool refuses to run.
    pub fn shell(self) -> Self {
        self.shell_within(SandboxPolicy::default())
    }

    /// Does as [`AgentBuilder::shell`], with other limits and a network of the domains that are named.
    pub fn shell_within(mut self, policy: SandboxPolicy) -> Self {
        self.said.shell = Some(OwnShell::Within(policy));
        self
    }

    /// Offers the built-in `shell` beside the file tools. It runs with all rights of this process.
    pub fn unconfined_shell(mut self) -> Self {
        self.said.shell = Some(OwnShell::Unconfined);
        self
    }

    /// Gives the agent tools of its servers, or built-in ones: a name, or a pattern with `*` and `?`.
    pub fn hold(mut self, pattern: impl Into<String>) -> Self {
        self.said.patterns.push(pattern.into());
        self
    }

    /// Declares the contract of a server's or a built-in tool. Without one, a server's tool gets the
    /// strictest reading: a write that nobody can ask about.
    pub fn contract(mut self, tool: impl Into<String>, contract: Contract) -> Self {
        self.said.contracts.insert(tool.into(), contract);
        self
    }

    /// Lets calls of these tools take together or not at all. Those that can be undone are made at once;
    /// those that cannot wait until the model commits the group.
    pub fn group<T: Into<String>>(
        mut self,
        name: impl Into<String>,
        tools: impl IntoIterator<Item = T>,
    ) -> Self {
        let tools = tools.into_iter().map(Into::into).collect();
        self.said.groups.push(Group { name: name.into(), tools });
        self
    }

    /// Wants the final answer to be one JSON value of this type; read it with
    /// [`crate::Standing::output`].
    pub fn output<T: JsonSchema>(mut self) -> Self {
        self.said.output = Some(schema_of::<T>());
        self
    }

    /// Sets the ceilings of each run.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.said.budget = budget;
        self
    }

    /// Sets the bounds on what is neither money nor time.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.said.limits = limits;
        self
    }

    /// Sets how calls are held to what was planned, or is known from trusted texts, once the model has read
    /// something that an outsider could have written.
    pub fn contained(mut self, containment: Containment) -> Self {
        self.said.containment = Contained::By(containment);
        self
    }

    /// Holds calls to nothing, whatever the model has read.
    pub fn uncontained(mut self) -> Self {
        self.said.containment = Contained::ByNothing;
        self
    }

    /// Sets what becomes of a run that fails: it stays as it is, waits for a person, or is undone.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.said.on_failure = on_failure;
        self
    }

    /// Changes how the context is kept within the model's window:
    /// `.context(|context| context.compact_at_percent = 60)`.
    pub fn context(mut self, change: impl Fn(&mut ContextPolicy) + Send + Sync + 'static) -> Self {
        self.context = Some(Arc::new(change));
        self
    }

    /// Lets another model write the summaries that stand for old turns. It must take in as much as the
    /// agent's own.
    pub fn summary_model(mut self, model: Model) -> Self {
        self.summarizer = Some(model);
        self
    }

    /// Adds an entry to what each run's ledger begins with: what the model must never forget, whatever is
    /// summarized.
    pub fn ledger(mut self, entry: Note) -> Self {
        self.said.ledger.push(entry);
        self
    }

    /// Checks all that can be checked without starting a server.
    pub fn build(self) -> Result<Agent, AgentError> {
        let mut problems = self.problems();
        let (mut own, mut hidden) = (Vec::new(), BTreeSet::new());
        for Given { tool, shown } in self.tools {
            let tool = match tool {
                GivenTool::Own(tool) => Ok(tool),
                GivenTool::Rust(tool) => OwnTool::of(&tool),
            };
            match tool {
                Ok(tool) => {
                    if !shown {
                        hidden.insert(tool.name().to_owned());
                    }
                    if own.iter().any(|other: &OwnTool| other.name() == tool.name()) {
                        problems.push(format!("two of its tools are called `{}`", tool.name()));
                    }
                    own.push(tool);
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        let declared = self.said.contracts.iter().map(|(name, contract)| (name.as_str(), contract));
        let given = own.iter().map(|own| (own.name(), &own.contract));
        for (name, contract) in declared.chain(given) {
            problems.extend(mistaken_terms(contract).iter().map(|mistake| mistake.told(name)));
        }
        problems.extend(mistaken_for_context(own.iter().map(OwnTool::name)));
        let context = self.model.as_ref().map(|model| {
            let summarizer = self.summarizer.as_ref();
            context_policy(model, summarizer, self.context.as_ref())
        });
        if let Some(context) = &context {
            problems.extend(mistaken_context(context, self.summarizer.as_ref(), &self.said.ledger));
        }
        let agent = self.said.name.clone();
        let made = self.model.zip(context).filter(|_| problems.is_empty());
        let Some((model, context)) = made else {
            return Err(AgentError { agent, problems });
        };
        let (said, summarizer) = (self.said, self.summarizer);
        let parts = Parts { said, model, summarizer, context, own, hidden };
        if parts.needs_nobody() {
            let facts: Vec<ToolFacts> = parts.own.iter().map(OwnTool::facts).collect();
            parts.definition(&facts)?;
        }
        Ok(Agent { parts: Arc::new(parts) })
    }

    /// Returns what is wrong with all but the tools.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_agent_name(&self.said.name) {
            problems.push("its name has up to 64 letters, digits, `-`, `_` and `.`".to_owned());
        }
        if self.said.prompt.trim().is_empty() {
            problems.push("say what it is to do: `.prompt(\"…\")`".to_owned());
        }
        if let Some(Err(problem)) = self.said.output.as_ref().map(check_schema) {
            problems.push(format!("the schema of its output is not valid: {problem}"));
        }
        if self.said.shell.is_some() && self.said.files.is_none() {
            problems.push("the shell works in a folder: name it, `.files(\"…\")`".to_owned());
        }
        match &self.model {
            None => problems
                .push("say which model it asks: `.model(Model::anthropic(\"…\"))`".to_owned()),
            Some(model) if self.said.budget.nano_usd.is_some() && model.spec.price.is_none() => {
                problems.push(format!(
                    "its budget is in USD, and the price of `{}` is not known: `Model::price` sets it",
                    model.spec.model
                ));
            }
            Some(_) => {}
        }
        problems
    }
}

impl Parts {
    /// Returns whether all of its tools are known before anything is started.
    fn needs_nobody(&self) -> bool {
        self.said.servers.is_empty() && self.said.files.is_none()
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the model that writes summaries, if it is another.
    pub(crate) fn summarizer(&self) -> Option<&Model> {
        self.summarizer.as_ref()
    }

    pub(crate) fn server_names(&self) -> impl Iterator<Item = String> {
        self.said.servers.iter().map(|server| server.name().to_owned())
    }

    pub(crate) fn own(&self) -> &[OwnTool] {
        &self.own
    }

    /// Returns the agent's tools, none of them started. `home` is where a store's runs keep theirs.
    pub(crate) fn workshop(&self, home: Option<&Home>) -> Result<Workshop, Error> {
        let builtins = match &self.said.files {
            None => None,
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| {
                    let folder = folder.display();
                    Error::Misuse(format!("the folder {folder} cannot be made: {error}"))
                })?;
                let own = folder.join(".prusik");
                let steering = STEERING.map(|name| folder.join(name));
                Some(Builtins {
                    workspace: folder.clone(),
                    protected: steering.into_iter().chain([own.clone()]).collect(),
                    hidden: home.map_or_else(|| vec![own.clone()], Home::hidden),
                    state: home.map_or_else(|| own.join("edits"), Home::edits),
                    shell: match &self.said.shell {
                        None => ShellPolicy::Absent,
                        Some(OwnShell::Unconfined) => ShellPolicy::Unconfined,
                        Some(OwnShell::Within(policy)) => {
                            ShellPolicy::Confined(sandbox(folder, home, policy.clone()))
                        }
                    },
                    children: home.map(Home::children).transpose()?,
                })
            }
        };
        let servers = self.said.servers.iter().map(|server| server.config(home));
        Ok(Workshop {
            builtins,
            servers: servers.collect::<Result<_, _>>()?,
            own: self.own.clone(),
        })
    }

    /// Returns the definition of the agent as a run keeps it. `tools` are all that it could hold.
    pub(crate) fn definition(&self, tools: &[ToolFacts]) -> Result<agent::Agent, AgentError> {
        let mut problems = Vec::new();
        let known: BTreeMap<&str, &ToolFacts> =
            tools.iter().map(|tool| (tool.name.as_str(), tool)).collect();
        let contract = |name: &str| {
            let declared = self.said.contracts.get(name).cloned();
            let own = || known.get(name).and_then(|facts| facts.contract.clone());
            declared.or_else(own).unwrap_or_else(|| Contract::of(EffectClass::Write))
        };
        for pattern in &self.said.patterns {
            if !known.keys().any(|name| pattern_matches(pattern, name)) {
                let help = suggestion(pattern, "tools", known.keys().copied());
                problems.push(format!("no tool is called `{pattern}`: {help}"));
            }
        }
        for name in self.said.contracts.keys().filter(|name| !known.contains_key(name.as_str())) {
            let help = suggestion(name, "tools", known.keys().copied());
            problems.push(format!("`{name}` has a contract, and there is no such tool: {help}"));
        }
        let own = |name: &str| self.own.iter().any(|own| own.name() == name);
        let shown = known.keys().copied().filter(|name| {
            (own(name) && !self.hidden.contains(*name))
                || self.said.patterns.iter().any(|pattern| pattern_matches(pattern, name))
        });
        let missing = |of: &str, key: &str, tool: &str| {
            let help = suggestion(tool, "tools", known.keys().copied());
            problems.push(format!(
                "the {key} of `{of}` is `{tool}`, and there is no such tool: {help}"
            ));
        };
        let held = hold(known.keys().copied(), shown, contract, missing);
        let tools: Vec<agent::Tool> = held
            .into_iter()
            .map(|(name, shown)| agent::Tool {
                name: name.to_owned(),
                description: known[name].description.clone(),
                input_schema: known[name].input_schema.clone(),
                output_schema: known[name].output_schema.clone(),
                contract: contract(name),
                shown,
            })
            .collect();
        for tool in &tools {
            if let Err(problem) = check_schema(&tool.input_schema) {
                problems
                    .push(format!("the input schema of `{}` is not valid: {problem}", tool.name));
            }
            let output = tool.output_schema.as_ref().map(check_schema);
            if let Some(Err(problem)) = output {
                problems
                    .push(format!("the output schema of `{}` is not valid: {problem}", tool.name));
            }
        }
        for tool in &tools {
            let mistakes = mistaken_names(&tool.name, &tool.input_schema, &tool.contract);
            problems.extend(mistakes.iter().map(|mistake| mistake.told(&tool.name)));
        }
        if !self.said.groups.is_empty() {
            problems.extend(mistaken_for_groups(tools.iter().map(|tool| tool.name.as_str())));
        }
        problems.extend(mistaken_calls(&tools, |_| true));
        problems.extend(mistaken_groups(&self.said.groups, &tools));
        if !problems.is_empty() {
            return Err(AgentError { agent: self.said.name.clone(), problems });
        }
        Ok(agent::Agent {
            containment: match self.said.containment {
                Contained::By(containment) => Some(containment),
                Contained::ByNothing => None,
            },
            name: self.said.name.clone(),
            system: self.said.prompt.clone(),
            model: self.model.spec.clone(),
            tools,
            budget: self.said.budget,
            output: self.said.output.clone(),
            limits: self.said.limits,
            on_failure: self.said.on_failure,
            groups: self.said.groups.clone(),
            context: Some(self.context.clone()),
            ledger: self.said.ledger.clone(),
        })
    }
}

/// Returns how the context of an agent is kept.
fn context_policy(
    model: &Model,
    summarizer: Option<&Model>,
    change: Option<&ChangeContext>,
) -> ContextPolicy {
    let of_window = |tokens| ContextPolicy::of_window(tokens, model.spec.max_tokens);
    let mut policy = of_window(model.window());
    if let Some(change) = change {
        change(&mut policy);
        // All else that is not said depends on the window.
        policy = of_window(policy.window_tokens);
        change(&mut policy);
    }
    policy.summary_model = summarizer.map(|model| model.spec.clone());
    policy
}

/// Returns what is wrong with how the context is to be kept, and with what the ledger begins with.
fn mistaken_context(
    policy: &ContextPolicy,
    summarizer: Option<&Model>,
    ledger: &[Note],
) -> Vec<String> {
    let policies = mistaken_policy(policy).into_iter();
    let policies =
        policies.map(|mistake| format!("its context: {}: {}", mistake.message, mistake.help));
    let entries = mistaken_ledger(ledger, policy.ledger_bytes_max).into_iter();
    let entries = entries.map(|(index, message, help)| {
        format!("entry {} of its ledger: {message}: {help}", index + 1)
    });
    let small = summarizer.filter(|model| model.window() < policy.window_tokens).map(|model| {
        format!(
            "the model `{}` takes {} tokens, and what it is to summarize may have {}: choose another, or \
             set `Model::window_tokens`",
            model.spec.model,
            model.window(),
            policy.window_tokens
        )
    });
    policies.chain(entries).chain(small).collect()
}

/// Returns what is wrong with groups of tools.
fn mistaken_groups(groups: &[Group], tools: &[agent::Tool]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for Group { name, tools: held } in groups {
        for tool in held {
            match tools.iter().find(|known| known.name == *tool && known.shown) {
                None => {
                    let shown = tools.iter().filter(|tool| tool.shown).map(|tool| tool.name.as_str());
                    let help = suggestion(tool, "tools", shown.collect::<Vec<_>>());
                    problems.push(format!("the group `{name}` has no tool `{tool}`: {help}"));
                }
                Some(known) if known.contract.effect == EffectClass::Read => problems.push(format!(
                    "`{tool}` is a read, so there is nothing to take back: leave it out of the group \
                     `{name}`"
                )),
                Some(_) => {}
            }
            if let Some(other) = taken.insert(tool, name) {
                problems.push(format!(
                    "`{tool}` stands in the groups `{other}` and `{name}`: a call belongs to one at most"
                ));
            }
        }
    }
    problems
}

/// Returns what is wrong with the probes and undos that the contracts of these tools name.
pub(crate) fn mistaken_calls(tools: &[agent::Tool], of: impl Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    for tool in tools.iter().filter(|tool| of(&tool.name)) {
        let probe = tool.contract.probe.as_ref();
        let undo = tool.contract.undo.as_ref();
        let probe = probe.map(|probe| ("probe", &probe.tool, &probe.arguments));
        let undo = undo.map(|undo| ("undo", &undo.tool, &undo.arguments));
        for (key, called, arguments) in probe.into_iter().chain(undo) {
            // One that does not exist was reported.
            let Some(called) = tools.iter().find(|tool| tool.name == *called) else { continue };
            if key == "probe" && called.contract.effect != EffectClass::Read {
                let effect = called.contract.effect.as_str();
                problems.push(format!(
                    "the probe of `{}` is `{}`, which is declared {effect}: a probe is a read",
                    tool.name, called.name
                ));
            }
            problems.extend(mistaken_arguments(&tool.name, key, called, arguments));
        }
    }
    problems
}

fn mistaken_arguments(
    of: &str,
    key: &str,
    called: &agent::Tool,
    arguments: &BTreeMap<String, Value>,
) -> Vec<String> {
    // The runtime fills the key itself.
    let schema = called.declaration().input_schema;
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let closed = schema["additionalProperties"] == Value::Bool(false);
    let unknown = arguments.keys().filter(|name| closed && !properties.contains_key(*name));
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let left_out = required.filter(|name| !arguments.contains_key(*name));
    let (called, mut problems) = (&called.name, Vec::new());
    for name in unknown {
        let help = suggestion(name, "arguments", properties.keys().map(String::as_str));
        problems.push(format!("the {key} of `{of}` gives `{called}` an argument `{name}`: {help}"));
    }
    for name in left_out {
        problems.push(format!(
            "the {key} of `{of}` does not give `{called}` its argument `{name}`: add it to `arguments`"
        ));
    }
    problems
}
