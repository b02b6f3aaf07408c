//! Servers that break in the middle of a call, and what the call is then said to be.

use prusik_core::message::Content;
use prusik_core::outcome::Reply;
use serde_json::json;

use crate::common::{Call, call, connected, eventually, fixture, is_alive, lost, not_sent, text};

#[tokio::test]
async fn a_server_that_dies_amid_a_call_loses_it_and_is_started_again() {
    let toolbox = connected(fixture(&[])).await;
    let before = text(&call(&toolbox, "fix__pid", json!({})).await);
    let reply = call(&toolbox, "fix__die", json!({})).await;
    let reason = lost(&reply);
    assert!(reason.contains("`fix`") && reason.contains("exit status: 7"), "{reason}");
    assert!(reason.contains("about to die"), "{reason}");
    let again = Call::of(&toolbox, "fix__pid", json!({}));
    let progress = std::sync::Arc::clone(&again.progress);
    assert_ne!(text(&again.run().await), before);
    assert_eq!(*progress.lock().unwrap(), ["starting MCP server `fix` again"]);
    toolbox.shutdown().await;
}

#[tokio::test]
async fn a_server_that_keeps_dying_is_left_alone() {
    let mut config = fixture(&[]);
    config.limits.starts_max = 2;
    let toolbox = connected(config).await;
    for _ in 0..2 {
        lost(&call(&toolbox, "fix__die", json!({})).await);
    }
    let reply = call(&toolbox, "fix__pid", json!({})).await;
    let reason = not_sent(&reply);
    assert!(reason.contains("started 2 times"), "{reason}");
}

#[tokio::test]
async fn calls_beside_the_one_that_kills_the_server_are_lost_too() {
    let toolbox = connected(fixture(&[])).await;
    let (hung, died) = tokio::join!(
        call(&toolbox, "fix__hang", json!({})),
        call(&toolbox, "fix__die", json!({})),
    );
    lost(&hung);
    lost(&died);
}

#[tokio::test]
async fn garbage_on_standard_output_is_passed_over() {
    let toolbox = connected(fixture(&[])).await;
    assert_eq!(text(&call(&toolbox, "fix__garbage", json!({})).await), "clean");
    assert_eq!(text(&call(&toolbox, "fix__echo", json!({"text": "ü"})).await), "ü");
}

#[tokio::test]
async fn an_answer_above_the_limit_loses_its_call_and_no_other() {
    let mut config = fixture(&[]);
    config.limits.message_bytes_max = 200_000;
    let toolbox = connected(config).await;
    let pid = text(&call(&toolbox, "fix__pid", json!({})).await);
    let reply = call(&toolbox, "fix__huge", json!({"bytes": 1_000_000})).await;
    assert!(lost(&reply).contains("above the limit"), "{reply:?}");
    let whole = text(&call(&toolbox, "fix__huge", json!({"bytes": 100_000})).await);
    assert_eq!(whole.len(), 100_000);
    assert_eq!(text(&call(&toolbox, "fix__pid", json!({})).await), pid, "the same server");
}

#[tokio::test]
async fn a_flood_of_notices_and_requests_does_not_drown_the_answer() {
    let toolbox = connected(fixture(&[])).await;
    let flood = Call::of(&toolbox, "fix__flood", json!({"count": 20_000}));
    let progress = std::sync::Arc::clone(&flood.progress);
    assert_eq!(text(&flood.run().await), "done");
    assert!(progress.lock().unwrap().len() <= 20_000);
    assert_eq!(text(&call(&toolbox, "fix__ask", json!({"count": 2_000})).await), "asked");
    assert_eq!(text(&call(&toolbox, "fix__echo", json!({"text": "x"})).await), "x");
}

#[tokio::test]
async fn closing_the_output_loses_the_call_and_the_server_is_replaced() {
    let toolbox = connected(fixture(&[])).await;
    let pid = text(&call(&toolbox, "fix__pid", json!({})).await);
    let reply = call(&toolbox, "fix__close_output", json!({})).await;
    assert!(lost(&reply).contains("closed its output"), "{reply:?}");
    assert_ne!(text(&call(&toolbox, "fix__pid", json!({})).await), pid);
    eventually("the old one is ended", || !is_alive(&pid)).await;
}

#[tokio::test]
async fn cancelling_tells_the_server_and_answers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let toolbox = connected(fixture(&[])).await;
    let hang = Call::of(&toolbox, "fix__hang", json!({"marker": marker.to_str().unwrap()}));
    assert!(lost(&hang.run_until_progress().await).contains("cancelled"));
    eventually("the server was told", || marker.exists()).await;
    assert_eq!(text(&call(&toolbox, "fix__echo", json!({"text": "on"})).await), "on");
    let late = Call::of(&toolbox, "fix__echo", json!({"text": "x"}));
    late.cancel.cancel();
    not_sent(&late.run().await);
}

#[tokio::test]
async fn a_tool_that_vanished_is_not_called() {
    for era in ["2025", "2026"] {
        let toolbox = connected(fixture(&["--era", era])).await;
        assert_eq!(text(&call(&toolbox, "fix__victim", json!({})).await), "still here");
        assert_eq!(text(&call(&toolbox, "fix__vanish", json!({})).await), "gone");
        let reply = call(&toolbox, "fix__victim", json!({})).await;
        assert!(not_sent(&reply).contains("no longer offers the tool `victim`"), "{reply:?}");
        assert_eq!(text(&call(&toolbox, "fix__echo", json!({"text": "x"})).await), "x");
    }
}

#[tokio::test]
async fn what_a_server_reports_is_told_apart_from_what_it_garbles() {
    let toolbox = connected(fixture(&[])).await;
    let Reply::Refused(refusal) = call(&toolbox, "fix__refuse", json!({})).await else { panic!() };
    assert_eq!((refusal.kind, refusal.message.as_str()), (None, "the bank is closed"));
    let Reply::Refused(refusal) = call(&toolbox, "fix__error", json!({})).await else { panic!() };
    assert_eq!((refusal.kind, refusal.message.as_str()), (None, "bad amount"));
    let reply = call(&toolbox, "fix__malformed", json!({})).await;
    assert!(lost(&reply).contains("cannot be understood"), "{reply:?}");
    let Reply::Returned(result) = call(&toolbox, "fix__odd", json!({})).await else { panic!() };
    assert_eq!(result.value(), json!({"surprise": 1}));
    assert!(result.plain_text().contains("not a tool result"), "{result:?}");
    let Reply::Returned(result) = call(&toolbox, "fix__empty", json!({})).await else { panic!() };
    assert!(result.is_empty());
    let reply = call(&toolbox, "fix__misfit", json!({})).await;
    let Reply::Unfit { result, problem } = reply else { panic!() };
    assert_eq!(result.content, [Content::Json(json!({"n": "not a number"}))]);
    assert!(problem.contains("/n"), "{problem}");
    let Reply::Refused(refusal) = call(&toolbox, "fix__echo", json!([1])).await else { panic!() };
    assert_eq!(refusal.kind.as_deref(), Some("invalid_arguments"));
}

#[tokio::test]
async fn the_key_reaches_the_server_in_meta() {
    for era in ["2025", "2026"] {
        let toolbox = connected(fixture(&["--era", era])).await;
        let mut meta = Call::of(&toolbox, "fix__meta", json!({}));
        meta.key = Some(("bank.example/key", "k-1"));
        let Reply::Returned(result) = meta.run().await else { panic!() };
        assert_eq!(result.value()["bank.example/key"], "k-1");
        let version = &result.value()["io.modelcontextprotocol/protocolVersion"];
        assert_eq!(version.as_str(), (era == "2026").then_some("2026-07-28"));
    }
}
