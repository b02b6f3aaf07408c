//! `prusik chaos`: it lets a sound project pass and finds a contract that lies.

use std::path::Path;

use crate::prusik::{copy, json_lines, prusik, said};

fn invoices(folder: &Path) {
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/invoices")), folder);
}

#[test]
fn the_demo_stands_faults_and_a_contract_that_lies_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder);
    let task = "Pay all open invoices";
    let sound = prusik(folder, &["chaos", task, "--schedules", "16", "--json"]);
    assert_eq!(sound.status.code(), Some(0), "{}", said(&sound));
    let report = &json_lines(&sound.stdout)[0];
    assert_eq!(report["schedules"], 16);
    assert!(report["kills"].as_u64().unwrap() >= 6, "{report}");
    assert!(!folder.join("ledger.jsonl").exists(), "the project itself is left alone");

    // Two equal payments are two payments. The contract says that they are one.
    let file = folder.join("prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (begin, end) =
        (text.find("    probe:\n").unwrap(), text.find("    # What reverses").unwrap());
    let lie = "  bank__pay:\n    effect: idempotent\n    key: call";
    let text = format!("{}{}", &text[..begin], &text[end..]);
    std::fs::write(&file, text.replace("  bank__pay:\n    effect: write", lie)).unwrap();
    let lying = prusik(folder, &["chaos", task, "--schedules", "16"]);
    assert_eq!(lying.status.code(), Some(1), "{}", said(&lying));
    let text = said(&lying);
    assert!(text.contains("ledger.jsonl") && text.contains("--schedules 1 --seed"), "{text}");
    // The seed that is named finds it again.
    let seed = text.rsplit("--seed ").next().unwrap().lines().next().unwrap();
    let again = prusik(folder, &["chaos", task, "--schedules", "1", "--seed", seed]);
    assert_eq!(again.status.code(), Some(1), "seed {seed}: {}", said(&again));
}

#[test]
fn what_cannot_be_tried_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder);
    let agent = folder.join("agents/clerk.md");
    let text = std::fs::read_to_string(&agent).unwrap();
    std::fs::write(&agent, text.replace("model: default", "model: anthropic")).unwrap();
    let live = prusik(folder, &["chaos", "Pay"]);
    assert_eq!(live.status.code(), Some(2), "{}", said(&live));
    assert!(said(&live).contains("live one"), "{}", said(&live));
}
