//! The organisation's policy before anything runs: `prusik policy check` and `prusik policy schema`.

use std::path::Path;

use crate::policy::{READ, invoices};
use crate::prusik::{json_lines, prusik, said, write_files};

/// A project whose lock knows the bank's tools.
fn locked(folder: &Path, policy: &str) {
    invoices(folder, policy, &[READ, "  - say: Done.\n"]);
    let lock = prusik(folder, &["lock"]);
    assert!(lock.status.success(), "{}", said(&lock));
    // Nothing may be started from here on.
    let yaml = std::fs::read_to_string(folder.join("prusik.yaml")).unwrap();
    let yaml = yaml.replace("command: prusik", "command: there-is-no-such-program");
    write_files(folder, &[("prusik.yaml", &yaml)]);
}

#[test]
fn a_sound_policy_passes_and_the_schema_says_what_it_may_speak_of() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    locked(
        folder,
        r#"@id("limit") forbid (principal == Agent::"clerk", action == Action::"bank__pay", resource == Server::"bank")
           when { context.args.amount.greaterThan(decimal("500.0")) };"#,
    );
    let checked = prusik(folder, &["policy", "check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert_eq!(String::from_utf8_lossy(&checked.stdout), "1 policies: 0 errors, 0 warnings\n");
    let schema = prusik(folder, &["policy", "schema"]);
    let text = String::from_utf8_lossy(&schema.stdout);
    for expected in ["action \"bank__pay\"", "amount: __cedar::decimal", "Agent enum [\"clerk\"]"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    std::fs::remove_dir_all(folder.join("policy")).unwrap();
    let checked = prusik(folder, &["policy", "check"]);
    assert!(checked.status.success() && said(&checked).contains("there are no policies"));
}

#[test]
fn mistakes_are_told_with_place_words_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    locked(folder, "");
    for (policy, said_of_it, help) in [
        (
            "forbid (principal, action == Action::\"bank__pya\", resource);",
            "policy/pay.cedar:1:30: error there is no tool `bank__pya`\n  Action::\"bank__pya\"",
            "did you mean `bank__pay`?",
        ),
        (
            "forbid (principal, action == Action::\"b\u{430}nk__pay\", resource);",
            "there is no tool `b\\u{430}nk__pay`",
            "did you mean `bank__pay`, in plain letters?",
        ),
        (
            "forbid (principal == Agent::\"clark\", action, resource);",
            "policy/pay.cedar:1:22: error there is no agent `clark`",
            "did you mean `clerk`?",
        ),
        (
            "@id(\"x\")\nforbid (principal, action == Action::\"bank__pay\", resource)\n\
             when { context.args.amount == 5 };",
            "policy/pay.cedar:3:8: error",
            "",
        ),
        (
            "forbid (principal, action == Action::\"bank__pay\", resource)\n when { false };",
            "warning it can never apply",
            "policy schema",
        ),
        ("permit (principal, action, resource);", "a policy can only narrow", "unless"),
        ("forbid (principal, action,", "policy/pay.cedar:1:27: error", ""),
    ] {
        write_files(folder, &[("policy/pay.cedar", policy)]);
        let checked = prusik(folder, &["policy", "check"]);
        let told = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(1), "{policy}: {}", said(&checked));
        assert!(told.contains(said_of_it) && told.contains(help), "{policy}: {told}");
        assert!(!told.contains('\u{430}') || told.contains("\\u{430}"), "{told}");
        let checked = prusik(folder, &["policy", "check", "--json"]);
        let lines = json_lines(&checked.stdout);
        let (last, findings) = lines.split_last().unwrap();
        assert_eq!(last["findings"], findings.len());
        assert_eq!(findings[0]["finding"]["file"], "policy/pay.cedar");
        assert!(findings[0]["finding"]["line"].as_u64().is_some_and(|line| line > 0));
    }
}

/// Without the lock nobody knows the tools, and nothing is started to ask them.
#[test]
fn without_a_lock_there_is_nothing_to_check_against() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    locked(folder, "forbid (principal, action, resource) when { context.tainted };");
    std::fs::remove_file(folder.join("prusik.lock")).unwrap();
    let checked = prusik(folder, &["policy", "check"]);
    assert_eq!(checked.status.code(), Some(2), "{}", said(&checked));
    assert!(said(&checked).contains("`prusik lock` asks the servers"), "{}", said(&checked));
}

/// A lock tells a run which tools a policy may name, whatever its agent holds.
#[test]
fn a_run_is_not_begun_under_a_policy_of_a_tool_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder, "", &[READ, "  - say: Done.\n"]);
    assert!(prusik(folder, &["lock"]).status.success());
    let of = |tool: &str| {
        let policy = format!("forbid (principal, action == Action::\"{tool}\", resource);");
        write_files(folder, &[("policy/pay.cedar", &policy)]);
        prusik(folder, &["run", "Read"])
    };
    let run = of("bank__cancel_paymnet");
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(said(&run).contains("did you mean `bank__cancel_payment`?"), "{}", said(&run));
    // The clerk does not hold this one, and may well.
    assert!(of("bank__cancel_payment").status.success());
}
