//! The wire format against transcripts of OpenAI and of servers that deviate from it.

use proptest::prelude::*;
use prusik_core::message::{
    Block, Content, Image, Message, OpaqueBlock, Role, ToolInput, ToolResultBlock, ToolUse,
};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason, Usage};
use serde_json::{Value, json};

use super::*;
use crate::tests::{OPENAI_HELLO, cut, decode, request};

fn decoder() -> Decoder {
    Decoder::new(&request(vec![]), 400)
}

fn stream(chunks: &[Value]) -> String {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .chain(["data: [DONE]\n\n".into()])
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it reads like the JSON that it makes")]
fn delta(delta: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "gpt-x-1",
           "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(word: &str) -> Value {
    json!({"model": "gpt-x-1", "choices": [{"index": 0, "delta": {}, "finish_reason": word}]})
}

fn usage() -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37,
           "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 0}}})
}

fn read(text: &str) -> Result<Answer, ModelError> {
    decode(decoder(), vec![text.as_bytes().to_vec()]).0
}

fn call(id: &str, name: &str, input: Value) -> Block {
    Block::ToolUse(ToolUse { id: id.into(), name: name.into(), input: ToolInput::Json(input) })
}

#[expect(clippy::needless_pass_by_value, reason = "it reads like the JSON that it makes")]
fn calls(value: Value) -> Value {
    delta(json!({"tool_calls": value}))
}

/// Two parallel calls as OpenAI streams them.
fn transcript() -> String {
    stream(&[
        delta(json!({"role": "assistant", "content": null, "refusal": null})),
        delta(json!({"content": "I look 😀"})),
        calls(json!([{"index": 0, "id": "call_a", "type": "function",
                      "function": {"name": "list", "arguments": ""}}])),
        calls(json!([{"index": 0, "function": {"arguments": "{\"path\":"}}])),
        calls(json!([{"index": 1, "id": "call_b", "type": "function",
                      "function": {"name": "now", "arguments": ""}}])),
        calls(json!([{"index": 0, "function": {"arguments": "\"ü\"}"}}])),
        calls(json!([{"index": 1, "function": {"arguments": "{}"}}])),
        finish("tool_calls"),
        usage(),
    ])
}

fn expected() -> Answer {
    Answer {
        content: vec![
            Block::Text("I look 😀".into()),
            call("call_a", "list", json!({"path": "ü"})),
            call("call_b", "now", json!({})),
        ],
        stop: StopReason::ToolUse,
        usage: Usage { input: 20, output: 7, cache_read: 10, cache_write: 0 },
        model: "gpt-x-1".into(),
    }
}

#[test]
fn a_whole_transcript_becomes_an_answer() {
    let (answer, deltas) = decode(decoder(), vec![transcript().into_bytes()]);
    assert_eq!(answer.unwrap(), expected());
    let expected = [
        Delta::Text("I look 😀".into()),
        Delta::ToolUse { name: "list".into() },
        Delta::ToolUse { name: "now".into() },
    ];
    assert_eq!(deltas, expected);
}

#[test]
fn calls_are_told_apart_however_a_server_numbers_them() {
    let function = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    let a = || call("a", "list", json!({"n": 1}));
    let b = |id: &str| call(id, "list", json!({"n": 2}));
    let one = || function("list", json!("{\"n\": 1}"));
    let two = || function("list", json!("{\"n\": 2}"));
    let cases: [(&str, Vec<Value>, Vec<Block>); 9] = [
        (
            "every call under index 0, in chunks of their own",
            vec![
                calls(json!([{"index": 0, "id": "a", "function": one()}])),
                calls(json!([{"index": 0, "id": "b", "function": two()}])),
            ],
            vec![a(), b("b")],
        ),
        (
            "no index, arguments as objects, all in one chunk",
            vec![calls(json!([{"id": "a", "function": function("list", json!({"n": 1}))},
                              {"id": "b", "function": function("list", json!({"n": 2}))}]))],
            vec![a(), b("b")],
        ),
        (
            "neither index nor id",
            vec![calls(json!([{"function": one()}, {"function": two()}]))],
            vec![call("call_1_1", "list", json!({"n": 1})), b("call_1_2")],
        ),
        (
            "index 0 for both and empty ids",
            vec![calls(json!([{"index": 0, "id": "", "function": one()},
                              {"index": 0, "id": "", "function": two()}]))],
            vec![call("call_1_1", "list", json!({"n": 1})), b("call_1_2")],
        ),
        (
            "the same id twice",
            vec![calls(json!([{"index": 0, "id": "a", "function": one()},
                              {"index": 1, "id": "a", "function": two()}]))],
            vec![a(), b("call_1_2")],
        ),
        (
            "the id and the name again in each fragment",
            vec![
                calls(
                    json!([{"index": 0, "id": "a", "function": function("list", json!("{\"n\""))}]),
                ),
                calls(
                    json!([{"index": 0, "id": "a", "function": function("list", json!(": 1}"))}]),
                ),
            ],
            vec![a()],
        ),
        (
            "fragments without index go on with the last call",
            vec![
                calls(json!([{"id": "a", "function": function("list", json!("{\"n\""))}])),
                calls(json!([{"function": {"arguments": ": 1}"}}])),
            ],
            vec![a()],
        ),
        (
            "indexes that begin at 1",
            vec![calls(json!([{"index": 1, "id": "a", "function": one()},
                              {"index": 2, "id": "b", "function": two()}]))],
            vec![a(), b("b")],
        ),
        (
            "the older form",
            vec![
                delta(json!({"function_call": {"name": "list", "arguments": "{\"n\""}})),
                delta(json!({"function_call": {"arguments": ": 1}"}})),
            ],
            vec![call("call_1_1", "list", json!({"n": 1}))],
        ),
    ];
    for (what, mut chunks, expected) in cases {
        // Some servers say `stop` although there are calls.
        chunks.push(finish("stop"));
        let answer = read(&stream(&chunks)).unwrap();
        assert_eq!(answer.content, expected, "{what}");
        assert_eq!(answer.stop, StopReason::ToolUse, "{what}");
    }
}

#[test]
fn every_finish_reason_is_its_own() {
    for (word, stop) in [
        ("stop", StopReason::EndTurn),
        ("tool_calls", StopReason::EndTurn),
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::Refusal),
        ("tired", StopReason::Other("tired".into())),
    ] {
        assert_eq!(read(&stream(&[finish(word)])).unwrap().stop, stop, "{word}");
    }
    let refused = stream(&[delta(json!({"refusal": "I will not."})), finish("stop")]);
    let answer = read(&refused).unwrap();
    assert_eq!(answer.stop, StopReason::Refusal);
    assert_eq!(answer.content, [Block::Text("I will not.".into())]);
}

#[test]
fn a_call_cut_at_the_token_limit_is_kept_as_it_is() {
    let begun = calls(
        json!([{"index": 0, "id": "a", "function": {"name": "list", "arguments": "{\"n\""}}]),
    );
    let answer = read(&stream(&[begun, finish("length")])).unwrap();
    assert_eq!(answer.stop, StopReason::MaxTokens);
    let Block::ToolUse(call) = &answer.content[0] else { panic!("{answer:?}") };
    assert_eq!(call.input, ToolInput::Malformed("{\"n\"".into()));
}

#[test]
fn usage_is_estimated_where_a_server_gives_none() {
    let answer = read(&stream(&[delta(json!({"content": "12345678"})), finish("stop")])).unwrap();
    assert_eq!(answer.usage, Usage { input: 100, output: 2, ..Usage::default() });
    let hostile = json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1,
                         "prompt_tokens_details": {"cached_tokens": u64::MAX}}});
    let answer = read(&stream(&[finish("stop"), hostile])).unwrap();
    assert_eq!((answer.usage.input, answer.usage.cache_read), (0, 5));
    for (written, expected) in [
        (json!(12), Usage { input: 8, output: 7, cache_read: 10, cache_write: 12 }),
        (json!(u64::MAX), Usage { input: 0, output: 7, cache_read: 10, cache_write: 20 }),
        (Value::Null, Usage { input: 20, output: 7, cache_read: 10, cache_write: 0 }),
    ] {
        let mut told = usage();
        told["usage"]["prompt_tokens_details"]["cache_write_tokens"] = written;
        let answer =
            read(&stream(&[delta(json!({"content": "x"})), finish("stop"), told])).unwrap();
        assert_eq!(answer.usage, expected);
    }
}

#[test]
fn reasoning_is_kept_under_the_name_that_it_came_with() {
    for name in ["reasoning_content", "reasoning"] {
        let thoughts = ["Fi", "rst"].map(|text| delta(json!({name: text, "content": ""})));
        let chunks = [&thoughts[..], &[delta(json!({"content": "Yes."})), finish("stop")]].concat();
        let answer = read(&stream(&chunks)).unwrap();
        let block = OpaqueBlock { provider: "openai".into(), block: json!({name: "First"}) };
        assert_eq!(answer.content, [Block::Opaque(block), Block::Text("Yes.".into())]);
        let message = Message { role: Role::Assistant, content: answer.content };
        let sent = body_of(&request(vec![message]));
        assert_eq!(sent["messages"][1][name], "First");
    }
}

#[test]
fn errors_in_the_stream_have_their_kind() {
    use ModelErrorKind as K;
    for (error, kind) in [
        (json!({"message": "slow", "code": 429}), K::RateLimited),
        (json!({"message": "slow", "type": "rate_limit_error"}), K::RateLimited),
        (json!({"message": "slow", "code": "insufficient_quota"}), K::Billing),
        (json!({"message": "slow", "code": "context_length_exceeded"}), K::ContextFull),
        (json!({"message": "slow", "code": 99_999}), K::Server),
        (json!("slow"), K::Server),
        (json!({"message": "slow", "code": null}), K::Server),
    ] {
        let chunks = [delta(json!({"content": "so far"})), json!({"error": error})];
        let failed = read(&stream(&chunks)).unwrap_err();
        assert_eq!(failed.kind, kind, "{error}");
        assert!(failed.message.contains("slow"), "{failed}");
    }
}

#[test]
fn the_end_may_lack_its_mark_but_not_its_reason() {
    let whole = OPENAI_HELLO.replace("data: [DONE]\n\n", "");
    assert_eq!(read(&whole).unwrap().content, [Block::Text("Hello".into())]);
    for text in [stream(&[delta(json!({"content": "x"}))]), String::new()] {
        assert_eq!(read(&text).unwrap_err().kind, ModelErrorKind::StreamCut);
    }
    let after = format!("{}data: {{nonsense\n\n", stream(&[finish("stop")]));
    assert!(read(&after).is_ok(), "nothing counts after the end");
}

#[test]
fn content_may_come_in_parts() {
    let parts =
        json!({"content": [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]});
    let answer = read(&stream(&[delta(parts), finish("stop")])).unwrap();
    assert_eq!(answer.content, [Block::Text("Hello".into())]);
}

fn body_of(request: &ModelRequest) -> Value {
    serde_json::from_slice(&encode::body(request, "max_tokens")).unwrap()
}

#[test]
fn a_conversation_is_sent_as_the_api_wants_it() {
    let png = Image { media_type: "image/png".into(), data: "iVBO".into() };
    let foreign = OpaqueBlock { provider: "anthropic".into(), block: json!({"type": "thinking"}) };
    let malformed = ToolInput::Malformed("{\"a".into());
    let answer = vec![
        Block::Opaque(foreign),
        Block::Text("I look.".into()),
        call("call_a", "list", json!({"path": "."})),
        Block::ToolUse(ToolUse { id: "call_b".into(), name: "list".into(), input: malformed }),
    ];
    let result = |id: &str, content| {
        Block::ToolResult(ToolResultBlock { id: id.into(), content, is_error: false })
    };
    let results = vec![
        result("call_a", vec![Content::Json(json!({"a": 1})), Content::Image(png)]),
        result("call_b", vec![Content::Text("no".into())]),
        Block::Text("Go on.".into()),
    ];
    let request = request(vec![
        Message::user_text("Pay."),
        Message { role: Role::Assistant, content: answer },
        Message { role: Role::User, content: results },
    ]);
    insta::assert_json_snapshot!(body_of(&request));
}

#[test]
fn the_limit_has_the_name_that_the_server_knows() {
    let field = |url: &str, field| {
        let idle = std::time::Duration::from_secs(1);
        let model = OpenAi::new(url, None, idle, field).unwrap();
        (model.max_tokens_field, format!("{:?}", model.endpoint))
    };
    let by_server = MaxTokensField::ByServer;
    assert_eq!(field("https://api.openai.com/v1", by_server).0, "max_completion_tokens");
    assert_eq!(field("https://api.openai.com/v1", MaxTokensField::MaxTokens).0, "max_tokens");
    let (name, shown) = field("http://localhost:11434", by_server);
    assert_eq!(name, "max_tokens");
    assert!(shown.contains("http://localhost:11434/v1/chat/completions"), "{shown}");
    let (_, shown) = field("https://h/api/openai/chat/completions/", by_server);
    assert!(shown.contains("https://h/api/openai/chat/completions\""), "{shown}");
}

proptest! {
    #[test]
    fn where_the_stream_is_cut_into_pieces_changes_nothing(
        places in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let (answer, _) = decode(decoder(), cut(transcript().as_bytes(), &places));
        prop_assert_eq!(answer.unwrap(), expected());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(decoder(), vec![bytes]);
    }

    #[test]
    fn no_damaged_transcript_panics(
        at in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 0..8),
        cut_out in 0usize..200,
    ) {
        let mut bytes = transcript().into_bytes();
        let from = at.index(bytes.len());
        let to = (from + cut_out).min(bytes.len());
        bytes.splice(from..to, junk);
        if let (Ok(answer), _) = decode(decoder(), vec![bytes]) {
            let ids: std::collections::HashSet<_> = answer.content.iter().filter_map(|block| match block {
                Block::ToolUse(call) => Some(&call.id),
                Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
            }).collect();
            let calls = answer.content.iter().filter(|block| matches!(block, Block::ToolUse(_)));
            prop_assert_eq!(ids.len(), calls.count(), "ids are unique within an answer");
        }
    }
}
