//! The wire format against transcripts of the documented shapes.

use std::sync::Arc;

use proptest::prelude::*;
use prusik_core::message::{
    Block, Content, Image, Message, OpaqueBlock, Role, ToolInput, ToolResultBlock, ToolUse,
};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason, Usage};
use serde_json::{Value, json};

use super::*;
use crate::tests::{ANTHROPIC_HELLO, cut, decode, request};

/// Thinking, text and two parallel calls, with the events' names and order of the documentation.
fn transcript() -> String {
    let events = [
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
            "model": "claude-x-1", "content": [], "stop_reason": null, "usage": {
                "input_tokens": 10, "cache_creation_input_tokens": 20,
                "cache_read_input_tokens": 30, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        delta(0, json!({"type": "thinking_delta", "thinking": "Fi"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "rst ü"})),
        delta(0, json!({"type": "signature_delta", "signature": "EqQBCgIYAhIM"})),
        stop(0),
        json!({"type": "content_block_start", "index": 1,
            "content_block": {"type": "redacted_thinking", "data": "EmwKAhgB"}}),
        stop(1),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        delta(2, json!({"type": "text_delta", "text": "I look "})),
        delta(2, json!({"type": "text_delta", "text": "😀"})),
        delta(2, json!({"type": "citations_delta", "citation": {"cited_text": "x"}})),
        stop(2),
        json!({"type": "content_block_start", "index": 3, "content_block":
            {"type": "tool_use", "id": "toolu_1", "name": "list", "input": {}}}),
        delta(3, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"path\": \"in"})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "voices\"}"})),
        stop(3),
        json!({"type": "content_block_start", "index": 4, "content_block":
            {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}}),
        stop(4),
        json!({"type": "content_block_start", "index": 5, "content_block":
            {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}}),
        delta(5, json!({"type": "input_json_delta", "partial_json": "{\"query\": \"x\"}"})),
        stop(5),
        json!({"type": "something_new", "x": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"output_tokens": 89, "cache_read_input_tokens": 31}}),
        json!({"type": "message_stop"}),
    ];
    let text =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(text).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it reads like the JSON that it makes")]
fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn read(text: &str) -> Result<Answer, ModelError> {
    decode(Decoder::default(), vec![text.as_bytes().to_vec()]).0
}

fn opaque(block: Value) -> Block {
    Block::Opaque(OpaqueBlock { provider: "anthropic".into(), block })
}

fn call(id: &str, name: &str, input: ToolInput) -> Block {
    Block::ToolUse(ToolUse { id: id.into(), name: name.into(), input })
}

fn expected() -> Answer {
    Answer {
        content: vec![
            opaque(json!({"type": "thinking", "thinking": "First ü", "signature": "EqQBCgIYAhIM"})),
            opaque(json!({"type": "redacted_thinking", "data": "EmwKAhgB"})),
            Block::Text("I look 😀".into()),
            call("toolu_1", "list", ToolInput::Json(json!({"path": "invoices"}))),
            call("toolu_2", "now", ToolInput::Json(json!({}))),
            opaque(json!({"type": "server_tool_use", "id": "srv_1", "name": "web_search",
                          "input": {"query": "x"}})),
        ],
        stop: StopReason::ToolUse,
        usage: Usage { input: 10, output: 89, cache_read: 31, cache_write: 20 },
        model: "claude-x-1".into(),
    }
}

#[test]
fn a_whole_transcript_becomes_an_answer() {
    let (answer, deltas) = decode(Decoder::default(), vec![transcript().into_bytes()]);
    assert_eq!(answer.unwrap(), expected());
    let expected = [
        Delta::Thinking("Fi".into()),
        Delta::Thinking("rst ü".into()),
        Delta::Text("I look ".into()),
        Delta::Text("😀".into()),
        Delta::ToolUse { name: "list".into() },
        Delta::ToolUse { name: "now".into() },
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn every_stop_reason_is_its_own() {
    for (word, stop) in [
        ("end_turn", StopReason::EndTurn),
        ("tool_use", StopReason::ToolUse),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("refusal", StopReason::Refusal),
        ("pause_turn", StopReason::PauseTurn),
        ("model_context_window_exceeded", StopReason::ContextFull),
        ("tired", StopReason::Other("tired".into())),
    ] {
        let text = ANTHROPIC_HELLO.replace("end_turn", word);
        assert_eq!(read(&text).unwrap().stop, stop, "{word}");
    }
}

#[test]
fn arguments_cut_at_the_token_limit_are_kept_as_they_are() {
    let text = transcript()
        .replace("voices\\\"}", "")
        .replace("\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"max_tokens\"");
    let answer = read(&text).unwrap();
    assert_eq!(answer.stop, StopReason::MaxTokens);
    let cut = ToolInput::Malformed("{\"path\": \"in".into());
    assert_eq!(answer.content[3], call("toolu_1", "list", cut));
}

#[test]
fn errors_in_the_stream_have_their_kind() {
    use ModelErrorKind as K;
    let half = &ANTHROPIC_HELLO[..ANTHROPIC_HELLO.find("event: content_block_stop").unwrap()];
    for (word, kind) in [
        ("overloaded_error", K::Overloaded),
        ("rate_limit_error", K::RateLimited),
        ("api_error", K::Server),
        ("timeout_error", K::Timeout),
        ("invalid_request_error", K::InvalidRequest),
        ("authentication_error", K::Authentication),
        ("a_new_error", K::Server),
    ] {
        let event = json!({"type": "error", "error": {"type": word, "message": "sorry"}});
        let error = read(&format!("{half}event: error\ndata: {event}\n\n")).unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains("sorry"), "{error}");
    }
}

#[test]
fn what_is_out_of_order_is_no_answer() {
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let start = &ANTHROPIC_HELLO[..ANTHROPIC_HELLO.find("event: content").unwrap()];
    let no_block = delta(0, json!({"type": "text_delta", "text": "x"}));
    let no_id = json!({"type": "content_block_start", "index": 0,
                       "content_block": {"type": "tool_use", "name": "x"}});
    for (text, kind) in [
        (stop.to_owned(), ModelErrorKind::StreamCut),
        (format!("{start}{stop}"), ModelErrorKind::BadResponse),
        (format!("{start}data: {no_block}\n\n"), ModelErrorKind::BadResponse),
        (format!("{start}data: {no_id}\n\n"), ModelErrorKind::BadResponse),
        (start.to_owned(), ModelErrorKind::StreamCut),
    ] {
        assert_eq!(read(&text).unwrap_err().kind, kind, "{text}");
    }
}

fn body_of(request: &ModelRequest) -> Value {
    serde_json::from_slice(&encode::body(request)).unwrap()
}

fn result(id: &str, content: Vec<Content>, is_error: bool) -> Block {
    Block::ToolResult(ToolResultBlock { id: id.into(), content, is_error })
}

#[test]
fn a_conversation_is_sent_as_the_api_wants_it() {
    let png = Image { media_type: "image/png".into(), data: "iVBO".into() };
    let svg = Image { media_type: "image/svg+xml".into(), data: "PHN2".into() };
    let content = vec![
        Content::Text(String::new()),
        Content::Json(json!({"a": 1})),
        Content::Image(png),
        Content::Image(svg),
    ];
    let foreign = OpaqueBlock { provider: "openai".into(), block: json!({"reasoning": "x"}) };
    let broken = OpaqueBlock { provider: "anthropic".into(), block: json!("text") };
    let mut answer = expected().content;
    answer.push(Block::Opaque(foreign));
    answer.push(Block::Opaque(broken));
    answer.push(call("toolu_3", "list", ToolInput::Malformed("{\"a".into())));
    answer.push(Block::Text(" ".into()));
    let results = vec![
        result("toolu_1", content, false),
        result("toolu_2", vec![Content::Text("no".into())], true),
    ];
    let mut request = request(vec![
        Message::user_text("Pay."),
        Message { role: Role::Assistant, content: answer },
        Message { role: Role::User, content: results },
    ]);
    insta::assert_json_snapshot!(body_of(&request));

    let message = Message { role: Role::Assistant, content: vec![Block::Text(String::new())] };
    request.messages.push(Arc::new(message));
    let sent = body_of(&request)["messages"].as_array().unwrap().len();
    assert_eq!(sent, 3, "the API refuses a message without content");
}

/// Returns the places of the breakpoints: `system`, `tools.0`, or a message and its block.
fn breakpoints(body: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let marked = |value: &Value| value["cache_control"] == json!({"type": "ephemeral"});
    let of = |name: String, blocks: &Value| {
        let places = list(blocks).into_iter().enumerate().filter(|(_, block)| marked(block));
        places.map(move |(i, _)| format!("{name}.{i}")).collect::<Vec<_>>()
    };
    let mut all = of("tools".into(), &body["tools"]);
    all.extend(of("system".into(), &body["system"]));
    for (i, message) in list(&body["messages"]).iter().enumerate() {
        all.extend(of(i.to_string(), &message["content"]));
    }
    all
}

#[test]
fn breakpoints_end_the_system_prompt_the_head_and_the_newest_two() {
    let turn = |n: usize| {
        let user = Message {
            role: Role::User,
            content: vec![Block::Text(format!("{n}")), Block::Text("and more".into())],
        };
        let content = vec![Block::Text("yes".into())];
        [user, Message { role: Role::Assistant, content }]
    };
    let mut messages: Vec<Message> = (0..4).flat_map(turn).collect();
    for (count, expected) in [
        (1, vec!["system.0", "0.1"]),
        // An answer that goes on: nothing of the model's is marked.
        (2, vec!["system.0", "0.1"]),
        (3, vec!["system.0", "0.1", "2.1"]),
        (5, vec!["system.0", "0.1", "2.1", "4.1"]),
        (7, vec!["system.0", "0.1", "4.1", "6.1"]),
    ] {
        let body = body_of(&request(messages[..count].to_vec()));
        assert_eq!(breakpoints(&body), expected, "{count} messages");
    }
    // Without a system prompt the tools need a breakpoint of their own.
    let mut bare = request(messages[..1].to_vec());
    bare.system = " ".into();
    assert_eq!(breakpoints(&body_of(&bare)), ["tools.0", "0.1"]);
    bare.tools = Vec::new().into();
    assert_eq!(breakpoints(&body_of(&bare)), ["0.1"]);
    // A conversation that the model opens has no head.
    messages.remove(0);
    assert_eq!(breakpoints(&body_of(&request(messages))), ["system.0", "3.1", "5.1"]);
}

#[test]
fn the_prefix_stays_whatever_is_marked() {
    let mut messages = Vec::new();
    let mut bodies = Vec::new();
    for turn in 0..5 {
        messages.push(Message::user_text(format!("{turn}")));
        bodies.push(String::from_utf8(encode::body(&request(messages.clone()))).unwrap());
        let content = vec![Block::Text("yes".into())];
        messages.push(Message { role: Role::Assistant, content });
    }
    let breakpoint = r#","cache_control":{"type":"ephemeral"}"#;
    for pair in bodies.windows(2) {
        assert!(pair[1].matches(breakpoint).count() <= 4);
        let plain: Vec<String> = pair.iter().map(|body| body.replace(breakpoint, "")).collect();
        let shared = plain[0].strip_suffix("]}").unwrap();
        assert!(plain[1].starts_with(shared), "{} {}", plain[0], plain[1]);
    }
}

#[test]
fn what_is_counted_is_what_is_sent_but_for_the_answer() {
    let mut request = request(vec![Message::user_text("x")]);
    Arc::make_mut(&mut request.model).thinking_tokens = Some(2_000);
    let mut sent = body_of(&request);
    let counted: Value = serde_json::from_slice(&encode::count_body(&request)).unwrap();
    for key in ["max_tokens", "stream"] {
        assert!(sent.as_object_mut().unwrap().remove(key).is_some(), "{key}");
    }
    assert_eq!(counted, sent);
    // A temperature is about the answer, too.
    Arc::make_mut(&mut request.model).thinking_tokens = None;
    assert_eq!(body_of(&request)["temperature"], 0.5);
    let counted: Value = serde_json::from_slice(&encode::count_body(&request)).unwrap();
    assert!(counted["temperature"].is_null());
}

#[test]
fn thinking_fits_into_the_answer() {
    for (asked, max_tokens, budget) in [
        (None, 4_000, Value::Null),
        (Some(2_000), 4_000, json!(2_000)),
        (Some(9_000), 4_000, json!(3_999)),
        (Some(2_000), 1_024, Value::Null),
        (Some(10), 4_000, Value::Null),
    ] {
        let mut request = request(vec![Message::user_text("x")]);
        Arc::make_mut(&mut request.model).thinking_tokens = asked;
        request.max_tokens = max_tokens;
        let body = body_of(&request);
        assert_eq!(body["thinking"]["budget_tokens"], budget);
        assert_eq!(body["temperature"].is_null(), !budget.is_null());
    }
}

proptest! {
    #[test]
    fn where_the_stream_is_cut_into_pieces_changes_nothing(
        places in prop::collection::vec(any::<usize>(), 0..40),
        carriage_returns in any::<bool>(),
    ) {
        let mut text = transcript();
        if carriage_returns {
            text = text.replace('\n', "\r\n");
        }
        let (answer, _) = decode(Decoder::default(), cut(text.as_bytes(), &places));
        prop_assert_eq!(answer.unwrap(), expected());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(Decoder::default(), vec![bytes]);
    }

    #[test]
    fn no_damaged_transcript_panics_or_passes_for_another(
        at in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 0..8),
        cut_out in 0usize..200,
    ) {
        let mut bytes = transcript().into_bytes();
        let from = at.index(bytes.len());
        let to = (from + cut_out).min(bytes.len());
        bytes.splice(from..to, junk);
        if let (Ok(answer), _) = decode(Decoder::default(), vec![bytes]) {
            prop_assert!(answer.content.len() <= expected().content.len());
        }
    }
}
