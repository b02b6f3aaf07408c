//! `prusik certify`: it finds each lie of a server that lies, and clears an honest one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::prusik::{copy, json_lines, prusik, prusik_with, said, wait_for, write_files};

const CONTRACTS: &str = r#"
servers:
  liar: { command: python3, args: [SCRIPT, "LIE"] }
tools:
  liar__look: { effect: read, timeout_ms: 10000, examples: [{ arguments: { name: Ann } }] }
  liar__stats: { effect: read, timeout_ms: 10000, empty: error }
  liar__find: { effect: read, timeout_ms: 10000 }
  liar__put: { effect: idempotent, key: { argument: key }, timeout_ms: 10000 }
  liar__note: { effect: idempotent, key: { meta: request }, timeout_ms: 10000 }
  liar__refund:
    effect: idempotent
    key: call
    timeout_ms: 10000
    examples:
      - after: [{ tool: liar__pay, arguments: { name: Ann, amount: 5 } }]
        arguments: { id: "=after[0].id" }
  liar__pay:
    effect: write
    timeout_ms: 10000
    probe:
      tool: liar__find
      arguments: { name: =args.name }
      landed: result.found
      result: result.entries[0]
    undo: { tool: liar__refund, arguments: { id: =result.id } }
    failures: { broke: {}, unknown: {} }
    examples:
      - arguments: { name: Ann, amount: 5 }
      - { arguments: { name: Ann, amount: 500 }, fails: broke }
      - { arguments: { name: nobody, amount: 5 }, fails: unknown }
"#;

/// The lies, the tools that are certified, and the claims that are found broken.
const LIES: [(&str, &[&str], &[&str]); 23] = [
    ("read-writes", &["look", "stats"], &["look read-changes-nothing"]),
    ("read-tells", &["look", "stats"], &["look read-changes-nothing"]),
    (
        "key-ignored",
        &["put"],
        &[
            "put repeat-lands-once",
            "put dropped-lands-once",
            "put cut-lands-once",
            "put overlap-lands-once",
        ],
    ),
    ("key-forgotten", &["put"], &["put cut-lands-once"]),
    ("key-cancelled", &["put"], &["put dropped-lands-once", "put cut-lands-once"]),
    ("key-race", &["put"], &["put overlap-lands-once"]),
    (
        "key-refused",
        &["put"],
        &[
            "put repeat-lands-once",
            "put dropped-lands-once",
            "put cut-lands-once",
            "put overlap-lands-once",
        ],
    ),
    (
        "meta-ignored",
        &["note"],
        &[
            "note repeat-lands-once",
            "note dropped-lands-once",
            "note cut-lands-once",
            "note overlap-lands-once",
        ],
    ),
    ("probe-always", &["pay", "find"], &["pay probe-sees-nothing"]),
    ("probe-never", &["pay", "find"], &["pay probe-sees-landed", "pay probe-sees-lost"]),
    ("probe-wrong", &["pay", "find"], &["pay probe-gives-result"]),
    ("probe-forgets", &["pay", "find"], &["pay probe-sees-lost"]),
    ("undo-nothing", &["pay", "refund"], &["pay undo-reverses"]),
    ("failure-success", &["pay"], &["pay failure-as-declared unknown"]),
    ("failure-undeclared", &["pay"], &["pay failure-as-declared unknown"]),
    ("failure-lands", &["pay"], &["pay failure-lands-nothing broke"]),
    ("output-unfit", &["look"], &["look result-as-declared"]),
    ("output-empty", &["stats"], &["stats result-as-declared"]),
    ("slow", &["look"], &["look answers-in-time"]),
    ("garbage-dies", &["put"], &["put survives-garbage"]),
    ("garbage-hangs", &["look"], &["look survives-garbage"]),
    ("garbage-lands", &["put"], &["put garbage-lands-nothing"]),
    ("garbage-accepted", &["stats"], &["stats refuses-garbage"]),
];

fn liar(folder: &Path, lie: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/liar.py");
    let mut text = CONTRACTS.replace("SCRIPT", script).replace("LIE", lie);
    // Nobody waits ten seconds for what never comes.
    if matches!(lie, "slow" | "garbage-hangs") {
        text = text.replace(
            "look: { effect: read, timeout_ms: 10000",
            "look: { effect: read, timeout_ms: 1500",
        );
    }
    write_files(folder, &[("prusik.yaml", &text)]);
}

/// Certifies and returns what `--json` prints, with the exit code.
fn certified(folder: &Path, names: &[&str]) -> (Vec<Value>, Option<i32>) {
    let arguments: Vec<&str> = ["certify", "--json"].iter().chain(names).copied().collect();
    let output = prusik(folder, &arguments);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    (json_lines(&output.stdout), output.status.code())
}

fn of_verdict(lines: &[Value], verdict: &str) -> BTreeSet<String> {
    let of = lines.iter().filter(|line| line["verdict"] == verdict);
    of.map(|line| {
        let tool = line["tool"].as_str().unwrap().split_once("__").unwrap().1;
        let kind = line["kind"].as_str().map_or(String::new(), |kind| format!(" {kind}"));
        format!("{tool} {}{kind}", line["claim"].as_str().unwrap())
    })
    .collect()
}

fn finds(lies: &[(&str, &[&str], &[&str])]) {
    for (lie, tools, claims) in lies {
        let folder = tempfile::tempdir().unwrap();
        liar(folder.path(), lie);
        let names: Vec<String> = tools.iter().map(|tool| format!("liar__{tool}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (lines, code) = certified(folder.path(), &names);
        let expected: BTreeSet<String> = claims.iter().map(|claim| (*claim).to_owned()).collect();
        assert_eq!(of_verdict(&lines, "lie"), expected, "{lie}: {lines:#?}");
        assert_eq!(code, Some(1), "{lie}");
        for line in lines.iter().filter(|line| line["verdict"] == "lie") {
            assert!(!line["evidence"].as_array().unwrap().is_empty(), "{lie}: {line}");
        }
        assert!(!folder.path().join("ledger.jsonl").exists(), "{lie}: only copies are worked in");
    }
}

#[test]
fn lies_about_reads_and_probes_are_found() {
    finds(&LIES[..2]);
    finds(&LIES[8..12]);
}

#[test]
fn lies_about_keys_are_found() {
    finds(&LIES[2..8]);
}

#[test]
fn lies_about_undo_failures_and_answers_are_found() {
    finds(&LIES[12..19]);
}

#[test]
fn lies_about_garbage_are_found() {
    finds(&LIES[19..]);
}

#[test]
fn an_honest_server_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    liar(folder.path(), "");
    let (lines, code) = certified(folder.path(), &["liar"]);
    assert_eq!(code, Some(0), "{lines:#?}");
    let untested = of_verdict(&lines, "untested");
    assert!(untested.is_empty(), "{untested:?}");
    let summary = lines.last().unwrap();
    assert_eq!(summary["holds"].as_u64().unwrap(), lines.len() as u64 - 1);
    assert_eq!((&summary["lies"], &summary["tools"]), (&0.into(), &7.into()));
}

#[test]
fn the_demo_bank_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/invoices")), folder.path());
    let page = folder.path().join("report.md");
    let (lines, code) = certified(folder.path(), &["bank", "--report", page.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{lines:#?}");
    // Nobody else holds the ledger while it is certified.
    let untested: BTreeSet<String> =
        ["pay failure-as-declared ledger_busy", "pay failure-lands-nothing ledger_busy"]
            .map(str::to_owned)
            .into();
    assert_eq!(of_verdict(&lines, "untested"), untested);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("## `bank__pay` (write)") && !page.contains("**lie**"), "{page}");
    assert!(!folder.path().join("ledger.jsonl").exists());
}

#[test]
fn an_official_server_keeps_what_its_documentation_says() {
    let modules =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.setup/node/node_modules"));
    assert!(modules.is_dir(), "run `cargo xtask setup`");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::os::unix::fs::symlink(modules.canonicalize().unwrap(), folder.join("node_modules"))
        .unwrap();
    let contracts = r#"
servers:
  files: { command: node, args: [node_modules/@modelcontextprotocol/server-filesystem/dist/index.js, data] }
tools:
  files__read_text_file: { effect: read, timeout_ms: 20000, examples: [{ arguments: { path: notes.txt } }] }
  files__get_file_info: { effect: read, timeout_ms: 20000, examples: [{ arguments: { path: notes.txt } }] }
  files__write_file:
    effect: EFFECT
    timeout_ms: 20000
    failures: { outside: { matches: Access denied } }
    examples:
      - arguments: { path: new.txt, content: "three\n" }
      - { fails: outside, arguments: { path: ../outside.txt, content: "x\n" } }
"#;
    let honest = contracts.replace("EFFECT", "idempotent\n    key: call");
    write_files(folder, &[("prusik.yaml", &honest), ("data/notes.txt", "one\ntwo\n")]);
    let names = ["files__read_text_file", "files__get_file_info", "files__write_file"];
    let (lines, code) = certified(folder, &names);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(of_verdict(&lines, "untested").is_empty(), "{lines:#?}");
    // The same server under a contract that says more than it does.
    write_files(folder, &[("prusik.yaml", &contracts.replace("EFFECT", "read"))]);
    let (lines, code) = certified(folder, &["files__write_file"]);
    assert_eq!(code, Some(1));
    let expected = BTreeSet::from(["write_file read-changes-nothing".to_owned()]);
    assert_eq!(of_verdict(&lines, "lie"), expected, "{lines:#?}");
}

#[test]
fn a_rule_of_the_project_is_kept_and_a_log_may_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    liar(folder, "read-writes");
    let (lines, code) = certified(folder, &["liar__look", "--ignore", "cache"]);
    assert_eq!(code, Some(0), "{lines:#?}");
    let file = folder.join("prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let rule = "  liar__put:\n    deny: { never: { when: \"true\", tell: no } }\n    effect: idempotent\n    \
                key: { argument: key }\n";
    let put = text.lines().find(|line| line.starts_with("  liar__put:")).unwrap().to_owned() + "\n";
    std::fs::write(&file, text.replace(&put, rule)).unwrap();
    let (lines, code) = certified(folder, &["liar__put"]);
    // Where nothing was tested, nothing is known to be sound.
    assert_eq!(code, Some(1), "{lines:#?}");
    for line in &lines[..lines.len() - 1] {
        assert_eq!(line["verdict"], "untested", "{line}");
        assert!(line["says"].as_str().unwrap().contains("rule `never`"), "{line}");
    }
}

/// A server over HTTP, which ends with the test.
struct Served(std::process::Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_live_server_is_certified_when_its_effects_are_wanted() {
    for (lie, lies) in [
        ("", &[][..]),
        ("key-ignored", &["repeat-lands-once", "dropped-lands-once", "cut-lands-once"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/liar.py");
        let mut command = std::process::Command::new("python3");
        let _served = Served(
            command.args([script, lie, "address"]).current_dir(folder).spawn().expect("it starts"),
        );
        wait_for(&folder.join("address"));
        let url = std::fs::read_to_string(folder.join("address")).unwrap();
        let project = folder.join("project");
        let text =
            CONTRACTS.replace("{ command: python3, args: [SCRIPT, \"LIE\"] }", "{ url: URL }");
        write_files(&project, &[("prusik.yaml", &text.replace("URL", &url))]);
        let names = ["liar__put", "liar__stats", "--live-effects"];
        let (lines, _) = certified(&project, &names);
        let expected = lies.iter().map(|claim| format!("put {claim}")).collect();
        assert_eq!(of_verdict(&lines, "lie"), expected, "{lie}: {lines:#?}");
        // There is no fresh world to compare it with.
        let untested = BTreeSet::from(["put overlap-lands-once".to_owned()]);
        assert_eq!(of_verdict(&lines, "untested"), untested, "{lie}: {lines:#?}");
        assert!(folder.join("ledger.jsonl").exists());
    }
}

/// Certifies with a home in which the liar writes down its calls; returns the names that it heard.
fn heard(folder: &Path, arguments: &[&str]) -> (String, BTreeSet<String>) {
    let home = tempfile::tempdir().unwrap();
    let calls = home.path().join("calls.jsonl");
    std::fs::write(&calls, "").unwrap();
    let output = prusik_with(folder, arguments, &[("HOME", home.path().to_str().unwrap())]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let names = json_lines(&std::fs::read(&calls).unwrap());
    (said(&output), names.iter().map(|name| name.as_str().unwrap().to_owned()).collect())
}

#[test]
fn only_what_is_named_is_called() {
    let folder = tempfile::tempdir().unwrap();
    liar(folder.path(), "");
    let (text, calls) = heard(folder.path(), &["certify", "liar__pay"]);
    assert!(text.contains("calling liar__pay, and no other tool"), "{text}");
    for other in ["liar__find", "liar__refund"] {
        assert!(text.contains(&format!("it needs `{other}`, which was not named")), "{text}");
    }
    // Among the garbage is a tool that no server has.
    let known = ["look", "stats", "find", "put", "note", "pay", "refund"];
    let made = |calls: &BTreeSet<String>| -> Vec<String> {
        calls.iter().filter(|name| known.contains(&name.as_str())).cloned().collect()
    };
    assert_eq!(made(&calls), ["pay"], "{calls:?}");
    let (_, calls) = heard(folder.path(), &["certify", "liar__pay", "liar__find"]);
    assert_eq!(made(&calls), ["find", "pay"], "{calls:?}");
}

#[test]
fn what_cannot_be_contained_or_does_not_fit_is_refused() {
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().to_str().unwrap();
    let tool = |text: &str| format!("servers:\n  s: {{ command: sleep }}\ntools:\n  s__t:\n{text}");
    let server = |text: &str| format!("servers:\n  s: {text}\n");
    let example = "    failures: { full: {} }\n    examples:\n      - fails: ful\n";
    let setup = "    examples:\n      - after: [{ tool: x__t }]\n";
    let key = "    effect: idempotent\n    key: { argument: k }\n    examples: [{ arguments: { k: a } }]\n";
    for (file, code, expected) in [
        (server("{ url: \"http://127.0.0.1:9/mcp\" }"), 2, "--live-effects"),
        (server(&format!("{{ command: sleep, args: [{elsewhere}] }}")), 2, "--live-effects"),
        (server("{ command: sleep, env: { KEY: env:PATH } }"), 2, "--live-effects"),
        (server("{ command: no-such-program }"), 4, "no-such-program"),
        (tool(example), 2, "prusik.yaml:7:16: the tool declares no failure `ful`"),
        (tool(setup), 2, "there is no server `x`"),
        (tool(key), 2, "`k` is the key"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &[("prusik.yaml", &file)]);
        let output = prusik(folder.path(), &["certify", "s"]);
        assert_eq!(output.status.code(), Some(code), "{file}: {}", said(&output));
        assert!(said(&output).contains(expected), "{file}: {}", said(&output));
    }
    let folder = tempfile::tempdir().unwrap();
    liar(folder.path(), "");
    for (name, expected) in
        [("lair", "did you mean `liar`?"), ("liar__pai", "did you mean `liar__pay`?")]
    {
        let output = prusik(folder.path(), &["certify", name]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(expected), "{}", said(&output));
    }
    // An example that its own schema forbids is a mistake of the project, with its place.
    let file = folder.path().join("prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("[{ arguments: { name: Ann } }]", "[{ arguments: { name: 5 } }]"),
    )
    .unwrap();
    let output = prusik(folder.path(), &["certify", "liar"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("prusik.yaml:5:") && text.contains("`liar__look`"), "{text}");
}
