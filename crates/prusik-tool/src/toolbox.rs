//! All tools of a project, by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::builtin::Builtins;
use crate::mcp::{ConnectError, LeftOut, Server, ServerConfig};
use crate::{Children, Tool, ToolInfo};

/// Longest name of a server.
const SERVER_NAME_BYTES_MAX: usize = 64;

/// Why there is no toolbox, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    #[error("cannot open the workspace {}: {source}. Make the folder, or name another.", path.display())]
    Workspace { path: PathBuf, source: std::io::Error },
    #[error(
        "`{name}` cannot be the name of an MCP server: use letters, digits, `-` and `_`, at most \
         {SERVER_NAME_BYTES_MAX}, without `__` and without `_` at either end."
    )]
    BadServerName { name: String },
    #[error("two MCP servers have the name `{name}`. Rename one of them.")]
    SameServerName { name: String },
    #[error(
        "two tools have the name `{name}`: one of {first}, one of {second}. Rename one of them, or \
         its server."
    )]
    SameToolName { name: String, first: String, second: String },
    /// At least one.
    #[error("{}", lines(.0))]
    Servers(Vec<ConnectError>),
}

fn lines(errors: &[ConnectError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects what a toolbox is made of.
#[derive(Default)]
pub struct ToolboxBuilder {
    builtins: Option<Builtins>,
    own: Vec<Arc<dyn Tool>>,
    servers: Vec<ServerConfig>,
    known: Vec<ToolInfo>,
}

impl ToolboxBuilder {
    pub fn builtins(mut self, builtins: Builtins) -> Self {
        self.builtins = Some(builtins);
        self
    }

    /// Adds a tool of the program that this is part of.
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.own.push(tool);
        self
    }

    pub fn server(mut self, server: ServerConfig) -> Self {
        self.servers.push(server);
        self
    }

    /// Names tools that are known from before, as a resumed run knows them. Those of MCP servers
    /// can then be called without [`Toolbox::connect_all`]: a server is started by the first call
    /// that needs it. What belongs to no server of the toolbox is left out.
    pub fn known(mut self, tools: impl IntoIterator<Item = ToolInfo>) -> Self {
        self.known.extend(tools);
        self
    }

    /// Opens the workspace. No server is started yet.
    pub fn build(self) -> Result<Toolbox, ToolboxError> {
        let mut tools = Tools::default();
        if let Some(builtins) = &self.builtins {
            let made = builtins.tools().map_err(|source| {
                let path = builtins.workspace.clone();
                ToolboxError::Workspace { path, source }
            })?;
            for tool in made {
                tools.add("the built-in ones", tool)?;
            }
        }
        for tool in self.own {
            tools.add("this program", tool)?;
        }
        let mut servers: BTreeMap<String, Arc<Server>> = BTreeMap::new();
        for config in self.servers {
            let name = config.name.clone();
            check_server_name(&name)?;
            if servers.insert(name.clone(), Arc::new(Server::new(config))).is_some() {
                return Err(ToolboxError::SameServerName { name });
            }
        }
        for info in self.known {
            // Names of servers hold no `__` and end in no `_`, so the first one parts the two.
            if let Some((server, tool)) = info.name.clone().split_once("__")
                && let Some(server) = servers.get(server)
            {
                let owner = owner_of(server.name());
                tools.add(&owner, Arc::new(server.known_tool(info, tool)))?;
            }
        }
        Ok(Toolbox { tools: RwLock::new(tools), servers })
    }
}

fn check_server_name(name: &str) -> Result<(), ToolboxError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_good = (1..=SERVER_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_');
    if is_good { Ok(()) } else { Err(ToolboxError::BadServerName { name: name.to_owned() }) }
}

fn owner_of(server: &str) -> String {
    format!("MCP server `{server}`")
}

/// The tools of a project: built-in ones and those of its MCP servers.
///
/// Dropped without [`Self::shutdown`], the servers are asked to end in the background, and killed
/// with the runtime at the latest. A server that ends when its input is closed also ends when we
/// are killed; one that does not is left behind then.
pub struct Toolbox {
    tools: RwLock<Tools>,
    servers: BTreeMap<String, Arc<Server>>,
}

#[derive(Default)]
struct Tools {
    by_name: BTreeMap<String, (String, Arc<dyn Tool>)>,
}

impl Tools {
    fn add(&mut self, owner: &str, tool: Arc<dyn Tool>) -> Result<(), ToolboxError> {
        let name = tool.info().name.clone();
        if let Some((first, _)) = self.by_name.get(&name) {
            let (first, second) = (first.clone(), owner.to_owned());
            return Err(ToolboxError::SameToolName { name, first, second });
        }
        self.by_name.insert(name, (owner.to_owned(), tool));
        Ok(())
    }
}

impl Toolbox {
    pub fn builder() -> ToolboxBuilder {
        ToolboxBuilder::default()
    }

    /// Starts or reaches every server, all at once and each within its own time-out, and takes
    /// over their tools. `waiting` is told what is being waited for. Returns the tools that cannot
    /// be offered, with the reason.
    ///
    /// When it fails every server that failed is named, and the tools of the others are there.
    pub async fn connect_all(
        &self,
        cancel: &CancellationToken,
        waiting: &(dyn Fn(String) + Send + Sync),
    ) -> Result<Vec<LeftOut>, ToolboxError> {
        let servers = self.servers.values();
        let all = join_all(servers.map(|server| server.tools(cancel, waiting))).await;
        let mut left_out = Vec::new();
        let mut failed = Vec::new();
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        for (server, outcome) in self.servers.values().zip(all) {
            let (listed, not_offered) = match outcome {
                Ok(listed) => listed,
                Err(error) => {
                    failed.push(error);
                    continue;
                }
            };
            left_out.extend(not_offered);
            let owner = owner_of(server.name());
            // What was known from before gives way to what the server says now.
            tools.by_name.retain(|_, (known, _)| *known != owner);
            for tool in listed {
                tools.add(&owner, Arc::new(tool))?;
            }
        }
        if failed.is_empty() { Ok(left_out) } else { Err(ToolboxError::Servers(failed)) }
    }

    /// Returns what each tool says of itself, by name.
    pub fn list(&self) -> Vec<ToolInfo> {
        let tools = self.tools.read().unwrap_or_else(PoisonError::into_inner);
        tools.by_name.values().map(|(_, tool)| tool.info().clone()).collect()
    }

    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        let tools = self.tools.read().unwrap_or_else(PoisonError::into_inner);
        tools.by_name.get(name).map(|(_, tool)| Arc::clone(tool))
    }

    /// Returns where the processes of the servers are written down.
    pub fn children(&self) -> Option<Children> {
        self.servers.values().find_map(|server| server.children())
    }

    /// Ends every server and waits until they are gone: asked first, then made to. Bounded by
    /// their `stop_grace_ms`.
    pub async fn shutdown(&self) {
        join_all(self.servers.values().map(|server| server.shut_down())).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::Transport;

    fn server(name: &str) -> ServerConfig {
        let url = "http://127.0.0.1:9/mcp".to_owned();
        ServerConfig::new(name, Transport::Http { url, headers: BTreeMap::new() })
    }

    #[test]
    fn names_of_servers_leave_no_doubt_whose_a_tool_is() {
        for name in ["", "a__b", "_a", "a_", "a.b", "ä", &"x".repeat(65)] {
            let built = Toolbox::builder().server(server(name)).build();
            assert!(matches!(built, Err(ToolboxError::BadServerName { .. })), "{name}");
        }
        let built = Toolbox::builder().server(server("a")).server(server("a")).build();
        assert!(matches!(built, Err(ToolboxError::SameServerName { .. })));
        assert!(Toolbox::builder().server(server("my-bank_2")).build().is_ok());
    }

    #[test]
    fn a_collision_names_both() {
        let info = |name: &str| ToolInfo {
            name: name.to_owned(),
            description: String::new(),
            input_schema: json!({}),
            output_schema: None,
            hints: None,
        };
        let builder = Toolbox::builder().server(server("bank"));
        let error = builder.known([info("bank__pay"), info("bank__pay")]).build().err().unwrap();
        assert!(error.to_string().contains("MCP server `bank`"), "{error}");
        let toolbox = Toolbox::builder()
            .server(server("bank"))
            .known([info("bank__pay"), info("other__x"), info("read")])
            .build()
            .unwrap();
        let names: Vec<String> = toolbox.list().into_iter().map(|info| info.name).collect();
        assert_eq!(names, ["bank__pay"]);
        assert!(toolbox.get("bank__pay").is_some() && toolbox.get("other__x").is_none());
    }

    #[test]
    fn a_missing_workspace_is_named() {
        let builtins = Builtins {
            children: None,
            hidden: Vec::new(),
            workspace: "/nonexistent/folder".into(),
            protected: Vec::new(),
            state: "/nonexistent/state".into(),
            shell: crate::builtin::ShellPolicy::Absent,
        };
        let error = Toolbox::builder().builtins(builtins).build().err().unwrap();
        assert!(error.to_string().contains("/nonexistent/folder"), "{error}");
    }
}
