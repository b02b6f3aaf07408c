//! Long work over the wire: both clients, the log, and what a program in another language is given.

use prusik_core::message::Message;
use prusik_testkit::long::{LongModel, Scenario, TURNS_MIN, WorkTool};
use prusik_testkit::server::log;
use prusik_testkit::{LongWork, Options, ScriptedServer};
use prusik_tool::Tool;
use reqwest::Client;
use serde_json::{Value, json};

use crate::ask::{PROVIDERS, Provider, arguments, ask, calls, go_on, request, said};

const SILENCE_MS: u64 = 20_000;

fn scenario() -> Scenario {
    Scenario::new(TURNS_MIN, 3)
}

async fn start(options: Options, window_tokens: Option<u64>) -> ScriptedServer {
    let model = LongModel { window_tokens, ..LongModel::default() };
    ScriptedServer::start(LongWork { scenario: scenario(), model }, options).await.unwrap()
}

async fn get(server: &ScriptedServer, path: &str) -> (u16, String) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("{}{path}", server.url())).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Works with the whole history until there is a report.
async fn report(server: &ScriptedServer, provider: Provider) -> String {
    let model = provider.connect(server.url(), SILENCE_MS);
    let mut messages = vec![Message::user_text(scenario().task())];
    for _ in 0..=TURNS_MIN {
        let mut request = request(provider, messages.clone());
        request.system = scenario().system().into();
        request.tools = vec![scenario().tool()].into();
        let (answer, _) = ask(&*model, &request).await;
        let answer = answer.unwrap();
        let results: Vec<String> = calls(&answer)
            .iter()
            .map(|call| {
                let step = arguments(call)["step"].as_u64().unwrap();
                scenario().result(step.try_into().unwrap()).unwrap().into_text()
            })
            .collect();
        if results.is_empty() {
            return said(&answer);
        }
        let results: Vec<&str> = results.iter().map(String::as_str).collect();
        messages = go_on(messages, &answer, &results);
    }
    panic!("no report");
}

#[tokio::test]
async fn the_work_is_the_same_over_both_wires_and_every_body_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    for provider in PROVIDERS {
        let path = folder.path().join(format!("{provider:?}.jsonl"));
        let options = Options { log: Some(path.clone()), ..Options::default() };
        let server = start(options, None).await;
        let report = report(&server, provider).await;
        assert_eq!(report, json!(scenario().expected()).to_string());
        let entries: Vec<_> = log::read(&path).unwrap().map(Result::unwrap).collect();
        let sent = server.requests();
        assert_eq!(entries.len(), scenario().steps() as usize + 1);
        assert!(entries.iter().zip(&sent).all(|(entry, sent)| *entry.body == *sent.raw));
        let last: Value = serde_json::from_str(&entries.last().unwrap().body).unwrap();
        assert_eq!(last, *sent.last().unwrap().body);
        // Usage counts the whole request, as a provider does.
        let tokens = |n: usize| {
            let usage = &entries[n].answer["usage"];
            usage["input_tokens"].as_u64().or(usage["prompt_tokens"].as_u64()).unwrap()
        };
        assert!(tokens(90) > tokens(30) + 60 * 130, "{} and {}", tokens(90), tokens(30));
    }
}

#[tokio::test]
async fn a_program_is_given_the_scenario_and_the_bytes_of_its_tool() {
    let server = start(Options::default(), None).await;
    let (status, text) = get(&server, "/long/scenario").await;
    assert_eq!(status, 200);
    let given: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(given["task"], scenario().task());
    assert_eq!(given["steps"], scenario().steps());
    assert_eq!(given["tool"]["name"], WorkTool::new(scenario()).info().name);
    assert_eq!(given["expected"], json!(scenario().expected()));
    for step in [1, scenario().table_step(), scenario().steps()] {
        let (status, text) = get(&server, &format!("/long/work?step={step}")).await;
        assert_eq!((status, text), (200, scenario().result(step).unwrap().into_text()));
    }
    for path in ["/long/work", "/long/work?step=0", "/long/work?step=x", "/long/work?step=99999"] {
        assert_eq!(get(&server, path).await.0, 404, "{path}");
    }
    let script = prusik_model::Script::parse("turns: [{ say: hello }]", "one.yaml").unwrap();
    let server = ScriptedServer::start(script, Options::default()).await.unwrap();
    assert_eq!(get(&server, "/long/scenario").await.0, 404, "a script has no scenario");
}

#[tokio::test]
async fn a_window_is_told_in_the_words_of_each_provider() {
    let server = start(Options::default(), Some(100)).await;
    for provider in PROVIDERS {
        let model = provider.connect(server.url(), SILENCE_MS);
        let messages = vec![Message::user_text("work ".repeat(200))];
        let (answer, _) = ask(&*model, &request(provider, messages)).await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind, prusik_core::model::ModelErrorKind::ContextFull, "{error}");
    }
}
