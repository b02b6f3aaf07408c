//! The demo: killed in the middle of a payment, and each invoice paid exactly once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The invoices of the example.
const REFERENCES: [&str; 5] = ["INV-1041", "INV-1042", "INV-1043", "INV-1044", "INV-1045"];

fn prusik(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prusik"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns how often each reference stands in the bank's ledger.
fn booked(project: &Path) -> BTreeMap<String, usize> {
    let ledger = std::fs::read_to_string(project.join("ledger.jsonl")).unwrap();
    let mut times = BTreeMap::new();
    for line in ledger.lines() {
        let payment: Value = serde_json::from_str(line).unwrap();
        *times.entry(payment["reference"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    times
}

fn once() -> BTreeMap<String, usize> {
    REFERENCES.iter().map(|reference| ((*reference).to_owned(), 1)).collect()
}

#[test]
fn the_demo_pays_each_invoice_once_although_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let told = prusik(folder.path(), &["demo"]);
    let story = text(&told.stdout);
    let said = format!("{story}\n{}", text(&told.stderr));
    assert_eq!(told.status.code(), Some(0), "{said}");
    let project = folder.path().join("prusik-demo");
    assert_eq!(booked(&project), once(), "{said}");

    let (_, table) = story.split_once("times paid").unwrap_or_else(|| panic!("no table: {said}"));
    for (reference, amount) in
        REFERENCES.iter().zip(["184.20", "59.00", "1260.50", "320.00", "77.90"])
    {
        let row = table.lines().find(|line| line.trim_start().starts_with(reference));
        let row = row.unwrap_or_else(|| panic!("no row of {reference}: {said}"));
        assert!(row.contains(&format!("{amount} EUR")) && row.ends_with("1 ✓"), "{row}");
    }
    for part in [
        "hidden in INV-1044          9999.00 EUR           0 ✓",
        "signal: 9 (SIGKILL)",
        "bank__pay INV-1043  started, outcome unknown",
        "the probe says: it landed",
        "intact",
        "new my-agent",
    ] {
        assert!(story.contains(part), "{part:?} is missing: {said}");
    }
    assert!(!story.contains('\u{1b}'), "no colours in a file: {said}");
    assert!(!project.join("ledger.jsonl.stalled").exists());

    // What the story recommends next: the clerk sees that nothing is open.
    let again = prusik(folder.path(), &["-C", "prusik-demo", "run", "Pay all open invoices"]);
    let said = text(&again.stdout);
    assert_eq!(again.status.code(), Some(0), "{said}{}", text(&again.stderr));
    assert!(said.contains("All five invoices are paid already"), "{said}");
    assert_eq!(booked(&project), once());
}

#[test]
fn the_demo_writes_over_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("prusik.yaml"), "mine").unwrap();
    let refused = prusik(folder.path(), &["demo", "mine"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("mine is there already") && said.contains("prusik demo DIR"), "{said}");
    assert_eq!(std::fs::read_to_string(mine.join("prusik.yaml")).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(&mine).unwrap().count(), 1);
}

#[test]
fn an_uninterrupted_run_of_the_example_pays_each_invoice_once() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/invoices");
    let folder = tempfile::tempdir().unwrap();
    copy(&example, folder.path());
    let run = prusik(folder.path(), &["run", "Pay all open invoices"]);
    let said = format!("{}{}", text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(said.contains("The balance is 23098.40 EUR"), "{said}");
    assert_eq!(booked(folder.path()), once());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let left_by_runs = name == ".prusik" || name.to_string_lossy().starts_with("ledger.jsonl");
        if left_by_runs {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
