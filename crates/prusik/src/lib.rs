//! Prusik: a durable, contained runtime for AI agents. The façade library and composition root.

// The macros' code names this crate as others do.
extern crate self as prusik;

mod assemble;
pub mod cli;
mod demo;
mod fault;
mod library;
pub mod project;
pub mod scaffold;

#[doc(hidden)]
pub use library::private as __private;
pub use library::{
    Agent, AgentBuilder, AgentError, Call, Cancelled, ContractError, Driven, Error, Fact, Failure,
    FailureKind, Forked, McpServer, Model, OutputError, Prusik, Reported, Review, Run, RustTool,
    Stopper, Word,
};
pub use prusik_macros::{Failure, tool};
