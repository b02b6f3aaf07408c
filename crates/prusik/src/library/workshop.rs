//! What the tools of an agent are made of, whoever declared it: a project's files or a program.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use prusik_core::agent;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};
use prusik_engine::World;
use prusik_tool::{
    Builtins, Children, LeftOut, ServerConfig, Tool, ToolInfo, Toolbox, builtin_contract,
    end_orphans,
};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::tool::{ContractError, RustTool};
use crate::fault;
use crate::project::ToolFacts;

/// The folder where the processes that are started for runs are written down.
const CHILDREN: &str = "children";

/// Told in words of what a person may want to know and nobody waits for.
pub(crate) type Tell<'a> = &'a (dyn Fn(String) + Send + Sync);

/// A tool of the program, with its contract.
#[derive(Clone)]
pub(crate) struct OwnTool {
    pub tool: Arc<dyn Tool>,
    pub contract: Contract,
}

impl OwnTool {
    pub(crate) fn of(tool: &RustTool) -> Result<Self, ContractError> {
        Ok(Self { contract: tool.contract()?, tool: tool.as_tool() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.tool.info().name
    }

    pub(crate) fn facts(&self) -> ToolFacts {
        facts(self.tool.info().clone(), Some(self.contract.clone()))
    }
}

impl fmt::Debug for OwnTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnTool({})", self.name())
    }
}

pub(crate) fn facts(info: ToolInfo, contract: Option<Contract>) -> ToolFacts {
    ToolFacts {
        contract,
        name: info.name,
        description: info.description,
        input_schema: info.input_schema,
        output_schema: info.output_schema,
    }
}

/// The tools of an agent before anything is started.
#[derive(Default)]
pub(crate) struct Workshop {
    pub builtins: Option<Builtins>,
    pub servers: Vec<ServerConfig>,
    pub own: Vec<OwnTool>,
}

/// Tools that answered.
pub(crate) struct Connected {
    pub toolbox: Toolbox,
    pub left_out: Vec<LeftOut>,
}

impl Workshop {
    fn builder(self) -> prusik_tool::ToolboxBuilder {
        let mut builder = Toolbox::builder();
        if let Some(builtins) = self.builtins {
            builder = builder.builtins(builtins);
        }
        for own in self.own {
            builder = builder.tool(own.tool);
        }
        self.servers.into_iter().fold(builder, prusik_tool::ToolboxBuilder::server)
    }

    pub(crate) fn toolbox(self) -> Result<Toolbox, Error> {
        Ok(self.builder().build()?)
    }

    /// Starts every server: a new run's definition holds the schemas of its tools.
    pub(crate) async fn connect(self, tell: Tell<'_>) -> Result<Connected, Error> {
        let toolbox = self.toolbox()?;
        match toolbox.connect_all(&CancellationToken::new(), tell).await {
            Ok(left_out) => {
                for tool in &left_out {
                    tell(format!("{}: `{}` is left out: {}", tool.server, tool.tool, tool.reason));
                }
                Ok(Connected { toolbox, left_out })
            }
            Err(error) => {
                toolbox.shutdown().await;
                Err(error.into())
            }
        }
    }

    /// Takes the tools from a definition. A server is started by the first call that needs it.
    pub(crate) fn known(mut self, agent: &agent::Agent) -> Result<Toolbox, Error> {
        self.servers.retain(|server| {
            let prefix = format!("{}__", server.name);
            agent.tools.iter().any(|tool| tool.name.starts_with(&prefix))
        });
        let known = agent.tools.iter().map(|tool| ToolInfo {
            name: tool.name.clone(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            output_schema: tool.output_schema.clone(),
            hints: None,
        });
        Ok(self.builder().known(known).build()?)
    }

    /// Returns what each tool of a toolbox says of itself, with the contract that it comes with.
    pub(crate) fn facts_of(toolbox: &Toolbox, own: &[OwnTool]) -> Vec<ToolFacts> {
        let contract = |name: &str| {
            let own = own.iter().find(|own| own.name() == name);
            own.map(|own| own.contract.clone()).or_else(|| builtin_contract(name))
        };
        toolbox
            .list()
            .into_iter()
            .map(|info| {
                let contract = contract(&info.name);
                facts(info, contract)
            })
            .collect()
    }
}

/// The tools of a run, whose servers end when it does.
pub(crate) struct Tools(pub Toolbox);

impl Tools {
    /// Ends the servers and waits until they are gone.
    pub(crate) async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}

/// What a run asks: its model, and the one that writes summaries where that is another.
pub(crate) struct Models {
    pub model: Arc<dyn prusik_model::Model>,
    pub summarizer: Option<Arc<dyn prusik_model::Model>>,
}

impl Models {
    /// Returns what stands where nobody asks.
    pub(crate) fn none() -> Self {
        Self { model: Arc::new(NoModel), summarizer: None }
    }
}

/// Returns what a run of `agent` is driven with.
pub(crate) fn world(
    models: Models,
    toolbox: &Toolbox,
    agent: &agent::Agent,
) -> Result<World, Error> {
    let tools: BTreeMap<_, _> = agent
        .tools
        .iter()
        .filter_map(|tool| Some((tool.name.clone(), toolbox.get(&tool.name)?)))
        .collect();
    let effect =
        |name: &str| agent.tool(name).map_or(EffectClass::Write, |tool| tool.contract.effect);
    let Models { model, summarizer } = models;
    fault::world(World { model, summarizer, tools }, effect, toolbox.children().as_ref())
}

/// What a run needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
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

/// Where a store's runs keep what is theirs: the file and the folder around it.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    store: PathBuf,
}

impl Home {
    pub(crate) fn of_store(store: &Path) -> Self {
        Self { store: store.to_owned() }
    }

    /// The folder of the store.
    pub(crate) fn folder(&self) -> PathBuf {
        let parent = self.store.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
    }

    pub(crate) fn children(&self) -> Result<Children, Error> {
        let kept = Children::kept_in(&self.folder().join(CHILDREN));
        kept.map_err(|error| Error::Unavailable(error.to_string()))
    }

    pub(crate) fn edits(&self) -> PathBuf {
        self.folder().join("edits")
    }

    pub(crate) fn log_of(&self, server: &str) -> PathBuf {
        self.folder().join("logs").join(format!("{server}.log"))
    }

    /// Returns what no file tool may read: our own records.
    pub(crate) fn hidden(&self) -> Vec<PathBuf> {
        let suffixed = |suffix: &str| {
            let mut name = self.store.clone().into_os_string();
            name.push(suffix);
            name.into()
        };
        let files = ["", "-wal", "-shm"].into_iter().map(suffixed);
        let folders = ["owners", "logs", "edits", CHILDREN];
        files.chain(folders.map(|name| self.folder().join(name))).collect()
    }

    /// Ends what killed processes left running. Whoever says, or lets a probe say, whether a call
    /// landed, does this first; the run's lease must be held by then.
    pub(crate) async fn no_orphans(&self) -> Result<(), Error> {
        let folder = self.folder().join(CHILDREN);
        let ended = tokio::task::spawn_blocking(move || end_orphans(&folder)).await;
        let ended = ended.map_err(|error| Error::Unavailable(error.to_string()))?;
        ended.map(|_| ()).map_err(|error| Error::Unavailable(error.to_string()))
    }
}
