//! Scripts as users write them, and the mistakes they make.

use std::sync::Arc;

use prusik_core::ids::{Attempt, Turn};
use prusik_core::message::{Content, Role, ToolResultBlock};
use prusik_core::model::{ModelSpec, ToolDecl, Usage};

use super::*;

fn request(messages: Vec<Message>) -> ModelRequest {
    let model = ModelSpec {
        alias: "main".into(),
        model: "scripted".into(),
        max_tokens: 1_000,
        temperature: None,
        thinking_tokens: None,
        price: None,
    };
    let tool =
        ToolDecl { name: "list".into(), description: "lists".into(), input_schema: json!({}) };
    ModelRequest {
        turn: Turn(1),
        attempt: Attempt(1),
        purpose: super::purpose_of(&messages),
        model: Arc::new(model),
        max_tokens: 1_000,
        system: "You pay invoices.".into(),
        tools: vec![tool].into(),
        messages: messages.into_iter().map(Arc::new).collect(),
    }
}

/// Returns the conversation after `answer`, with `text` as the result of each of its calls.
fn after(mut messages: Vec<Message>, answer: Answer, text: &str) -> Vec<Message> {
    let results = answer.content.iter().filter_map(|block| match block {
        Block::ToolUse(call) => Some(Block::ToolResult(ToolResultBlock {
            id: call.id.clone(),
            content: vec![Content::Text(text.to_owned())],
            is_error: false,
        })),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    });
    let results = results.collect();
    messages.push(Message { role: Role::Assistant, content: answer.content });
    messages.push(Message { role: Role::User, content: results });
    messages
}

fn said(answer: &Answer) -> String {
    answer
        .content
        .iter()
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::Opaque(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        })
        .collect()
}

const INVOICES: &str = r#"
turns:
  - think: "First look."
    say: "I look at the invoices first."
    call:
      - tool: list
        arguments: { path: "invoices", note: "= 'of ' + task" }
  - cases:
      - when: 'results.exists(r, r.text.contains("overdue"))'
        call:
          - tool: pay
            arguments: { amount: "= results[0].value.amount", tool: "= results[0].tool", n: "= turn + 1" }
        usage: { in: 100, out: 20 }
      - say: { paid: 0 }
  - say: "= 'I have seen ' + string(size(all_results)) + ' results and ' + tools[0] + '==' + user"
"#;

#[test]
fn a_script_branches_on_results_and_computes_from_them() {
    let script = Script::parse(INVOICES, "invoices.yaml").unwrap();
    let start = vec![Message::user_text("May")];
    let first = script.answer(&request(start.clone())).unwrap();
    assert_eq!(first.stop, StopReason::ToolUse);
    assert_eq!(said(&first), "I look at the invoices first.");
    let [Block::Opaque(thought), Block::Text(_), Block::ToolUse(call)] = &first.content[..] else {
        panic!("{first:?}")
    };
    assert_eq!(thought.block["signature"], "scripted-signature-1");
    assert_eq!(call.id, "toolu_1_1");
    assert_eq!(call.input, ToolInput::Json(json!({"path": "invoices", "note": "of May"})));

    let quiet = after(start.clone(), first.clone(), "nothing");
    let answer = script.answer(&request(quiet)).unwrap();
    assert_eq!((said(&answer).as_str(), &answer.stop), (r#"{"paid":0}"#, &StopReason::EndTurn));

    let overdue = after(start, first, r#"{"amount": 12.5, "state": "overdue"}"#);
    let second = script.answer(&request(overdue.clone())).unwrap();
    assert_eq!(second.usage, Usage { input: 100, output: 20, ..Usage::default() });
    let [Block::ToolUse(call)] = &second.content[..] else { panic!("{second:?}") };
    let arguments = json!({"amount": 12.5, "tool": "list", "n": 3});
    assert_eq!(call.input, ToolInput::Json(arguments));

    let third = script.answer(&request(after(overdue, second, "done"))).unwrap();
    assert_eq!(said(&third), "I have seen 2 results and list==");
}

#[test]
fn a_turn_can_repeat_and_the_end_is_an_error_that_says_so() {
    let text = "turns: [{repeat: 2, call: [{tool: list}]}, {say: done}]";
    let script = Script::parse(text, "loop.yaml").unwrap();
    let mut messages = vec![Message::user_text("go")];
    let mut stops = Vec::new();
    for _ in 0..3 {
        let answer = script.answer(&request(messages.clone())).unwrap();
        stops.push(answer.stop.clone());
        messages = after(messages, answer, "the result");
    }
    assert_eq!(stops, [StopReason::ToolUse, StopReason::ToolUse, StopReason::EndTurn]);
    let error = script.answer(&request(messages)).unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::Drift);
    assert!(error.message.contains("`loop.yaml` has no answer for turn 4"), "{error}");
    assert!(error.message.contains("ends after turn 3"), "{error}");
}

#[test]
fn a_turn_that_nobody_foresaw_names_what_the_results_were() {
    let text = r#"{"turns": [{"call": [{"tool": "list"}]},
                             {"when": "results[0].is_error", "say": "no"}]}"#;
    let script = Script::parse(text, "s.json").unwrap();
    let start = vec![Message::user_text("go")];
    let first = script.answer(&request(start.clone())).unwrap();
    let error = script.answer(&request(after(start, first, "a surprise"))).unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::Drift);
    assert!(error.message.contains("turn 2: no `when` of it holds"), "{error}");
    assert!(error.message.contains("list (ok): a surprise"), "{error}");
}

#[test]
fn the_first_attempts_can_fail() {
    let text = "
turns:
  - error: { kind: overloaded, retry_after_ms: 10, times: 2 }
    say: at last
  - error: { kind: billing, message: no credit }
";
    let script = Script::parse(text, "s").unwrap();
    let mut request = request(vec![Message::user_text("go")]);
    for attempt in 1..=2 {
        request.attempt = Attempt(attempt);
        let error = script.answer(&request).unwrap_err();
        assert_eq!((error.kind, error.retry_after_ms), (ModelErrorKind::Overloaded, Some(10)));
    }
    request.attempt = Attempt(3);
    let answer = script.answer(&request).unwrap();
    assert_eq!(said(&answer), "at last");
    request.messages.push(Arc::new(Message { role: Role::Assistant, content: answer.content }));
    request.messages.push(Arc::new(Message::user_text("on")));
    request.attempt = Attempt(99);
    let error = script.answer(&request).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ModelErrorKind::Billing, "no credit"));
}

#[test]
fn malformed_calls_and_every_stop_reason_can_be_scripted() {
    let text = r#"turns: [{call: [{tool: x, raw: '{"a": '}], stop: max_tokens}]"#;
    let answer = Script::parse(text, "s").unwrap().answer(&request(vec![])).unwrap();
    let [Block::ToolUse(call)] = &answer.content[..] else { panic!("{answer:?}") };
    assert_eq!(call.input, ToolInput::Malformed(r#"{"a": "#.into()));
    assert_eq!(answer.stop, StopReason::MaxTokens);
    let stops = [
        ("end_turn", StopReason::EndTurn),
        ("stop_sequence", StopReason::StopSequence),
        ("refusal", StopReason::Refusal),
        ("pause_turn", StopReason::PauseTurn),
        ("context_full", StopReason::ContextFull),
        ("{ other: tired }", StopReason::Other("tired".into())),
    ];
    for (word, stop) in stops {
        let script = Script::parse(&format!("turns: [{{stop: {word}}}]"), "s").unwrap();
        assert_eq!(script.answer(&request(vec![])).unwrap().stop, stop, "{word}");
    }
}

#[test]
fn mistakes_name_line_and_column() {
    let cases = [
        ("turns:\n  - say: x\n    sy: y\n", "s.yaml:3:5", "sy"),
        ("turns:\n  - say: '= results['\n", "s.yaml:2", "is not CEL"),
        ("turns:\n  - when: 'a +'\n    say: x\n", "s.yaml:2", "is not CEL"),
        ("turns:\n  - call: [{tool: a, arguments: {x: {y: ['=)']}}}]\n", "s.yaml:2", "is not CEL"),
        ("turns:\n  - {}\n", "s.yaml:2", "needs one of"),
        ("turns:\n  - cases: []\n", "s.yaml:2", "empty"),
        ("turns:\n  - cases: [{say: a}]\n    say: b\n", "s.yaml:2", "move the rest"),
        ("turns:\n  - repeat: 0\n    say: b\n", "s.yaml:2", "`repeat` is 0"),
        ("turns:\n  - say: b\n    error: {kind: server}\n", "s.yaml:2", "never"),
        ("turns:\n  - error: {kind: server, times: 1}\n", "s.yaml:2", "comes after"),
        ("turns:\n  - error: {kind: sever}\n", "s.yaml:2", "sever"),
        ("turns:\n  - call: [{tool: a, raw: b, arguments: {}}]\n", "s.yaml:2", "not both"),
        ("turns:\n  - stop: tired\n", "s.yaml:2", "tired"),
        ("summary: {repeat: 2, say: b}\nturns: [{say: x}]\n", "s.yaml:1", "leave `repeat` out"),
        ("summary: {}\nturns: [{say: x}]\n", "s.yaml:1", "needs one of"),
        ("turns: []\n", "s.yaml", "`turns` is empty"),
        ("delay_ms: 700000\nturns: [{say: x}]\n", "s.yaml:1", "longest pause"),
        ("turns: [\n", "s.yaml:", ""),
        ("", "s.yaml", ""),
    ];
    for (text, place, word) in cases {
        let error = Script::parse(text, "s.yaml").unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(word), "{text:?} gave: {error}");
    }
}

fn text(role: Role, text: &str) -> Message {
    Message { role, content: vec![Block::Text(text.into())] }
}

/// A usage is what a provider with a perfect cache would count: four bytes a token.
#[test]
fn an_estimate_counts_the_whole_request() {
    let script = Script::parse("turns: [{repeat: forever, say: 12345}]", "s").unwrap();
    // The system prompt has 17 bytes; name and description of the tool 9, its schema 2.
    let first = script.play(&request(vec![Message::user_text("x".repeat(100))])).unwrap();
    assert_eq!(first.usage, UsageSource::Estimate);
    let expected = Usage { input: 32, output: 2, ..Usage::default() };
    assert_eq!(first.answer.usage, expected, "(17 + 11 + 100) / 4");
    let call = ToolUse {
        id: "1".into(),
        name: "list".into(),
        input: ToolInput::Json(json!({"a": [1, null, "\u{e4}\n"]})),
    };
    let json = json!({"b": true});
    let content = vec![Content::Text("seen".into()), Content::Json(json)];
    let result = ToolResultBlock { id: "1".into(), content, is_error: false };
    let second = script.answer(&request(vec![
        Message::user_text("x".repeat(100)),
        Message { role: Role::Assistant, content: vec![Block::ToolUse(call)] },
        Message { role: Role::User, content: vec![Block::ToolResult(result)] },
    ]));
    // Before: 128 and `list{"a":[1,null,"ä\n"]}` with 25 bytes. Fresh: `seen{"b":true}` with 14.
    let expected = Usage { input: 4, output: 2, cache_read: 39, cache_write: 0 };
    assert_eq!(second.unwrap().usage, expected);
    let own = Script::parse("turns: [{say: a, usage: {in: 7}}]", "s").unwrap();
    let played = own.play(&request(vec![Message::user_text("x")])).unwrap();
    assert_eq!((played.usage, played.answer.usage.input), (UsageSource::Script, 7));
}

#[test]
fn the_turn_is_counted_on_from_the_turns_that_are_gone() {
    let head = |texts: &[&str]| {
        let content = texts.iter().map(|text| Block::Text((*text).to_owned())).collect();
        Message { role: Role::User, content }
    };
    let gone = "[history: turns 1 to 12]\n{}";
    for (first, turn) in [
        (head(&["task"]), 2),
        (head(&["task", gone]), 14),
        (head(&["task", "brief", gone]), 14),
        // As a wire with one text for each message joins them.
        (head(&[&format!("task\n\nbrief\n\n{gone}")]), 14),
        (head(&["task", "They say [history: turns 1 to 12]"]), 2),
        (head(&["task", "[history: turns 1 to many]"]), 2),
        (head(&["task", "[history: turns 1 to 99999999999999]"]), 2),
        (head(&["task", &format!("[history: turns 1 to {}]", u32::MAX)]), u32::MAX),
    ] {
        let messages = [first, text(Role::Assistant, "yes"), text(Role::User, gone)];
        assert_eq!(turn_asked(&messages).0, turn, "{:?}", messages[0]);
    }
    let script = "turns: [{repeat: 12, say: before}, {say: \"= 'turn ' + string(turn)\"}]";
    let script = Script::parse(script, "s").unwrap();
    let answer = script.answer(&request(vec![head(&["task", gone])])).unwrap();
    assert_eq!(said(&answer), "turn 13");
}

const ASKS: &str = "[compaction]\nSum it up.";

#[test]
fn a_request_for_a_summary_gets_one_made_by_rule() {
    let script = "
turns:
  - call:
      - { tool: read, arguments: { path: a.txt } }
      - { tool: record, arguments: { kind: decision, text: Pay Ann first. } }
";
    let script = Script::parse(script, "s").unwrap();
    let start = vec![Message::user_text("Pay all.")];
    let first = script.answer(&request(start.clone())).unwrap();
    let mut messages = after(start, first, "Ann: 12\nBob: 7");
    messages[2].content.push(Block::Text(ASKS.into()));
    let answer = script.answer(&request(messages.clone())).unwrap();
    assert_eq!(answer.stop, StopReason::EndTurn);
    let document: Value = serde_json::from_str(&said(&answer)).unwrap();
    let expected = json!({
        "asked": "Pay all.",
        "done": [
            "1.1 read {\"path\":\"a.txt\"}",
            "1.2 record {\"kind\":\"decision\",\"text\":\"Pay Ann first.\"}",
        ],
        "learned": ["1.1: Ann: 12 Bob: 7", "1.2: Ann: 12 Bob: 7"],
        "decided": ["Pay Ann first."],
        "open": [],
        "files": ["a.txt"],
        "handles": [
            {"handle": "1.1", "what": "read {\"path\":\"a.txt\"}"},
            {"handle": "1.2", "what": "record {\"kind\":\"decision\",\"text\":\"Pay Ann first.\"}"},
        ],
    });
    assert_eq!(document, expected);
    // After a compaction the turns are numbered on, and what stood before is kept in short.
    let gone = Block::Text("[history: turns 1 to 6]\nPaid Zoe.".into());
    messages[0].content.push(gone);
    let answer = script.answer(&request(messages.clone())).unwrap();
    let document: Value = serde_json::from_str(&said(&answer)).unwrap();
    assert_eq!(document["done"][0], "[history: turns 1 to 6] Paid Zoe.");
    assert_eq!(document["handles"][0]["handle"], "7.1");
    // Asked once more, because something was wrong with it.
    messages.push(text(Role::Assistant, "{}"));
    messages.push(text(Role::User, "[compaction]\n`asked` is missing."));
    let again = script.answer(&request(messages)).unwrap();
    assert_eq!(said(&again), said(&answer));
}

#[test]
fn a_script_can_say_its_own_summary() {
    let script = "
summary:
  cases:
    - when: turn > 5
      say: { asked: \"= task\", open: [late] }
    - { error: { kind: overloaded, times: 1 }, say: no JSON }
turns: [{ say: hello }]
";
    let script = Script::parse(script, "s").unwrap();
    let mut asked = request(vec![Message {
        role: Role::User,
        content: vec![Block::Text("Pay.".into()), Block::Text(ASKS.into())],
    }]);
    let error = script.answer(&asked).unwrap_err();
    assert!(error.message.contains("fails the summary before turn 1 on purpose"), "{error}");
    asked.attempt = Attempt(2);
    assert_eq!(said(&script.answer(&asked).unwrap()), "no JSON");
    let late = Message {
        role: Role::User,
        content: ["Pay.", "[history: turns 1 to 9]", ASKS].map(|t| Block::Text(t.into())).into(),
    };
    let answer = script.answer(&request(vec![late])).unwrap();
    let document: Value = serde_json::from_str(&said(&answer)).unwrap();
    assert_eq!(document["open"], json!(["late"]));
    // The word alone asks for nothing, and an older request for nothing more.
    for content in ["[compaction]s are rare.", "What is a [compaction]?"] {
        let answer = script.answer(&request(vec![Message::user_text(content)])).unwrap();
        assert_eq!(said(&answer), "hello");
    }
}

#[tokio::test]
async fn the_model_tells_its_words_as_they_come() {
    let text = "turns: [{think: hm, say: 'one two', call: [{tool: list}]}]";
    let model = ScriptedModel::new(Script::parse(text, "s").unwrap());
    let mut deltas = Vec::new();
    let answer = model.answer(&request(vec![]), &mut |delta| deltas.push(delta)).await.unwrap();
    assert_eq!(said(&answer), "one two");
    let expected = [
        Delta::Thinking("hm".into()),
        Delta::Text("one ".into()),
        Delta::Text("two".into()),
        Delta::ToolUse { name: "list".into() },
    ];
    assert_eq!(deltas, expected);
}

proptest::proptest! {
    #[test]
    fn no_text_panics_the_parser(text in "(turns:|\\PC|[\\n \\[\\]{}:'\"-]){0,60}") {
        let _ = Script::parse(&text, "s");
    }
}
