//! Our clients against `@copilotkit/aimock`, a server that is not ours, on both protocols, its
//! injected errors included. Its answers are in `aimock.json`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use prusik_core::message::{Block, Message};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason};
use prusik_testkit::process::{Process, setup_path};

use crate::ask::{PROVIDERS, Provider, arguments, ask, calls, go_on, request, said, shown};

const START_TIMEOUT: Duration = Duration::from_mins(1);
const IDLE_MS: u64 = 20_000;

/// A server that ends with the test.
struct Aimock {
    url: String,
    _process: Process,
}

impl Aimock {
    fn start() -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/aimock.json");
        let mut command = Command::new("node");
        command
            .arg(setup_path("node/node_modules/@copilotkit/aimock/dist/cli.js"))
            .args(["--port", "0", "--strict", "--validate-on-load", "--fixtures"])
            .arg(fixtures);
        let process = Process::start(command).expect("node is installed: run `cargo xtask setup`");
        let url = process.wait_for_line(START_TIMEOUT, |line| {
            line.split_once("listening on ").map(|(_, url)| url.trim().to_owned())
        });
        Self { url, _process: process }
    }

    async fn ask(&self, provider: Provider, text: &str) -> Result<Answer, ModelError> {
        let model = provider.connect(&self.url, IDLE_MS);
        ask(&*model, &request(provider, vec![Message::user_text(text)])).await.0
    }
}

#[tokio::test]
async fn text_comes_whole_and_as_it_is_written() {
    let server = Aimock::start();
    for provider in PROVIDERS {
        for text in ["hello", "slow"] {
            let model = provider.connect(&server.url, IDLE_MS);
            let question = request(provider, vec![Message::user_text(text)]);
            let (answer, deltas) = ask(&*model, &question).await;
            let answer = answer.unwrap_or_else(|error| panic!("{provider:?}: {error}"));
            assert_eq!(answer.stop, StopReason::EndTurn);
            assert_eq!(said(&answer), shown(&deltas));
            assert!(deltas.len() > 1, "{provider:?}: it came at once: {deltas:?}");
            assert_eq!(answer.model, provider.model());
        }
        let answer = server.ask(provider, "hello").await.unwrap();
        assert_eq!(said(&answer), "Hi there, Zürich! How are you today?");
        assert_eq!((answer.usage.input, answer.usage.output), (10, 5), "{provider:?}");
        let cut = server.ask(provider, "long").await.unwrap();
        assert_eq!(cut.stop, StopReason::MaxTokens, "{provider:?}");
    }
}

#[tokio::test]
async fn parallel_calls_and_their_results_make_the_round_trip() {
    let server = Aimock::start();
    for provider in PROVIDERS {
        let question = vec![Message::user_text("weather?")];
        let model = provider.connect(&server.url, IDLE_MS);
        let first = ask(&*model, &request(provider, question.clone())).await.0.unwrap();
        assert_eq!(first.stop, StopReason::ToolUse, "{provider:?}");
        assert_eq!(said(&first), "I look.");
        let found = calls(&first);
        assert_eq!(found.len(), 2, "{provider:?}: {first:?}");
        assert_eq!(arguments(found[0])["city"], "Zürich");
        assert_eq!(arguments(found[1])["city"], "Bern");
        let messages = go_on(question, &first, &["dry", "wet"]);
        let second = ask(&*model, &request(provider, messages)).await.0;
        let second = second.unwrap_or_else(|error| panic!("{provider:?}: {error}"));
        assert_eq!(said(&second), "Dry here, wet there.");
    }
}

#[tokio::test]
async fn thinking_is_kept_apart_from_what_is_said() {
    let server = Aimock::start();
    for provider in PROVIDERS {
        let answer = server.ask(provider, "think").await.unwrap();
        assert_eq!(said(&answer), "Thought.", "{provider:?}");
        let thought = answer.content.iter().find_map(|block| match block {
            Block::Opaque(opaque) => Some(opaque.block.to_string()),
            Block::Text(_) | Block::ToolUse(_) | Block::ToolResult(_) => None,
        });
        let thought = thought.unwrap_or_else(|| panic!("{provider:?} lost it: {answer:?}"));
        assert!(thought.contains("Let me think about it for a while."), "{thought}");
    }
}

#[tokio::test]
async fn injected_errors_are_told_apart() {
    let server = Aimock::start();
    for provider in PROVIDERS {
        for (text, kind) in [
            ("error-429", ModelErrorKind::RateLimited),
            ("error-500", ModelErrorKind::Server),
            ("error-529", ModelErrorKind::Overloaded),
            ("error-400", ModelErrorKind::InvalidRequest),
            ("error-401", ModelErrorKind::Authentication),
            ("cut", ModelErrorKind::StreamCut),
            ("malformed", ModelErrorKind::BadResponse),
            ("dropped", ModelErrorKind::Server),
            ("throttled", ModelErrorKind::RateLimited),
            ("disconnected", ModelErrorKind::StreamCut),
        ] {
            let error = server.ask(provider, text).await.expect_err(text);
            assert_eq!(error.kind, kind, "{provider:?} {text}: {error}");
            assert!(error.message.contains(&server.url), "{error}");
            if text == "error-429" {
                assert_eq!(error.retry_after_ms, Some(3_000), "{provider:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let server = Aimock::start();
    for provider in PROVIDERS {
        let model = provider.connect(&server.url, 300);
        let question = request(provider, vec![Message::user_text("silent")]);
        let error = ask(&*model, &question).await.0.expect_err("nothing comes for 30 seconds");
        assert_eq!(error.kind, ModelErrorKind::Timeout, "{provider:?}: {error}");
    }
}

/// Each provider has a server of its own, because the server counts the requests.
#[tokio::test]
async fn the_same_request_succeeds_when_the_server_has_recovered() {
    for provider in PROVIDERS {
        let server = Aimock::start();
        let error = server.ask(provider, "flaky").await.expect_err("the first attempt fails");
        assert!(error.kind.is_retryable(), "{error}");
        assert_eq!(said(&server.ask(provider, "flaky").await.unwrap()), "Better now.");
    }
}
