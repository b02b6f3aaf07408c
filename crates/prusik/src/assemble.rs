//! From a project to what a run is driven with: its model, its tools, its agent's definition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use prusik_core::agent::Agent;
use prusik_core::contract::EffectClass;
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};
use prusik_engine::World;
use prusik_model::{CassetteMode, MaxTokensField, ModelConfig as Connection};
use prusik_tool::{
    Builtins, Children, ServerConfig, ServerLimits, ShellPolicy, ToolInfo, Toolbox,
    Transport as Wire, builtin_contract, end_orphans,
};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::cli::{Stopped, complain};
use crate::fault;
use crate::project::config::{self, ModelConfig, Provider};
use crate::project::lock::{LOCK_FILE, Lock};
use crate::project::values::{SecretRef, Template};
use crate::project::{self, ListedTool, Project, ProjectError, ProjectErrors, Server, ToolFacts};

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
/// The folder where the processes that are started for runs are written down.
const CHILDREN: &str = "children";
/// The command that stands for this very binary, so that a project's own servers work uninstalled.
const SELF_COMMAND: &str = "prusik";

/// What a run needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Model,
    /// It is being undone: no key is needed for that.
    ToolsAlone,
}

/// Stands where nobody asks.
struct NoModel;

#[async_trait]
impl prusik_model::Model for NoModel {
    async fn answer(
        &self,
        _request: &ModelRequest,
        _progress: &mut (dyn FnMut(prusik_model::Delta) + Send),
    ) -> Result<Answer, ModelError> {
        Err(ModelError::new(ModelErrorKind::InvalidRequest, "a run that is undone asks no model"))
    }
}

/// The tools of a run, whose servers end when it does.
pub struct Tools(Toolbox);

impl Tools {
    /// Ends the servers and waits until they are gone.
    pub async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

/// Connects what an agent needs for a new run: its model, and every server whose tools it may hold,
/// since their schemas are part of the definition.
pub async fn fresh(
    project: &Project,
    agent: Option<&str>,
    talk: bool,
) -> Result<(Agent, World, Tools), Stopped> {
    let entry = project.agent(agent)?;
    let model = connect_model(project, project.model_alias(entry))?;
    let servers = project.servers_for(entry);
    let children = children(project)?;
    let mut builder = Toolbox::builder().builtins(builtins(project, &children)?);
    for server in servers {
        builder = builder.server(server_config(project, server, &children)?);
    }
    let toolbox = builder.build().map_err(|error| Stopped::misuse(error.to_string()))?;
    let waiting = |text: String| {
        if talk {
            complain(&text);
        }
    };
    let connected = toolbox.connect_all(&CancellationToken::new(), &waiting).await;
    let left_out = match connected {
        Ok(left_out) => left_out,
        Err(error) => {
            toolbox.shutdown().await;
            return Err(Stopped::unavailable(error.to_string()));
        }
    };
    for tool in left_out.iter().filter(|_| talk) {
        complain(&format!("{}: `{}` is left out: {}", tool.server, tool.tool, tool.reason));
    }
    let facts: Vec<ToolFacts> = toolbox.list().into_iter().map(facts).collect();
    match project.agent_definition(agent, &facts) {
        Ok(definition) => {
            let world = world(model, &toolbox, &definition)?;
            Ok((definition, world, Tools(toolbox)))
        }
        Err(errors) => {
            toolbox.shutdown().await;
            Err(errors.into())
        }
    }
}

/// What the tools of a project say of themselves.
pub struct Listed {
    /// Those that no model can be offered are among them.
    pub tools: Vec<ListedTool>,
    /// Set when a server could not be reached; the tools of the others are there.
    pub problem: Option<String>,
}

/// Asks every server of a project for its tools, and ends it again.
pub async fn listed(project: &Project) -> Result<Listed, Stopped> {
    let children = children(project)?;
    let mut builder = Toolbox::builder().builtins(builtins(project, &children)?);
    for server in project.servers() {
        builder = builder.server(server_config(project, server, &children)?);
    }
    let toolbox = builder.build().map_err(|error| Stopped::misuse(error.to_string()))?;
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
pub fn locked(project: &Project) -> Result<Listed, Stopped> {
    let lock = Lock::read(project.root()).map_err(ProjectErrors::from)?.ok_or_else(|| {
        let error = ProjectError::of_file(LOCK_FILE, "there is no such file");
        let help = "`prusik lock` asks the servers and writes it";
        Stopped::from(ProjectErrors::from(error.with_help(help)))
    })?;
    if let Some(server) = project.servers().find(|s| !lock.servers.contains_key(&s.name)) {
        let message = format!("it does not know the server `{}`", server.name);
        let error = ProjectError::of_file(LOCK_FILE, message);
        let help = "`prusik lock` asks the servers and writes it anew";
        return Err(ProjectErrors::from(error.with_help(help)).into());
    }
    let children = children(project)?;
    let toolbox = Toolbox::builder()
        .builtins(builtins(project, &children)?)
        .build()
        .map_err(|error| Stopped::misuse(error.to_string()))?;
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
///
/// The run's lease is held by now: nobody else starts anything for it. What a dead driver of it left
/// running is ended first, so that no call of it lands after its probe was asked.
pub async fn again(
    project: &Project,
    agent: &Agent,
    asks: Asks,
) -> Result<(World, Tools), Stopped> {
    no_orphans(project).await?;
    let model = match asks {
        Asks::Model => connect_model(project, &agent.model.alias)?,
        Asks::ToolsAlone => Arc::new(NoModel),
    };
    let known = agent.tools.iter().map(|tool| ToolInfo {
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: tool.input_schema.clone(),
        output_schema: tool.output_schema.clone(),
        hints: None,
    });
    let children = children(project)?;
    let mut builder = Toolbox::builder().builtins(builtins(project, &children)?).known(known);
    for server in project.servers() {
        let prefix = format!("{}__", server.name);
        if agent.tools.iter().any(|tool| tool.name.starts_with(&prefix)) {
            builder = builder.server(server_config(project, server, &children)?);
        }
    }
    let toolbox = builder.build().map_err(|error| Stopped::misuse(error.to_string()))?;
    let world = world(model, &toolbox, agent)?;
    Ok((world, Tools(toolbox)))
}

/// Ends what killed processes left running for runs of the project. Whoever says, or lets a probe say,
/// whether a call landed, does this first; the run's lease must be held by then.
pub async fn no_orphans(project: &Project) -> Result<(), Stopped> {
    let folder = state_folder(project).join(CHILDREN);
    let ended = tokio::task::spawn_blocking(move || end_orphans(&folder)).await;
    let ended = ended.map_err(|error| Stopped::unavailable(error.to_string()))?;
    ended.map(|_| ()).map_err(|error| Stopped::unavailable(error.to_string()))
}

fn world(
    model: Arc<dyn prusik_model::Model>,
    toolbox: &Toolbox,
    agent: &Agent,
) -> Result<World, Stopped> {
    let tools: BTreeMap<_, _> = agent
        .tools
        .iter()
        .filter_map(|tool| Some((tool.name.clone(), toolbox.get(&tool.name)?)))
        .collect();
    let is_read =
        |name: &str| agent.tool(name).is_some_and(|tool| tool.contract.effect == EffectClass::Read);
    fault::world(World { model, tools }, is_read)
}

fn facts(info: ToolInfo) -> ToolFacts {
    ToolFacts {
        contract: builtin_contract(&info.name),
        name: info.name,
        description: info.description,
        input_schema: info.input_schema,
        output_schema: info.output_schema,
    }
}

fn builtins(project: &Project, children: &Children) -> Result<Builtins, Stopped> {
    let workspace = project.workspace();
    std::fs::create_dir_all(&workspace).map_err(|error| {
        Stopped::misuse(format!("the workspace {} cannot be made: {error}", workspace.display()))
    })?;
    Ok(Builtins {
        workspace,
        protected: protected(project),
        hidden: hidden(project),
        state: state_folder(project).join("edits"),
        shell: if project.has_unconfined_shell() {
            ShellPolicy::Unconfined
        } else {
            ShellPolicy::Absent
        },
        children: Some(children.clone()),
    })
}

/// Returns what no file tool may write: the files that steer the project, and those that it names.
fn protected(project: &Project) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = PROTECTED.iter().map(PathBuf::from).collect();
    for model in project.config().models.values() {
        paths.extend(model.script.clone());
        paths.extend(model.cassette.clone());
    }
    paths.iter().map(|path| project.root().join(path)).collect()
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
    let store = project.store_path();
    for suffix in ["", "-wal", "-shm"] {
        let mut name = store.clone().into_os_string();
        name.push(suffix);
        paths.push(name.into());
    }
    let state = state_folder(project);
    paths.extend(["owners", "logs", "edits", CHILDREN].map(|name| state.join(name)));
    paths
}

/// The folder of the store, where Prusik keeps what is its own.
fn state_folder(project: &Project) -> PathBuf {
    project.store_path().parent().map_or_else(|| project.root().to_owned(), Path::to_owned)
}

fn children(project: &Project) -> Result<Children, Stopped> {
    let kept = Children::kept_in(&state_folder(project).join(CHILDREN));
    kept.map_err(|error| Stopped::unavailable(error.to_string()))
}

fn server_config(
    project: &Project,
    server: &Server,
    children: &Children,
) -> Result<ServerConfig, Stopped> {
    let env = |name: &str| std::env::var(name).ok();
    let problem = |problem: String| {
        let message = format!("server `{}`: {problem}", server.name);
        Stopped::from(project::ProjectErrors::from(ProjectError::of_file(&server.file, message)))
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
                    .collect::<Result<_, Stopped>>()?,
                cwd: Some(cwd.clone()),
            }
        }
        project::Transport::Http { url, headers } => Wire::Http {
            url: plain(url)?,
            headers: headers
                .iter()
                .map(|(name, value)| Ok((name.clone(), resolve(value)?)))
                .collect::<Result<_, Stopped>>()?,
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
    config.children = Some(children.clone());
    config.stderr_log =
        Some(state_folder(project).join("logs").join(format!("{}.log", server.name)));
    Ok(config)
}

fn connect_model(project: &Project, alias: &str) -> Result<Arc<dyn prusik_model::Model>, Stopped> {
    let config = project.model(alias).ok_or_else(|| {
        let names: Vec<&str> = project.config().models.keys().map(String::as_str).collect();
        Stopped::misuse(format!(
            "prusik.yaml: there is no model `{alias}`; it has {}",
            names.join(", ")
        ))
    })?;
    connection(project, alias, config)?.connect().map_err(|error| {
        let place = project.error_at(&["models", alias], error.to_string());
        Stopped::misuse(place.to_string())
    })
}

fn connection(project: &Project, alias: &str, config: &ModelConfig) -> Result<Connection, Stopped> {
    let missing = |key: &str| {
        let error = project.error_at(&["models", alias], format!("model `{alias}` needs `{key}`"));
        Stopped::misuse(error.to_string())
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
