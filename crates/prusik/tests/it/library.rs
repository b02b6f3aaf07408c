//! Programs that use the library: the examples, killed ones among them, and what a program can do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::prusik::said;

/// Returns an example that cargo has built with these tests.
fn example(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_prusik")).with_file_name("examples").join(name);
    assert!(built.exists(), "cargo builds examples with the tests; {} is missing", built.display());
    built
}

fn payments(folder: &Path, crash: Option<&str>) -> Output {
    let mut command = Command::new(example("payments"));
    command.arg(folder).env_remove("PRUSIK_CRASH");
    command.envs(crash.map(|crash| ("PRUSIK_CRASH", crash))).output().unwrap()
}

fn ledger(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap().lines().count()
}

#[test]
fn the_program_of_the_first_page_runs() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(example("first")).current_dir(folder.path()).output().unwrap();
    assert_eq!(said(&output), "It is 21.5 degrees in Bern.\n");
    assert!(folder.path().join("runs.db").exists());
}

#[test]
fn a_program_that_is_killed_at_any_append_goes_on_and_pays_once() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = payments(folder.path(), None);
    assert!(undisturbed.status.success(), "{}", said(&undisturbed));
    assert!(said(&undisturbed).ends_with("paid: payment 1\n"), "{}", said(&undisturbed));
    assert_eq!(ledger(folder.path()), 1);
    let mut killed = 0;
    for append in 1.. {
        let mut reached = false;
        for point in [format!("before:{append}"), format!("after:{append}")] {
            let folder = tempfile::tempdir().unwrap();
            let first = payments(folder.path(), Some(&point));
            if first.status.success() {
                continue;
            }
            (reached, killed) = (true, killed + 1);
            let again = payments(folder.path(), None);
            assert!(said(&again).ends_with("paid: payment 1\n"), "{point}: {}", said(&again));
            assert_eq!(ledger(folder.path()), 1, "{point}");
        }
        if !reached {
            break;
        }
    }
    assert!(killed >= 10, "only {killed} points were reached");
}
