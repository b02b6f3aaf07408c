//! Streamable HTTP against a server of ours that breaks where it is told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use prusik_core::outcome::Reply;
use prusik_tool::{
    BreakerPolicy, ConnectError, ServerConfig, ToolInfo, Toolbox, ToolboxError, Transport,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::common::{call, connected, lost, not_sent, text};

#[derive(Default)]
struct Peer {
    is_new: bool,
    /// What `tools/call` answers instead of a result.
    fault: Mutex<Option<Fault>>,
    sessions: AtomicUsize,
    keys: Mutex<Vec<String>>,
    calls: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Fault {
    Status(u16),
    CutStream,
    CutBody,
    NotJson,
    Huge,
    OldSession,
    /// As the SDKs' examples say it.
    OldSessionWithoutId,
}

async fn answer(State(peer): State<Arc<Peer>>, headers: HeaderMap, body: Bytes) -> Response {
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok()).unwrap_or("none");
    peer.keys.lock().unwrap().push(key.to_owned());
    let message: Value = serde_json::from_slice(&body).unwrap();
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let result = match (message["method"].as_str().unwrap(), peer.is_new) {
        ("initialize", false) => {
            let session = peer.sessions.fetch_add(1, Ordering::SeqCst);
            let result = json!({
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "peer", "version": "1"},
            });
            let body = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
            let session = format!("session-{session}");
            let json = (header::CONTENT_TYPE, "application/json".to_owned());
            return ([json, ("mcp-session-id".parse().unwrap(), session)], body).into_response();
        }
        ("server/discover", true) => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private",
        }),
        ("tools/list", is_new) => {
            let tool = json!({"name": "pay", "inputSchema": {"type": "object"}});
            if is_new {
                json!({"resultType": "complete", "tools": [tool], "ttlMs": 0,
                       "cacheScope": "private"})
            } else {
                json!({"tools": [tool]})
            }
        }
        ("tools/call", _) => {
            peer.calls.fetch_add(1, Ordering::SeqCst);
            let fault = peer.fault.lock().unwrap().take();
            if let Some(fault) = fault {
                return broken(fault, id);
            }
            json!({"resultType": "complete", "content": [{"type": "text", "text": "paid"}]})
        }
        (method, _) => {
            let error = json!({"code": -32601, "message": format!("no {method}")});
            return json_body(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
    };
    json_body(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn json_body(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn broken(fault: Fault, id: &Value) -> Response {
    let cut = |content_type: &'static str, start: &'static str| {
        let parts = [Ok(start.to_owned()), Err(std::io::Error::other("cut"))];
        let body = axum::body::Body::from_stream(futures_util::stream::iter(parts));
        ([(header::CONTENT_TYPE, content_type)], body).into_response()
    };
    match fault {
        Fault::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Fault::OldSession => StatusCode::NOT_FOUND.into_response(),
        Fault::OldSessionWithoutId => {
            let error = json!({"code": -32000, "message": "Bad Request: no valid session"});
            let body = json_body(&json!({"jsonrpc": "2.0", "error": error, "id": null}));
            (StatusCode::BAD_REQUEST, body).into_response()
        }
        Fault::CutStream => cut("text/event-stream", ": hello\n\n"),
        Fault::CutBody => cut("application/json", "{\"jsonrpc\""),
        Fault::NotJson => "<html>oops</html>".into_response(),
        Fault::Huge => {
            let content = json!([{"type": "text", "text": "x".repeat(200_000)}]);
            json_body(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": content}}))
        }
    }
}

async fn serve(peer: Peer) -> (Arc<Peer>, ServerConfig) {
    let peer = Arc::new(peer);
    let app = Router::new().route("/mcp", post(answer)).with_state(Arc::clone(&peer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp?secret=q", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    let headers = BTreeMap::from([("x-api-key".to_owned(), SecretString::from("k3y"))]);
    let mut config = ServerConfig::new("peer", Transport::Http { url, headers });
    config.limits.message_bytes_max = 100_000;
    (peer, config)
}

async fn refused(config: ServerConfig) -> ConnectError {
    let toolbox = Toolbox::builder().server(config).build().unwrap();
    match toolbox.connect_all(&CancellationToken::new(), &|_| {}).await {
        Err(ToolboxError::Servers(mut errors)) => errors.remove(0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_versions_work_and_the_secret_header_is_sent() {
    for is_new in [false, true] {
        let (peer, config) = serve(Peer { is_new, ..Peer::default() }).await;
        assert!(!format!("{config:?}").contains("k3y"));
        let toolbox = connected(config).await;
        assert_eq!(text(&call(&toolbox, "peer__pay", json!({})).await), "paid");
        let keys = peer.keys.lock().unwrap();
        assert!(keys.iter().all(|key| key == "k3y"), "{keys:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_loses_the_call_and_is_not_asked_for_twice() {
    for is_new in [false, true] {
        let (peer, config) = serve(Peer { is_new, ..Peer::default() }).await;
        let toolbox = connected(config).await;
        let faults = [
            Fault::Status(500),
            Fault::Status(503),
            Fault::CutStream,
            Fault::CutBody,
            Fault::NotJson,
            Fault::Huge,
        ];
        for (count, fault) in faults.into_iter().enumerate() {
            *peer.fault.lock().unwrap() = Some(fault);
            let reply = call(&toolbox, "peer__pay", json!({})).await;
            lost(&reply);
            assert_eq!(peer.calls.load(Ordering::SeqCst), 2 * count + 1, "{reply:?}");
            assert_eq!(text(&call(&toolbox, "peer__pay", json!({})).await), "paid");
        }
    }
}

#[tokio::test]
async fn what_the_server_turned_away_did_not_happen() {
    let (peer, config) = serve(Peer::default()).await;
    let toolbox = connected(config).await;
    for (sessions, fault) in [(1, Fault::OldSession), (2, Fault::OldSessionWithoutId)] {
        *peer.fault.lock().unwrap() = Some(fault);
        not_sent(&call(&toolbox, "peer__pay", json!({})).await);
        assert_eq!(peer.sessions.load(Ordering::SeqCst), sessions);
        assert_eq!(text(&call(&toolbox, "peer__pay", json!({})).await), "paid");
        assert_eq!(peer.sessions.load(Ordering::SeqCst), sessions + 1, "a new session");
    }
    *peer.fault.lock().unwrap() = Some(Fault::Status(429));
    let reply = call(&toolbox, "peer__pay", json!({})).await;
    assert!(matches!(reply, Reply::Refused(_)), "{reply:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_or_wants_a_key_is_named() {
    let http =
        |url: String| ServerConfig::new("peer", Transport::Http { url, headers: BTreeMap::new() });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = refused(http(format!("http://{address}/mcp?token=t0p"))).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains(&address.to_string()) && !error.contains("t0p"), "{error}");

    let locked = Router::new().route(
        "/mcp",
        post(async || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")])),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, locked).await.unwrap() });
    let error = refused(http(url)).await;
    assert!(matches!(error, ConnectError::Unauthorized { .. }), "{error:?}");

    let error = refused(http("not a url".to_owned())).await;
    assert!(error.to_string().contains("not a url"), "{error}");
    let bad = BTreeMap::from([("x-key".to_owned(), SecretString::from("a\nb"))]);
    let url = "http://127.0.0.1:1/".to_owned();
    let error = refused(ServerConfig::new("peer", Transport::Http { url, headers: bad })).await;
    assert!(matches!(error, ConnectError::BadHeader { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_elsewhere_is_not_followed_with_our_keys() {
    let (peer, config) = serve(Peer::default()).await;
    let Transport::Http { url: elsewhere, headers } = config.transport else { panic!() };
    let redirect = Router::new().route(
        "/mcp",
        post(async move || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, elsewhere)])),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, redirect).await.unwrap() });
    let mut config = ServerConfig::new("peer", Transport::Http { url, headers });
    config.limits.start_timeout_ms = 5_000;
    refused(config).await;
    assert_eq!(*peer.keys.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_is_gone_is_left_alone_and_taken_up_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/mcp");
    let mut config = ServerConfig::new("peer", Transport::Http { url, headers: BTreeMap::new() });
    config.breaker = BreakerPolicy { failures_max: 2, cooldown_ms: 600 };
    config.limits.starts_max = 100;
    let known = ToolInfo {
        name: "peer__pay".to_owned(),
        description: String::new(),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        hints: None,
    };
    let toolbox = Toolbox::builder().server(config).known([known]).build().unwrap();
    for _ in 0..2 {
        let reply = call(&toolbox, "peer__pay", json!({})).await;
        assert!(!not_sent(&reply).contains("left alone"));
    }
    let reply = call(&toolbox, "peer__pay", json!({})).await;
    let Reply::NotSent { reason, retry_after_ms } = reply else { panic!("{reply:?}") };
    assert!(reason.contains("left alone after 2 calls"), "{reason}");
    assert!((1..=600).contains(&retry_after_ms), "{retry_after_ms}");

    let peer = Arc::new(Peer::default());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let app = Router::new().route("/mcp", post(answer)).with_state(Arc::clone(&peer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    tokio::time::sleep(std::time::Duration::from_millis(retry_after_ms)).await;
    for _ in 0..3 {
        assert_eq!(text(&call(&toolbox, "peer__pay", json!({})).await), "paid");
    }
    toolbox.shutdown().await;
}
