//! An MCP server whose tools an agent holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use prusik_tool::sandbox::{Confinement, Grounds, Sandbox, SandboxPolicy};
use prusik_tool::{BreakerPolicy, ServerConfig, Transport};
use secrecy::SecretString;

use super::error::Error;
use super::workshop::Home;

/// An MCP server: a process that is started, or an address.
#[derive(Debug, Clone)]
pub struct McpServer {
    name: String,
    wire: Wire,
    start_timeout_ms: Option<u64>,
    breaker: Option<BreakerPolicy>,
    sandbox: Option<Walls>,
}

/// What a sandbox of a server grants.
#[derive(Debug, Clone)]
struct Walls {
    writable: Vec<PathBuf>,
    policy: SandboxPolicy,
}

#[derive(Debug, Clone)]
enum Wire {
    Stdio { command: String, args: Vec<String>, cwd: Option<PathBuf>, env: Secrets },
    Http { url: String, headers: Secrets },
}

type Secrets = BTreeMap<String, SecretString>;

impl McpServer {
    /// A process that speaks MCP on its standard input and output. Its tools are called
    /// `name__tool`.
    pub fn stdio<A: Into<String>>(
        name: impl Into<String>,
        command: impl Into<String>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        let command = command.into();
        let wire = Wire::Stdio { command, args, cwd: None, env: Secrets::new() };
        Self { name: name.into(), wire, start_timeout_ms: None, breaker: None, sandbox: None }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A server that speaks streamable HTTP. Its tools are called `name__tool`.
    pub fn http(name: impl Into<String>, url: impl Into<String>) -> Self {
        let wire = Wire::Http { url: url.into(), headers: Secrets::new() };
        Self { name: name.into(), wire, start_timeout_ms: None, breaker: None, sandbox: None }
    }

    /// Adds what the server needs to know: a variable of the process's environment, or a header of
    /// each request. It is shown nowhere.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        match &mut self.wire {
            Wire::Stdio { env: secrets, .. } | Wire::Http { headers: secrets, .. } => {
                secrets.insert(name.into(), value.into());
            }
        }
        self
    }

    /// Sets the folder in which the process is started; an address has none.
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        match &mut self.wire {
            Wire::Stdio { cwd, .. } => *cwd = Some(folder.into()),
            Wire::Http { .. } => {}
        }
        self
    }

    /// Sets how long the server may take until its tools are known, in milliseconds.
    pub fn start_timeout_ms(mut self, ms: u64) -> Self {
        self.start_timeout_ms = Some(ms);
        self
    }

    /// Sets when the server is left alone because it does not answer: after how many calls in a row (0
    /// for never), and for how long, in milliseconds.
    pub fn breaker(mut self, failures_max: u32, cooldown_ms: u64) -> Self {
        self.breaker = Some(BreakerPolicy { failures_max, cooldown_ms });
        self
    }

    /// Runs the process in a sandbox, in which it may write these folders, read the one that it starts in
    /// and the system, and reach the domains that the policy names; an address has none. See
    /// [`crate::AgentBuilder::shell`] for what does the confining.
    pub fn sandbox(
        mut self,
        writable: impl IntoIterator<Item = PathBuf>,
        policy: SandboxPolicy,
    ) -> Self {
        self.sandbox = Some(Walls { writable: writable.into_iter().collect(), policy });
        self
    }

    pub(crate) fn config(&self, home: Option<&Home>) -> Result<ServerConfig, Error> {
        let wire = match &self.wire {
            Wire::Stdio { command, args, cwd, env } => Transport::Stdio {
                command: command.clone(),
                args: args.clone(),
                env: env.clone(),
                cwd: cwd.clone(),
            },
            Wire::Http { url, headers } => {
                Transport::Http { url: url.clone(), headers: headers.clone() }
            }
        };
        let mut config = ServerConfig::new(&self.name, wire);
        if let Some(ms) = self.start_timeout_ms {
            config.limits.start_timeout_ms = ms;
        }
        config.breaker = self.breaker.unwrap_or(config.breaker);
        if let (Some(walls), Wire::Stdio { cwd, .. }) = (&self.sandbox, &self.wire) {
            let folder = cwd.clone().unwrap_or_else(|| PathBuf::from("."));
            let grounds = Grounds {
                readable: vec![folder.clone()],
                folder,
                writable: walls.writable.clone(),
                protected: Vec::new(),
                hidden: home.map_or_else(Vec::new, Home::hidden),
            };
            let confinement = Confinement::of_this_machine();
            config.sandbox = Some(Sandbox::new(confinement, grounds, walls.policy.clone()));
        }
        if let Some(home) = home {
            config.children = Some(home.children()?);
            config.stderr_log = Some(home.log_of(&self.name));
        }
        Ok(config)
    }
}
