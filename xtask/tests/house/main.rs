//! The rules of the house that no compiler checks: who depends on whom, licences, tidiness.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod edges;
mod licences;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Returns what a command prints; it runs in the root and must succeed.
fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {}` failed:\n{errors}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns what `cargo metadata` says.
fn metadata(args: &[&str]) -> serde_json::Value {
    let mut all = vec!["metadata", "--format-version", "1", "--locked", "--offline"];
    all.extend(args);
    serde_json::from_str(&output(env!("CARGO"), &all)).unwrap()
}
