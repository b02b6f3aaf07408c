//! The built-in tools: files of the workspace, and a shell where the project wants one.

mod edits;
mod files;
mod problem;
mod search;
mod shell;
mod spec;
mod workspace;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use prusik_core::outcome::{Refusal, Reply, kind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{CallAttempt, Children, Tool, ToolInfo};
use edits::EditRecords;
use problem::Problem;
pub use shell::ShellPolicy;
pub use spec::{EDIT_KEY, builtin_contract};
use workspace::Workspace;

/// What the built-in tools of a project work on.
#[derive(Debug, Clone)]
pub struct Builtins {
    /// The folder that the file tools are confined to. A link to it is resolved once.
    pub workspace: PathBuf,
    /// What is never written, although it lies in the workspace: the files that steer the project.
    pub protected: Vec<PathBuf>,
    /// What is not read either, although it lies in the workspace: keys, and our own records.
    pub hidden: Vec<PathBuf>,
    /// A folder of ours where `edit` notes what it is about to do, so that it can be repeated
    /// after a crash. Made if missing; should not be writable by agents.
    pub state: PathBuf,
    pub shell: ShellPolicy,
    /// Where the shell's commands are written down, so that none outlives us unnoticed.
    pub children: Option<Children>,
}

impl Builtins {
    /// Returns the tools. Fails if the workspace cannot be opened.
    pub(crate) fn tools(&self) -> std::io::Result<Vec<Arc<dyn Tool>>> {
        let shared = Arc::new(Shared {
            workspace: Workspace::open(&self.workspace, &self.protected, &self.hidden)?,
            records: EditRecords::new(self.state.clone()),
        });
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        for action in Action::ALL {
            let shared = Arc::clone(&shared);
            tools.push(Arc::new(FileTool { info: spec::info(action.name()), action, shared }));
        }
        let (folder, children) = (shared.workspace.root().to_owned(), self.children.clone());
        match &self.shell {
            ShellPolicy::Absent => {}
            ShellPolicy::Confined(sandbox) => {
                let sandbox = sandbox.clone();
                tools.push(Arc::new(shell::Shell::confined(folder, children, sandbox)));
            }
            ShellPolicy::Unconfined => {
                tools.push(Arc::new(shell::Shell::unconfined(folder, children)));
            }
        }
        Ok(tools)
    }
}

/// What the file tools of one workspace share.
#[derive(Debug)]
struct Shared {
    workspace: Workspace,
    records: EditRecords,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Read,
    Write,
    Edit,
    List,
    Glob,
    Grep,
}

impl Action {
    const ALL: [Self; 6] =
        [Self::Read, Self::Write, Self::Edit, Self::List, Self::Glob, Self::Grep];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Edit => "edit",
            Self::List => "list",
            Self::Glob => "glob",
            Self::Grep => "grep",
        }
    }
}

/// A tool that works on files.
struct FileTool {
    info: ToolInfo,
    action: Action,
    shared: Arc<Shared>,
}

#[async_trait]
impl Tool for FileTool {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        if attempt.cancel.is_cancelled() {
            return Reply::not_sent("cancelled before it started".to_owned());
        }
        let job = Job {
            action: self.action,
            shared: Arc::clone(&self.shared),
            arguments: attempt.arguments.clone(),
            key: attempt.meta_key.map(|(_, key)| key.to_owned()),
            cancel: attempt.cancel.clone(),
        };
        let work = tokio::task::spawn_blocking(move || job.run());
        tokio::select! {
            biased;
            done = work => match done {
                Ok(reply) => reply,
                Err(error) => Reply::Lost { reason: format!("the tool's thread ended: {error}") },
            },
            () = attempt.cancel.cancelled() => Reply::Lost { reason: "cancelled".to_owned() },
        }
    }
}

/// One call on its way to a thread that may block.
struct Job {
    action: Action,
    shared: Arc<Shared>,
    arguments: Value,
    key: Option<String>,
    cancel: CancellationToken,
}

impl Job {
    fn run(self) -> Reply {
        let shared = &self.shared;
        let done = match self.action {
            Action::Read => with(self.arguments, |args| files::read(&shared.workspace, &args)),
            Action::Write => with(self.arguments, |args| files::write(&shared.workspace, &args)),
            Action::List => with(self.arguments, |args| files::list(&shared.workspace, &args)),
            Action::Edit => with(self.arguments, |args| {
                edits::edit(&shared.workspace, &shared.records, &args, self.key.as_deref())
            }),
            Action::Glob => {
                with(self.arguments, |args| search::glob(&shared.workspace, &args, &self.cancel))
            }
            Action::Grep => {
                with(self.arguments, |args| search::grep(&shared.workspace, &args, &self.cancel))
            }
        };
        done.unwrap_or_else(Reply::from)
    }
}

/// Reads the arguments into what the tool wants and performs it.
fn with<A: serde::de::DeserializeOwned>(
    arguments: Value,
    perform: impl FnOnce(A) -> Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    match serde_json::from_value(arguments) {
        Ok(arguments) => perform(arguments),
        Err(error) => {
            Ok(Reply::Refused(Refusal::of_kind(kind::INVALID_ARGUMENTS, error.to_string())))
        }
    }
}

#[cfg(test)]
mod tests;
