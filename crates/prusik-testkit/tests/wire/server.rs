//! The scripted server over raw HTTP: keys, paths, faults, and what it remembers.

use std::time::Duration;

use prusik_model::Script;
use prusik_testkit::server::log;
use prusik_testkit::{Fault, FaultPlan, Options, ScriptedServer};
use reqwest::{Client, Response};
use serde_json::{Value, json};

const SCRIPT: &str = "turns: [{ say: 'one two three four five six' }]";

fn client() -> Client {
    // Another test may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

async fn start(faults: impl IntoIterator<Item = Fault>) -> ScriptedServer {
    let script = Script::parse(SCRIPT, "one.yaml").unwrap();
    let options = Options { faults: FaultPlan::new(faults), ..Options::default() };
    ScriptedServer::start(script, options).await.unwrap()
}

fn question(stream: bool) -> Value {
    json!({
        "model": "m", "max_tokens": 100, "stream": stream,
        "messages": [{"role": "user", "content": "hello"}],
    })
}

async fn ask(server: &ScriptedServer, path: &str, body: &Value) -> Response {
    let url = format!("{}{path}", server.url());
    let request = client().post(url).header("x-api-key", "k").header("authorization", "Bearer k");
    request.header("anthropic-version", "2023-06-01").json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_request_without_a_key_or_with_an_unknown_path_is_refused_in_the_service_s_words() {
    let server = start([]).await;
    let cases = [("/v1/messages", 401), ("/v1/chat/completions", 401), ("/v1/other", 404)];
    for (path, status) in cases {
        let url = format!("{}{path}", server.url());
        let response = client().post(url).json(&question(false)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.unwrap();
        assert!(body["error"]["message"].is_string(), "{path}: {body}");
    }
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_server_goes_on() {
    let server = start([]).await;
    for path in ["/v1/messages", "/v1/chat/completions"] {
        for body in [
            json!(null),
            json!([]),
            json!({"messages": 1, "model": 2, "max_tokens": -1}),
            json!({"model": "m", "max_tokens": 1, "messages": [null, {"role": 7}]}),
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": {}}]}),
            json!({"model": "m", "max_tokens": 1, "messages": [
                {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": {}}]}),
        ] {
            let response = ask(&server, path, &body).await;
            assert_eq!(response.status(), 400, "{path} {body}");
        }
        assert_eq!(ask(&server, path, &question(false)).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_cut_answer_breaks_off_and_the_next_attempt_is_counted_and_whole() {
    for (path, stream) in [
        ("/v1/messages", true),
        ("/v1/messages", false),
        ("/v1/chat/completions", true),
        ("/v1/chat/completions", false),
    ] {
        let server = start([Fault::Cut { after_events: 3 }]).await;
        let cut = ask(&server, path, &question(stream)).await;
        assert_eq!(cut.status(), 200, "{path}");
        assert!(cut.text().await.is_err(), "{path}, stream {stream}: the body must break off");
        let whole = ask(&server, path, &question(stream)).await.text().await.unwrap();
        assert!(whole.contains("six"), "{whole}");
        let attempts: Vec<u32> = server.requests().iter().map(|r| r.attempt).collect();
        assert_eq!(attempts, [1, 2]);
    }
}

#[tokio::test]
async fn a_stalled_stream_sends_its_first_events_and_nothing_more() {
    let server = start([Fault::Stall { after_events: 2 }]).await;
    let mut response = ask(&server, "/v1/messages", &question(true)).await;
    let mut got = String::new();
    while got.matches("\n\n").count() < 2 {
        let chunk = response.chunk().await.unwrap().expect("the stream stays open");
        got.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(got.contains("message_start") && got.contains("content_block_start"), "{got}");
    let more = tokio::time::timeout(Duration::from_millis(100), response.chunk()).await;
    assert!(more.is_err(), "nothing more may come: {more:?}");
}

#[tokio::test]
async fn an_overloaded_service_reports_itself_in_the_stream_and_before_it() {
    let faults =
        [Fault::ErrorEvent { after_events: 2 }, Fault::RateLimited { retry_after_ms: 1_200 }];
    let server = start(faults).await;
    let text = ask(&server, "/v1/messages", &question(true)).await.text().await.unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.starts_with("event: error\n") && last.contains("overloaded_error"), "{text}");
    let limited = ask(&server, "/v1/messages", &question(true)).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.headers()["retry-after"], "2");
    assert_eq!(limited.headers()["retry-after-ms"], "1200");
}

#[tokio::test]
async fn scripted_errors_come_with_the_status_of_their_service() {
    let text = "turns: [{ error: { kind: overloaded, times: 1 }, say: done }]";
    let script = Script::parse(text, "errors.yaml").unwrap();
    let server = ScriptedServer::start(script, Options::default()).await.unwrap();
    for (path, status) in [("/v1/messages", 529), ("/v1/chat/completions", 503)] {
        assert_eq!(ask(&server, path, &question(false)).await.status(), status, "{path}");
        assert_eq!(ask(&server, path, &question(false)).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_conversation_that_the_script_does_not_foresee_is_refused_with_the_way_out() {
    let server = start([]).await;
    let mut body = question(false);
    body["messages"] = json!([
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "more"},
    ]);
    let response = ask(&server, "/v1/messages", &body).await;
    assert_eq!(response.status(), 400);
    let body: Value = response.json().await.unwrap();
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("one.yaml") && message.contains("turn 2"), "{message}");
}

#[tokio::test]
async fn every_request_is_in_the_log_without_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    let script = Script::parse(SCRIPT, "one.yaml").unwrap();
    let options = Options { log: Some(log.clone()), ..Options::default() };
    let server = ScriptedServer::start(script, options).await.unwrap();
    ask(&server, "/v1/messages", &question(false)).await;
    ask(&server, "/v1/chat/completions", &question(true)).await;
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["path"], "/v1/messages");
    assert_eq!(lines[1]["body"], question(true).to_string());
    assert_eq!(lines[0]["answer"]["content"][0]["text"], "one two three four five six");
    let text = &lines[1]["answer"]["choices"][0]["message"]["content"];
    assert_eq!(text, "one two three four five six", "a streamed answer is whole in the log");
    assert_eq!(*server.requests()[1].raw, question(true).to_string());
}

#[tokio::test]
async fn what_failed_is_in_the_log_with_its_status_and_what_was_planned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let script = Script::parse(SCRIPT, "one.yaml").unwrap();
    let faults = FaultPlan::new([Fault::Cut { after_events: 1 }]);
    let options = Options { log: Some(path.clone()), faults, ..Options::default() };
    let server = ScriptedServer::start(script, options).await.unwrap();
    drop(ask(&server, "/v1/messages", &question(true)).await);
    ask(&server, "/v1/messages", &json!({"model": "m"})).await;
    let entries: Vec<_> = log::read(&path).unwrap().map(Result::unwrap).collect();
    assert!(entries[0].fault.as_deref().is_some_and(|fault| fault.contains("Cut")));
    assert_eq!((entries[0].status, entries[1].status), (200, 400));
    assert_eq!(entries[1].body, "{\"model\":\"m\"}");
    assert_eq!(entries[1].answer["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn long_bodies_are_not_all_remembered() {
    let server = start([]).await;
    let mut body = question(false);
    for letter in ["a", "b", "c", "d"] {
        body["messages"][0]["content"] = json!(letter.repeat(24 * 1024 * 1024));
        assert_eq!(ask(&server, "/v1/messages", &body).await.status(), 200);
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "two of 24 MiB fit");
    assert_eq!(*requests[1].body, body, "the newest is among them");
}
