//! `prusik chaos`: it lets a sound project pass and finds a contract that lies.

use std::path::Path;

use crate::prusik::{copy, json_lines, prusik, prusik_command, said};

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

#[test]
fn effects_outside_of_a_copy_are_refused_without_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder);
    let elsewhere = tempfile::tempdir().unwrap();
    let ledger = elsewhere.path().join("ledger.jsonl");
    let file = folder.join("prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let told = text.replace("--ledger, ledger.jsonl", &format!("--ledger, {}", ledger.display()));
    assert_ne!(told, text);
    std::fs::write(&file, &told).unwrap();
    let arguments = ["chaos", "Pay all open invoices", "--schedules", "1"];
    let refused = prusik(folder, &arguments);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("ledger.jsonl`, which is not copied"), "{}", said(&refused));
    assert!(!ledger.exists());
    let wanted = prusik(folder, &[&arguments[..], &["--live-effects"]].concat());
    assert!(ledger.exists(), "{}", said(&wanted));
    std::fs::write(&file, text.replace("{ command: prusik,", "{ url: \"http://127.0.0.1:9/\" } #"))
        .unwrap();
    let refused = prusik(folder, &arguments);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("network"), "{}", said(&refused));
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_leaves_no_copies() {
    let folder = tempfile::tempdir().unwrap();
    let (project, tmp) = (folder.path().join("project"), folder.path().join("tmp"));
    invoices(&project);
    std::fs::create_dir(&tmp).unwrap();
    let arguments = ["chaos", "Pay all open invoices", "--schedules", "500"];
    let mut command = prusik_command(&project, &arguments);
    command.env("TMPDIR", &tmp).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let copies = || -> Vec<_> { std::fs::read_dir(&tmp).unwrap().flatten().collect() };
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let is_under_way = || {
        let of = copies().into_iter().flat_map(|base| std::fs::read_dir(base.path()).unwrap());
        of.flatten().any(|copy| copy.path().join("project/ledger.jsonl").exists())
    };
    while !is_under_way() {
        assert!(std::time::Instant::now() < end, "no run begins");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(copies().is_empty(), "{:?}", copies());
}

#[test]
fn a_project_with_nothing_left_to_do_is_not_called_proved() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    invoices(folder);
    let task = "Pay all open invoices";
    assert!(prusik(folder, &["run", task]).status.success());
    let chaos = prusik(folder, &["chaos", task, "--schedules", "2"]);
    let text = said(&chaos);
    assert!(text.contains("left nothing in the project's folder"), "{text}");
    assert!(!text.contains("no write landed twice"), "{text}");
}
