//! MCP servers: their processes, connections, and tools.

mod breaker;
mod config;
mod connection;
mod content;
mod error;
mod http;
mod lines;
mod process;
mod server;
mod stdio;

pub use breaker::BreakerPolicy;
pub use config::{ServerConfig, ServerLimits, Transport};
pub use error::ConnectError;
pub use server::LeftOut;
pub(crate) use server::Server;
