//! The official Python SDKs against the scripted server, each a script in `tests/sdk`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use prusik_model::Script;
use prusik_testkit::process::{Process, setup_path};
use prusik_testkit::{Options, Received, ScriptedServer};

/// Starting Python and importing an SDK takes seconds on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);

async fn read_by(sdk: &'static str, faults: &str) -> Vec<Received> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let text = std::fs::read_to_string(folder.join("script.yaml")).unwrap();
    let script = Script::parse(&text, "script.yaml").unwrap();
    let options = Options {
        key: Some("test-key".to_owned()),
        faults: faults.parse().unwrap(),
        ..Options::default()
    };
    let server = ScriptedServer::start(script, options).await.unwrap();
    let mut python = Command::new(setup_path("python/bin/python"));
    python.arg(folder.join(sdk)).env("BASE_URL", server.url());
    let process = Process::start(python).unwrap();
    let (success, said) = tokio::task::spawn_blocking(move || process.wait(TIMEOUT)).await.unwrap();
    assert!(success, "{sdk} failed:\n{said}");
    assert!(said.contains("is content"), "{sdk} did not reach its end:\n{said}");
    server.requests()
}

/// Returns how often the first request came in: once for each fault, and once more.
fn attempts_of_first(requests: &[Received]) -> usize {
    requests.iter().filter(|request| request.body == requests[0].body).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_anthropic_sdk_reads_the_server() {
    let requests = read_by("anthropic_sdk.py", "overloaded,rate-limited:20").await;
    assert_eq!(attempts_of_first(&requests), 3, "{requests:#?}");
    assert_eq!(requests[2].attempt, 3);
    assert!(requests.iter().all(|request| request.path.starts_with("/v1/messages")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_sdk_reads_the_server() {
    let requests = read_by("openai_sdk.py", "overloaded,rate-limited:20").await;
    assert_eq!(attempts_of_first(&requests), 3, "{requests:#?}");
    assert!(requests.iter().all(|request| request.path == "/v1/chat/completions"));
}
