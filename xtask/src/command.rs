//! Child processes with errors that name the command and what to do about it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Pauses between the tries of a command that talks to the network.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];

/// Returns a command that runs in `folder`.
pub fn command(program: impl AsRef<Path>, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs `command` with its output on ours.
pub fn run(mut command: Command) -> Result<()> {
    let line = display(&command);
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs the command that `make` builds, again a few times when it fails: registries have bad
/// moments.
pub fn run_with_retries(make: impl Fn() -> Command) -> Result<()> {
    let mut pauses = RETRY_PAUSES.iter();
    loop {
        let Err(error) = run(make()) else { return Ok(()) };
        let Some(pause) = pauses.next() else {
            let tries = RETRY_PAUSES.len() + 1;
            return Err(error.context(format!(
                "gave up after {tries} tries; see the output above, and check that the package \
                 registry can be reached"
            )));
        };
        eprintln!("{error:#}; trying again in {} s", pause.as_secs());
        std::thread::sleep(*pause);
    }
}

/// Returns whether `program args…` can be run and succeeds.
pub fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn display(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(std::ffi::OsStr::to_string_lossy));
    words.join(" ")
}

/// Returns what `program args…` prints, or none if it cannot be run or fails.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
