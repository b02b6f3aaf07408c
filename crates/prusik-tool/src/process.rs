//! Child processes: what they inherit, and how they and all they started are ended.

use std::ffi::OsString;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

use crate::Children;

/// What a child process inherits of our environment. Nothing else: keys live there.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "USER", "LOGNAME"];

/// Returns the part of our environment that children are given.
pub(crate) fn base_environment() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

/// Returns what a child in a sandbox is given. Its home and its temporary folder are the sandbox's own.
pub(crate) fn caged_environment() -> impl Iterator<Item = (&'static str, OsString)> {
    base_environment().filter(|(name, _)| !["HOME", "TMPDIR"].contains(name))
}

/// The process group that a child leads. Killed when this is dropped.
///
/// The child must have been started with `process_group(0)`. So Ctrl-C at the terminal, which
/// goes to our group, does not reach it before we have decided what to do.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

impl Group {
    pub(crate) fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.and_then(Pid::from_raw))
    }

    /// Writes the group down, if there is a place for that. Before this nothing may be asked of it.
    pub(crate) fn note(&self, children: Option<&Children>) -> std::io::Result<()> {
        match (children, self.0) {
            (Some(children), Some(pid)) => children.note(pid.as_raw_nonzero().get()),
            (_, None) | (None, _) => Ok(()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // The only error that can come is that nobody is left.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
