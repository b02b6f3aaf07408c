//! What a run did is undone: by hand, by itself, and killed at every append of the undoing.

use std::path::Path;

use crate::prusik::{copy, json_lines, prusik, prusik_with, said, write_files};

const TASK: &str = "Pay all open invoices";

fn invoices(folder: &Path) {
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/invoices")), folder);
}

fn ledger(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap_or_default()
}

fn status(folder: &Path) -> String {
    let rows = prusik(folder, &["runs", "--json"]);
    json_lines(&rows.stdout)[0]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_compensated_run_leaves_the_ledger_as_if_it_had_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder);
    assert!(prusik(folder, &["run", TASK]).status.success());
    assert_eq!(ledger(folder).lines().count(), 5);

    let dry = said(&prusik(folder, &["compensate", "last", "--dry-run"]));
    assert_eq!(dry.matches("bank__cancel_payment").count(), 5, "{dry}");
    assert!(dry.contains("nothing was done"), "{dry}");
    assert_eq!(ledger(folder).lines().count(), 5);

    let undone = prusik(folder, &["compensate", "last"]);
    assert_eq!(undone.status.code(), Some(0), "{}", said(&undone));
    assert!(said(&undone).contains("5 calls"), "{}", said(&undone));
    assert!(said(&undone).contains("undoes 6.5 bank__pay"), "{}", said(&undone));
    assert_eq!(ledger(folder), "");
    assert_eq!(status(folder), "compensated");
    // The newest was undone first.
    let shown = said(&prusik(folder, &["show", "last"]));
    let place = |reference: &str| shown.rfind(reference).unwrap();
    assert!(place("INV-1045") < place("INV-1041"), "{shown}");

    let again = prusik(folder, &["compensate", "last"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(said(&again).contains("nothing is left to undo: 5 calls"), "{}", said(&again));
    assert!(said(&prusik(folder, &["show", "last"])).contains("5 calls"));
    let run = prusik(folder, &["run", TASK]);
    assert!(run.status.success(), "all is open again: {}", said(&run));
    assert_eq!(ledger(folder).lines().count(), 5);
}

#[test]
fn the_undoing_is_killed_at_every_append() {
    let mut points = 0;
    for append in 1.. {
        let mut died = false;
        for when in ["before", "after"] {
            let point = format!("{when}:{append}");
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            invoices(folder);
            assert!(prusik(folder, &["run", TASK]).status.success());
            let env = [("PRUSIK_CRASH", point.as_str())];
            let killed = prusik_with(folder, &["compensate", "last"], &env);
            if killed.status.success() {
                continue;
            }
            assert_eq!(killed.status.code(), None, "{point}: {}", said(&killed));
            died = true;
            points += 1;
            // Before the first append nothing was decided; after the last one all is done.
            let command = match status(folder).as_str() {
                "completed" => "compensate",
                "running" => "resume",
                "compensated" => "show",
                other => panic!("{point}: {other}"),
            };
            let resumed = prusik(folder, &[command, "last"]);
            assert_eq!(resumed.status.code(), Some(0), "{point}: {}", said(&resumed));
            assert_eq!(ledger(folder), "", "{point}");
            assert_eq!(status(folder), "compensated", "{point}");
            let verified = prusik(folder, &["events", "last", "--verify"]);
            assert!(verified.status.success(), "{point}: {}", said(&verified));
        }
        if !died {
            break;
        }
    }
    assert!(points >= 12, "only {points} points");
}

/// The clerk pays two invoices and then refuses to go on.
const REFUSES: &str = "
turns:
  - call:
      - tool: bank__pay
        arguments: { reference: A-1, recipient: Ann, iban: GB72EXPL00999912345678, amount: '1.00', currency: EUR }
  - call:
      - tool: bank__pay
        arguments: { reference: A-2, recipient: Ann, iban: GB72EXPL00999912345678, amount: '2.00', currency: EUR }
  - say: I will not go on.
    stop: refusal
";

fn refusing(folder: &Path, on_failure: &str) {
    invoices(folder);
    write_files(folder, &[("scripts/clerk.yaml", REFUSES)]);
    let agent = folder.join("agents/clerk.md");
    let text = std::fs::read_to_string(&agent).unwrap();
    let text = text.replacen(
        "model: default",
        &format!("model: default\ncontainment: off\n{on_failure}"),
        1,
    );
    std::fs::write(agent, text).unwrap();
}

#[test]
fn a_run_that_fails_does_what_its_agent_says() {
    for (on_failure, code, ended, payments) in [
        ("", 1, "failed", 2),
        ("on_failure: leave", 1, "failed", 2),
        ("on_failure: compensate", 1, "compensated", 0),
        ("on_failure: park", 3, "parked", 2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        refusing(folder, on_failure);
        let run = prusik(folder, &["run", TASK]);
        assert_eq!(run.status.code(), Some(code), "{on_failure}: {}", said(&run));
        assert_eq!(status(folder), ended, "{on_failure}");
        assert_eq!(ledger(folder).lines().count(), payments, "{on_failure}");
        if on_failure.ends_with("park") {
            assert!(said(&run).contains("compensate"), "{}", said(&run));
            let undone = prusik(folder, &["compensate", "last"]);
            assert_eq!(undone.status.code(), Some(0), "{}", said(&undone));
            assert_eq!(ledger(folder), "");
        }
    }
}

#[test]
fn what_has_no_undo_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    refusing(folder, "on_failure: compensate");
    let file = folder.join("prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let begin = text.find("    undo:\n").unwrap();
    let end = begin + text[begin..].find("    # How the bank").unwrap();
    std::fs::write(&file, format!("{}{}", &text[..begin], &text[end..])).unwrap();
    let run = prusik(folder, &["run", TASK]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    let text = said(&run);
    assert_eq!(text.matches("stays done").count(), 2, "{text}");
    assert!(text.contains("names no undo") && text.contains("compensate"), "{text}");
    assert_eq!(ledger(folder).lines().count(), 2);
    let running = prusik(folder, &["compensate", "nonsense"]);
    assert_eq!(running.status.code(), Some(2), "{}", said(&running));
}
