//! `prusik certify` harms nothing that is real, leaves nothing behind, and claims nothing unseen.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::prusik::{json_lines, prusik, prusik_command, said, wait_for, write_files};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/liar.py");

fn verdict(lines: &[Value], tool: &str, claim: &str) -> (String, String) {
    let line = lines.iter().find(|line| line["tool"] == tool && line["claim"] == claim);
    let line = line.unwrap_or_else(|| panic!("{tool} {claim}: {lines:#?}"));
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    (text("verdict"), text("says"))
}

fn certified(folder: &Path, names: &[&str]) -> (Vec<Value>, Option<i32>) {
    let arguments: Vec<&str> = ["certify", "--json"].iter().chain(names).copied().collect();
    let output = prusik(folder, &arguments);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", said(&output));
    (json_lines(&output.stdout), output.status.code())
}

/// A server keeps its data among its own files, in the folder of packages.
#[test]
fn data_among_installed_packages_is_left_alone_and_seen() {
    for packages in ["node_modules", ".venv"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let text = format!(
            "servers:\n  liar: {{ command: python3, args: [{packages}/liar/liar.py, beside] }}\n\
             tools:\n  liar__put: {{ effect: idempotent, key: {{ argument: key }} }}\n  \
             liar__look: {{ effect: read }}\n"
        );
        let ledger = format!("{packages}/liar/ledger.jsonl");
        let real = "{\"put\": \"real\", \"key\": \"real\"}\n";
        let script = std::fs::read_to_string(SCRIPT).unwrap();
        let liar = format!("{packages}/liar/liar.py");
        write_files(folder, &[("prusik.yaml", &text), (&ledger, real), (&liar, &script)]);
        let (lines, code) = certified(folder, &["liar__put", "liar__look"]);
        assert_eq!(code, Some(0), "{lines:#?}");
        assert_eq!(std::fs::read_to_string(folder.join(&ledger)).unwrap(), real);
        let (verdict, says) = verdict(&lines, "liar__put", "repeat-lands-once");
        assert_eq!(verdict, "holds", "{says}");
        assert!(says.contains(&ledger), "{says}");
    }
}

/// The official one, whose default storage lies there.
#[test]
fn the_memory_of_an_official_server_is_left_alone() {
    let modules =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.setup/node/node_modules"));
    assert!(modules.is_dir(), "run `cargo xtask setup`");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    crate::prusik::copy(&modules.canonicalize().unwrap(), &folder.join("node_modules"));
    let package = "node_modules/@modelcontextprotocol/server-memory/dist";
    let memory = format!("{package}/memory.jsonl");
    let real =
        "{\"type\":\"entity\",\"name\":\"Ann\",\"entityType\":\"person\",\"observations\":[]}\n";
    let text = format!(
        "servers:\n  memory: {{ command: node, args: [{package}/index.js] }}\ntools:\n  \
         memory__delete_entities: {{ effect: idempotent, key: call, timeout_ms: 20000, examples: \
         [{{ arguments: {{ entityNames: [Ann] }} }}] }}\n  memory__read_graph: {{ effect: read }}\n"
    );
    write_files(folder, &[("prusik.yaml", &text), (&memory, real)]);
    let (lines, code) = certified(folder, &["memory__delete_entities", "memory__read_graph"]);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(std::fs::read_to_string(folder.join(&memory)).unwrap(), real);
    let (verdict, says) = verdict(&lines, "memory__delete_entities", "repeat-lands-once");
    assert_eq!(verdict, "holds", "{says}");
}

#[test]
fn what_cannot_be_seen_is_not_said_to_hold() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // It books in memory alone: nothing that it does can be seen.
    let server = r#"
import json, sys
SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
        r["serverInfo"] = {"name": "s", "version": "1"}
    elif m["method"] == "tools/list":
        r = {"tools": [{"name": name, "inputSchema": SCHEMA} for name in ("book", "all")]}
    else:
        n = m["params"].get("arguments")
        n = n.get("n") if isinstance(n, dict) else None
        bad = not isinstance(n, (int, float)) or n > 100
        if m["params"]["name"] == "all": bad = False
        r = {"content": [{"type": "text", "text": "full" if bad else "done"}], "isError": bad}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"#;
    let text = "servers:\n  s: { command: python3, args: [server.py] }\ntools:\n  s__book:\n    \
                effect: write\n    failures: { full: {} }\n    examples:\n      - arguments: { n: 1 }\n      \
                - { fails: full, arguments: { n: 500 } }\n  s__all: { effect: write, examples: [{ \
                arguments: { n: 1 } }] }\n";
    write_files(folder, &[("prusik.yaml", text), ("server.py", server)]);
    let (lines, code) = certified(folder, &["s"]);
    assert_eq!(verdict(&lines, "s__book", "failure-as-declared").0, "holds");
    for claim in ["failure-lands-nothing", "garbage-lands-nothing"] {
        let (verdict, says) = verdict(&lines, "s__book", claim);
        assert_eq!(verdict, "untested", "{claim}: {says}");
        assert!(says.contains("name one that does"), "{claim}: {says}");
    }
    // It takes everything: nothing is known of what it refuses.
    let (verdict, says) = verdict(&lines, "s__all", "garbage-lands-nothing");
    assert_eq!((verdict.as_str(), says.contains("got an error")), ("untested", true), "{says}");
    assert_eq!(code, Some(1), "it accepts garbage");
}

#[test]
fn a_read_that_counts_does_not_hold_and_what_is_untested_can_be_denied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = format!(
        "servers:\n  liar: {{ command: python3, args: [{SCRIPT}, read-counts] }}\ntools:\n  \
         liar__look: {{ effect: read }}\n"
    );
    write_files(folder, &[("prusik.yaml", &text)]);
    let (lines, code) = certified(folder, &["liar__look"]);
    assert_eq!(code, Some(0), "{lines:#?}");
    let (verdict, says) = verdict(&lines, "liar__look", "read-changes-nothing");
    assert_eq!(verdict, "untested", "{says}");
    assert!(says.contains("count"), "{says}");
    let line = lines.iter().find(|line| line["claim"] == "read-changes-nothing").unwrap();
    assert!(line["evidence"].as_array().unwrap().len() >= 2, "{line}");
    let (_, code) = certified(folder, &["liar__look", "--deny", "untested"]);
    assert_eq!(code, Some(1));
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_anything_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "models: { m: { provider: openai, model: x } }\nservers:\n  s: { command: touch, args: \
                [asked] }\n";
    let agent = "---\nmodel: m\ntools: [s__x]\n---\nx\n";
    write_files(folder, &[("prusik.yaml", text), ("agents/a.md", agent)]);
    for arguments in
        [["certify", "s", "--report", "none/x.md"], ["check", "a", "--html", "none/x.html"]]
    {
        let output = prusik(folder, &arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("cannot write none/x."), "{}", said(&output));
        assert!(!folder.join("asked").exists(), "{arguments:?}");
    }
}

/// A run of certify whose tool hangs, in a home and a folder for temporary files of its own.
struct Hanging {
    folder: tempfile::TempDir,
    child: Child,
}

impl Hanging {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "servers:\n  liar: {{ command: python3, args: [{SCRIPT}, hangs] }}\ntools:\n  \
             liar__look: {{ effect: read, timeout_ms: 300000 }}\n"
        );
        let project = folder.path().join("project");
        write_files(&project, &[("prusik.yaml", &text), (".env", "KEY=1\n")]);
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let child = Self::certify(folder.path()).spawn().unwrap();
        wait_for(&folder.path().join("hanging"));
        Self { folder, child }
    }

    fn certify(folder: &Path) -> std::process::Command {
        let mut command = prusik_command(&folder.join("project"), &["certify", "liar__look"]);
        command.env("HOME", folder).env("TMPDIR", folder.join("tmp"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let killed = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(killed.success());
    }

    fn copies(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Returns the command lines of the processes that have our folder as their home.
    fn processes(&self) -> Vec<String> {
        let home = format!("HOME={}\0", self.folder.path().display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            if String::from_utf8_lossy(&read("environ")).contains(&home) {
                found.push(String::from_utf8_lossy(&read("cmdline")).replace('\0', " "));
            }
        }
        found
    }

    fn all_end(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.processes().is_empty() {
            assert!(Instant::now() < end, "{:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_all_and_removes_the_copies() {
    for name in ["TERM", "INT"] {
        let mut hanging = Hanging::start();
        assert!(hanging.processes().len() >= 3, "{:?}", hanging.processes());
        let copies = hanging.copies();
        assert_eq!(copies.len(), 1, "{copies:?}");
        for entry in std::fs::read_dir(&copies[0]).unwrap().flatten() {
            assert!(!entry.path().join("project/.env").exists(), "keys are not copied");
        }
        hanging.signal(name);
        assert_eq!(hanging.child.wait().unwrap().code(), Some(4), "{name}");
        hanging.all_end();
        assert_eq!(hanging.copies(), Vec::<PathBuf>::new(), "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_one_leaves_no_server_and_the_next_one_removes_its_copies() {
    let mut hanging = Hanging::start();
    hanging.signal("KILL");
    hanging.child.wait().unwrap();
    // By itself: the relay sees its client go.
    hanging.all_end();
    let left = hanging.copies();
    assert_eq!(left.len(), 1);
    let file = hanging.folder.path().join("project/prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("hangs", "honest")).unwrap();
    let status = Hanging::certify(hanging.folder.path()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(hanging.copies(), Vec::<PathBuf>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_one_left_running_is_ended_by_the_next() {
    let mut hanging = Hanging::start();
    hanging.signal("KILL");
    hanging.child.wait().unwrap();
    assert!(!hanging.processes().is_empty());
    let file = hanging.folder.path().join("project/prusik.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("hangs", "honest")).unwrap();
    let status = Hanging::certify(hanging.folder.path()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(hanging.processes(), Vec::<String>::new());
}

#[test]
fn a_server_that_does_not_start_is_told_as_everywhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "servers:\n  s: { command: nosuchcmd }\ntools:\n  s__put: { effect: write }\n";
    write_files(folder, &[("prusik.yaml", text)]);
    let output = prusik(folder, &["certify", "s"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("nosuchcmd") && !text.contains("certify-relay"), "{text}");
}
