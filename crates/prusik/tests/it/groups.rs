//! Calls that take together or not at all, on the built binary.

use std::path::Path;

use crate::prusik::{json_lines, prusik, prusik_with, said, write_files};

/// A shop whose ledger holds a line for each reservation and each mail. A reservation can be released;
/// a mail is out. Nobody can be written to who is called `nobody`.
const SHOP: &str = r#"
import json, os, sys
def lines():
    if not os.path.exists("ledger"): return []
    return open("ledger").read().splitlines()
def write(lines):
    with open("ledger.new", "w") as ledger:
        ledger.write("".join(line + "\n" for line in lines))
    os.replace("ledger.new", "ledger")
def call(tool, name):
    if tool == "find": return {"found": "reserved " + name in lines(), "name": name}
    if tool == "sent": return {"found": "mail " + name in lines(), "name": name}
    if tool == "reserve": write(lines() + ["reserved " + name])
    if tool == "release": write([line for line in lines() if line != "reserved " + name])
    if tool == "mail":
        if name == "nobody": raise ValueError("no_such_address: " + name)
        write(lines() + ["mail " + name])
    return {"name": name}
schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
names = ["find", "sent", "reserve", "release", "mail"]
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request: continue
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "shop", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": n, "description": "Does " + n + ".", "inputSchema": schema} for n in names]}
    else:
        try:
            value = call(params["name"], params["arguments"]["name"])
            result = {"content": [], "structuredContent": value}
        except ValueError as error:
            result = {"content": [{"type": "text", "text": str(error)}], "isError": True}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"#;

const CONFIG: &str = "
models:
  default: { provider: scripted, script: script.yaml }
servers:
  shop: { command: python3, args: [shop.py] }
tools:
  shop__find: { effect: read }
  shop__sent: { effect: read }
  shop__release: { effect: idempotent, key: call }
  shop__reserve:
    effect: write
    undo: { tool: shop__release, arguments: { name: =args.name } }
    probe: { tool: shop__find, arguments: { name: =args.name }, landed: result.found, wait_ms: 0 }
  shop__mail:
    effect: write
    probe: { tool: shop__sent, arguments: { name: =args.name }, landed: result.found, wait_ms: 0 }
    failures: { no_such_address: {} }
groups:
  order: { tools: [shop__reserve, shop__mail] }
";

const AGENT: &str = "---\nname: main\ndescription: Orders.\ntools: [shop__reserve, shop__mail]\n\
     containment: off\n---\nOrder.\n";

/// Reserves two seats and writes to the guests, one answer for each word of `then`.
fn project(folder: &Path, guests: &[&str], then: &[&str]) {
    let call = |tool: &str, name: &str| format!("{{tool: {tool}, arguments: {{name: {name}}}}}");
    let mut turns = vec![format!(
        "{{call: [{}, {}]}}",
        call("shop__reserve", "a1"),
        call("shop__reserve", "a2")
    )];
    let mails: Vec<String> = guests.iter().map(|guest| call("shop__mail", guest)).collect();
    turns.push(format!("{{call: [{}]}}", mails.join(", ")));
    turns.extend(then.iter().map(|word| match *word {
        "commit" | "undo" => {
            format!("{{call: [{{tool: {word}_group, arguments: {{group: order}}}}]}}")
        }
        say => format!("{{say: {say}}}"),
    }));
    let script = format!("turns: [{}]", turns.join(", "));
    write_files(
        folder,
        &[
            ("prusik.yaml", CONFIG),
            ("agents/main.md", AGENT),
            ("script.yaml", &script),
            ("shop.py", SHOP),
        ],
    );
}

fn ledger(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("ledger")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn status(folder: &Path) -> String {
    let rows = prusik(folder, &["runs", "--json"]);
    let rows = json_lines(&rows.stdout);
    rows.first().map_or("none".to_owned(), |row| row["status"].as_str().unwrap().to_owned())
}

const WHOLE: [&str; 4] = ["reserved a1", "reserved a2", "mail ann", "mail bob"];

#[test]
fn a_group_takes_as_a_whole_and_what_cannot_be_undone_comes_last() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &["ann", "bob"], &["commit", "Done."]);
    let run = prusik(folder, &["run", "Order."]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert_eq!(ledger(folder), WHOLE);
    let text = said(&run);
    assert!(text.contains("waits for group order"), "{text}");
    assert!(text.contains("group order is committed; 2 calls waited for that"), "{text}");
}

#[test]
fn a_group_that_cannot_take_as_a_whole_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &["nobody", "ann"], &["commit", "It did not work."]);
    let run = prusik(folder, &["run", "Order."]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert_eq!(ledger(folder), Vec::<String>::new());
    assert_eq!(status(folder), "completed_with_failures");
    let text = said(&run);
    assert!(text.contains("group order is undone: call 2.1 could not be made"), "{text}");
    assert!(text.contains("group_undone"), "{text}");
}

#[test]
fn what_was_sent_before_the_failure_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &["ann", "nobody"], &["commit", "It did not work."]);
    let run = prusik(folder, &["run", "Order."]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert_eq!(ledger(folder), ["mail ann"]);
    assert!(said(&run).contains("shop__mail stays: it was made"), "{}", said(&run));
}

#[test]
fn the_end_of_a_run_undoes_what_it_left_open() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &["ann"], &["Done.", "Done.", "Done."]);
    let run = prusik(folder, &["run", "Order."]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("left order open"), "{}", said(&run));
    assert_eq!(ledger(folder), Vec::<String>::new());
    assert_eq!(status(folder), "failed");

    // The script has no third turn, so that the run waits; then a person gives it up.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &["ann"], &[]);
    let run = prusik(folder, &["run", "Order."]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert_eq!(ledger(folder), ["reserved a1", "reserved a2"]);
    let cancelled = prusik(folder, &["cancel", "last"]);
    assert_eq!(status(folder), "cancelled", "{}", said(&cancelled));
    assert_eq!(ledger(folder), Vec::<String>::new());
}

#[test]
fn a_group_is_whole_or_gone_wherever_the_run_is_killed() {
    for (guests, end) in [(["ann", "bob"], &WHOLE[..]), (["nobody", "ann"], &[])] {
        let mut points = 0;
        for append in 1.. {
            let mut died = false;
            for when in ["before", "after"] {
                let point = format!("{when}:{append}");
                let folder = tempfile::tempdir().unwrap();
                let folder = folder.path();
                project(folder, &guests, &["commit", "That is all."]);
                let env = [("PRUSIK_CRASH", point.as_str())];
                let killed = prusik_with(folder, &["run", "Order."], &env);
                if killed.status.code().is_some() {
                    continue;
                }
                died = true;
                points += 1;
                if status(folder) == "none" {
                    continue;
                }
                prusik(folder, &["resume", "last"]);
                let shown = prusik(folder, &["show", "last"]);
                assert_eq!(ledger(folder), end, "{point}: {}", said(&shown));
                assert!(status(folder).starts_with("completed"), "{point}: {}", said(&shown));
                let verified = prusik(folder, &["events", "last", "--verify"]);
                assert!(verified.status.success(), "{point}: {}", said(&verified));
            }
            if !died {
                break;
            }
        }
        assert!(points >= 14, "only {points} points");
    }
}

#[test]
fn mistakes_in_groups_are_told_with_their_place() {
    for (groups, told) in [
        ("order: { tools: [] }", "holds no tools"),
        ("order: { tools: [shop__find] }", "`shop__find` is a read"),
        ("a: { tools: [shop__mail] }\n  b: { tools: [shop__mail] }", "prusik.yaml:20:"),
        ("order: { tools: [shop__male] }", "shop__mail"),
        ("order: { tools: [shoq__mail] }", "there is no server `shoq`"),
        ("'o r': { tools: [shop__mail] }", "cannot be the name of a group"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        project(folder, &["ann"], &["commit", "Done."]);
        let (head, _) = CONFIG.split_once("groups:\n").unwrap();
        write_files(folder, &[("prusik.yaml", &format!("{head}groups:\n  {groups}\n"))]);
        let run = prusik(folder, &["run", "Order."]);
        assert_eq!(run.status.code(), Some(2), "{groups}: {}", said(&run));
        let text = said(&run);
        let line = if told.ends_with("20:") { 20 } else { 19 };
        assert!(text.contains(told) && text.contains(&format!("prusik.yaml:{line}:")), "{text}");
    }
}
