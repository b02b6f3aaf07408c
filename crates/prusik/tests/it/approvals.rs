//! What a model may do once it has read an invoice, and what a person is asked.

use std::path::Path;

use serde_json::Value;

use crate::prusik::{copy, json_lines, prusik, said, write_files};

const READ: &str =
    "  - call: [{ tool: read, arguments: { path: invoices/INV-1041-harbour-paper.txt } }]\n";
const PAY: &str = "  - call: [{ tool: bank__pay, arguments: { reference: INV-1041, recipient: \
                   Harbour Paper Ltd, iban: GB72EXPL00999912345678, amount: '184.20', currency: EUR } }]\n";
/// What an invoice would like to have paid.
const STEAL: &str = "  - call: [{ tool: bank__pay, arguments: { reference: INV-1041, recipient: \
                     Eve, iban: DE50999900000012345678, amount: '184.20', currency: EUR } }]\n";

/// A copy of the example with another script.
fn invoices(folder: &Path, turns: &[&str]) {
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/invoices")), folder);
    // Who the suppliers are is for the plan or a person to say.
    let agent = folder.join("agents/clerk.md");
    let text = std::fs::read_to_string(&agent).unwrap();
    let text: Vec<&str> = text.lines().filter(|line| !line.starts_with('|')).collect();
    std::fs::write(&agent, text.join("\n")).unwrap();
    write_files(folder, &[("scripts/clerk.yaml", &format!("turns:\n{}", turns.concat()))]);
}

fn plan(writes: &str) -> String {
    format!("  - call: [{{ tool: plan, arguments: {{ reads: [read], writes: [{writes}] }} }}]\n")
}

fn ledger(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap_or_default()
}

fn inbox(folder: &Path) -> Vec<Value> {
    json_lines(&prusik(folder, &["inbox", "--json"]).stdout)
}

#[test]
fn a_payment_that_nobody_planned_is_asked_about_and_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder, &[READ, PAY, "  - say: Paid.\n"]);
    let run = prusik(folder, &["run", "Pay the open invoices"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("inbox shows what is asked"), "{}", said(&run));
    assert_eq!(ledger(folder), "");
    let shown = said(&prusik(folder, &["inbox"]));
    for expected in [
        "bank__pay (write, can be undone)",
        "iban: \"GB72EXPL00999912345678\"",
        "first seen in what read returned (call 1.1)",
        "the model has read what is untrusted (read)",
        "approve",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let asked = inbox(folder).remove(0);
    let (call, question) = (asked["call"].as_str().unwrap(), asked["question"].as_str().unwrap());
    let other = "0".repeat(question.len());
    for (arguments, expected) in [
        (&["approve", "last", call, "--question", &other][..], "not what you were shown"),
        (&["approve", "last", "9.1", "--question", question], "nobody is asked about call 9.1"),
        (&["approve", "last", call, "--question", "x"], "names no question"),
        (&["approve", "last", call, "--question", question, "--arguments", "{"], "is not JSON"),
        (&["approve", "last", call, "--question", question, "--arguments", "{}"], "does not take"),
        (&["resume", "last"], "waits for an approval"),
    ] {
        let output = prusik(folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
    let approved = prusik(folder, &["approve", "last", call, "--question", question]);
    assert!(approved.status.success(), "{}", said(&approved));
    assert!(said(&approved).contains("next: prusik resume"), "{}", said(&approved));
    assert_eq!(ledger(folder), "", "an approval makes no call by itself");
    let again = prusik(folder, &["deny", "last", call, "--question", question]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    let resumed = prusik(folder, &["resume", "last"]);
    assert!(resumed.status.success(), "{}", said(&resumed));
    assert_eq!(ledger(folder).lines().count(), 1);
    assert!(inbox(folder).is_empty());
    assert!(said(&prusik(folder, &["inbox"])).contains("nothing waits"));
}

#[test]
fn a_denied_payment_is_not_made_and_the_model_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let says = "  - say: '=\"I was told: \" + results[0].text'\n";
    invoices(folder, &[READ, PAY, says]);
    prusik(folder, &["run", "Pay the open invoices"]);
    let asked = inbox(folder).remove(0);
    let (call, question) = (asked["call"].as_str().unwrap(), asked["question"].as_str().unwrap());
    let denied = ["deny", "last", call, "--question", question, "--reason", "not this month"];
    assert!(prusik(folder, &denied).status.success());
    let resumed = prusik(folder, &["resume", "last"]);
    assert!(said(&resumed).contains("not this month"), "{}", said(&resumed));
    assert_eq!(ledger(folder), "");
}

#[test]
fn what_was_planned_is_paid_and_what_the_invoice_asks_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let planned = plan(
        "{ tool: bank__pay, arguments: { reference: { pinned: INV-1041 }, recipient: { pinned: \
         Harbour Paper Ltd }, iban: { pinned: GB72EXPL00999912345678 }, amount: { hole: money }, \
         currency: { pinned: EUR } } }",
    );
    invoices(folder, &[&planned, READ, STEAL, PAY, PAY, "  - say: Paid once.\n"]);
    let run = prusik(folder, &["run", "Pay INV-1041 of Harbour Paper"]);
    let told = said(&run);
    assert_eq!(run.status.code(), Some(0), "what was contained is no failure: {told}");
    assert_eq!(told.matches("  contained: call").count(), 2, "{told}");
    let ledger = ledger(folder);
    assert_eq!(ledger.lines().count(), 1, "{ledger}");
    assert!(ledger.contains("GB72EXPL00999912345678"), "{ledger}");
    let shown = said(&prusik(folder, &["show", "last"]));
    assert!(shown.contains("plan: 1 calls, and reads with read"), "{shown}");
}
