//! The sandbox: what shell commands, and tool servers that ask for it, run in.
//!
//! A command is not read for good intentions: it runs in the cage as a whole, whatever it says. There are two
//! cages. Namespaces (by bubblewrap) show it a file system that holds nothing else, with no network and no
//! other processes. The floor (Landlock and seccomp) takes the same away from it without changing what it sees;
//! it is in force in namespaces, too. What a machine can do is found out by trying it
//! ([`Confinement::protection`]).
//!
//! How it fails: bubblewrap missing, or forbidden by the machine, leaves the floor. A kernel without
//! Landlock leaves nothing, and the tool refuses to run. A cage that does not come up has not begun
//! the command. One that is killed while the command runs leaves its outcome open, as any crash does. A command
//! that uses too much is ended, and its model told what of. A proxy that cannot listen is a refusal.

mod aside;
mod brake;
mod bwrap;
#[cfg(target_os = "linux")]
mod cage;
mod find;
mod grounds;
mod proxy;
mod report;
mod spec;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::Command;

pub(crate) use brake::Brake;
pub use find::{Confinement, HELPER, Protection, this_program_is_the_helper};
pub use grounds::{Grounds, STEERING};
pub use proxy::{Domain, DomainError};
pub(crate) use report::{Heard, overhear};
pub use spec::SandboxLimits;
pub(crate) use spec::{End, Report};
use spec::{Input, Spec, Telling};

use proxy::Proxy;

/// The word that the helper's first argument is.
pub const CAGE: &str = spec::CAGE;

/// What the hidden subcommand `cage` does with the arguments behind it. Must be called before the process
/// has a second thread.
pub fn cage(arguments: &[OsString]) -> ExitCode {
    #[cfg(target_os = "linux")]
    let code = cage::main(arguments);
    #[cfg(not(target_os = "linux"))]
    let code = {
        let _ = arguments;
        ExitCode::FAILURE
    };
    code
}

/// What a project grants beyond the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxPolicy {
    /// Where the network may lead. Nowhere, if there are none.
    pub network: Vec<Domain>,
    pub limits: SandboxLimits,
}

/// A cage for the commands of one tool or server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    confinement: Confinement,
    grounds: Grounds,
    policy: SandboxPolicy,
    /// Started when it is needed first.
    proxy: Mutex<Option<Proxy>>,
}

/// Why a command cannot run in a sandbox. It has not begun.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("{what} {why}; {way_out}")]
    NoProtection { what: &'static str, why: String, way_out: &'static str },
    #[error(
        "`network` of the sandbox needs namespaces, which cannot be had here: {why}; install bubblewrap, or \
         leave `network` out"
    )]
    NoNetwork { why: String },
    #[error("the sandbox's grounds cannot be shown: {0}; mend `writable` and `readable`")]
    NotThere(#[from] grounds::NotThere),
    #[error("the sandbox's proxy cannot listen: {0}; free what it names, or leave `network` out")]
    Proxy(#[source] std::io::Error),
}

/// A command that is ready to be started.
pub(crate) struct Caged {
    pub command: Command,
    /// The line that lets it begin; to be written to its input once it has been written down.
    pub password: String,
    /// To hold the command before it may begin, where there is one.
    pub brake: Option<Brake>,
}

impl Sandbox {
    pub fn new(confinement: Confinement, grounds: Grounds, policy: SandboxPolicy) -> Self {
        Self(Arc::new(Kept { confinement, grounds, policy, proxy: Mutex::default() }))
    }

    /// Returns what is in force. The first call tries what the machine can do.
    pub fn protection(&self) -> &Protection {
        self.0.confinement.protection()
    }

    pub fn policy(&self) -> &SandboxPolicy {
        &self.0.policy
    }

    /// Lets a command read, or write, below `path` besides.
    pub fn with_writable(&self, path: PathBuf) -> Self {
        let mut grounds = self.0.grounds.clone();
        grounds.writable.push(path);
        Self::new(self.0.confinement.clone(), grounds, self.0.policy.clone())
    }

    /// Fails if commands could not run.
    pub fn check(&self) -> Result<(), SandboxError> {
        match self.protection() {
            Protection::None { why } => Err(SandboxError::NoProtection {
                what: "it cannot be confined on this machine:",
                why: why.clone(),
                way_out: "mend that, or say in so many words that nothing shall confine it",
            }),
            Protection::Floor { why } if !self.0.policy.network.is_empty() => {
                Err(SandboxError::NoNetwork { why: why.clone() })
            }
            Protection::Floor { .. } | Protection::Namespaces => Ok(()),
        }
    }

    /// Returns a shell's command line. Its end is reported.
    pub(crate) fn shell(&self, line: &str) -> Result<Caged, SandboxError> {
        let words = ["sh", "-c", line].map(OsStr::new);
        self.caged(&words, Input::Nothing, Telling::Report)
    }

    /// Returns a server's command. It is started in `folder` and goes on while its input is open.
    pub(crate) fn server(&self, words: &[&OsStr]) -> Result<Caged, SandboxError> {
        self.caged(words, Input::Passed, Telling::Words)
    }

    fn caged(
        &self,
        words: &[&OsStr],
        input: Input,
        telling: Telling,
    ) -> Result<Caged, SandboxError> {
        self.check()?;
        let Kept { confinement, grounds, policy, .. } = &*self.0;
        let found = grounds.find()?;
        let layer = self.protection().layer().expect("what cannot be confined was refused");
        let (limits, proxy) = (policy.limits, self.proxy()?);
        let spec = Spec { input, telling, limits, proxy, ..Spec::of(layer, found) };
        let (program, arguments) =
            confinement.line(&spec).expect("without a helper there is no protection");
        let mut command = Command::new(program);
        command.args(arguments).args(words).current_dir(&spec.folder);
        let brake = Brake::of(&policy.limits);
        Ok(Caged { command, password: report::password(), brake })
    }

    /// Returns the socket of the filtering proxy, started if it was not.
    fn proxy(&self) -> Result<Option<PathBuf>, SandboxError> {
        let Kept { policy, proxy, .. } = &*self.0;
        if policy.network.is_empty() {
            return Ok(None);
        }
        let mut proxy = proxy.lock().unwrap_or_else(PoisonError::into_inner);
        let started = match proxy.take() {
            Some(proxy) => proxy,
            None => Proxy::start(policy.network.clone()).map_err(SandboxError::Proxy)?,
        };
        Ok(Some(proxy.insert(started).socket()))
    }
}
