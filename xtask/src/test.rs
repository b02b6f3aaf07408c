//! `cargo xtask test`: the one command that sets up and then runs every check and every test.
//!
//! The tests come last, so that their closing lines, with the counts, end the output.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{command, run, works};
use crate::{docs, setup};

/// One thing that must hold.
struct Step {
    name: &'static str,
    run: fn(root: &Path) -> Result<()>,
}

const STEPS: [Step; 6] = [
    Step { name: "format", run: |root| run(cargo(root, &["fmt", "--all", "--check"])) },
    Step {
        name: "lints",
        run: |root| {
            run(cargo(
                root,
                &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
            ))
        },
    },
    Step { name: "licences and sources", run: deny },
    Step {
        name: "examples in the documentation of the code",
        run: |root| run(cargo(root, &["test", "--quiet", "--workspace", "--doc"])),
    },
    Step { name: "generated pages of the book", run: docs::check },
    Step { name: "tests", run: tests },
];

/// Sets up, then runs every step and stops at the first that fails.
pub fn run_test() -> Result<()> {
    let root = crate::root();
    setup::run_setup(&setup::Args::default())?;
    for step in STEPS {
        eprintln!("test: {}", step.name);
        (step.run)(&root).with_context(|| format!("{} do not hold", step.name))?;
    }
    Ok(())
}

/// Runs the tests, the house rules among them, with nextest where it is installed.
fn tests(root: &Path) -> Result<()> {
    if works("cargo", &["nextest", "--version"]) {
        run(cargo(root, &["nextest", "run", "--workspace", "--status-level", "fail"]))
    } else {
        run(cargo(root, &["test", "--workspace", "--all-targets"]))
    }
}

/// Checks licences, bans and sources. Building cargo-deny takes longer than all other checks
/// together, so it is not installed here; a house test checks the licences without it.
fn deny(root: &Path) -> Result<()> {
    if works("cargo", &["deny", "--version"]) {
        run(cargo(root, &["deny", "--workspace", "check", "licenses", "bans", "sources"]))
    } else {
        eprintln!("test: cargo-deny is not installed; the house tests cover licences and sources");
        Ok(())
    }
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    command(env!("CARGO"), root, args)
}
