//! The organisation's policy while agents run: what it forbids, what it has people asked, and when.

use std::path::Path;

use serde_json::Value;

use crate::prusik::{copy, json_lines, prusik, said, write_files};

pub const READ: &str =
    "  - call: [{ tool: read, arguments: { path: invoices/INV-1041-harbour-paper.txt } }]\n";
const DONE: &str = "  - say: '=\"I was told: \" + results[0].text'\n";

/// Refuses payments above 500, and asks above 100.
const AMOUNTS: &str = r#"
@id("limit")
@tell("Nothing above 500.")
forbid (principal, action == Action::"bank__pay", resource)
when { context.args.amount.greaterThan(decimal("500.0")) };

@id("large")
@ask("Is this payment expected?")
forbid (principal, action == Action::"bank__pay", resource)
when { context.args.amount.greaterThan(decimal("100.0")) };
"#;

fn arguments(amount: &str) -> String {
    format!(
        "{{ reference: INV-1041, recipient: Harbour Paper Ltd, iban: GB72EXPL00999912345678, amount: '{amount}', \
         currency: EUR }}"
    )
}

fn pay(amount: &str) -> String {
    format!("  - call: [{{ tool: bank__pay, arguments: {} }}]\n", arguments(amount))
}

/// A copy of the example with a policy and another script; its clerk is not contained.
pub fn invoices(folder: &Path, policy: &str, turns: &[&str]) {
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/invoices")), folder);
    let agent = std::fs::read_to_string(folder.join("agents/clerk.md")).unwrap();
    let agent = agent.replace("model: default\n", "model: default\ncontainment: off\n");
    let script = format!("turns:\n{}", turns.concat());
    let files = [
        ("agents/clerk.md", agent.as_str()),
        ("scripts/clerk.yaml", &script),
        ("policy/pay.cedar", policy),
    ];
    write_files(folder, &files);
}

fn paid(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("ledger.jsonl")).unwrap_or_default().lines().count()
}

fn asked(folder: &Path) -> Value {
    json_lines(&prusik(folder, &["inbox", "--json"]).stdout).remove(0)
}

fn answer(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let asked = asked(folder);
    let (call, question) = (asked["call"].as_str().unwrap(), asked["question"].as_str().unwrap());
    let (word, rest) = arguments.split_first().unwrap();
    prusik(folder, &[&[*word, "last", call, "--question", question][..], rest].concat())
}

#[test]
fn a_payment_above_the_limit_is_denied_and_the_model_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder, AMOUNTS, &[&pay("500.01"), DONE]);
    let run = prusik(folder, &["run", "Pay"]);
    assert_eq!(run.status.code(), Some(1), "a call was denied: {}", said(&run));
    assert!(said(&run).contains("limit") && said(&run).contains("Nothing above 500."));
    assert_eq!(paid(folder), 0);
    let events = json_lines(&prusik(folder, &["events", "last", "--json"]).stdout);
    let adopted: Vec<_> =
        events.iter().filter(|e| e.to_string().contains("policy_adopted")).collect();
    assert_eq!(adopted.len(), 1, "which policy it was is in the journal");
}

#[test]
fn a_payment_is_denied_once_an_invoice_was_read() {
    const TAINTED: &str = r#"@id("clean hands") forbid (principal == Agent::"clerk", action, resource == Server::"bank")
        when { context.tainted && context.sources.contains("read") && context.effect == "write" };"#;
    for (turns, times) in [(vec![READ], 0), (vec![], 1)] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (pay, turns) = (pay("5.00"), turns);
        let turns: Vec<&str> = turns.into_iter().chain([pay.as_str(), DONE]).collect();
        invoices(folder, TAINTED, &turns);
        let run = prusik(folder, &["run", "Pay"]);
        assert_eq!(said(&run).contains("clean hands"), times == 0, "{}", said(&run));
        assert_eq!(paid(folder), times, "{}", said(&run));
    }
}

#[test]
fn a_question_of_the_policy_parks_and_a_yes_is_good_for_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder, AMOUNTS, &[&pay("184.20"), &pay("184.20"), DONE]);
    let run = prusik(folder, &["run", "Pay"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let shown = said(&prusik(folder, &["inbox"]));
    assert!(shown.contains("the policy `large` asks: Is this payment expected?"), "{shown}");
    assert_eq!(asked(folder)["policies"][0]["rule"], "large");
    let edited = |amount: &str| {
        let arguments = serde_json::json!({
            "reference": "INV-1041", "recipient": "Harbour Paper Ltd",
            "iban": "GB72EXPL00999912345678", "amount": amount, "currency": "EUR",
        });
        answer(folder, &["approve", "--arguments", &arguments.to_string()])
    };
    let refused = edited("900.00");
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("the organisation's policy limit forbids them"));
    assert!(answer(folder, &["approve"]).status.success());
    assert_eq!(paid(folder), 0, "an approval makes no call by itself");
    // The next one asks again.
    let resumed = prusik(folder, &["resume", "last"]);
    assert_eq!(resumed.status.code(), Some(3), "{}", said(&resumed));
    assert_eq!(paid(folder), 1);
    assert!(answer(folder, &["deny", "--reason", "once is enough"]).status.success());
    let resumed = prusik(folder, &["resume", "last"]);
    assert!(said(&resumed).contains("once is enough"), "{}", said(&resumed));
    assert_eq!(paid(folder), 1);
}

#[test]
fn what_cannot_be_evaluated_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // What is called money and is none, and a policy that looks at it.
    let number = r#"@id("number") forbid (principal, action == Action::"bank__pay", resource)
        when { context.args.reference.lessThan(decimal("1.0")) };"#;
    invoices(folder, number, &[&pay("5.00"), DONE]);
    let yaml = std::fs::read_to_string(folder.join("prusik.yaml")).unwrap();
    let yaml = yaml.replace("reference: closed", "reference: money");
    write_files(folder, &[("prusik.yaml", &yaml)]);
    let run = prusik(folder, &["run", "Pay"]);
    let told = said(&run);
    let expected = "It cannot be said that the organisation's policy `number` allows this call";
    assert!(told.contains(expected), "{told}");
    assert_eq!(paid(folder), 0);
}

#[test]
fn a_policy_that_was_tightened_while_a_run_waited_holds() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder, AMOUNTS, &[&pay("184.20"), DONE]);
    assert_eq!(prusik(folder, &["run", "Pay"]).status.code(), Some(3));
    assert!(answer(folder, &["approve"]).status.success());
    let closed = r#"@id("closed") @tell("No payments this week.")
        forbid (principal, action == Action::"bank__pay", resource);"#;
    write_files(folder, &[("policy/week.cedar", closed)]);
    let resumed = prusik(folder, &["resume", "last"]);
    assert!(said(&resumed).contains("No payments this week."), "{}", said(&resumed));
    assert_eq!(paid(folder), 0);
}

/// What is broken while a run waits stops it before it goes on, and does not keep it from being ended.
#[test]
fn a_policy_that_no_longer_fits_the_tools_stops_a_resume() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder, AMOUNTS, &[&pay("184.20"), DONE]);
    assert_eq!(prusik(folder, &["run", "Pay"]).status.code(), Some(3));
    let typo = "forbid (principal, action == Action::\"bank__pay\", resource) when { context.args.amuont == \"\" };";
    write_files(folder, &[("policy/typo.cedar", typo)]);
    for command in [&["resume", "last"][..], &["run", "Pay"]] {
        let output = prusik(folder, command);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("policy/typo.cedar:1:68:"), "{}", said(&output));
    }
    assert_eq!(answer(folder, &["approve"]).status.code(), Some(2));
    assert!(answer(folder, &["deny"]).status.success());
    assert!(prusik(folder, &["cancel", "last"]).status.success());
}

#[test]
fn a_broken_policy_stops_a_run_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (policy, said_of_it) in [
        ("forbid (principal, action, resource)\nwhen { ;", "policy/pay.cedar:2:8: unexpected"),
        (
            "\npermit (principal, action, resource);",
            "policy/pay.cedar:2:1: a policy can only narrow",
        ),
    ] {
        invoices(folder, policy, &[&pay("5.00"), DONE]);
        for command in [&["run", "Pay"][..], &["check"], &["lint"]] {
            let output = prusik(folder, command);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {}", said(&output));
            assert!(said(&output).contains(said_of_it), "{command:?}: {}", said(&output));
        }
    }
    std::fs::remove_dir_all(folder.join("policy")).unwrap();
    assert!(prusik(folder, &["runs", "--json"]).stdout.is_empty(), "no run was begun");
    // A folder in it is no place for policies, and must not look like one.
    write_files(folder, &[("policy/money/pay.cedar", AMOUNTS)]);
    let output = prusik(folder, &["run", "Pay"]);
    assert!(said(&output).contains("policy/money: is a folder"), "{}", said(&output));
}

#[test]
fn a_thousand_policies_hold_as_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rule = |i: usize| {
        format!(
            "@id(\"p{i}\") forbid (principal, action == Action::\"bank__pay\", resource)\n\
             when {{ context.args.iban == \"X{i}\" }};\n"
        )
    };
    let policies: String = (0..1_000).map(rule).collect::<String>() + AMOUNTS;
    invoices(folder, &policies, &[&pay("5.00"), &pay("600.00"), DONE]);
    let run = prusik(folder, &["run", "Pay"]);
    assert!(said(&run).contains("Nothing above 500."), "{}", said(&run));
    assert_eq!(paid(folder), 1);
}
