//! Tools: what a call does. MCP servers and built-in tools behind one trait.

mod builtin;
mod children;
mod mcp;
mod process;
pub mod sandbox;
mod toolbox;

use async_trait::async_trait;
use prusik_core::outcome::Reply;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use builtin::{Builtins, EDIT_KEY, ShellPolicy, builtin_contract};
pub use children::{Children, OrphanError, end_orphans};
pub use mcp::{BreakerPolicy, ConnectError, LeftOut, ServerConfig, ServerLimits, Transport};
pub use toolbox::{Toolbox, ToolboxBuilder, ToolboxError};

/// Something that can be called.
///
/// The contract:
///
/// - One call is one attempt: nothing is retried here.
/// - [`Reply::NotSent`] is returned only when the call certainly had no effect; when in doubt,
///   [`Reply::Lost`].
/// - When `cancel` fires the call is stopped where that is possible and answers at once, with
///   `Lost` if it may have had an effect.
/// - Nothing that arguments or a server send makes it panic.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What the tool says of itself.
    fn info(&self) -> &ToolInfo;

    /// Performs one attempt. The caller enforces `timeout_ms` of the contract by `cancel`.
    async fn call(&self, attempt: CallAttempt<'_>) -> Reply;
}

/// One attempt of a call.
pub struct CallAttempt<'a> {
    pub arguments: &'a Value,
    /// A field of the request's `_meta` and its value: the idempotency key.
    pub meta_key: Option<(&'a str, &'a str)>,
    pub cancel: CancellationToken,
    /// Told of progress in words, for people.
    pub progress: &'a (dyn Fn(String) + Send + Sync),
}

/// What a tool says of itself. Hints are shown to people, never trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInfo {
    /// The name under which the agent calls it; for MCP `server__tool`.
    pub name: String,
    pub description: String,
    pub input_schema: Value,
    pub output_schema: Option<Value>,
    /// The MCP annotations as the server sent them.
    pub hints: Option<Value>,
}
