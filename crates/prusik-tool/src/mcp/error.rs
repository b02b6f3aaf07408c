//! Why there is no connection to an MCP server.

/// Why a server cannot be used. Each message names the server and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "MCP server `{server}`: there is no command `{command}`. Install it, or correct `command` \
         of the server."
    )]
    CommandNotFound { server: String, command: String },
    #[error("MCP server `{server}`: cannot start `{command}`: {problem}.")]
    CannotStart { server: String, command: String, problem: String },
    #[error(
        "MCP server `{server}` ended at start ({status}): `{command}`.{stderr} Run the command by \
         hand to see what it needs; its environment holds only what the project gives it."
    )]
    Died { server: String, command: String, status: String, stderr: String },
    #[error(
        "MCP server `{server}` was not ready after {timeout_ms} ms: `{command}`.{stderr} If it \
         needs longer, raise its `start_timeout_ms`."
    )]
    TimedOut { server: String, command: String, timeout_ms: u64, stderr: String },
    #[error(
        "MCP server `{server}` does not speak MCP as expected: {problem} (`{command}`).{stderr}"
    )]
    Handshake { server: String, command: String, problem: String, stderr: String },
    #[error("MCP server `{server}`: cannot reach {url}: {problem}. Is it running?")]
    Unreachable { server: String, url: String, problem: String },
    #[error(
        "MCP server `{server}`: {url} wants authorization. Give the server an `Authorization` \
         header."
    )]
    Unauthorized { server: String, url: String },
    #[error("MCP server `{server}`: the header `{header}` is not a valid HTTP header.")]
    BadHeader { server: String, header: String },
    #[error(
        "MCP server `{server}` was started {starts} times within {window_ms} ms and is left alone \
         for now. Last: {last}"
    )]
    TooManyStarts { server: String, starts: usize, window_ms: u64, last: String },
    #[error("MCP server `{server}`: shut down.")]
    ShutDown { server: String },
    #[error("MCP server `{server}`: cancelled before it was ready.")]
    Cancelled { server: String },
}
