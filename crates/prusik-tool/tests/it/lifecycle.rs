//! How servers start, what they inherit, and how they end.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use prusik_core::outcome::Reply;
use prusik_tool::{ConnectError, ServerConfig, Toolbox, ToolboxError, Transport};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::common::{
    call, connected, eventually, fixture, is_alive, is_in_table, not_sent, stdio, text,
};

async fn refused(config: ServerConfig) -> ConnectError {
    let toolbox = Toolbox::builder().server(config).build().unwrap();
    match toolbox.connect_all(&CancellationToken::new(), &|_| {}).await {
        Err(ToolboxError::Servers(mut errors)) => errors.remove(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_dies_at_start_is_shown_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = fixture(&["--die-at-start"]);
    config.stderr_log = Some(folder.path().join("logs/fix.log"));
    let error = refused(config).await;
    assert!(matches!(error, ConnectError::Died { .. }), "{error:?}");
    let error = error.to_string();
    for part in ["`fix`", "exit status: 3", "FIXTURE_TOKEN is not set", "by hand"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let log = std::fs::read_to_string(folder.path().join("logs/fix.log")).unwrap();
    assert!(log.contains("FIXTURE_TOKEN is not set\n"), "{log}");
}

#[tokio::test]
async fn commands_and_folders_that_are_not_there_are_named() {
    let error = refused(stdio("fix", "no-such-command-here", &[])).await;
    assert!(matches!(error, ConnectError::CommandNotFound { .. }), "{error}");
    assert!(error.to_string().contains("no-such-command-here"), "{error}");
    let mut config = fixture(&[]);
    let Transport::Stdio { cwd, .. } = &mut config.transport else { panic!() };
    *cwd = Some("/no/such/folder".into());
    let error = refused(config).await;
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
    let error = refused(stdio("fix", "/etc/hostname", &[])).await;
    assert!(matches!(error, ConnectError::CannotStart { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_ended() {
    let mut config = fixture(&["--silent"]);
    config.limits.start_timeout_ms = 700;
    let error = refused(config).await;
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("start_timeout_ms"), "{error}");
}

#[tokio::test]
async fn all_servers_are_tried_and_all_that_fail_are_named() {
    let mut second = fixture(&["--die-at-start"]);
    second.name = "second".to_owned();
    let mut third = fixture(&[]);
    third.name = "third".to_owned();
    let first = stdio("first", "no-such-command-here", &[]);
    let toolbox = Toolbox::builder().server(first).server(second).server(third).build().unwrap();
    let error = toolbox.connect_all(&CancellationToken::new(), &|_| {}).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("`first`") && error.contains("`second`"), "{error}");
    assert!(!error.contains("`third`"), "{error}");
    assert_eq!(text(&call(&toolbox, "third__echo", json!({"text": "x"})).await), "x");
}

#[tokio::test]
async fn both_versions_of_the_protocol_are_spoken() {
    for flags in [
        &["--era", "2025"][..],
        &["--era", "2026"],
        &["--era", "2025", "--die-on-discover"],
        &["--era", "2025", "--pages"],
        &["--era", "2026", "--pages"],
    ] {
        let toolbox = connected(fixture(flags)).await;
        let list = toolbox.list();
        assert!(list.len() > 15, "{flags:?}");
        let victim = list.iter().find(|info| info.name == "fix__victim").unwrap();
        assert_eq!(victim.description, "does victim");
        assert_eq!(victim.hints, Some(json!({"readOnlyHint": true})));
        assert_eq!(text(&call(&toolbox, "fix__echo", json!({"text": "hi"})).await), "hi");
        toolbox.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_inherits_only_what_it_is_given() {
    let mut config = fixture(&[]);
    let Transport::Stdio { env, .. } = &mut config.transport else { panic!() };
    env.insert("BANK_TOKEN".to_owned(), SecretString::from("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"), "secrets are not shown");
    let toolbox = connected(config).await;
    let Reply::Returned(result) = call(&toolbox, "fix__environment", json!({})).await else {
        panic!()
    };
    let environment = result.value();
    assert_eq!(environment["BANK_TOKEN"], "s3cret");
    assert!(environment["PATH"].is_string());
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo sets it for tests");
    assert!(environment["CARGO_MANIFEST_DIR"].is_null(), "{environment}");
}

#[tokio::test]
async fn known_tools_start_their_server_with_the_first_call() {
    let known = {
        let toolbox = connected(fixture(&[])).await;
        toolbox.shutdown().await;
        toolbox.list()
    };
    let mut broken = stdio("other", "no-such-command-here", &[]);
    broken.limits.start_timeout_ms = 500;
    let toolbox =
        Toolbox::builder().server(fixture(&[])).server(broken).known(known.clone()).build();
    let toolbox = toolbox.unwrap();
    assert_eq!(toolbox.list(), known);
    assert_eq!(text(&call(&toolbox, "fix__echo", json!({"text": "hi"})).await), "hi");
    let vanished = prusik_tool::ToolInfo { name: "fix__gone".to_owned(), ..known[0].clone() };
    let toolbox = Toolbox::builder().server(fixture(&[])).known([vanished]).build().unwrap();
    let reply = call(&toolbox, "fix__gone", json!({})).await;
    assert!(not_sent(&reply).contains("no longer offers"), "{reply:?}");
}

#[tokio::test]
async fn shutdown_ends_a_server_with_all_it_started_and_leaves_no_zombie() {
    let toolbox = connected(fixture(&[])).await;
    let pid = text(&call(&toolbox, "fix__pid", json!({})).await);
    let grandchild = text(&call(&toolbox, "fix__grandchild", json!({})).await);
    assert!(is_alive(&pid) && is_alive(&grandchild));
    toolbox.shutdown().await;
    assert!(!is_in_table(&pid), "reaped");
    eventually("its child is ended", || !is_alive(&grandchild)).await;
    let reply = call(&toolbox, "fix__pid", json!({})).await;
    assert!(not_sent(&reply).contains("shut down"), "{reply:?}");
}

#[tokio::test]
async fn a_server_that_ignores_its_end_is_killed_in_bounded_time() {
    let toolbox = connected(fixture(&["--ignore-end"])).await;
    let pid = text(&call(&toolbox, "fix__pid", json!({})).await);
    let began = Instant::now();
    toolbox.shutdown().await;
    assert!(!is_in_table(&pid), "reaped");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn servers_end_with_the_toolbox_and_with_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (dropped, left) = runtime.block_on(async {
        let first = connected(fixture(&["--ignore-end"])).await;
        let dropped = text(&call(&first, "fix__pid", json!({})).await);
        drop(first);
        eventually("the dropped one is ended", || !is_alive(&dropped)).await;
        let second = connected(fixture(&["--ignore-end"])).await;
        let left = text(&call(&second, "fix__pid", json!({})).await);
        (second, left)
    });
    assert!(is_alive(&left));
    drop(runtime);
    drop(dropped);
    let began = Instant::now();
    while is_alive(&left) {
        assert!(began.elapsed() < Duration::from_secs(20), "left behind");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn cancelling_the_start_ends_it() {
    let toolbox = Toolbox::builder().server(fixture(&["--silent"])).build().unwrap();
    let cancel = CancellationToken::new();
    let told = Mutex::new(Vec::new());
    let waiting = |notice: String| told.lock().unwrap().push(notice);
    let connect = toolbox.connect_all(&cancel, &waiting);
    let (connected, ()) = tokio::join!(connect, async { cancel.cancel() });
    assert!(connected.unwrap_err().to_string().contains("cancelled"));
}
