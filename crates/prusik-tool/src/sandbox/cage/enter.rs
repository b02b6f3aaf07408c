//! Gives up what a command is not to have, one layer after the other, and becomes the command.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::super::spec::{SandboxLimits, Spec};
use super::{landlock, syscalls, tree};

const MIB: u64 = 1024 * 1024;
/// How much more one process may have than all together: the supervisor, who can say in words what
/// happened, is to see it first; this stops what is quicker than its eye.
const DATA_FACTOR: u64 = 2;
/// Added to the threads that a user has already: the number holds for all that are theirs.
const THREADS_FACTOR: u64 = 4;
/// The kernel looks for somebody to kill among the command's processes before it looks at ours.
const OOM_SCORE: &str = "500";

/// Returns why the command could not be become.
pub fn enter(spec: &Spec, command: &[OsString]) -> String {
    match confine(spec) {
        Ok(()) => {
            let [program, arguments @ ..] = command else { return "there is no command".into() };
            let error = Command::new(program).args(arguments).exec();
            format!(
                "cannot start {}: {error}; what is not in a system folder can be used only where \
                 `readable` of the sandbox names it",
                program.display()
            )
        }
        Err(problem) => problem,
    }
}

fn confine(spec: &Spec) -> Result<(), String> {
    let step =
        |what: &str, done: rustix::io::Result<()>| done.map_err(|error| format!("{what}: {error}"));
    // If the supervisor is killed, so is the command. It was our parent until here, or we would not be.
    step(
        "tie to the supervisor",
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)),
    )?;
    // No terminal, and not in the group of who watches.
    step("new session", rustix::process::setsid().map(|_| ()))?;
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    limit(&spec.limits)?;
    step("capabilities", give_up_capabilities())?;
    step("no new privileges", rustix::thread::set_no_new_privs(true))?;
    landlock::restrict(spec)?;
    syscalls::restrict(spec)
}

fn limit(limits: &SandboxLimits) -> Result<(), String> {
    let set = |what: &str, resource, most: u64| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(|error| format!("limit of {what}: {error}"))
    };
    set("core files", Resource::Core, 0)?;
    set("file size", Resource::Fsize, limits.file_mb.saturating_mul(MIB))?;
    let data = limits.memory_mb.saturating_mul(MIB).saturating_mul(DATA_FACTOR);
    set("memory", Resource::Data, data)?;
    // The number counts the user's other threads, too; those of a namespace are counted by themselves. It
    // does not hold for root, who is held by a control group.
    let most = u64::from(limits.processes).saturating_mul(THREADS_FACTOR);
    set("processes", Resource::Nproc, tree::threads_of_user().saturating_add(most))
}

/// Root without capabilities is a user like another. With `no_new_privs` none comes back on exec.
fn give_up_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)
}
