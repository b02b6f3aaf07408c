//! From a project to what a run is driven with: its model, its tools, its agent's definition.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prusik_core::agent::Agent;
use prusik_engine::World;
use prusik_model::{CassetteMode, MaxTokensField, ModelConfig as Connection};
use prusik_tool::sandbox::{Confinement, Grounds, Protection, STEERING, Sandbox};
use prusik_tool::{
    BreakerPolicy, Builtins, Children, ServerConfig, ServerLimits, ShellPolicy, ToolInfo, Toolbox,
    Transport as Wire, builtin_contract,
};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::cli::text::within_line;
use crate::library::{
    Asks, Connected, Error, Home, Models, OwnTool, Tell, Tools, Workshop, facts as facts_with,
    world,
};
use crate::project::config::{self, ModelConfig, Provider, SandboxConfig};
use crate::project::lock::{LOCK_FILE, Lock, Said};
use crate::project::values::{SecretRef, Template};
use crate::project::{
    self, ListedTool, Project, ProjectError, ProjectErrors, SHELL_TOOL, Server, Shell, ToolFacts,
};

/// Files and folders that steer the project: an agent that may write into the project's own folder
/// still cannot change what it may do.
const PROTECTED: [&str; 10] = [
    "prusik.yaml",
    "prusik.lock",
    "agents",
    "graphs",
    "protocols",
    "policy",
    "scripts",
    ".prusik",
    ".mcp.json",
    ".git",
];
/// The command that stands for this very binary, so that a project's own servers work uninstalled.
pub const SELF_COMMAND: &str = "prusik";

/// What a new run is started and driven with.
pub(crate) struct Assembled {
    pub definition: Agent,
    pub world: World,
    pub tools: Tools,
}

/// Connects what an agent needs for a new run: its model, and every server whose tools it may hold,
/// since their schemas are part of the definition. `own` are tools of the program.
pub(crate) async fn fresh(
    project: &Project,
    own: &[OwnTool],
    agent: Option<&str>,
    tell: Tell<'_>,
) -> Result<Assembled, Error> {
    let entry = project.agent(agent)?;
    let models = connect_models(project, project.model_alias(entry), entry.summary_model())?;
    let servers = project.servers_for(entry).into_iter();
    let Connected { toolbox, .. } = workshop(project, servers, own)?.connect(tell).await?;
    let made = project.agent_definition(agent, &Workshop::facts_of(&toolbox, own));
    let made = made.map_err(Error::from).and_then(|definition| {
        hold_to_lock(project, &definition, toolbox.list())?;
        tell_protection(project, &definition, tell)?;
        Ok(definition)
    });
    assembled(models, toolbox, made).await
}

/// Refuses tools that say something else than when a person last looked: a server may have been replaced,
/// and its description is read by the model as if it were trusted.
fn hold_to_lock(project: &Project, agent: &Agent, tools: Vec<ToolInfo>) -> Result<(), Error> {
    let Some(lock) = Lock::read(project.root()).map_err(ProjectErrors::from)? else {
        return Ok(());
    };
    let of_servers = |tool: &ToolInfo| {
        let server = tool.name.split_once("__").map(|(server, _)| server);
        agent.tool(&tool.name).is_some() && server.is_some_and(|s| project.server(s).is_some())
    };
    let held = tools.into_iter().filter(of_servers).map(|info| listed_tool(info, None));
    let held: Vec<ListedTool> = held.collect();
    let servers = project.servers().map(|server| server.name.as_str());
    let difference = lock.difference(&Lock::of(servers, held.iter().map(Said::from)));
    let added = difference.added.iter().map(|name| format!("`{name}` is not in it"));
    let changed = difference.changed.iter().map(|(name, what)| {
        let said = lock.tools().find(|(locked, _)| locked == name).map(|(_, tool)| tool);
        let now = held.iter().find(|tool| tool.facts.name == *name);
        let shown = |text: Option<&str>| shortened(&within_line(text.unwrap_or_default()));
        format!(
            "`{name}` is not what was locked: {what}\n  - {}\n  + {}",
            shown(said.map(|tool| tool.description.as_str())),
            shown(now.map(|tool| tool.facts.description.as_str())),
        )
    });
    let Some(message) = changed.chain(added).next() else { return Ok(()) };
    let help =
        "read what its server says now (`prusik lock --check`); then `prusik lock` writes it anew";
    Err(ProjectError::of_file(LOCK_FILE, message).with_help(help).into())
}

/// Returns so much of a description as an error has room for.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Puts together what a new run needs, or ends what was started for it.
pub(crate) async fn assembled(
    models: Models,
    toolbox: Toolbox,
    made: Result<Agent, Error>,
) -> Result<Assembled, Error> {
    let made = made.and_then(|definition| {
        let world = world(models, &toolbox, &definition)?;
        Ok((definition, world))
    });
    match made {
        Ok((definition, world)) => Ok(Assembled { definition, world, tools: Tools(toolbox) }),
        Err(error) => {
            toolbox.shutdown().await;
            Err(error)
        }
    }
}

fn workshop<'a>(
    project: &Project,
    servers: impl Iterator<Item = &'a Server>,
    own: &[OwnTool],
) -> Result<Workshop, Error> {
    let children = home(project).children()?;
    let servers = servers.map(|server| server_config(project, server, &children));
    Ok(Workshop {
        builtins: Some(builtins(project, &children)?),
        servers: servers.collect::<Result<_, _>>()?,
        own: own.to_vec(),
    })
}

/// What the tools of a project say of themselves.
pub struct Listed {
    /// Those that no model can be offered are among them.
    pub tools: Vec<ListedTool>,
    /// Set when a server could not be reached; the tools of the others are there.
    pub problem: Option<String>,
}

/// Asks every server of a project for its tools, and ends it again.
pub async fn listed(project: &Project) -> Result<Listed, Error> {
    let toolbox = workshop(project, project.servers(), &[])?.toolbox()?;
    let (left_out, problem) = match toolbox.connect_all(&CancellationToken::new(), &|_| ()).await {
        Ok(left_out) => (left_out, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let offered = toolbox.list().into_iter().map(|info| listed_tool(info, None));
    let left_out = left_out.into_iter().map(|tool| listed_tool(tool.info, Some(tool.reason)));
    let tools = offered.chain(left_out).collect();
    toolbox.shutdown().await;
    Ok(Listed { tools, problem })
}

/// Returns the tools of a project as its lock has them, and the built-in ones. No server is started.
pub fn locked(project: &Project) -> Result<Listed, Error> {
    let lock = Lock::read(project.root()).map_err(ProjectErrors::from)?;
    // Without a server there is nothing that a lock could hold.
    let nothing = || project.servers().next().is_none().then(|| Lock::of([], []));
    let lock = lock.or_else(nothing).ok_or_else(|| {
        let error = ProjectError::of_file(LOCK_FILE, "there is no such file");
        let help = "`prusik lock` asks the servers and writes it";
        Error::from(error.with_help(help))
    })?;
    if let Some(server) = project.servers().find(|s| !lock.servers.contains_key(&s.name)) {
        let message = format!("it does not know the server `{}`", server.name);
        let error = ProjectError::of_file(LOCK_FILE, message);
        let help = "`prusik lock` asks the servers and writes it anew";
        return Err(error.with_help(help).into());
    }
    let toolbox = workshop(project, std::iter::empty(), &[])?.toolbox()?;
    let mut tools: Vec<ListedTool> =
        toolbox.list().into_iter().map(|info| listed_tool(info, None)).collect();
    let own = lock.tools().filter(|(name, _)| {
        name.split_once("__").is_some_and(|(server, _)| project.server(server).is_some())
    });
    tools.extend(own.map(|(name, tool)| ListedTool {
        facts: ToolFacts {
            name,
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            output_schema: tool.output_schema.clone(),
            contract: None,
        },
        hints: tool.annotations.clone(),
        left_out: tool.left_out.clone(),
    }));
    Ok(Listed { tools, problem: None })
}

fn listed_tool(info: ToolInfo, left_out: Option<String>) -> ListedTool {
    let hints = info.hints.clone();
    ListedTool { facts: facts(info), hints, left_out }
}

/// Connects what a run needs to go on. Its tools are those of its definition; a server is started
/// by the first call that needs it.
pub(crate) fn again(
    project: &Project,
    own: &[OwnTool],
    agent: &Agent,
    asks: Asks,
    tell: Tell<'_>,
) -> Result<(World, Tools), Error> {
    let models = match asks {
        Asks::Model => {
            // What is only undone or cancelled runs no commands.
            tell_protection(project, agent, tell)?;
            let summary = agent.context.as_ref().and_then(|policy| policy.summary_model.as_ref());
            let summary = summary.map(|model| model.alias.as_str());
            connect_models(project, &agent.model.alias, summary)?
        }
        Asks::ToolsAlone => Models::none(),
    };
    let toolbox = workshop(project, project.servers(), own)?.known(agent)?;
    let world = world(models, &toolbox, agent)?;
    Ok((world, Tools(toolbox)))
}

pub fn facts(info: ToolInfo) -> ToolFacts {
    let contract = builtin_contract(&info.name);
    facts_with(info, contract)
}

fn builtins(project: &Project, children: &Children) -> Result<Builtins, Error> {
    let workspace = project.workspace();
    std::fs::create_dir_all(&workspace).map_err(|error| {
        Error::Misuse(format!("the workspace {} cannot be made: {error}", workspace.display()))
    })?;
    Ok(Builtins {
        workspace,
        protected: protected(project),
        hidden: hidden(project),
        state: home(project).edits(),
        shell: match project.shell() {
            None => ShellPolicy::Absent,
            Some(Shell::Confined) => ShellPolicy::Confined(shell_sandbox(project)),
            Some(Shell::Unconfined) => ShellPolicy::Unconfined,
        },
        children: Some(children.clone()),
    })
}

/// Returns what shell commands run in.
pub fn shell_sandbox(project: &Project) -> Sandbox {
    let config = project.config().sandbox.clone().unwrap_or_default();
    sandbox(project, &config, project.workspace(), Vec::new())
}

/// Returns what a server's program runs in. It may read the project, where its code is.
fn server_sandbox(project: &Project, config: &SandboxConfig, cwd: &Path) -> Sandbox {
    sandbox(project, config, cwd.to_owned(), vec![project.root().to_owned()])
}

fn sandbox(
    project: &Project,
    config: &SandboxConfig,
    folder: PathBuf,
    mut readable: Vec<PathBuf>,
) -> Sandbox {
    let absolute = |path: &PathBuf| project::sandbox::absolute(project.root(), path);
    let mut writable = vec![project.workspace()];
    writable.extend(config.writable.iter().map(absolute));
    readable.extend(config.readable.iter().map(absolute));
    let mut hidden = hidden(project);
    hidden.push(project.root().join(".env"));
    // All that is ours, what the store makes while a command runs as well.
    let home = home(project).folder();
    let is_ours_alone = |path: &Path| {
        [project.root(), &project.workspace()].iter().all(|other| !other.starts_with(path))
    };
    hidden.extend(Some(home).filter(|home| is_ours_alone(home)));
    let grounds = Grounds { folder, writable, readable, protected: protected(project), hidden };
    let policy = project::sandbox::policy(config);
    Sandbox::new(Confinement::of_this_machine(), grounds, policy)
}

/// What keeps commands of an agent in.
pub struct Guarded {
    /// `shell`, or `server NAME`.
    pub what: String,
    /// None if the project said that nothing shall confine it.
    pub protection: Option<Protection>,
}

impl Guarded {
    pub fn words(&self) -> String {
        let words = self.protection.as_ref().map(Protection::words);
        format!("{}: {}", self.what, words.unwrap_or_else(|| "nothing confines it".to_owned()))
    }
}

/// Returns what is in force where an agent's tools run: its shell, and the servers that ask for a sandbox.
pub fn protections(project: &Project, agent: &Agent) -> Vec<Guarded> {
    let here = || Some(Confinement::of_this_machine().protection().clone());
    let mut guarded = Vec::new();
    if agent.tools.iter().any(|tool| tool.name == SHELL_TOOL) {
        let protection = match project.shell() {
            Some(Shell::Confined) => here(),
            Some(Shell::Unconfined) | None => None,
        };
        guarded.push(Guarded { what: SHELL_TOOL.to_owned(), protection });
    }
    for server in project.servers().filter(|server| server.sandbox.is_some()) {
        let prefix = format!("{}__", server.name);
        if agent.tools.iter().any(|tool| tool.name.starts_with(&prefix)) {
            let what = format!("server {}", server.name);
            guarded.push(Guarded { what, protection: here() });
        }
    }
    guarded
}

/// Says what is in force where an agent's tools run, and fails if its shell could not run.
fn tell_protection(project: &Project, agent: &Agent, tell: Tell<'_>) -> Result<(), Error> {
    let holds_shell = agent.tools.iter().any(|tool| tool.name == SHELL_TOOL);
    if holds_shell && project.shell() == Some(Shell::Confined) {
        shell_sandbox(project).check().map_err(|error| {
            Error::Misuse(format!(
                "the shell of agent `{}`: {error}\n  help: `shell: unconfined` in prusik.yaml runs it with all \
                 your rights",
                agent.name
            ))
        })?;
    }
    for guarded in protections(project, agent) {
        tell(guarded.words());
    }
    Ok(())
}

/// Returns what no file tool may write: the files that steer the project, and those that it names.
fn protected(project: &Project) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = PROTECTED.iter().map(PathBuf::from).collect();
    for model in project.config().models.values() {
        paths.extend(model.script.clone());
        paths.extend(model.cassette.clone());
    }
    let steering = STEERING.map(|name| project.workspace().join(name));
    paths.iter().map(|path| project.root().join(path)).chain(steering).collect()
}

/// Returns what no file tool may even read: the files that hold keys, and our own records.
fn hidden(project: &Project) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for model in project.config().models.values() {
        if let Some(SecretRef::File(path)) = project.key_of(model) {
            paths.push(path);
        }
    }
    for server in project.servers() {
        paths.extend(server.secret_files().into_iter().map(Path::to_owned));
    }
    let mut paths: Vec<PathBuf> = paths.iter().map(|path| project.root().join(path)).collect();
    paths.extend(home(project).hidden());
    paths
}

/// Where Prusik keeps what is its own.
fn home(project: &Project) -> Home {
    Home::of_store(&project.store_path())
}

/// Returns where the processes that are started for a project are written down.
pub fn children(project: &Project) -> Result<Children, Error> {
    home(project).children()
}

/// Ends what killed processes of a project have left running.
pub async fn no_orphans(project: &Project) -> Result<(), Error> {
    home(project).no_orphans().await
}

/// Returns how a server is reached, with what the environment adds to that.
pub fn server_config(
    project: &Project,
    server: &Server,
    children: &Children,
) -> Result<ServerConfig, Error> {
    let env = |name: &str| std::env::var(name).ok();
    let problem = |problem: String| {
        let message = format!("server `{}`: {problem}", server.name);
        Error::from(ProjectError::of_file(&server.file, message))
    };
    let resolve = |template: &Template| template.resolve(project.root(), &env).map_err(problem);
    let plain =
        |template: &Template| resolve(template).map(|secret| secret.expose_secret().to_owned());
    let wire = match &server.transport {
        project::Transport::Stdio { command, args, env, cwd } => {
            let command = plain(command)?;
            let command = if command == SELF_COMMAND {
                let own = std::env::current_exe().map_err(|error| problem(error.to_string()))?;
                own.display().to_string()
            } else {
                command
            };
            Wire::Stdio {
                command,
                args: args.iter().map(plain).collect::<Result<_, _>>()?,
                env: env
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), resolve(value)?)))
                    .collect::<Result<_, Error>>()?,
                cwd: Some(cwd.clone()),
            }
        }
        project::Transport::Http { url, headers } => Wire::Http {
            url: plain(url)?,
            headers: headers
                .iter()
                .map(|(name, value)| Ok((name.clone(), resolve(value)?)))
                .collect::<Result<_, Error>>()?,
        },
        project::Transport::Unsupported { kind } => {
            return Err(problem(format!(
                "its transport `{kind}` is not spoken; use `command` or a streamable HTTP `url`"
            )));
        }
    };
    let mut config = ServerConfig::new(&server.name, wire);
    config.limits =
        ServerLimits { start_timeout_ms: server.start_timeout_ms, ..ServerLimits::default() };
    let config::BreakerConfig { failures_max, cooldown_ms } = server.breaker;
    config.breaker = BreakerPolicy { failures_max, cooldown_ms };
    config.children = Some(children.clone());
    if let (Some(sandbox), project::Transport::Stdio { cwd, .. }) =
        (&server.sandbox, &server.transport)
    {
        config.sandbox = Some(server_sandbox(project, sandbox, cwd));
    }
    config.stderr_log = Some(home(project).log_of(&server.name));
    Ok(config)
}

/// Connects an agent's model, and the one that writes its summaries.
fn connect_models(project: &Project, alias: &str, summary: Option<&str>) -> Result<Models, Error> {
    let model = connect_model(project, alias)?;
    let summarizer = summary.map(|alias| connect_model(project, alias)).transpose()?;
    Ok(Models { model, summarizer })
}

fn connect_model(project: &Project, alias: &str) -> Result<Arc<dyn prusik_model::Model>, Error> {
    connection_of(project, alias)?
        .connect()
        .map_err(|error| Error::from(project.error_at(&["models", alias], error.to_string())))
}

/// Returns how a model of a project is reached.
pub(crate) fn connection_of(project: &Project, alias: &str) -> Result<Connection, Error> {
    let config = project.model(alias).ok_or_else(|| {
        let names: Vec<&str> = project.config().models.keys().map(String::as_str).collect();
        Error::Misuse(format!(
            "prusik.yaml: there is no model `{alias}`; it has {}",
            names.join(", ")
        ))
    })?;
    connection(project, alias, config)
}

fn connection(project: &Project, alias: &str, config: &ModelConfig) -> Result<Connection, Error> {
    let missing = |key: &str| {
        Error::from(project.error_at(&["models", alias], format!("model `{alias}` needs `{key}`")))
    };
    let server = |default: &str| {
        prusik_model::Server::new(
            config.base_url.clone().unwrap_or_else(|| default.to_owned()),
            project.key_of(config).map(|key| match key {
                SecretRef::Env(name) => prusik_model::KeyRef::Env(name),
                SecretRef::File(path) => prusik_model::KeyRef::File(project.root().join(path)),
            }),
        )
    };
    Ok(match config.provider {
        Provider::Anthropic => {
            Connection::Anthropic { server: server("https://api.anthropic.com") }
        }
        Provider::Openai => Connection::OpenAi {
            server: server("https://api.openai.com/v1"),
            max_tokens_field: MaxTokensField::default(),
        },
        Provider::Scripted => {
            let script = config.script.as_ref().ok_or_else(|| missing("script"))?;
            Connection::Scripted { path: project.root().join(script) }
        }
        Provider::Recorded => {
            let cassette = config.cassette.as_ref().ok_or_else(|| missing("cassette"))?;
            let inner = match config.of.as_deref() {
                Some(of) => {
                    let inner = project.model(of).ok_or_else(|| missing("of"))?;
                    Some(Box::new(connection(project, of, inner)?))
                }
                None => None,
            };
            let mode = match config.mode {
                Some(config::CassetteMode::Record) => CassetteMode::Record,
                Some(config::CassetteMode::Replay) | None => CassetteMode::Replay,
            };
            Connection::Recorded { path: project.root().join(cassette), mode, inner }
        }
    })
}
