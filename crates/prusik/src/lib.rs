//! Prusik: a durable, contained runtime for AI agents.
//!
//! A run of an agent is a journal: what the model said and what its tools did is durable before anything
//! follows from it, so that a process that was killed at any instant goes on without doing anything twice.
//! What a tool does to the world, and what failure looks like there, is its contract.
//!
//! ```no_run
#![doc = include_str!("../examples/first.rs")]
//! ```
//!
//! # Where to look
//!
//! - A tool is an async function with [`macro@tool`]; its failures are an enum with
//!   [`macro@Failure`].
//! - [`Agent::builder`] puts an agent together; [`Model`] and [`McpServer`] are what it talks to.
//! - [`Prusik`] starts runs, takes them up again, and changes them; [`Prusik::project`] does so for a
//!   folder with a `prusik.yaml`. A [`Run`] is driven; a [`Standing`] is what it came to.
//! - [`Agent::review`] says before anything runs what is wrong with an agent's tools.
//! - [`custom`] holds the traits that a program may implement itself.
//!
//! Nothing is printed: [`Run::watch`] and [`Prusik::tell`] hand over what there is to say. The
//! environment's `PRUSIK_CRASH` and `PRUSIK_FAULTS` break a program's runs as they break those of the
//! binary, for tests.

// The macros' code names this crate as others do.
extern crate self as prusik;

mod assemble;
mod certify;
pub mod cli;
mod context;
mod demo;
mod fault;
mod library;
pub mod project;
pub mod scaffold;
mod scratch;
mod terms;
mod window;

pub use context::{
    Change, ContextError, ContextView, Difference, Segment, SegmentKind, Which, WindowView,
};
#[doc(hidden)]
pub use library::private as __private;
pub use library::{
    Agent, AgentBuilder, AgentError, Call, Cancelled, Compacting, ContractError, Error, Fact,
    Failure, FailureKind, Forked, McpServer, Model, Noted, OutputError, Prusik, Reported, Review,
    Run, RustTool, Standing, Stopper, Word,
};
pub use prusik_check::{Finding, Severity};
pub use prusik_core::agent::{Containment, ContextPolicy, Limits, OnFailure, Unplanned};
pub use prusik_core::budget::{Budget, Spent};
pub use prusik_core::contract;
pub use prusik_core::contract::{Contract, EffectClass, Returns};
pub use prusik_core::event::{self, Decision, Ending, Event, ParkReason, Verdict};
pub use prusik_core::grant::{ArgumentKind, ArgumentTerm};
pub use prusik_core::ids::{CallId, Digest, RunId, Seq, Timestamp};
pub use prusik_core::ledger::{self, EntryKind, Note};
pub use prusik_core::model::Price;
pub use prusik_core::outcome::{Outcome, ToolResult};
pub use prusik_core::run::{State, Status};
pub use prusik_engine::{Notice, Observer};
pub use prusik_macros::{Failure, tool};
pub use prusik_store::{Filter, RunRow};
pub use prusik_tool::sandbox::{Domain, DomainError, SandboxLimits, SandboxPolicy};
pub use serde_json::json;

/// What a program may implement itself: a model, a store, a tool.
pub mod custom {
    pub use prusik_core::message::Content;
    pub use prusik_core::model::{
        Answer, ModelError, ModelErrorKind, ModelRequest, StopReason, Usage,
    };
    pub use prusik_core::outcome::{Refusal, Reply};
    pub use prusik_model::{Delta, Model};
    pub use prusik_store::{MemoryStore, SqliteStore, Store, StoreError};
    pub use prusik_tool::{CallAttempt, Tool, ToolInfo};
}
