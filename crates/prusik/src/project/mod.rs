//! A project folder: loaded into typed values, or refused with every mistake at its place.
//!
//! [`Project::load`] reads `prusik.yaml`, `agents/*.md`, `policy/*.cedar`, `.mcp.json` and `AGENTS.md`
//! and checks all that can be checked without starting anything. [`Project::agent_definition`] checks the rest
//! once the tools are known. No secret is read by either: they are references until a server or a
//! model is connected. `AGENTS.md`, which tells any agent about the folder, is appended to the
//! system prompt of every agent.

mod agents;
mod check;
pub mod config;
mod context;
mod definition;
mod error;
pub mod fix;
pub mod lock;
pub mod policy;
pub mod prices;
mod review;
pub(crate) mod sandbox;
mod schema;
mod servers;
mod source;
#[cfg(test)]
mod tests;
mod typed;
pub mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prusik_core::budget::Budget;
use prusik_core::model::{ModelSpec, Price};
use prusik_policy::{Finding, Policies};

pub use agents::AgentEntry;
pub(crate) use agents::is_name as is_agent_name;
pub use config::Shell;
pub use config::{CassetteMode, ModelConfig, Provider};
use config::{PriceConfig, ProjectFile};
pub use definition::ToolFacts;
pub(crate) use definition::{hold, matches as pattern_matches};
pub(crate) use error::suggestion;
pub use error::{Place, ProjectError, ProjectErrors};
pub use review::{Heard, ListedTool};
pub use schema::{SchemaOf, schema};
pub(crate) use servers::is_loopback;
pub use servers::{Server, Transport};
pub use source::FILE_BYTES_MAX;
use source::{Source, read_text};
pub use values::{SecretRef, Template, Usd, Wall};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "prusik.yaml";
/// The built-in tools, which need no server.
pub const BUILT_IN_TOOLS: [&str; 7] = ["read", "write", "edit", "list", "glob", "grep", SHELL_TOOL];
/// The built-in tool that exists only where an agent or the project names it.
pub const SHELL_TOOL: &str = "shell";

/// A project whose files hold no mistake that can be found without starting anything.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    source: Source,
    config: ProjectFile,
    servers: BTreeMap<String, Server>,
    agents: Vec<AgentEntry>,
    guidance: Option<String>,
    /// The tools of the program that has loaded it.
    own: Vec<ToolFacts>,
    policies: Policies,
}

impl Project {
    /// Returns the nearest folder with a `prusik.yaml`, from `from` upwards.
    pub fn find(from: &Path) -> Result<PathBuf, ProjectErrors> {
        from.ancestors().find(|folder| folder.join(PROJECT_FILE).is_file()).map_or_else(
            || {
                let shown = from.join(PROJECT_FILE);
                let message = "there is no project here or in a folder above";
                Err(ProjectError::of_file(shown, message)
                    .with_help("`prusik new DIR` makes one, `prusik init` makes one of this folder")
                    .into())
            },
            |folder| Ok(folder.to_owned()),
        )
    }

    /// Loads the project in `root`.
    pub fn load(root: &Path) -> Result<Self, ProjectErrors> {
        Self::load_with(root, Vec::new())
    }

    /// Loads the project in `root`, whose agents may hold tools of this program besides.
    pub fn load_with(root: &Path, own: Vec<ToolFacts>) -> Result<Self, ProjectErrors> {
        let (project, mistakes) = Self::load_beside_policy(root, own)?;
        ProjectErrors::check(mistakes.iter().map(policy::error).collect())?;
        Ok(project)
    }

    /// Loads the project in `root`, and tells the mistakes in its policy files apart. A project with such
    /// mistakes is good for being looked at only: it has no policies.
    pub fn load_beside_policy(
        root: &Path,
        own: Vec<ToolFacts>,
    ) -> Result<(Self, Vec<Finding>), ProjectErrors> {
        let file = Path::new(PROJECT_FILE);
        let text = match read_text(&root.join(file), file) {
            Ok(text) => text,
            Err(error) if root.join(file).exists() => return Err(error.into()),
            Err(error) => {
                return Err(error
                    .with_help("`prusik new DIR` makes a project, `prusik init` one of a folder")
                    .into());
            }
        };
        let mut errors = Vec::new();
        let source = Source::yaml(file.to_owned(), &text, 1, &mut errors);
        let config =
            source.as_ref().and_then(|source| typed::read::<ProjectFile>(source, &mut errors));
        let agents = agents::load(root, &mut errors);
        let guidance = Path::new("AGENTS.md");
        let guidance =
            root.join(guidance).exists().then(|| read_text(&root.join(guidance), guidance));
        let guidance = match guidance {
            Some(Err(error)) => {
                errors.push(error);
                None
            }
            Some(Ok(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            None => None,
        };
        let (Some(source), Some(config)) = (source, config) else {
            return Err(errors_of(errors));
        };
        let servers = servers::load(root, &source, &config, &mut errors);
        let (policies, mistakes) = match Policies::parse(policy::files(root, &mut errors)) {
            Ok(policies) => (policies, Vec::new()),
            Err(mistakes) => (Policies::default(), mistakes),
        };
        let root = root.to_owned();
        let project = Self { root, source, config, servers, agents, guidance, own, policies };
        // References are checked only where all that they may name could be read: otherwise one
        // mistake would show as many.
        if errors.is_empty() {
            check::project(&project, &mut errors);
        }
        ProjectErrors::check(errors)?;
        Ok((project, mistakes))
    }

    /// Returns the organisation's policies.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder that the built-in file tools are confined to.
    pub fn workspace(&self) -> PathBuf {
        self.root.join(&self.config.workspace)
    }

    /// Returns the SQLite file with the journals.
    pub fn store_path(&self) -> PathBuf {
        self.root.join(&self.config.store)
    }

    /// Returns how the built-in shell runs; none if nobody asks for it.
    pub fn shell(&self) -> Option<Shell> {
        let is_named =
            || self.agents.iter().any(|agent| agent.tools.iter().any(|tool| tool == SHELL_TOOL));
        self.config.shell.or_else(|| is_named().then_some(Shell::Confined))
    }

    /// Returns whether the project asks for a shell that nothing confines, in so many words.
    pub fn has_unconfined_shell(&self) -> bool {
        self.shell() == Some(Shell::Unconfined)
    }

    pub fn config(&self) -> &ProjectFile {
        &self.config
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.get(name)
    }

    pub fn agents(&self) -> &[AgentEntry] {
        &self.agents
    }

    /// Returns the named agent; without a name the only one, or `main`.
    pub fn agent(&self, name: Option<&str>) -> Result<&AgentEntry, ProjectErrors> {
        let names = || self.agents.iter().map(|agent| agent.name.as_str());
        let find = |name: &str| self.agents.iter().find(|agent| agent.name == name);
        let found = match (name, self.agents.as_slice()) {
            (_, []) => {
                let error = ProjectError::of_file("agents", "the project has no agents");
                let help = "write one into agents/main.md: `---`, its keys, `---`, its prompt";
                return Err(error.with_help(help).into());
            }
            (Some(name), _) => {
                find(name).ok_or_else(|| (format!("there is no agent `{name}`"), name))
            }
            (None, [only]) => Ok(only),
            (None, _) => find("main")
                .ok_or_else(|| ("the project has several agents: name one".to_owned(), "")),
        };
        found.map_err(|(message, name)| {
            let help = suggestion(name, "agents", names().collect::<Vec<_>>());
            ProjectError::of_file("agents", message).with_help(help).into()
        })
    }

    /// Returns an agent's ceilings: its own, and the project's where it sets none.
    pub fn budget(&self, agent: &AgentEntry) -> Budget {
        let own = &agent.config.budget;
        let common = &self.config.budget;
        Budget {
            turns: agent.config.max_turns.or(own.turns).or(common.turns),
            tokens: own.tokens.or(common.tokens),
            nano_usd: own.usd.or(common.usd).map(|usd| usd.0),
            wall_ms: own.wall.or(common.wall).map(|wall| wall.0),
            tool_calls: own.tool_calls.or(common.tool_calls),
        }
    }

    /// Returns a model of the project by its alias.
    pub fn model(&self, alias: &str) -> Option<&ModelConfig> {
        self.config.models.get(alias)
    }

    /// Returns the alias of the model that an agent uses.
    pub fn model_alias<'a>(&self, agent: &'a AgentEntry) -> &'a str {
        match agent.config.model.as_deref() {
            // Claude Code writes `inherit` for the model of the session.
            None | Some("inherit") => "default",
            Some(alias) => alias,
        }
    }

    /// Returns the model as it is frozen into an agent's definition.
    pub fn model_spec(&self, alias: &str) -> Option<ModelSpec> {
        let config = self.model(alias)?;
        let recorded = config.of.as_deref().and_then(|of| self.model(of));
        let name = config.model.as_deref().or(recorded.and_then(|of| of.model.as_deref()));
        Some(ModelSpec {
            alias: alias.to_owned(),
            model: name.unwrap_or(alias).to_owned(),
            max_tokens: config.max_tokens,
            temperature: config.temperature,
            thinking_tokens: config.thinking_tokens,
            price: self.price(config),
        })
    }

    /// Returns what a model costs: as the project says, as the list says, or nothing for a script.
    fn price(&self, config: &ModelConfig) -> Option<Price> {
        const FREE: Price = Price { input: 0, output: 0, cache_read: 0, cache_write: 0 };
        if let Some(PriceConfig { input, output, cache_read, cache_write }) = config.price {
            return Some(Price {
                input: input.0,
                output: output.0,
                cache_read: cache_read.unwrap_or(input).0,
                cache_write: cache_write.unwrap_or(input).0,
            });
        }
        match config.provider {
            Provider::Anthropic => config.model.as_deref().and_then(prices::anthropic),
            Provider::Openai => config.model.as_deref().and_then(prices::openai),
            Provider::Scripted => Some(FREE),
            // A recording costs what was paid for it, so that a replayed run looks the same.
            Provider::Recorded => match config.of.as_deref().and_then(|of| self.model(of)) {
                Some(of) if of.provider != Provider::Recorded => self.price(of),
                Some(_) | None => Some(FREE),
            },
        }
    }

    /// Returns where a model's key is; none where it needs none.
    pub fn key_of(&self, config: &ModelConfig) -> Option<SecretRef> {
        let default = match config.provider {
            Provider::Anthropic => "ANTHROPIC_API_KEY",
            Provider::Openai => {
                let local = config.base_url.as_deref().is_some_and(servers::is_loopback);
                if local && config.api_key.is_none() {
                    return None;
                }
                "OPENAI_API_KEY"
            }
            Provider::Scripted | Provider::Recorded => return None,
        };
        Some(config.api_key.clone().unwrap_or_else(|| SecretRef::Env(default.to_owned())))
    }

    /// Returns an error at a key of `prusik.yaml`, for what shows only when something is connected.
    pub fn error_at(&self, path: &[&str], message: impl Into<String>) -> ProjectError {
        self.source.error(path, message)
    }
}

fn errors_of(errors: Vec<ProjectError>) -> ProjectErrors {
    ProjectErrors::check(errors).expect_err("a file that could not be read was reported")
}
