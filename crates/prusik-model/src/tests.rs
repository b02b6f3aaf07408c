//! What both providers do over real sockets: errors, broken servers, keys that must not leak.

use std::io::Cursor;
use std::sync::Arc;

use futures_util::stream;
use prusik_core::ids::{Attempt, Turn};
use prusik_core::message::{Block, Message};
use prusik_core::model::{
    Answer, ModelError, ModelErrorKind, ModelRequest, ModelSpec, StopReason, ToolDecl,
};
use serde_json::{Value, json};
use sse_stream::SseStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::stream::{Decode, read_events};
use crate::{ConnectError, Delta, KeyRef, MaxTokensField, Model, ModelConfig, Server};

const KEY: &str = "sk-test-0123456789-abcdefghij";

pub(crate) const ANTHROPIC_HELLO: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude-x-1","stop_reason":null,"usage":{"input_tokens":25,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

"#;

pub(crate) const OPENAI_HELLO: &str = r#"data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-x-1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-x-1","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}

data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-x-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-x-1","choices":[],"usage":{"prompt_tokens":25,"completion_tokens":15,"total_tokens":40}}

data: [DONE]

"#;

pub(crate) fn request(messages: Vec<Message>) -> ModelRequest {
    let model = ModelSpec {
        alias: "main".into(),
        model: "model-x".into(),
        max_tokens: 4_000,
        temperature: Some(0.5),
        thinking_tokens: None,
        price: None,
    };
    let input_schema = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let tool =
        ToolDecl { name: "list".into(), description: "Lists a folder.".into(), input_schema };
    ModelRequest {
        turn: Turn(1),
        attempt: Attempt(1),
        purpose: prusik_core::model::Purpose::Turn,
        model: Arc::new(model),
        max_tokens: 4_000,
        system: "You pay invoices.".into(),
        tools: vec![tool].into(),
        messages: messages.into_iter().map(Arc::new).collect(),
    }
}

/// Decodes a stream that arrives in the given pieces.
pub(crate) fn decode<D: Decode>(
    decoder: D,
    pieces: Vec<Vec<u8>>,
) -> (Result<Answer, ModelError>, Vec<Delta>) {
    let mut deltas = Vec::new();
    let pieces = pieces.into_iter().map(|piece| Ok::<_, ModelError>(Cursor::new(piece)));
    let events = SseStream::from_bytes_stream(stream::iter(pieces));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut progress = |delta| deltas.push(delta);
    let answer = runtime.block_on(read_events(events, decoder, &mut progress));
    (answer, deltas)
}

/// Cuts `bytes` at each of `places`, taken modulo its length.
pub(crate) fn cut(bytes: &[u8], places: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for to in places.into_iter().chain([bytes.len()]) {
        pieces.push(bytes[from..to].to_vec());
        from = to;
    }
    pieces
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Anthropic,
    OpenAi,
}

const BOTH: [Protocol; 2] = [Protocol::Anthropic, Protocol::OpenAi];

impl Protocol {
    fn config(self, base_url: &str, idle_timeout_ms: u64) -> ModelConfig {
        let key = Some(KeyRef::Env("THE_KEY".into()));
        let server = Server { idle_timeout_ms, ..Server::new(base_url, key) };
        match self {
            Self::Anthropic => ModelConfig::Anthropic { server },
            Self::OpenAi => {
                ModelConfig::OpenAi { server, max_tokens_field: MaxTokensField::ByServer }
            }
        }
    }

    fn connect(self, base_url: &str) -> Arc<dyn Model> {
        let config = self.config(base_url, 10_000);
        config.connect_with(&|name| (name == "THE_KEY").then(|| KEY.to_owned())).unwrap()
    }

    fn hello(self) -> &'static str {
        match self {
            Self::Anthropic => ANTHROPIC_HELLO,
            Self::OpenAi => OPENAI_HELLO,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::OpenAi => "/v1/chat/completions",
        }
    }
}

async fn ask(model: &dyn Model) -> Result<Answer, ModelError> {
    model.answer(&request(vec![Message::user_text("Hi")]), &mut |_| {}).await
}

fn assert_no_key(shown: &str) {
    assert!(!shown.contains(KEY), "{shown}");
    assert!(!shown.contains(&KEY[..16]), "a part of the key is shown: {shown}");
}

/// Answers every connection with the same bytes. What happens then is up to `end`.
async fn raw_server(reply: Vec<u8>, end: End) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = vec![0; 64 * 1024];
            // The request of these tests fits in one segment of the loopback.
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(&reply).await;
            match end {
                End::Close => drop(socket),
                End::Hold => held.push(socket),
            }
        }
    });
    address
}

#[derive(Clone, Copy)]
enum End {
    Close,
    Hold,
}

fn streamed(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
    format!("{head}\r\n\r\n{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

#[tokio::test]
async fn an_answer_streams_in_under_the_right_path_and_key() {
    for protocol in BOTH {
        let server = MockServer::start().await;
        let (name, value) = match protocol {
            Protocol::Anthropic => ("x-api-key", KEY.to_owned()),
            Protocol::OpenAi => ("authorization", format!("Bearer {KEY}")),
        };
        let reply = ResponseTemplate::new(200).set_body_raw(protocol.hello(), "text/event-stream");
        Mock::given(method("POST"))
            .and(path(protocol.path()))
            .and(header(name, value.as_str()))
            .respond_with(reply)
            .mount(&server)
            .await;
        for base_url in
            [server.uri(), format!("{}/", server.uri()), format!("{}/v1/", server.uri())]
        {
            let answer = ask(&*protocol.connect(&base_url)).await.unwrap();
            assert_eq!(answer.content, [Block::Text("Hello".into())], "{protocol:?}");
            assert_eq!(answer.stop, StopReason::EndTurn);
            assert_eq!((answer.usage.input, answer.usage.output), (25, 15));
        }
    }
}

#[tokio::test]
async fn every_refusal_has_its_kind() {
    use ModelErrorKind as K;
    let anthropic = |kind: &str, message: &str| {
        json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
    };
    let openai = |code: Value, kind: &str, message: &str| {
        json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            .to_string()
    };
    let too_long = "This model's maximum context length is 8192 tokens, you asked for 9000";
    let no_slot = "request (4390 tokens) exceeds the available context size (4096 tokens)";
    let a = Protocol::Anthropic;
    let o = Protocol::OpenAi;
    let cases = [
        (a, 400, anthropic("invalid_request_error", "bad"), K::InvalidRequest),
        (a, 400, anthropic("invalid_request_error", "prompt is too long: 9 > 8"), K::ContextFull),
        (a, 400, anthropic("invalid_request_error", "Your credit balance is too low"), K::Billing),
        (a, 401, anthropic("authentication_error", "invalid x-api-key"), K::Authentication),
        (a, 402, anthropic("billing_error", "pay"), K::Billing),
        (a, 403, anthropic("permission_error", "no"), K::Authentication),
        (a, 404, anthropic("not_found_error", "model: x"), K::NotFound),
        (a, 413, anthropic("request_too_large", "big"), K::InvalidRequest),
        (a, 429, anthropic("rate_limit_error", "slow"), K::RateLimited),
        (a, 500, anthropic("api_error", "oops"), K::Server),
        (a, 504, anthropic("timeout_error", "late"), K::Timeout),
        (a, 529, anthropic("overloaded_error", "Overloaded"), K::Overloaded),
        (a, 418, anthropic("teapot_error", "new"), K::InvalidRequest),
        (a, 529, "<html>busy</html>".into(), K::Overloaded),
        (a, 301, String::new(), K::BadResponse),
        (o, 400, openai(json!("context_length_exceeded"), "x", too_long), K::ContextFull),
        (o, 400, openai(json!(400), "exceed_context_size_error", no_slot), K::ContextFull),
        (o, 400, json!({"message": too_long, "code": 400}).to_string(), K::ContextFull),
        (
            o,
            500,
            openai(json!(500), "server_error", "Context size has been exceeded."),
            K::ContextFull,
        ),
        (o, 400, json!({"error": "bad"}).to_string(), K::InvalidRequest),
        (o, 401, openai(json!("invalid_api_key"), "x", "bad key"), K::Authentication),
        (o, 404, openai(json!("model_not_found"), "x", "none"), K::NotFound),
        (o, 404, "404 page not found".into(), K::NotFound),
        (o, 422, json!({"detail": [{"loc": ["body"]}]}).to_string(), K::InvalidRequest),
        (o, 429, openai(json!("insufficient_quota"), "insufficient_quota", "pay"), K::Billing),
        (o, 429, openai(json!("rate_limit_exceeded"), "tokens", "slow"), K::RateLimited),
        (o, 429, "slow down".into(), K::RateLimited),
        (o, 500, openai(Value::Null, "server_error", "oops"), K::Server),
        (o, 502, "Bad Gateway".into(), K::Server),
        (o, 503, String::new(), K::Overloaded),
    ];
    for (protocol, status, body, kind) in cases {
        let server = MockServer::start().await;
        let reply = ResponseTemplate::new(status)
            .set_body_raw(body.clone(), "application/json")
            .insert_header("retry-after", "3");
        Mock::given(method("POST")).respond_with(reply).mount(&server).await;
        let error = ask(&*protocol.connect(&server.uri())).await.unwrap_err();
        assert_eq!(error.kind, kind, "{protocol:?} {status} {body}: {error}");
        assert_eq!(error.retry_after_ms, Some(3_000));
        assert!(error.message.contains(&status.to_string()), "{error}");
        assert!(error.message.contains(&server.uri()), "{error}");
    }
}

#[tokio::test]
async fn a_key_that_a_server_echoes_is_shown_nowhere() {
    for protocol in BOTH {
        let padding = "x".repeat(590);
        let whole = format!("bad key {KEY}");
        let at_the_cut = format!("{padding}{KEY}");
        for words in [whole, at_the_cut] {
            let server = MockServer::start().await;
            let body = json!({"type": "error", "error": {"message": words}}).to_string();
            let reply = ResponseTemplate::new(401).set_body_raw(body, "application/json");
            Mock::given(method("POST")).respond_with(reply).mount(&server).await;
            let error = ask(&*protocol.connect(&server.uri())).await.unwrap_err();
            assert_no_key(&format!("{error} {error:?}"));
            assert!(error.message.contains("the environment variable THE_KEY"), "{error}");
        }

        let server = MockServer::start().await;
        let body = protocol.hello().replace("Hello", &format!("your key is {KEY}"));
        let reply = ResponseTemplate::new(200).set_body_raw(body, "text/event-stream");
        Mock::given(method("POST")).respond_with(reply).mount(&server).await;
        let answer = ask(&*protocol.connect(&server.uri())).await.unwrap();
        assert_eq!(answer.content, [Block::Text("your key is [key]".into())]);
        assert_no_key(&format!("{:?}", protocol.config(&server.uri(), 1)));
    }
}

#[tokio::test]
async fn a_key_never_follows_a_redirect() {
    for protocol in BOTH {
        let elsewhere = MockServer::start().await;
        let server = MockServer::start().await;
        let reply = ResponseTemplate::new(307).insert_header("location", elsewhere.uri());
        Mock::given(method("POST")).respond_with(reply).mount(&server).await;
        let error = ask(&*protocol.connect(&server.uri())).await.unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::BadResponse);
        assert!(elsewhere.received_requests().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn nobody_listening_names_the_address_and_the_way_out() {
    for protocol in BOTH {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = ask(&*protocol.connect(&base_url)).await.unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::Unreachable, "{error}");
        for words in [base_url.as_str(), "is the server running?", "base_url"] {
            assert!(error.message.contains(words), "{error}");
        }
    }
}

#[tokio::test]
async fn a_stream_cut_before_its_end_is_an_error() {
    for protocol in BOTH {
        let hello = protocol.hello();
        let last =
            if matches!(protocol, Protocol::Anthropic) { "message_stop" } else { "\"stop\"" };
        let before_the_end = &hello[..hello.find(last).unwrap()];
        for body in [before_the_end, "", &hello[..hello.len() / 3]] {
            let server = raw_server(streamed(body), End::Close).await;
            let error = ask(&*protocol.connect(&server)).await.unwrap_err();
            assert_eq!(error.kind, ModelErrorKind::StreamCut, "{protocol:?} {body:?}: {error}");
        }
        let nothing = raw_server(Vec::new(), End::Close).await;
        let error = ask(&*protocol.connect(&nothing)).await.unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::StreamCut, "{error}");
    }
}

#[tokio::test]
async fn a_cut_after_the_answer_is_whole_does_no_harm() {
    for protocol in BOTH {
        let end = protocol.hello().find("data: [DONE]").unwrap_or(protocol.hello().len());
        let server = raw_server(streamed(&protocol.hello()[..end]), End::Close).await;
        let answer = ask(&*protocol.connect(&server)).await.unwrap();
        assert_eq!(answer.content, [Block::Text("Hello".into())]);
    }
}

#[tokio::test]
async fn silence_is_a_timeout() {
    for protocol in BOTH {
        let begun = streamed(&protocol.hello()[..protocol.hello().find("Hello").unwrap() - 60]);
        for reply in [Vec::new(), begun] {
            let server = raw_server(reply, End::Hold).await;
            let config = protocol.config(&server, 60);
            let model = config.connect_with(&|_| Some(KEY.to_owned())).unwrap();
            let error = ask(&*model).await.unwrap_err();
            assert_eq!(error.kind, ModelErrorKind::Timeout, "{error}");
            assert!(error.message.contains("60 ms"), "{error}");
            assert!(error.message.contains("idle_timeout_ms"), "{error}");
        }
    }
}

#[tokio::test]
async fn garbage_is_a_bad_response() {
    for protocol in BOTH {
        for body in ["<html>Hello</html>\n", "data: {\"a\": \n\n", "data: 7\n\n", "data: \u{0}\n\n"]
        {
            let server = raw_server(streamed(body), End::Close).await;
            let error = ask(&*protocol.connect(&server)).await.unwrap_err();
            assert_eq!(error.kind, ModelErrorKind::BadResponse, "{protocol:?} {body:?}: {error}");
        }
        for body in ["{}", "[]", "{\"content\": 7, \"choices\": 7}", "x"] {
            let server = MockServer::start().await;
            let reply = ResponseTemplate::new(200).set_body_raw(body, "application/json");
            Mock::given(method("POST")).respond_with(reply).mount(&server).await;
            let error = ask(&*protocol.connect(&server.uri())).await.unwrap_err();
            assert_eq!(error.kind, ModelErrorKind::BadResponse, "{protocol:?} {body:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let anthropic = json!({
        "type": "message", "model": "claude-x-1", "stop_reason": "tool_use",
        "content": [{"type": "text", "text": "Hello"},
                    {"type": "tool_use", "id": "t1", "name": "list", "input": {"path": "."}}],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    });
    let call = json!({"id": "t1", "type": "function",
                      "function": {"name": "list", "arguments": "{\"path\": \".\"}"}});
    let openai = json!({
        "model": "gpt-x-1", "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        "choices": [{"index": 0, "finish_reason": "tool_calls",
                     "message": {"role": "assistant", "content": "Hello", "tool_calls": [call]}}],
    });
    let mut answers = Vec::new();
    for (protocol, body) in BOTH.into_iter().zip([anthropic, openai]) {
        let server = MockServer::start().await;
        let reply = ResponseTemplate::new(200).set_body_json(body);
        Mock::given(method("POST")).respond_with(reply).mount(&server).await;
        answers.push(ask(&*protocol.connect(&server.uri())).await.unwrap());
    }
    assert_eq!(answers[0].content, answers[1].content);
    assert_eq!(answers[0].stop, StopReason::ToolUse);
    assert_eq!(answers[0].usage, answers[1].usage);
}

#[test]
fn a_key_that_cannot_be_had_names_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let connect = |key: KeyRef, value: Option<&str>| {
        let server = Server::new("http://localhost:1", Some(key));
        let config = ModelConfig::Anthropic { server };
        config.connect_with(&|_| value.map(str::to_owned)).map(|_| ()).map_err(|e| e.to_string())
    };
    let env = || KeyRef::Env("MY_KEY".into());
    assert!(connect(env(), None).unwrap_err().contains("set MY_KEY"));
    assert!(connect(env(), Some(" \n")).unwrap_err().contains("MY_KEY is not usable: it is empty"));
    let error = connect(env(), Some("sk-secret\u{e9}")).unwrap_err();
    assert!(error.contains("MY_KEY") && !error.contains("sk-secret"), "{error}");
    assert!(connect(env(), Some("sk-good\n")).is_ok(), "a line break at the end is no part of it");

    let path = folder.path().join("key");
    let error = connect(KeyRef::File(path.clone()), None).unwrap_err();
    assert!(error.contains(&path.display().to_string()), "{error}");
    std::fs::write(&path, "sk-good\n").unwrap();
    assert!(connect(KeyRef::File(path.clone()), None).is_ok());
    std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
    assert!(connect(KeyRef::File(path), None).unwrap_err().contains("too large"));
}

#[test]
fn other_connections_name_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.yaml");
    let scripted = ModelConfig::Scripted { path: path.clone() };
    assert!(matches!(scripted.connect().err().unwrap(), ConnectError::ScriptFile { .. }));
    std::fs::write(&path, "turns:\n  - sy: x\n").unwrap();
    let error = scripted.connect().err().unwrap().to_string();
    assert!(error.contains("script.yaml:2"), "{error}");
    std::fs::write(&path, "turns: [{say: x}]").unwrap();
    assert!(scripted.connect().is_ok());

    let mode = crate::CassetteMode::Record;
    let recorded = ModelConfig::Recorded { path: path.clone(), mode, inner: None };
    assert!(recorded.connect().err().unwrap().to_string().contains("no model to record"));
    let server = Server::new("example.com", None);
    let openai = ModelConfig::OpenAi { server, max_tokens_field: MaxTokensField::ByServer };
    assert!(openai.connect().err().unwrap().to_string().contains("example.com"));
}

async fn count(model: &dyn Model, name: &str) -> Result<Option<u64>, ModelError> {
    let mut request = request(vec![Message::user_text("What is the weather like?")]);
    Arc::make_mut(&mut request.model).model = name.into();
    model.count_tokens(&request).await
}

#[tokio::test]
async fn anthropic_counts_and_a_server_that_cannot_is_no_failure() {
    let server = MockServer::start().await;
    let answers = [
        (200, json!({"input_tokens": 403})),
        (
            404,
            json!({"type": "error", "error": {"type": "not_found_error", "message": "Not Found"}}),
        ),
        (401, json!({"type": "error", "error": {"type": "authentication_error", "message": KEY}})),
        (200, json!({"tokens": 403})),
    ];
    for (status, body) in answers {
        let reply = ResponseTemplate::new(status).set_body_json(body);
        Mock::given(method("POST"))
            .and(path("/v1/messages/count_tokens"))
            .and(header("x-api-key", KEY))
            .and(header("anthropic-version", "2023-06-01"))
            .respond_with(reply)
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    let model = Protocol::Anthropic.connect(&format!("{}/v1", server.uri()));
    assert_eq!(count(&*model, "claude-x-1").await.unwrap(), Some(403));
    assert_eq!(count(&*model, "claude-x-1").await.unwrap(), None);
    let error = count(&*model, "claude-x-1").await.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::Authentication);
    assert!(error.message.contains("/v1/messages/count_tokens"), "{error}");
    assert_no_key(&error.to_string());
    let error = count(&*model, "claude-x-1").await.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::BadResponse);
}

/// Nothing is sent: the address is not reached in any of these.
#[tokio::test]
async fn openai_is_counted_for_where_the_model_is_its_own() {
    let first_hand = Protocol::OpenAi.connect("https://api.openai.com/v1");
    let gateway = Protocol::OpenAi.connect("http://127.0.0.1:9");
    let counted = count(&*first_hand, "gpt-4o").await.unwrap();
    assert!(counted.is_some_and(|tokens| (20..60).contains(&tokens)), "{counted:?}");
    assert_eq!(count(&*gateway, "openai/gpt-4o").await.unwrap(), counted);
    // There it may be any model.
    assert_eq!(count(&*gateway, "gpt-4o").await.unwrap(), None);
    assert_eq!(count(&*first_hand, "gpt-99").await.unwrap(), None);
    assert_eq!(count(&*gateway, "openai/gpt-oss-20b").await.unwrap(), None);
}

#[tokio::test]
async fn a_script_and_a_recording_count_nothing_and_recording_lets_the_model_count() {
    let folder = tempfile::tempdir().unwrap();
    let script = crate::Script::parse("turns: [{say: hm}]", "s").unwrap();
    let scripted: Arc<dyn Model> = Arc::new(crate::ScriptedModel::new(script));
    assert_eq!(count(&*scripted, "gpt-4o").await.unwrap(), None);
    let tape = folder.path().join("tape.jsonl");
    let first_hand = Protocol::OpenAi.connect("https://api.openai.com/v1");
    let recording = crate::Cassette::record(&tape, first_hand).unwrap();
    assert!(count(&recording, "gpt-4o").await.unwrap().is_some());
    let replayed = crate::Cassette::replay(&tape).unwrap();
    assert_eq!(count(&replayed, "gpt-4o").await.unwrap(), None);
}
