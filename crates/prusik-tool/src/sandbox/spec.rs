//! What the host tells the cage, and what the cage tells the host.
//!
//! Both are the same program, but not for sure the same build: a library's program finds the cage on its
//! way. So the words between them carry a version.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::grounds::Found;

/// Counted up when the words below change.
pub const VERSION: u32 = 1;

/// The hidden subcommand that is the cage, and its two rooms.
pub const CAGE: &str = "cage";
pub const SUPERVISE: &str = "supervise";
pub const ENTER: &str = "enter";

/// What keeps a command in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Namespaces made by bubblewrap, and the floor inside them.
    Namespaces,
    /// Landlock, seccomp and limits alone.
    Floor,
}

/// Where a command's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    Nothing,
    /// From the host, behind the line that lets the command begin.
    Passed,
}

/// How the cage tells how a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Telling {
    /// In a last line of standard error that nobody else can write.
    Report,
    /// In words on standard error, for a log.
    Words,
}

/// What a command may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxLimits {
    /// Memory of all processes together, in MiB.
    pub memory_mb: u64,
    /// Processes at a time.
    pub processes: u32,
    /// The largest file that may be written, in MiB.
    pub file_mb: u64,
    /// What a shell command may print, in MiB, before it is ended.
    pub output_mb: u64,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self { memory_mb: 2048, processes: 256, file_mb: 1024, output_mb: 64 }
    }
}

/// All that the cage needs to know. No secret is in it: arguments can be seen by other processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub version: u32,
    pub layer: Layer,
    /// Where the command starts.
    pub folder: PathBuf,
    /// Absolute, links resolved, and there. The same holds for the lists below.
    pub writable: Vec<PathBuf>,
    pub readable: Vec<PathBuf>,
    /// Below something writable, and not to be written.
    pub protected: Vec<PathBuf>,
    /// Below something that can be seen, and not to be.
    pub hidden: Vec<PathBuf>,
    /// What is protected and not there: if it comes into being it is set aside.
    pub unborn: Vec<PathBuf>,
    pub input: Input,
    pub telling: Telling,
    pub limits: SandboxLimits,
    /// A socket of the host that leads to the domains that are granted.
    pub proxy: Option<PathBuf>,
}

impl Spec {
    /// Returns a cage around what was found, for a command that gets nothing besides.
    pub fn of(layer: Layer, found: Found) -> Self {
        let Found { folder, writable, readable, protected, hidden, unborn } = found;
        Self {
            version: VERSION,
            layer,
            folder,
            writable,
            readable,
            protected,
            hidden,
            unborn,
            input: Input::Nothing,
            telling: Telling::Words,
            limits: SandboxLimits::default(),
            proxy: None,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub end: End,
    pub limit: Option<Limit>,
    /// What was protected, came into being and was given another name: the old one and the new one.
    pub set_aside: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Exited(i32),
    Signalled(i32),
}

/// The limit for which a command was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Memory,
    Processes,
    FileSize,
}

impl Limit {
    /// Returns what the model is told.
    pub fn words(self, limits: &SandboxLimits) -> String {
        let SandboxLimits { memory_mb, processes, file_mb, .. } = limits;
        match self {
            Self::Memory => format!(
                "it was killed because its processes used more than {memory_mb} MiB of memory"
            ),
            Self::Processes => {
                format!("it was killed because it had more than {processes} processes")
            }
            Self::FileSize => {
                format!("a process was ended because it wrote a file of more than {file_mb} MiB")
            }
        }
    }
}
