//! A new project against servers that are not ours: `aimock` in the place of Anthropic and of
//! OpenAI, and the official filesystem server in `.mcp.json`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use prusik_testkit::process::{Process, setup_path};
use serde_json::json;

use crate::prusik::{prusik, prusik_with, said, write_files};

const KEY: &str = "sk-test-0123456789abcdef";

fn aimock(folder: &Path) -> (Process, String) {
    let fixtures = json!({"fixtures": [
        {
            "match": {"userMessage": "Read the notes", "turnIndex": 0},
            "response": {
                "content": "I read them through the server.",
                "toolCalls": [
                    {"name": "files__read_text_file", "arguments": {"path": "workspace/notes.txt"}},
                    {"name": "list", "arguments": {}}
                ]
            }
        },
        {
            "match": {"toolResultContains": "notes.txt", "turnIndex": 1},
            "response": {"content": "The brochure is done."}
        },
        {
            "match": {"userMessage": "Wrong key"},
            "response": {
                "error": {"message": format!("bad key {KEY}"), "type": "authentication_error"},
                "status": 401
            }
        }
    ]});
    let path = folder.join("fixtures.json");
    std::fs::write(&path, fixtures.to_string()).unwrap();
    let mut command = Command::new("node");
    command
        .arg(setup_path("node/node_modules/@copilotkit/aimock/dist/cli.js"))
        .args(["--port", "0", "--strict", "--fixtures"])
        .arg(path);
    let process = Process::start(command).expect("node is installed: run `cargo xtask setup`");
    let url = process.wait_for_line(Duration::from_mins(1), |line| {
        line.split_once("listening on ").map(|(_, url)| url.trim().to_owned())
    });
    (process, url)
}

/// Makes a project as a newcomer does, and sets what the README says is to be set.
fn new_project(folder: &Path, model: &str, base_url: &str) {
    let made = prusik(folder, &["new", "mine", "--model", model]);
    assert!(made.status.success(), "{}", said(&made));
    let project = folder.join("mine");
    let path = project.join("prusik.yaml");
    let mut yaml = std::fs::read_to_string(&path).unwrap();
    let line = yaml.lines().find(|line| line.starts_with("  default:")).unwrap().to_owned();
    let (declared, _) = line.split_once('}').unwrap();
    let variable = format!("{}_API_KEY", model.to_uppercase());
    let set = format!("{declared}, base_url: \"{base_url}\", api_key: env:{variable} }}");
    yaml = yaml.replace(&line, &set);
    std::fs::write(&path, yaml).unwrap();

    let server =
        setup_path("node/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let mcp = json!({"mcpServers": {"files": {"command": "node", "args": [server, "."]}}});
    write_files(&project, &[(".mcp.json", &mcp.to_string())]);
    let path = project.join("agents/main.md");
    let agent = std::fs::read_to_string(&path).unwrap();
    assert!(agent.contains("tools: ["));
    std::fs::write(&path, agent.replace("tools: [", "tools: [\"files__*\", ")).unwrap();
}

#[test]
fn a_new_project_works_with_either_protocol_and_an_official_server() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, url) = aimock(folder.path());
    for (model, base_url, variable) in [
        ("anthropic", url.clone(), "ANTHROPIC_API_KEY"),
        ("openai", format!("{url}/v1"), "OPENAI_API_KEY"),
    ] {
        let place = tempfile::tempdir().unwrap();
        new_project(place.path(), model, &base_url);
        let project = place.path().join("mine");

        let run = prusik_with(&project, &["run", "Read the notes"], &[(variable, KEY)]);
        let text = said(&run);
        assert_eq!(run.status.code(), Some(0), "{model}: {text}");
        assert!(text.contains("The brochure is done."), "{model}: {text}");
        assert!(text.contains("files__read_text_file"), "{model}: {text}");
        let events = said(&prusik(&project, &["events", "last", "--json"]));
        assert!(events.contains("Meeting, Tuesday"), "{model}: the server read the file: {events}");

        let run = prusik_with(&project, &["run", "Wrong key"], &[(variable, KEY)]);
        assert_eq!(run.status.code(), Some(3), "{model}: {}", said(&run));
        assert!(said(&run).contains("resume"), "{model}: the way out is named: {}", said(&run));

        // The key is nowhere: not in what is shown, not in the journal.
        let store = std::fs::read(project.join(".prusik/prusik.db")).unwrap();
        assert!(!store.windows(KEY.len()).any(|window| window == KEY.as_bytes()), "{model}");
        for shown in [said(&run), text, said(&prusik(&project, &["events", "last", "--json"]))] {
            assert!(!shown.contains(KEY), "{model}: {shown}");
        }
    }
}
