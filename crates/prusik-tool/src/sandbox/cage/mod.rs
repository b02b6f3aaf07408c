//! The inside of the sandbox: what the hidden subcommand `cage` of our own binary does.
//!
//! It is started twice for each command. The first, the supervisor, stays outside of the floor and watches: it
//! counts processes and memory, ends all that the command started when the command ends or the host
//! goes, and tells how it ended. The second enters: it gives up what it could do, one layer after the other,
//! and becomes the command. Rust without unsafe code cannot do that between fork and exec, hence the programs.
//!
//! Under bubblewrap the supervisor is process 1 of its namespace, which nothing inside can signal and
//! whose end is everybody's. On the floor it is the one to whom orphans go.

mod enter;
mod landlock;
mod relay;
mod supervise;
mod syscalls;
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use super::spec::{ENTER, SUPERVISE, Spec, VERSION};

/// The exit code of a cage that did not come up, as other launchers have it.
const NOT_ENTERED: u8 = 125;

/// Does what the arguments behind `cage` say. Must be called before the process has any other thread.
pub fn main(arguments: &[OsString]) -> ExitCode {
    match room(arguments) {
        Ok(code) => code,
        Err(problem) => {
            complain(&format!("the sandbox could not be entered: {problem}"));
            ExitCode::from(NOT_ENTERED)
        }
    }
}

fn room(arguments: &[OsString]) -> Result<ExitCode, String> {
    let [room, spec, command @ ..] = arguments else {
        return Err("this command is for Prusik itself".to_owned());
    };
    let spec: Spec = spec
        .to_str()
        .and_then(|spec| serde_json::from_str(spec).ok())
        .filter(|spec: &Spec| spec.version == VERSION)
        .ok_or_else(|| {
            "the program that starts it and the helper are of different versions of Prusik"
                .to_owned()
        })?;
    if command.is_empty() {
        return Err("there is no command".to_owned());
    }
    match room.to_str() {
        Some(SUPERVISE) => supervise::supervise(&spec, command),
        // It does not return but with an error.
        Some(ENTER) => Err(enter::enter(&spec, command)),
        _ => Err("this command is for Prusik itself".to_owned()),
    }
}

/// Standard error is all that there is to speak to.
fn complain(words: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "prusik: {words}");
}
