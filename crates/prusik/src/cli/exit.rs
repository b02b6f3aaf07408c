//! Exit codes, and errors that know theirs.

use std::fmt;
use std::process::ExitCode;

use prusik_engine::EngineError;
use prusik_store::StoreError;
use prusik_tool::ToolboxError;

use crate::library::Error;
use crate::project::ProjectErrors;

/// What the process tells its caller. Scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The run completed, or the command did what it was asked.
    Done = 0,
    /// The run failed or was cancelled, or a finding was made.
    Failed = 1,
    /// The command line, the project or the environment is wrong; nothing was begun.
    Misuse = 2,
    /// The run is parked: it waits for a person.
    Parked = 3,
    /// The store, a server or the network is in the way; trying again may help.
    Unavailable = 4,
}

impl Exit {
    pub const ALL: [Self; 5] =
        [Self::Done, Self::Failed, Self::Misuse, Self::Parked, Self::Unavailable];

    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns what the number means, for the reference.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "The run completed, or the command did what it was asked.",
            Self::Failed => "The run failed or was cancelled, or a finding was made.",
            Self::Misuse => {
                "The command line, the project or the environment is wrong; nothing was begun."
            }
            Self::Parked => "The run is parked: it waits for a person.",
            Self::Unavailable => {
                "The store, a server or the network is in the way; trying again may help."
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command stopped: an exit code, what happened, and the way out.
#[derive(Debug)]
pub struct Stopped {
    pub exit: Exit,
    pub message: String,
}

impl Stopped {
    pub fn misuse(message: impl Into<String>) -> Self {
        Self { exit: Exit::Misuse, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unavailable, message: message.into() }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ProjectErrors> for Stopped {
    fn from(errors: ProjectErrors) -> Self {
        Self::misuse(errors.to_string())
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownRun { .. } | StoreError::UnknownBlob { .. } => {
                Self::misuse(format!("{error}; `prusik runs` lists what there is"))
            }
            StoreError::Leased { .. }
            | StoreError::Fenced { .. }
            | StoreError::OutOfOrder { .. }
            | StoreError::DiskFull { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Locked { .. }
            | StoreError::Corrupt { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::Io { .. } => Self::unavailable(error.to_string()),
        }
    }
}

impl From<EngineError> for Stopped {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Rejected(_) | EngineError::Fork(_) => Self::misuse(error.to_string()),
            EngineError::Journal { .. } | EngineError::Definition { .. } => {
                Self::unavailable(error.to_string())
            }
        }
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        match error {
            Error::Project(errors) => errors.into(),
            Error::Store(error) => error.into(),
            Error::Engine(error) => error.into(),
            Error::Tools(ToolboxError::Servers(_)) | Error::Unavailable(_) => {
                Self::unavailable(error.to_string())
            }
            Error::OverBudget { kind, .. } => {
                Self::misuse(format!("{error}, with --raise {kind}=…"))
            }
            Error::Agent(_)
            | Error::Model(_)
            | Error::Tools(_)
            | Error::Ended { .. }
            | Error::NotEnded { .. }
            | Error::NotParked { .. }
            | Error::Misuse(_) => Self::misuse(error.to_string()),
        }
    }
}
