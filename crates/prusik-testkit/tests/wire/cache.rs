//! What our requests make of the providers' caches, by the published rules of these.

use std::sync::Arc;

use prusik_core::message::{Block, Message, Role};
use prusik_core::model::{Answer, ModelRequest, Usage};
use prusik_model::Script;
use prusik_testkit::{Options, ScriptedServer, UsageBy};
use serde_json::Value;

use crate::ask::{PROVIDERS, Provider, ask, calls, go_on, request, said};

const IDLE_MS: u64 = 20_000;
/// Each turn calls the tool 25 times at once: more blocks than a cache looks back over, if a row
/// of calls were not one position.
const SCRIPT: &str = "
turns:
  - repeat: forever
    say: I look at all of them.
    call: [CALLS]
";

fn script() -> Script {
    let call = |n: usize| format!("{{ tool: weather, arguments: {{ city: 'City {n}' }} }}");
    let calls: Vec<String> = (0..25).map(call).collect();
    Script::parse(&SCRIPT.replace("CALLS", &calls.join(", ")), "cities.yaml").unwrap()
}

async fn start(script: Script, usage: UsageBy) -> ScriptedServer {
    let options = Options { usage, ..Options::default() };
    ScriptedServer::start(script, options).await.unwrap()
}

/// A request whose system prompt has 8,000 bytes: more than every model's least length.
fn long(provider: Provider, messages: &[Message]) -> ModelRequest {
    let mut request = request(provider, messages.to_vec());
    request.system = "You know the weather. ".repeat(364)[..8_000].into();
    request
}

fn results(answer: &Answer) -> Vec<String> {
    let calls = calls(answer);
    calls.iter().map(|call| format!("{}: dry, {}", call.id, "calm ".repeat(20))).collect()
}

/// Answers the calls of `answer`, and returns the conversation with them.
fn answered(messages: Vec<Message>, answer: &Answer) -> Vec<Message> {
    let results = results(answer);
    go_on(messages, answer, &results.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn each_turn_reads_all_that_the_one_before_it_has_sent() {
    let server = start(script(), UsageBy::CacheRules).await;
    let provider = Provider::Anthropic;
    let model = provider.connect(server.url(), IDLE_MS);
    let mut messages = vec![Message::user_text("How is the weather everywhere?")];
    let mut sent_before = 0;
    for turn in 1..=12 {
        let request = long(provider, &messages);
        let counted = model.count_tokens(&request).await.unwrap().unwrap();
        let answer = ask(&*model, &request).await.0.unwrap();
        let Usage { input, cache_read, cache_write, .. } = answer.usage;
        assert_eq!(cache_read, sent_before, "turn {turn}: {:?}", answer.usage);
        assert_eq!(input, 0, "turn {turn}: the prompt ends at a breakpoint");
        assert_eq!(cache_read + cache_write, counted, "turn {turn}");
        sent_before = counted;
        messages = answered(messages, &answer);
    }
    assert!(sent_before > 20_000, "{sent_before}");
}

/// What stays of a conversation when it is compacted or goes on from an earlier point: the system
/// prompt with the tools, and the first message.
#[tokio::test]
async fn the_head_is_read_when_what_follows_it_is_another() {
    let server = start(script(), UsageBy::CacheRules).await;
    let provider = Provider::Anthropic;
    let model = provider.connect(server.url(), IDLE_MS);
    let head = Message {
        role: Role::User,
        content: vec![
            Block::Text("How is the weather everywhere?".to_owned()),
            Block::Text(format!("[history: turns 1 to 3]\n{}", "It was dry. ".repeat(200))),
        ],
    };
    let mut messages = vec![head];
    for _ in 0..4 {
        let answer = ask(&*model, &long(provider, &messages)).await.0.unwrap();
        messages = answered(messages, &answer);
    }
    let head_tokens = model.count_tokens(&long(provider, &messages[..1])).await.unwrap().unwrap();
    let last = server.requests().last().unwrap().body.clone();
    let marked = last.to_string().matches("ephemeral").count();
    assert_eq!(marked, 1 + 1, "a question for a count marks the same: system and head");

    // Another way on behind the same head, longer than the caches look back.
    let mut other = messages[..1].to_vec();
    for n in 0..12 {
        let said = vec![Block::Text(format!("{n}"))];
        other.push(Message { role: Role::Assistant, content: said });
        other.push(Message::user_text("Go on."));
    }
    let usage = ask(&*model, &long(provider, &other)).await.0.unwrap().usage;
    assert_eq!(usage.cache_read, head_tokens, "{usage:?}");

    // A compaction writes another head: the system prompt and the tools are still read.
    messages[0].content.pop();
    messages[0].content.push(Block::Text("[history: turns 1 to 7]\nIt is dry.".to_owned()));
    messages.drain(1..5);
    let usage = ask(&*model, &long(provider, &messages)).await.0.unwrap().usage;
    let tool = 8_000 / 4..8_000 / 4 + 100;
    assert!(tool.contains(&usage.cache_read), "{usage:?}");
}

#[tokio::test]
async fn openai_reads_what_begins_alike_in_steps() {
    let server = start(script(), UsageBy::CacheRules).await;
    let provider = Provider::OpenAi;
    let model = provider.connect(server.url(), IDLE_MS);
    let mut messages = vec![Message::user_text("How is the weather everywhere?")];
    let mut before = Usage::default();
    for turn in 1..=5 {
        let usage = ask(&*model, &long(provider, &messages)).await.0.unwrap();
        let now = usage.usage;
        assert_eq!(now.cache_read % 128, 0, "turn {turn}");
        assert_eq!(now.cache_write, 0);
        let missed = before.input_total().saturating_sub(now.cache_read);
        assert!(missed < 128, "turn {turn} reads all but a step of the last: {now:?}");
        before = now;
        messages = answered(messages, &usage);
    }
    assert!(before.cache_read > 5_000, "{before:?}");
}

#[tokio::test]
async fn what_the_script_says_of_its_usage_stands() {
    let text = "turns: [{ say: one, usage: { in: 7, out: 8, cache_read: 9 } }]";
    for usage in [UsageBy::CacheRules, UsageBy::Estimate] {
        let server = start(Script::parse(text, "own.yaml").unwrap(), usage).await;
        for provider in PROVIDERS {
            let model = provider.connect(server.url(), IDLE_MS);
            let messages = [Message::user_text("Hello")];
            let answer = ask(&*model, &long(provider, &messages)).await.0.unwrap();
            assert_eq!((answer.usage.input, answer.usage.cache_read), (7, 9), "{provider:?}");
        }
    }
}

/// A script sums up and goes on counting turns behind either wire.
#[tokio::test]
async fn a_compacted_conversation_is_played_on_behind_both_wires() {
    let text = "turns: [{ repeat: 3, say: before }, { say: \"= 'turn ' + string(turn)\" }]";
    for provider in PROVIDERS {
        let server = start(Script::parse(text, "s.yaml").unwrap(), UsageBy::Estimate).await;
        let model = provider.connect(server.url(), IDLE_MS);
        let texts = |texts: &[&str]| Message {
            role: Role::User,
            content: texts.iter().map(|text| Block::Text((*text).to_owned())).collect(),
        };
        let gone = "[history: turns 1 to 3]\nNothing of note.";
        let messages = vec![texts(&["The task.", "The brief.", gone])];
        let answer = ask(&*model, &request(provider, messages)).await.0.unwrap();
        assert_eq!(said(&answer), "turn 4", "{provider:?}");
        let asks = vec![texts(&["The task.", gone, "[compaction]\nSum it up."])];
        let mut asked = request(provider, asks);
        asked.tools = Arc::default();
        let summary = said(&ask(&*model, &asked).await.0.unwrap());
        let document: Value = serde_json::from_str(&summary).unwrap();
        assert!(document["asked"].as_str().unwrap().starts_with("The task."), "{document}");
        assert!(document["done"][0].as_str().unwrap().starts_with("[history: turns"));
    }
}

#[tokio::test]
async fn a_question_for_a_count_is_as_strict_as_the_service() {
    let server = start(script(), UsageBy::CacheRules).await;
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/messages/count_tokens", server.url());
    let messages = serde_json::json!([{"role": "user", "content": "12345678"}]);
    let good = serde_json::json!({"model": "m", "messages": messages});
    for (key, value, status) in [
        ("messages", messages.clone(), 200),
        ("system", serde_json::json!("1234"), 200),
        ("max_tokens", serde_json::json!(9), 400),
        ("stream", serde_json::json!(true), 400),
        ("temperature", serde_json::json!(0.5), 400),
        ("messages", serde_json::json!([]), 400),
        ("tools", serde_json::json!([{"name": "a b"}]), 400),
    ] {
        let mut body = good.clone();
        body[key] = value;
        let request = client.post(&url).header("x-api-key", "k").json(&body);
        let response = request.header("anthropic-version", "2023-06-01").send().await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        let answer: Value = response.json().await.unwrap();
        let expected = if key == "system" { 3 } else { 2 };
        assert!(
            status == 400 || answer == serde_json::json!({"input_tokens": expected}),
            "{answer}"
        );
    }
    assert_eq!(client.post(&url).json(&good).send().await.unwrap().status(), 401);
}
