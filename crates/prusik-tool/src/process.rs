//! Child processes: what they inherit, and how they and all they started are ended.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;

use crate::Children;
use crate::children::signal_tree;
use crate::sandbox::Brake;

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

/// How long a cage may take to end what is in it, once its input is closed.
const CAGE_GRACE: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(20);

/// The process group that a child leads. Killed when this is dropped.
///
/// The child must have been started with `process_group(0)`. So Ctrl-C at the terminal, which
/// goes to our group, does not reach it before we have decided what to do.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Option<Pid>,
    cage: Cage,
}

/// What a group is to those in it.
#[derive(Debug)]
pub(crate) enum Cage {
    None,
    /// Its leader is a supervisor, who ends by itself when its input is closed, and knows better than we
    /// who belongs to the command.
    Supervised(Option<Brake>),
}

impl Group {
    pub(crate) fn of(child: &Child, cage: Cage) -> std::io::Result<Self> {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = Self { leader, cage };
        if let (Cage::Supervised(Some(brake)), Some(id)) = (&group.cage, child.id()) {
            brake.hold(id)?;
        }
        Ok(group)
    }

    /// Writes the group down, if there is a place for that. Before this nothing may be asked of it.
    pub(crate) fn note(&self, children: Option<&Children>) -> std::io::Result<()> {
        match (children, self.leader) {
            (Some(children), Some(pid)) => children.note(pid.as_raw_nonzero().get()),
            (_, None) | (None, _) => Ok(()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.leader {
            // The only error that can come is that nobody is left.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let (Cage::Supervised(brake), Some(leader)) = (&mut self.cage, self.leader) else {
            self.signal(Signal::KILL);
            return;
        };
        let brake = brake.take();
        // Its input is closed before or with this. Usually it is gone by now.
        let is_gone = move || test_kill_process_group(leader).is_err();
        if is_gone() {
            return;
        }
        std::thread::spawn(move || {
            let deadline = Instant::now() + CAGE_GRACE;
            while !is_gone() && Instant::now() < deadline {
                std::thread::sleep(LOOK);
            }
            if !is_gone() {
                let _ = signal_tree(leader.as_raw_nonzero().get(), Signal::KILL);
            }
            drop(brake);
        });
    }
}
