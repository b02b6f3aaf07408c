//! The servers that the makers of MCP publish.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prusik_core::message::Content;
use prusik_core::outcome::Reply;
use prusik_tool::{ServerConfig, Toolbox, Transport};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::common::{Call, call, connected, eventually, installed, is_alive, lost, stdio, text};

fn node(name: &str, package: &str, args: &[&str]) -> ServerConfig {
    let script =
        installed(&format!("node/node_modules/@modelcontextprotocol/{package}/dist/index.js"));
    stdio(name, "node", &[&[script.to_str().unwrap()], args].concat())
}

fn content(reply: Reply) -> Vec<Content> {
    match reply {
        Reply::Returned(result) => result.content,
        other => panic!("{other:?}"),
    }
}

/// What server-everything shows of the protocol, over whatever it is reached.
async fn everything_works(toolbox: &Toolbox) {
    let info = toolbox.get("every__get-sum").unwrap().info().clone();
    assert_eq!(info.input_schema["required"], json!(["a", "b"]));
    assert!(text(&call(toolbox, "every__get-sum", json!({"a": 2, "b": 3})).await).contains('5'));

    let weather = json!({"location": "New York"});
    let weather = content(call(toolbox, "every__get-structured-content", weather).await);
    assert!(matches!(&weather[..], [Content::Json(value)] if value["temperature"].is_number()));

    let image = content(call(toolbox, "every__get-tiny-image", json!({})).await);
    let is_png = |content: &Content| matches!(content, Content::Image(image) if image.media_type == "image/png");
    assert!(image.iter().any(is_png), "{image:?}");

    let annotated = json!({"messageType": "success", "includeImage": true});
    let annotated = content(call(toolbox, "every__get-annotated-message", annotated).await);
    assert!(annotated.iter().any(is_png) && annotated.len() == 2, "{annotated:?}");

    let links = call(toolbox, "every__get-resource-links", json!({"count": 2})).await;
    assert!(text(&links).contains("[link to resource "), "{links:?}");
    for (kind, expected) in [("Text", "[resource "), ("Blob", "bytes, not shown]")] {
        let wanted = json!({"resourceType": kind, "resourceId": 1});
        let resource = call(toolbox, "every__get-resource-reference", wanted).await;
        assert!(text(&resource).contains(expected), "{resource:?}");
    }

    let wrong = call(toolbox, "every__get-sum", json!({"a": "two"})).await;
    assert!(matches!(wrong, Reply::Refused(_)), "{wrong:?}");

    let long = json!({"duration": 0.4, "steps": 4});
    let long = Call::of(toolbox, "every__trigger-long-running-operation", long);
    let progress = std::sync::Arc::clone(&long.progress);
    assert!(text(&long.run().await).contains("completed"));
    let notices = progress.lock().unwrap().join(", ");
    assert!(notices.contains("of 4"), "{notices}");

    let long = json!({"duration": 600, "steps": 6000});
    let long = Call::of(toolbox, "every__trigger-long-running-operation", long);
    assert!(lost(&long.run_until_progress().await).contains("cancelled"));
    assert_eq!(text(&call(toolbox, "every__echo", json!({"message": "on"})).await), "Echo: on");
}

#[tokio::test]
async fn everything_over_stdio() {
    let toolbox = connected(node("every", "server-everything", &[])).await;
    everything_works(&toolbox).await;
    toolbox.shutdown().await;
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn everything_on(port: u16) -> Killed {
    let script =
        installed("node/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let mut command = Command::new("node");
    command.arg(script).arg("streamableHttp").env("PORT", port.to_string());
    Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

async fn listens(port: u16) {
    eventually("the server listens", || {
        std::net::TcpStream::connect_timeout(
            &([127, 0, 0, 1], port).into(),
            Duration::from_millis(200),
        )
        .is_ok()
    })
    .await;
}

#[tokio::test]
async fn everything_over_http_also_after_it_was_killed() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let running = everything_on(port);
    listens(port).await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    let transport = Transport::Http { url, headers: BTreeMap::new() };
    let toolbox = connected(ServerConfig::new("every", transport)).await;
    everything_works(&toolbox).await;

    drop(running);
    let echo = || call(&toolbox, "every__echo", json!({"message": "x"}));
    let reply = echo().await;
    assert!(matches!(reply, Reply::NotSent { .. }), "{reply:?}");
    let _again = everything_on(port);
    listens(port).await;
    // The new process does not know the session, which is certain not to have done anything.
    let mut reply = echo().await;
    if matches!(reply, Reply::NotSent { .. }) {
        reply = echo().await;
    }
    assert_eq!(text(&reply), "Echo: x");
}

#[tokio::test]
async fn filesystem_reads_writes_and_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let toolbox = connected(node("files", "server-filesystem", &[root.to_str().unwrap()])).await;
    let path = root.join("a.txt");
    let path = path.to_str().unwrap();
    text(&call(&toolbox, "files__write_file", json!({"path": path, "content": "hello"})).await);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "hello");
    let Reply::Returned(result) =
        call(&toolbox, "files__read_text_file", json!({"path": path})).await
    else {
        panic!()
    };
    assert_eq!(result.value()["content"], "hello");
    let reply = call(&toolbox, "files__read_text_file", json!({"path": "/etc/passwd"})).await;
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}

#[tokio::test]
async fn memory_keeps_its_file_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = node("memory", "server-memory", &[]);
    let Transport::Stdio { env, .. } = &mut config.transport else { panic!() };
    let file = folder.path().join("memory.jsonl");
    env.insert("MEMORY_FILE_PATH".into(), SecretString::from(file.to_str().unwrap()));
    let toolbox = connected(config).await;
    let entity = json!({"name": "Ada", "entityType": "person", "observations": ["likes rope"]});
    text(&call(&toolbox, "memory__create_entities", json!({"entities": [entity]})).await);
    let pid = child_with(&file);
    let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
    assert!(killed.success());
    eventually("it is dead", || !is_alive(&pid)).await;
    let mut reply = call(&toolbox, "memory__read_graph", json!({})).await;
    // The call may have been on its way when the death was noticed.
    if matches!(reply, Reply::Lost { .. } | Reply::NotSent { .. }) {
        reply = call(&toolbox, "memory__read_graph", json!({})).await;
    }
    assert!(text(&reply).contains("likes rope"), "{reply:?}");
}

/// Returns the process that was given the path of `file` in its environment.
fn child_with(file: &Path) -> String {
    let wanted = format!("MEMORY_FILE_PATH={}", file.display());
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.find(|pid| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&wanted))
    })
    .expect("the server runs")
}

#[tokio::test]
async fn git_shows_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
        let status =
            Command::new("git").args(identity).args(args).current_dir(folder.path()).output();
        assert!(status.unwrap().status.success(), "git {args:?}");
    };
    git(&["init", "-q"]);
    std::fs::write(folder.path().join("a.txt"), "one\n").unwrap();
    git(&["add", "a.txt"]);
    git(&["commit", "-q", "-m", "the first"]);
    std::fs::write(folder.path().join("a.txt"), "two\n").unwrap();
    let command = installed("python/bin/mcp-server-git");
    let toolbox = connected(stdio("git", command.to_str().unwrap(), &[])).await;
    let repository = json!({"repo_path": folder.path().to_str().unwrap()});
    let log = call(&toolbox, "git__git_log", repository.clone()).await;
    assert!(text(&log).contains("the first"), "{log:?}");
    let diff = call(&toolbox, "git__git_diff_unstaged", repository).await;
    assert!(text(&diff).contains("+two"), "{diff:?}");
    let nowhere: Value = json!({"repo_path": "/no/such/folder"});
    let reply = call(&toolbox, "git__git_status", nowhere).await;
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}
