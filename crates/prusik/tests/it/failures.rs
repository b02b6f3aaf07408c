//! What a run that met failures looks like: to the model, to a person, and to a script.

use std::path::Path;

use serde_json::Value;

use crate::prusik::{json_lines, prusik, said, write_files};

/// A server whose tools fail in their own ways; each appends its call to `calls`.
const SERVER: &str = r#"
import json, sys, time
def answer(request):
    method = request["method"]
    if method == "initialize":
        return {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "odd", "version": "1"}}}
    if method == "tools/list":
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        names = ["nothing", "send", "declined", "coded", "unfit", "twin", "slow"]
        tools = [{"name": n, "description": "Does " + n + ".", "inputSchema": schema} for n in names]
        tools[4]["outputSchema"] = {"type": "object", "required": ["id"]}
        return {"result": {"tools": tools}}
    if method != "tools/call":
        return {"error": {"code": -32601, "message": "no such method"}}
    name = request["params"]["name"]
    with open("calls", "a") as calls:
        calls.write(name + "\n")
    if name == "slow":
        with open("begun", "w"):
            pass
        time.sleep(60)
    if name == "nothing":
        return {"result": {"content": []}}
    if name == "coded":
        return {"error": {"code": -32050, "message": "try me again"}}
    value = {"status": "declined"} if name == "declined" else {"done": name}
    return {"result": {"content": [], "structuredContent": value}}
for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer(request)}), flush=True)
"#;

fn project(folder: &Path, tools: &str, script: &str) {
    let yaml = format!(
        "models:\n  default: {{ provider: scripted, script: script.yaml }}\n\
         servers:\n  s: {{ command: python3, args: [server.py] }}\ntools:\n{tools}"
    );
    let agent = "---\nname: main\ndescription: Tries things.\ntools: [s__*]\n---\nTry things.\n";
    write_files(
        folder,
        &[
            ("prusik.yaml", &yaml),
            ("agents/main.md", agent),
            ("script.yaml", script),
            ("server.py", SERVER),
        ],
    );
}

/// Runs the project; returns the exit code, what was said, and the outcomes of its calls.
fn run(folder: &Path) -> (Option<i32>, String, Vec<Value>) {
    let run = prusik(folder, &["run", "Try it."]);
    let events = prusik(folder, &["events", "last", "--json"]);
    let outcomes = json_lines(&events.stdout)
        .into_iter()
        .filter_map(|line| line["event"]["call_completed"].get("outcome").cloned())
        .collect();
    (run.status.code(), said(&run), outcomes)
}

fn call(tool: &str) -> String {
    format!("turns: [{{call: [{{tool: s__{tool}, arguments: {{n: 7}}}}]}}, {{say: All done.}}]")
}

#[test]
fn an_empty_success_is_a_success_unless_the_contract_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "  s__nothing: { effect: read }\n", &call("nothing"));
    let (code, text, _) = run(folder.path());
    assert_eq!(code, Some(0), "{text}");
    project(folder.path(), "  s__nothing: { effect: read, empty: error }\n", &call("nothing"));
    let (code, text, outcomes) = run(folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(outcomes[0]["failed"]["kind"], "empty_result");
    assert!(text.contains("completed, with failures") && text.contains("s__nothing"), "{text}");
}

#[test]
fn a_run_whose_call_was_denied_does_not_look_like_a_success() {
    let folder = tempfile::tempdir().unwrap();
    let tools = "  s__send:\n    effect: write\n    deny:\n      limit: { when: args.n > 5, tell: Ask Ann. }\n";
    project(folder.path(), tools, &call("send"));
    let (code, text, outcomes) = run(folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(outcomes[0]["denied"]["rule"], "limit");
    assert!(text.contains("denied") && text.contains("Ask Ann."), "{text}");
    assert!(!folder.path().join("calls").exists(), "the tool was never asked");
    let rows = prusik(folder.path(), &["runs", "--status", "completed-with-failures", "--json"]);
    assert_eq!(json_lines(&rows.stdout)[0]["status"], "completed_with_failures");
}

#[test]
fn a_failure_is_found_in_a_result_and_by_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let tools = "
  s__declined:
    effect: write
    failures:
      declined: { when: \"reply.value.status == 'declined'\", tell: Use another card. }
  s__coded:
    effect: read
    retry: { attempts_max: 2, backoff_ms: 1 }
    failures:
      busy: { when: reply.code == -32050, retry: true }
";
    project(folder.path(), tools, &call("declined"));
    let (code, text, outcomes) = run(folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(outcomes[0]["failed"]["kind"], "declined");
    assert_eq!(outcomes[0]["failed"]["advice"], "Use another card.");
    std::fs::remove_file(folder.path().join("calls")).unwrap();
    project(folder.path(), tools, &call("coded"));
    let (_, text, outcomes) = run(folder.path());
    assert_eq!(outcomes[0]["failed"]["kind"], "busy", "{text}");
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "coded\ncoded\n", "tried twice, as the contract says");
}

#[test]
fn an_answer_that_breaks_its_promise_took_effect_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "  s__unfit: { effect: write }\n", &call("unfit"));
    let (code, text, outcomes) = run(folder.path());
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(outcomes[0]["failed"]["kind"], "invalid_result");
    assert_eq!(outcomes[0]["failed"]["landed"], true);
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "unfit\n", "it is not made again");
}

#[test]
fn a_read_that_was_killed_is_made_again() {
    use crate::prusik::{prusik_command, wait_for};
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "  s__slow: { effect: read, timeout_ms: 90000 }\n", &call("slow"));
    let mut command = prusik_command(folder.path(), &["run", "Try it."]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_for(&folder.path().join("begun"));
    child.kill().unwrap();
    child.wait().unwrap();
    // The second time it answers at once.
    let quick = SERVER.replace("time.sleep(60)", "pass");
    write_files(folder.path(), &[("server.py", &quick)]);
    let resumed = prusik(folder.path(), &["resume", "last"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", said(&resumed));
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "slow\nslow\n");
}
