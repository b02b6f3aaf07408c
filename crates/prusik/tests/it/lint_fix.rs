//! `lint --fix`, by the built binary: what it writes, what it leaves, and what it refuses.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::lint::{code, findings, project, tool};
use crate::prusik::{prusik, said};

fn tools() -> Value {
    let mut hinted = tool("get_user", "Returns the name and the address of a customer.");
    hinted["annotations"] = json!({"readOnlyHint": true, "title": "x\n    effect: read"});
    json!([hinted, tool("pay", "Pays what a customer is due.")])
}

fn yaml(folder: &Path) -> String {
    fs::read_to_string(folder.join("prusik.yaml")).unwrap()
}

#[test]
fn skeletons_are_written_once_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rest = "# How the tools work.\ntools: # by hand\n  read: # ours\n    timeout_ms: 5 # quick\n\n\
                # What is accepted.\nlint:\n  tools_max: 20 # enough\n";
    project(folder, &[("crm", tools())], rest);
    let before = yaml(folder);
    let output = prusik(folder, &["lint", "--fix", "--dry-run"]);
    assert!(said(&output).contains("+   crm__pay:"), "{}", said(&output));
    assert_eq!(yaml(folder), before);

    let output = prusik(folder, &["lint", "--fix"]);
    let text = said(&output);
    assert_eq!(code(&output), 0, "{text}");
    assert!(text.contains("prusik.yaml: 2 contracts written, marked `# review:`"), "{text}");
    // Whoever reviews still has to look: what is missing is told now one by one.
    assert!(text.contains("probe-missing") && !text.contains("effect-undeclared"), "{text}");
    let after = yaml(folder);
    let mut lines = after.lines();
    for line in before.lines() {
        assert!(lines.any(|found| found == line), "{line:?} is gone:\n{after}");
    }
    let expected = "  read: # ours\n    timeout_ms: 5 # quick\n  crm__get_user:\n    effect: write # \
                    review: the strict reading, nobody has looked yet; its server claims \
                    readOnlyHint: true\n";
    assert!(after.contains(expected), "{after}");
    assert!(
        after.contains("# undo: { tool: TOOL, arguments: { } }\n\n# What is accepted.\n"),
        "{after}"
    );
    assert!(!after.contains("effect: read"), "{after}");

    let again = prusik(folder, &["lint", "--fix"]);
    assert!(said(&again).contains("nothing is written"), "{}", said(&again));
    assert_eq!(yaml(folder), after);
}

/// What holds of a tool is the same with its skeleton and without.
#[test]
fn a_skeleton_loosens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &[("crm", tools())], "");
    let facts = || {
        let output = prusik(folder, &["--json", "check"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.contains("\"question\"")).collect::<Vec<_>>().join("\n")
    };
    let before = facts();
    assert!(before.contains("may not be repeated"), "{before}");
    assert!(said(&prusik(folder, &["lint", "--fix"])).contains("2 contracts written"));
    assert_eq!(facts(), before);
}

#[test]
fn a_file_that_cannot_be_edited_safely_is_left_with_the_skeleton_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &[("crm", tools())], "tools: { read: { timeout_ms: 5 } }\n");
    let before = yaml(folder);
    let output = prusik(folder, &["lint", "--fix"]);
    let text = said(&output);
    assert!(code(&output) == 2 && text.contains("is left as it is"), "{text}");
    assert!(text.contains("tools:\n  crm__get_user:\n    effect: write"), "{text}");
    // What was found is told all the same.
    assert!(text.contains("effect-undeclared"), "{text}");
    assert_eq!(yaml(folder), before);

    project(folder, &[("crm", tools())], "");
    let path = folder.join("prusik.yaml");
    let before = yaml(folder);
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let output = prusik(folder, &["lint", "--fix"]);
    let text = said(&output);
    assert!(code(&output) == 2 && text.contains("read-only"), "{text}");
    assert!(text.contains("crm__get_user:\n    effect: write"), "{text}");
    assert!(text.contains("effect-undeclared"), "{text}");
    assert_eq!(yaml(folder), before);
    let left: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".prusik-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    let nowhere = tempfile::tempdir().unwrap();
    let output = prusik(nowhere.path(), &["lint", "--fix"]);
    assert!(code(&output) == 2 && said(&output).contains("prusik init"), "{}", said(&output));
}

#[test]
fn servers_of_mcp_json_alone_are_mended_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, &[("crm", tools())], "");
    let servers = yaml(folder).split_once("servers:\n").unwrap().1.to_owned();
    let script = servers.split("args: [").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let mcp = json!({"mcpServers": {"crm": {"command": "python3", "args": [script, "crm.json"]}}});
    fs::write(folder.join(".mcp.json"), mcp.to_string()).unwrap();
    // Without a break at the end, and with those of Windows.
    let text = "models:\r\n  default: { provider: scripted, script: s.yaml }";
    fs::write(folder.join("prusik.yaml"), text).unwrap();
    let output = prusik(folder, &["--json", "lint", "--fix"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let after = yaml(folder);
    assert!(
        after.starts_with(text) && after.contains("\r\n\r\ntools:\r\n  crm__get_user:"),
        "{after:?}"
    );
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
    let undeclared = findings(&output).iter().any(|(rule, _)| rule == "effect-undeclared");
    assert!(!undeclared, "{}", said(&output));
}
