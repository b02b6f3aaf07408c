//! The library: agents, tools and runs for programs, and what the command line stands on.

mod agent;
mod context;
mod error;
mod failure;
mod model;
mod policy;
mod prusik;
mod review;
mod run;
mod server;
#[cfg(test)]
mod tests;
mod tool;
mod workshop;

pub use agent::{Agent, AgentBuilder, AgentError};
pub use context::{Compacting, Noted};
pub use error::Error;
pub use failure::{Failure, FailureKind, Reported};
pub use model::Model;
pub use prusik::{Cancelled, Fact, Forked, Prusik, Word};
pub use review::Review;
pub use run::{OutputError, Run, Standing, Stopper};
pub use server::McpServer;
pub use tool::{Call, ContractError, RustTool};

pub(crate) use agent::mistaken_calls;
pub(crate) use workshop::{
    Asks, Connected, Home, Models, OwnTool, Tell, Tools, Workshop, facts, world,
};

/// What the macros' code names. No part of the interface: it changes without notice.
#[doc(hidden)]
pub mod private {
    pub use prusik_core::contract::EffectClass;
    pub use prusik_core::ledger::EntryKind;
    pub use {schemars, serde};

    pub use super::failure::is_reserved;
    pub use super::tool::{Body, IsResult, Key, Literal, Probe, Record, Terms, Undo, tool};
    pub use crate::project::config::RetryConfig;
}
