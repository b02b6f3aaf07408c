//! A person steers runs: budgets, cancelling, settling, forking, stopping, pruning, and two
//! processes that want the same run.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::prusik::{json_lines, prusik, prusik_command, said, wait_for, write_files};

const AGENT: &str =
    "---\nname: main\ndescription: d\ntools: [list, write, shell]\ncontainment: off\n---\nDo it.\n";

fn project(folder: &Path, script: &str, more: &str) {
    let yaml = format!(
        "models:\n  default: {{ provider: scripted, script: script.yaml }}\nshell: unconfined\n{more}"
    );
    let files =
        [("prusik.yaml", yaml.as_str()), ("agents/main.md", AGENT), ("script.yaml", script)];
    write_files(folder, &files);
}

const THREE_TURNS: &str = "
turns:
  - call: [{ tool: list, arguments: {} }]
  - call: [{ tool: write, arguments: { path: a.txt, content: one } }]
  - say: Done.
";

#[test]
fn a_run_at_its_ceiling_parks_and_goes_on_when_it_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), THREE_TURNS, "budget: { turns: 1 }\n");
    let run = prusik(folder.path(), &["run", "Do it"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("--raise turns="), "{}", said(&run));
    let listed = said(&prusik(folder.path(), &["runs"]));
    assert!(listed.contains("parked") && listed.contains("turns budget"), "{listed}");

    let refused = prusik(folder.path(), &["resume", "last"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    let resumed = prusik(folder.path(), &["resume", "last", "--raise", "turns=9"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", said(&resumed));
    assert_eq!(std::fs::read(folder.path().join("workspace/a.txt")).unwrap(), b"one");
}

#[test]
fn a_fork_shares_the_past_and_says_what_it_cannot_undo() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), THREE_TURNS, "");
    assert!(prusik(folder.path(), &["run", "Do it"]).status.success());
    let inside = prusik(folder.path(), &["fork", "last", "--at", "3"]);
    assert_eq!(inside.status.code(), Some(2), "{}", said(&inside));
    assert!(said(&inside).contains("--at 4"), "the nearest place is named: {}", said(&inside));
    let forked = prusik(folder.path(), &["fork", "last", "--at", "7"]);
    let text = said(&forked);
    assert_eq!(forked.status.code(), Some(0), "{text}");
    assert!(text.contains("write") && text.contains("a.txt"), "{text}");
    let resumed = prusik(folder.path(), &["resume", "last"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", said(&resumed));
    let rows = prusik(folder.path(), &["runs", "--json"]);
    assert_eq!(json_lines(&rows.stdout).len(), 2);
}

#[test]
fn ended_runs_are_pruned_and_others_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), THREE_TURNS, "");
    assert!(prusik(folder.path(), &["run", "Do it"]).status.success());
    let parked = prusik(folder.path(), &["run", "Do it", "--budget", "turns=1"]);
    assert_eq!(parked.status.code(), Some(3));
    std::thread::sleep(std::time::Duration::from_millis(5));
    let dry = said(&prusik(folder.path(), &["runs", "prune", "--older-than", "0s", "--dry-run"]));
    assert!(dry.contains("would delete 1 "), "{dry}");
    let done = said(&prusik(folder.path(), &["runs", "prune", "--older-than", "0s"]));
    assert!(done.contains("deleted 1 "), "{done}");
    let rows = json_lines(&prusik(folder.path(), &["runs", "--json"]).stdout);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["status"], "parked");
}

/// Starts a run whose shell call writes `begun` and then takes a minute.
fn slow_run(folder: &Path) -> Child {
    let script = "
turns:
  - call: [{ tool: shell, arguments: { command: 'echo x > begun; sleep 60' } }]
  - say: Done.
";
    project(folder, script, "");
    let child =
        prusik_command(folder, &["run", "Do it", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_for(&folder.join("workspace/begun"));
    child
}

/// Returns the run's last words and its exit code.
fn end_of(mut child: Child) -> (String, Option<i32>) {
    let out = BufReader::new(child.stdout.take().unwrap());
    let last = out.lines().map_while(Result::ok).last().unwrap_or_default();
    (last, child.wait().unwrap().code())
}

#[test]
fn a_second_process_is_refused_and_a_cancel_reaches_the_running_tool() {
    let folder = tempfile::tempdir().unwrap();
    let child = slow_run(folder.path());
    let second = prusik(folder.path(), &["resume", "last"]);
    assert_eq!(second.status.code(), Some(4), "{}", said(&second));
    assert!(said(&second).contains("being driven by"), "{}", said(&second));

    let begun = std::time::Instant::now();
    let told = prusik(folder.path(), &["cancel", "last", "--reason", "changed my mind"]);
    assert_eq!(told.status.code(), Some(0), "{}", said(&told));
    let (last, code) = end_of(child);
    assert_eq!(code, Some(1), "{last}");
    assert!(last.contains("changed my mind"), "{last}");
    assert!(begun.elapsed().as_secs() < 30, "the call was cut short");
}

#[test]
fn the_second_interrupt_stops_at_once_and_leaves_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let child = slow_run(folder.path());
    let interrupt = || {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    };
    interrupt();
    // The first only waits for what is under way; the second ends the process.
    std::thread::sleep(std::time::Duration::from_millis(300));
    interrupt();
    let (last, code) = end_of(child);
    assert_eq!(code, Some(3), "{last}");
    let resumed = prusik(folder.path(), &["resume", "last"]);
    assert_eq!(resumed.status.code(), Some(3), "{}", said(&resumed));
    assert!(said(&resumed).contains("settle"), "{}", said(&resumed));
    let settled = prusik(folder.path(), &["settle", "last", "1.1", "--unknown"]);
    assert_eq!(settled.status.code(), Some(0), "{}", said(&settled));
    let resumed = prusik(folder.path(), &["resume", "last"]);
    // Nobody knows what the call did: that is not called a success.
    assert_eq!(resumed.status.code(), Some(1), "{}", said(&resumed));
    let events = said(&prusik(folder.path(), &["events", "last", "--json"]));
    assert!(events.contains("in_doubt"), "the model was told: {events}");
}
