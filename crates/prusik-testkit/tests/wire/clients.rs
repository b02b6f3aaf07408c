//! Our clients against the scripted server, on both protocols.

use std::time::Duration;

use prusik_core::message::{Block, Content, Image, Message, ToolInput};
use prusik_core::model::{Answer, ModelErrorKind, StopReason, Usage};
use prusik_model::{Delta, Script};
use prusik_testkit::{Fault, FaultPlan, Options, ScriptedServer};
use serde_json::json;

use crate::ask::{PROVIDERS, Provider, arguments, ask, calls, go_on, request, said, shown};

const CONVERSATION: &str = include_str!("../sdk/script.yaml");
/// Long enough for a busy machine.
const IDLE_MS: u64 = 20_000;

async fn start(script: &str, faults: impl IntoIterator<Item = Fault>) -> ScriptedServer {
    let script = Script::parse(script, "script.yaml").unwrap();
    let options = Options {
        key: Some("test-key".to_owned()),
        faults: FaultPlan::new(faults),
        ..Options::default()
    };
    ScriptedServer::start(script, options).await.unwrap()
}

/// Asks one question without history; for the script's only turn.
async fn answer_of(provider: Provider, script: &str) -> Answer {
    let server = start(script, []).await;
    let model = provider.connect(server.url(), IDLE_MS);
    let (answer, _) = ask(&*model, &request(provider, vec![Message::user_text("go")])).await;
    answer.unwrap_or_else(|error| panic!("{provider:?}: {error}"))
}

#[tokio::test]
async fn parallel_calls_and_their_results_make_the_round_trip() {
    for provider in PROVIDERS {
        let server = start(CONVERSATION, []).await;
        let model = provider.connect(server.url(), IDLE_MS);
        let question = vec![Message::user_text("How is the weather?")];
        let (first, deltas) = ask(&*model, &request(provider, question.clone())).await;
        let first = first.unwrap();
        assert_eq!(first.stop, StopReason::ToolUse, "{provider:?}");
        assert_eq!(first.model, provider.model());
        assert_eq!(said(&first), "I look both up. Ünïcödé too.");
        assert_eq!(shown(&deltas), said(&first), "what is shown is what is said");
        let tools = deltas.iter().filter(|delta| matches!(delta, Delta::ToolUse { .. })).count();
        assert_eq!(tools, 2);
        assert!(deltas.iter().any(|delta| matches!(delta, Delta::Thinking(_))), "{deltas:?}");
        let found = calls(&first);
        assert_eq!(arguments(found[0]), &json!({"city": "Zürich", "days": 3}));
        assert_eq!(arguments(found[1]), &json!({"city": "Bern", "note": "a \"quoted\" word"}));
        assert_ne!(found[0].id, found[1].id);
        let usage = match provider {
            Provider::Anthropic => Usage { input: 100, output: 20, cache_read: 7, cache_write: 5 },
            // This protocol counts what is written to the cache as plain input.
            Provider::OpenAi => Usage { input: 105, output: 20, cache_read: 7, cache_write: 0 },
        };
        assert_eq!(first.usage, usage, "{provider:?}");

        let messages = go_on(question, &first, &["dry", "wet"]);
        let (second, _) = ask(&*model, &request(provider, messages)).await;
        let second = second.unwrap_or_else(|error| panic!("{provider:?}: {error}"));
        assert_eq!(second.stop, StopReason::EndTurn);
        assert_eq!(said(&second), "It is dry and wet");
    }
}

#[tokio::test]
async fn thinking_goes_back_verbatim() {
    let provider = Provider::Anthropic;
    let server = start(CONVERSATION, []).await;
    let model = provider.connect(server.url(), IDLE_MS);
    let question = vec![Message::user_text("How is the weather?")];
    let mut first_request = request(provider, question.clone());
    let mut spec = (*first_request.model).clone();
    spec.thinking_tokens = Some(1_024);
    first_request.model = spec.clone().into();
    let first = ask(&*model, &first_request).await.0.unwrap();
    let mut second_request = request(provider, go_on(question, &first, &["dry", "wet"]));
    second_request.model = spec.into();
    ask(&*model, &second_request).await.0.unwrap();

    let requests = server.requests();
    assert_eq!(requests[0].body["thinking"]["budget_tokens"], 1_024);
    let sent_back = &requests[1].body["messages"][1]["content"][0];
    let Block::Opaque(thought) = &first.content[0] else { panic!("{first:?}") };
    assert_eq!(sent_back, &thought.block);
    assert_eq!(sent_back["thinking"], "Let me see.");
    assert_eq!(sent_back["signature"], "scripted-signature-1");
}

#[tokio::test]
async fn results_with_images_json_errors_and_nothing_at_all_are_taken() {
    for provider in PROVIDERS {
        let server = start(CONVERSATION, []).await;
        let model = provider.connect(server.url(), IDLE_MS);
        let question = vec![Message::user_text("How is the weather?")];
        let first = ask(&*model, &request(provider, question.clone())).await.0.unwrap();
        let mut messages = go_on(question, &first, &["dry", ""]);
        let Block::ToolResult(result) = &mut messages[2].content[0] else { panic!() };
        let image = Image { media_type: "image/png".to_owned(), data: "AAAA".to_owned() };
        result.content.push(Content::Image(image));
        result.content.push(Content::Json(json!({"rain": 0})));
        result.is_error = true;
        messages[2].content.push(Block::Text("One more thing.".to_owned()));
        let (second, _) = ask(&*model, &request(provider, messages)).await;
        let second = second.unwrap_or_else(|error| panic!("{provider:?}: {error}"));
        assert!(said(&second).starts_with("It is dry"), "{provider:?}: {second:?}");
    }
}

#[tokio::test]
async fn malformed_arguments_are_kept_and_can_be_sent_back() {
    let script = r#"
turns:
  - call: [{ tool: weather, raw: '{"city": "Bern' }]
  - say: done
"#;
    for provider in PROVIDERS {
        let server = start(script, []).await;
        let model = provider.connect(server.url(), IDLE_MS);
        let question = vec![Message::user_text("How is the weather?")];
        let first = ask(&*model, &request(provider, question.clone())).await.0.unwrap();
        let raw = &calls(&first)[0].input;
        assert_eq!(raw, &ToolInput::Malformed(r#"{"city": "Bern"#.to_owned()), "{provider:?}");
        let messages = go_on(question, &first, &["that is no JSON"]);
        let second = ask(&*model, &request(provider, messages)).await.0;
        assert_eq!(said(&second.unwrap_or_else(|e| panic!("{provider:?}: {e}"))), "done");
    }
}

#[tokio::test]
async fn every_stop_reason_that_a_service_can_say_is_told_apart() {
    for (word, stop) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("refusal", StopReason::Refusal),
    ] {
        for provider in PROVIDERS {
            let answer = answer_of(provider, &format!("turns: [{{say: hm, stop: {word}}}]")).await;
            assert_eq!(answer.stop, stop, "{provider:?}");
            assert_eq!(said(&answer), "hm", "{provider:?}: {word}");
        }
    }
    for (word, stop) in [
        ("stop_sequence", StopReason::StopSequence),
        ("pause_turn", StopReason::PauseTurn),
        ("context_full", StopReason::ContextFull),
        ("{ other: tired }", StopReason::Other("tired".to_owned())),
    ] {
        let script = format!("turns: [{{say: hm, stop: {word}}}]");
        assert_eq!(answer_of(Provider::Anthropic, &script).await.stop, stop);
    }
}

#[tokio::test]
async fn each_fault_of_the_wire_is_the_error_that_it_is_and_the_next_attempt_succeeds() {
    let faults = [
        (Fault::Error(ModelErrorKind::Overloaded), ModelErrorKind::Overloaded),
        (Fault::Error(ModelErrorKind::Server), ModelErrorKind::Server),
        (Fault::Error(ModelErrorKind::Authentication), ModelErrorKind::Authentication),
        (Fault::Error(ModelErrorKind::NotFound), ModelErrorKind::NotFound),
        (Fault::Error(ModelErrorKind::InvalidRequest), ModelErrorKind::InvalidRequest),
        (Fault::Error(ModelErrorKind::ContextFull), ModelErrorKind::ContextFull),
        (Fault::Error(ModelErrorKind::Billing), ModelErrorKind::Billing),
        (Fault::RateLimited { retry_after_ms: 1_500 }, ModelErrorKind::RateLimited),
        (Fault::Cut { after_events: 0 }, ModelErrorKind::StreamCut),
        (Fault::Cut { after_events: 1 }, ModelErrorKind::StreamCut),
        (Fault::Cut { after_events: 6 }, ModelErrorKind::StreamCut),
        (Fault::ErrorEvent { after_events: 3 }, ModelErrorKind::Overloaded),
        (Fault::Garbage, ModelErrorKind::BadResponse),
    ];
    for provider in PROVIDERS {
        for (fault, kind) in faults {
            let server = start(CONVERSATION, [fault]).await;
            let model = provider.connect(server.url(), IDLE_MS);
            let question = request(provider, vec![Message::user_text("How is the weather?")]);
            let error = ask(&*model, &question).await.0.expect_err("a fault is an error");
            let kind = match (provider, fault) {
                // Within a stream this protocol has no word of its own for it.
                (Provider::OpenAi, Fault::ErrorEvent { .. }) => ModelErrorKind::Server,
                (Provider::OpenAi | Provider::Anthropic, _) => kind,
            };
            assert_eq!(error.kind, kind, "{provider:?} {fault:?}: {error}");
            assert!(!error.message.contains("test-key"), "{error}");
            if let Fault::RateLimited { retry_after_ms } = fault {
                assert_eq!(error.retry_after_ms, Some(retry_after_ms), "{provider:?}");
            }
            let again = ask(&*model, &question).await.0;
            assert!(again.is_ok(), "{provider:?} after {fault:?}: {again:?}");
            assert_eq!(server.requests()[1].attempt, 2, "{provider:?}: the same bytes again");
        }
    }
}

/// A cut at any event is an error: no prefix of a stream is taken for an answer.
#[tokio::test]
async fn no_prefix_of_a_stream_is_an_answer() {
    let script = "turns: [{ say: 'one two', call: [{ tool: weather, arguments: { city: B } }] }]";
    for provider in PROVIDERS {
        let whole = answer_of(provider, script).await;
        let mut cuts = 0;
        for after_events in 0.. {
            let server = start(script, [Fault::Cut { after_events }]).await;
            let model = provider.connect(server.url(), IDLE_MS);
            let question = request(provider, vec![Message::user_text("go")]);
            match ask(&*model, &question).await.0 {
                Err(error) => {
                    assert_eq!(error.kind, ModelErrorKind::StreamCut, "{after_events}: {error}");
                    cuts += 1;
                }
                // The stop reason had come; only what closes the stream was missing.
                Ok(answer) => {
                    assert_eq!(answer.content, whole.content, "{provider:?} at {after_events}");
                    assert_eq!(answer.stop, whole.stop);
                    break;
                }
            }
        }
        assert!(cuts >= 7, "{provider:?} took an answer after {cuts} events");
    }
}

#[tokio::test]
async fn a_stalled_stream_times_out() {
    for provider in PROVIDERS {
        for after_events in [0, 4] {
            let server = start(CONVERSATION, [Fault::Stall { after_events }]).await;
            let model = provider.connect(server.url(), 300);
            let question = request(provider, vec![Message::user_text("How is the weather?")]);
            let limit = Duration::from_secs(20);
            let answer = tokio::time::timeout(limit, ask(&*model, &question)).await.unwrap().0;
            let error = answer.expect_err("silence is an error");
            assert_eq!(error.kind, ModelErrorKind::Timeout, "{provider:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_wrong_key_and_a_server_that_is_not_there_are_named() {
    for provider in PROVIDERS {
        let script = Script::parse(CONVERSATION, "script.yaml").unwrap();
        let options = Options { key: Some("another".to_owned()), ..Options::default() };
        let server = ScriptedServer::start(script, options).await.unwrap();
        let model = provider.connect(server.url(), IDLE_MS);
        let question = request(provider, vec![Message::user_text("x")]);
        let error = ask(&*model, &question).await.0.expect_err("the key is wrong");
        assert_eq!(error.kind, ModelErrorKind::Authentication, "{error}");
        assert!(error.message.contains("TEST_KEY"), "{error}");

        // Bound and closed at once: nobody listens there.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let model = provider.connect(&format!("http://{closed}"), IDLE_MS);
        let error = ask(&*model, &question).await.0.expect_err("nobody listens");
        assert_eq!(error.kind, ModelErrorKind::Unreachable, "{error}");
        assert!(error.message.contains(&closed.to_string()), "{error}");
    }
}
