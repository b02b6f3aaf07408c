//! What can be wrong when a program uses the library.

use prusik_core::budget::BudgetKind;
use prusik_core::ids::RunId;
use prusik_engine::EngineError;
use prusik_model::ConnectError;
use prusik_store::StoreError;
use prusik_tool::ToolboxError;

use super::agent::AgentError;
use crate::project::{ProjectError, ProjectErrors};

/// Why something could not be done. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Files of a project hold mistakes.
    #[error(transparent)]
    Project(#[from] ProjectErrors),
    /// An agent that was put together in code does not hold together.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The model cannot be used; nothing was sent.
    #[error("{0}")]
    Model(#[from] ConnectError),
    /// The tools are not there, or not all of them.
    #[error(transparent)]
    Tools(#[from] ToolboxError),
    /// The store, or what it holds.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal, or an input that the run does not take.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The run has ended, so that it cannot go on.
    #[error("run {run} has ended; a fork starts a new one from any point of it (`prusik fork`)")]
    Ended { run: RunId },
    /// The run has not ended and is not parked, so that it cannot be undone yet.
    #[error(
        "run {run} has not ended; `prusik resume {run}` goes on with it, `prusik cancel {run}` ends \
         it, and then it can be undone"
    )]
    NotEnded { run: RunId },
    /// A word for the model was given to a run that is in the middle of its work.
    #[error(
        "a message is for a parked run, and run {run} was killed at work; resume it without one"
    )]
    NotParked { run: RunId },
    /// The run waits at a ceiling that was not raised enough.
    #[error("the run is at its {kind} ceiling ({spent} of {limit} spent); raise it further")]
    OverBudget { kind: BudgetKind, spent: u64, limit: u64 },
    /// Something that was asked for is not there, or is not written as it should be.
    #[error("{0}")]
    Misuse(String),
    /// Something of the machine is in the way; trying again may help.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    /// Returns whether the run is driven by a living process, or was abandoned a moment ago and its
    /// tools have not ended yet.
    pub fn is_leased(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Leased { .. })
                | Self::Engine(EngineError::Store(StoreError::Leased { .. }))
        )
    }
}

impl From<ProjectError> for Error {
    fn from(error: ProjectError) -> Self {
        Self::Project(error.into())
    }
}
