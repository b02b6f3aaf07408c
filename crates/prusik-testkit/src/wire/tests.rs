//! Requests that the real services refuse, and how answers are cut into events.

use prusik_core::message::{Block, Content, ToolInput, ToolUse};
use prusik_core::model::{Answer, StopReason, Usage};
use serde_json::{Value, json};

use super::*;

fn anthropic(messages: &Value) -> Value {
    json!({"model": "m", "max_tokens": 2_000, "messages": messages})
}

fn openai(messages: &Value) -> Value {
    json!({"model": "m", "messages": messages})
}

fn refusal(protocol: Protocol, body: &Value) -> String {
    match protocol.decode(body) {
        Ok(decoded) => panic!("{body} must be refused, not read as {decoded:?}"),
        Err(refusal) => refusal.message,
    }
}

fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "pay", "input": {}})
}

fn tool_result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "done"})
}

#[test]
fn anthropic_wants_each_call_answered_at_once_and_nothing_else_answered() {
    let user = json!({"role": "user", "content": "go"});
    let calls = json!({"role": "assistant", "content": [tool_use("a"), tool_use("b")]});
    let results = |content: Value| json!({"role": "user", "content": content});
    let good = json!([user, calls, results(json!([tool_result("b"), tool_result("a")]))]);
    Protocol::Anthropic.decode(&anthropic(&good)).unwrap();

    let text = json!({"type": "text", "text": "by the way"});
    for (messages, word) in [
        (json!([user, calls]), "a, b"),
        (json!([user, calls, results(json!([tool_result("a")]))]), "immediately after: b"),
        (json!([user, calls, results(json!([text, tool_result("a"), tool_result("b")]))]), "a, b"),
        (json!([user, results(json!([tool_result("x")]))]), "tool_use_id"),
        (
            json!([
                user,
                calls,
                results(json!([tool_result("a"), tool_result("a"), tool_result("b")]))
            ]),
            "multiple",
        ),
        (json!([{"role": "assistant", "content": "hi"}]), "first message"),
        (json!([{"role": "system", "content": "hi"}]), "top-level"),
        (json!([{"role": "user", "content": ""}]), "non-empty"),
        (json!([{"role": "user", "content": [{"type": "text", "text": ""}]}]), "non-empty"),
        (
            json!([user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}]),
            "signature",
        ),
        (json!([]), "at least one"),
    ] {
        let message = refusal(Protocol::Anthropic, &anthropic(&messages));
        assert!(message.contains(word), "{messages}: {message}");
    }
}

#[test]
fn anthropic_refuses_what_its_fields_do_not_take() {
    let messages = json!([{"role": "user", "content": "go"}]);
    let with = |key: &str, value: Value| {
        let mut body = anthropic(&messages);
        body[key] = value;
        body
    };
    let tool = |name: &str, schema: Value| json!([{"name": name, "input_schema": schema}]);
    let marked = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    for (body, word) in [
        (json!({"model": "m", "messages": messages}), "max_tokens: Field required"),
        (with("max_tokens", json!(0)), "greater than or equal to 1"),
        (with("colour", json!(1)), "colour: Extra inputs"),
        (with("tools", tool("a b", json!({"type": "object"}))), "pattern"),
        (with("tools", tool("a", json!({}))), "input_schema.type"),
        (with("thinking", json!({"type": "enabled", "budget_tokens": 10})), "1024"),
        (with("thinking", json!({"type": "enabled", "budget_tokens": 2_000})), "greater than"),
        (with("system", json!([marked, marked, marked, marked, marked])), "Found 5"),
    ] {
        let message = refusal(Protocol::Anthropic, &body);
        assert!(message.contains(word), "{body}: {message}");
    }
}

#[test]
fn openai_wants_each_call_answered_at_once_and_nothing_else_answered() {
    let user = json!({"role": "user", "content": "go"});
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "pay", "arguments": "{"}});
    let calls = json!({"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "done"});
    let good = json!([user, calls, result("a"), result("b")]);
    let decoded = Protocol::OpenAi.decode(&openai(&good)).unwrap();
    assert_eq!(decoded.request.turn.0, 2);
    assert_eq!(decoded.request.messages.len(), 3, "results are one message");

    for (messages, word) in [
        (json!([user, calls]), "a, b"),
        (json!([user, calls, result("a"), user, result("b")]), "response messages: b"),
        (json!([user, calls, result("a"), result("b"), result("b")]), "'b'"),
        (json!([user, result("x")]), "preceding message"),
        (json!([user, {"role": "assistant", "content": null}]), "content"),
        (json!([user, {"role": "assistant", "content": "x", "tool_calls": []}]), "empty array"),
        (json!([{"role": "robot", "content": "x"}]), "robot"),
    ] {
        let message = refusal(Protocol::OpenAi, &openai(&messages));
        assert!(message.contains(word), "{messages}: {message}");
    }
}

#[test]
fn requests_of_both_services_are_read_as_the_same_conversation() {
    let schema = json!({"type": "object"});
    let mut one = anthropic(&json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "I pay."},
            {"type": "tool_use", "id": "a", "name": "pay", "input": {"sum": 3}},
        ]},
        {"role": "user", "content": [tool_result("a")]},
    ]));
    one["system"] = json!([{"type": "text", "text": "Be brief."}]);
    one["tools"] = json!([{"name": "pay", "description": "pays", "input_schema": schema}]);
    let function = json!({"name": "pay", "description": "pays", "parameters": schema});
    let mut two = openai(&json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "I pay.", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "pay", "arguments": "{\"sum\":3}"}},
        ]},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]));
    two["max_completion_tokens"] = json!(2_000);
    two["tools"] = json!([{"type": "function", "function": function}]);
    let one = Protocol::Anthropic.decode(&one).unwrap();
    let two = Protocol::OpenAi.decode(&two).unwrap();
    assert_eq!(one.request, two.request);
    assert_eq!(one.request.turn.0, 2);
}

#[test]
fn images_of_results_are_read() {
    let image = json!({"type": "image", "source":
        {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let result = json!({"type": "tool_result", "tool_use_id": "a", "content": [image]});
    let body = anthropic(&json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [tool_use("a")]},
        {"role": "user", "content": [result]},
    ]));
    let decoded = Protocol::Anthropic.decode(&body).unwrap();
    let Block::ToolResult(result) = &decoded.request.messages[2].content[0] else { panic!() };
    assert!(matches!(&result.content[..], [Content::Image(image)] if image.data == "AAAA"));
}

/// Malformed arguments reach the client as the model wrote them, piece by piece.
#[test]
fn pieces_of_a_stream_join_to_the_whole() {
    for raw in [r#"{"city":"Zürich 🏔"#, "{}", "", "ünïcödé ünïcödé"] {
        let call = ToolUse {
            id: "a".to_owned(),
            name: "weather".to_owned(),
            input: ToolInput::Malformed(raw.to_owned()),
        };
        let answer = Answer {
            content: vec![Block::Text("a b  c".to_owned()), Block::ToolUse(call)],
            stop: StopReason::ToolUse,
            usage: Usage::default(),
            model: "m".to_owned(),
        };
        let shape = Shape { stream: true, stream_usage: true };
        let join = |protocol: Protocol, path: &str| -> String {
            let frames = protocol.encode_stream(&answer, shape, 1);
            let values = frames.iter().filter_map(|f| serde_json::from_str::<Value>(&f.data).ok());
            values.filter_map(|v| Some(v.pointer(path)?.as_str()?.to_owned())).collect()
        };
        let anthropic_raw = join(Protocol::Anthropic, "/delta/partial_json");
        assert_eq!(anthropic_raw, if raw == "{}" { "" } else { raw });
        assert_eq!(join(Protocol::Anthropic, "/delta/text"), "a b  c");
        let path = "/choices/0/delta/tool_calls/0/function/arguments";
        assert_eq!(join(Protocol::OpenAi, path), raw);
        assert_eq!(join(Protocol::OpenAi, "/choices/0/delta/content"), "a b  c");
    }
}
