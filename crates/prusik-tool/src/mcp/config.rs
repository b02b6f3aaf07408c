//! What the project says of an MCP server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::breaker::BreakerPolicy;
use crate::Children;
use crate::sandbox::Sandbox;

/// An MCP server: how it is reached, and the bounds on it.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Comes before `__` in the names of its tools: letters, digits, `-` and `_`, at most 64, without
    /// `__` and without `_` at either end.
    pub name: String,
    pub transport: Transport,
    pub limits: ServerLimits,
    pub breaker: BreakerPolicy,
    /// Where the standard error of a child process goes, line by line. Appended to.
    pub stderr_log: Option<PathBuf>,
    /// Where a child process is written down, so that it does not outlive us unnoticed.
    pub children: Option<Children>,
    /// What a child process runs in. Nothing confines it if there is none.
    pub sandbox: Option<Sandbox>,
}

impl ServerConfig {
    pub fn new(name: impl Into<String>, transport: Transport) -> Self {
        let limits = ServerLimits::default();
        let breaker = BreakerPolicy::default();
        Self {
            name: name.into(),
            transport,
            limits,
            breaker,
            stderr_log: None,
            children: None,
            sandbox: None,
        }
    }
}

/// How a server is reached. What may be a secret is shown nowhere.
#[derive(Debug, Clone)]
pub enum Transport {
    /// A child process that speaks on its standard input and output.
    Stdio {
        command: String,
        args: Vec<String>,
        /// Added to the little that every child inherits: the path, home, user, language and
        /// temporary folder.
        env: BTreeMap<String, SecretString>,
        /// Our own when there is none.
        cwd: Option<PathBuf>,
    },
    /// Streamable HTTP.
    Http { url: String, headers: BTreeMap<String, SecretString> },
}

impl Transport {
    /// Returns what a person would recognise it by: the command line or the URL.
    pub fn describe(&self) -> String {
        match self {
            Self::Stdio { command, args, .. } => {
                let mut line = command.clone();
                for arg in args {
                    line.push(' ');
                    line.push_str(arg);
                }
                line
            }
            // A query may hold a key.
            Self::Http { url, .. } => url.split(['?', '#']).next().unwrap_or(url).to_owned(),
        }
    }
}

/// Bounds on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// From the start to the list of its tools.
    pub start_timeout_ms: u64,
    /// The largest single message that is taken from it.
    pub message_bytes_max: usize,
    /// Starts within `start_window_ms` before it is left alone for the rest of the window.
    pub starts_max: usize,
    pub start_window_ms: u64,
    /// How long it may take to end by itself, and again after SIGTERM, before it is killed.
    pub stop_grace_ms: u64,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            start_timeout_ms: 30_000,
            message_bytes_max: 32 * 1024 * 1024,
            starts_max: 5,
            start_window_ms: 60_000,
            stop_grace_ms: 2_000,
        }
    }
}
