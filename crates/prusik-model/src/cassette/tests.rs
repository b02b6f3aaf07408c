//! Recording, replaying, and what a drift is said to be.

use std::sync::Arc;

use prusik_core::message::{Message, Role};
use prusik_core::model::ModelSpec;

use super::*;
use crate::tests::request;
use crate::{Script, ScriptedModel};

const SCRIPT: &str = "
turns:
  - error: { kind: overloaded, retry_after_ms: 5, times: 1 }
    think: hm
    say: I look.
    call: [{ tool: list, arguments: { path: a } }]
  - repeat: forever
    say: '= \"turn \" + string(turn)'
";

fn live() -> Arc<dyn Model> {
    Arc::new(ScriptedModel::new(Script::parse(SCRIPT, "live").unwrap()))
}

async fn ask(model: &Cassette, request: &ModelRequest) -> Result<Answer, ModelError> {
    model.answer(request, &mut |_| {}).await
}

/// Goes through `turns` turns, each of them with every attempt it needs.
async fn converse(model: &Cassette, turns: usize) -> Vec<Result<Answer, ModelError>> {
    let mut request = request(vec![Message::user_text("Pay.")]);
    let mut outcomes = Vec::new();
    for _ in 0..turns {
        request.attempt = Attempt(1);
        loop {
            let outcome = ask(model, &request).await;
            outcomes.push(outcome.clone());
            match outcome {
                Ok(answer) => {
                    let content = answer.content;
                    request.messages.push(Arc::new(Message { role: Role::Assistant, content }));
                    request.messages.push(Arc::new(Message::user_text("Go on.")));
                    break;
                }
                Err(error) if error.kind.is_retryable() => request.attempt = request.attempt.next(),
                Err(error) => panic!("{error}"),
            }
        }
        request.turn = request.turn.next();
    }
    outcomes
}

/// Makes a request another one.
type Change = fn(&mut ModelRequest);

struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cassettes/pay.jsonl");
    Folder { _folder: folder, path }
}

#[tokio::test]
async fn what_was_recorded_is_replayed_failures_included() {
    let folder = folder();
    let recorded = converse(&Cassette::record(&folder.path, live()).unwrap(), 3).await;
    assert_eq!(recorded.len(), 4, "the first turn took two attempts");
    assert_eq!(recorded[0].as_ref().unwrap_err().retry_after_ms, Some(5));
    for _ in 0..2 {
        let replay = Cassette::replay(&folder.path).unwrap();
        assert_eq!(converse(&replay, 3).await, recorded);
    }
    let lines = std::fs::read_to_string(&folder.path).unwrap();
    assert_eq!(lines.lines().count(), 4);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["messages"][0]["shows"], "Pay.");
}

#[tokio::test]
async fn the_newest_recording_of_a_request_counts() {
    let folder = folder();
    converse(&Cassette::record(&folder.path, live()).unwrap(), 1).await;
    let other = Script::parse("turns: [{say: other}]", "live").unwrap();
    let again = Cassette::record(&folder.path, Arc::new(ScriptedModel::new(other))).unwrap();
    let newest = converse(&again, 1).await;
    assert_eq!(converse(&Cassette::replay(&folder.path).unwrap(), 1).await, newest);
}

#[tokio::test]
async fn the_file_grows_with_the_conversation_and_not_with_its_square() {
    let folder = folder();
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    let cassette = Cassette::record(&folder.path, live()).unwrap();
    converse(&cassette, 30).await;
    let short = size(&folder.path);
    std::fs::remove_file(&folder.path).unwrap();
    let cassette = Cassette::record(&folder.path, live()).unwrap();
    converse(&cassette, 60).await;
    let long = size(&folder.path);
    assert!(long < short * 21 / 10, "{short} bytes for 30 turns, {long} for 60");
}

#[tokio::test]
async fn a_drift_names_the_part_that_differs_and_the_way_out() {
    let folder = folder();
    converse(&Cassette::record(&folder.path, live()).unwrap(), 1).await;
    let replay = Cassette::replay(&folder.path).unwrap();
    let base = || request(vec![Message::user_text("Pay.")]);
    let drifts: [(&str, Change); 7] = [
        ("the system prompt", |r| r.system = "Other.".into()),
        ("the tools", |r| r.tools = Vec::new().into()),
        ("the model or its limits", |r| r.max_tokens = 7),
        ("the model or its limits", |r| {
            r.model = Arc::new(ModelSpec { temperature: None, ..(*r.model).clone() });
        }),
        ("message 1 of 1 is now \"Steal.\" (user), where \"Pay.\" (user)", |r| {
            r.messages = vec![Arc::new(Message::user_text("Steal."))];
        }),
        ("message 2 is new: \"Now.\"", |r| r.messages.push(Arc::new(Message::user_text("Now.")))),
        ("message 1 is missing", |r| r.messages.clear()),
    ];
    for (words, change) in drifts {
        let mut request = base();
        change(&mut request);
        let error = ask(&replay, &request).await.unwrap_err();
        assert_eq!(error.kind, ModelErrorKind::Drift);
        for words in [words, "pay.jsonl", "mode: record"] {
            assert!(error.message.contains(words), "{words:?} is not in: {error}");
        }
    }
    let mut same = base();
    same.attempt = Attempt(9);
    same.model = Arc::new(ModelSpec { alias: "renamed".into(), ..(*same.model).clone() });
    assert!(ask(&replay, &same).await.is_ok(), "neither alias nor attempt is part of a request");
}

#[tokio::test]
async fn a_half_written_last_line_is_left_out_and_mended() {
    let folder = folder();
    let recorded = converse(&Cassette::record(&folder.path, live()).unwrap(), 2).await;
    let whole = std::fs::read(&folder.path).unwrap();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in [last_line + 1, whole.len() - 1] {
        std::fs::write(&folder.path, &whole[..cut]).unwrap();
        let replay = Cassette::replay(&folder.path).unwrap();
        assert_eq!(converse(&replay, 1).await, recorded[..2]);
        let again = Cassette::record(&folder.path, live()).unwrap();
        assert_eq!(std::fs::read(&folder.path).unwrap(), whole[..last_line]);
        converse(&again, 2).await;
        assert_eq!(converse(&Cassette::replay(&folder.path).unwrap(), 2).await, recorded);
    }
}

#[tokio::test]
async fn a_damaged_cassette_is_refused_by_line() {
    let folder = folder();
    converse(&Cassette::record(&folder.path, live()).unwrap(), 2).await;
    let text = std::fs::read_to_string(&folder.path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let cases = [
        (format!("{}\nnonsense\n{}\n", lines[0], lines[1]), "pay.jsonl:2"),
        (format!("{}\n", lines[2]), "goes on from is missing"),
        (text.replace("\"shows\":\"Pay.\"", "\"shows\":\"Pay.\",\"x\":1"), "pay.jsonl:1"),
        (text.replace("\"version\":1", "\"version\":2"), "its version is 2"),
        (text.replacen("\"role\":\"user\"", "\"role\":\"robot\"", 1), "robot"),
        (text.replacen("\"request\":\"", "\"request\":\"0", 1), "pay.jsonl:1"),
        (text.replacen("\"error\"", "\"answer\"", 1), "pay.jsonl:1"),
    ];
    for (text, words) in cases {
        std::fs::write(&folder.path, text).unwrap();
        let error = Cassette::replay(&folder.path).err().unwrap().to_string();
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
    std::fs::remove_file(&folder.path).unwrap();
    let error = Cassette::replay(&folder.path).err().unwrap().to_string();
    assert!(error.contains("pay.jsonl") && error.contains("record it first"), "{error}");
    std::fs::write(&folder.path, "").unwrap();
    let error = ask(&Cassette::replay(&folder.path).unwrap(), &request(vec![])).await.unwrap_err();
    assert!(error.message.contains("it is empty"), "{error}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_an_error() {
    let folder = folder();
    let cassette = Cassette::record(&folder.path, live()).unwrap();
    std::fs::remove_file(&folder.path).unwrap();
    std::fs::create_dir(&folder.path).unwrap();
    let mut request = request(vec![Message::user_text("Pay.")]);
    request.attempt = Attempt(2);
    let error = ask(&cassette, &request).await.unwrap_err();
    assert!(error.message.contains("cannot be written"), "{error}");
    assert!(!error.kind.is_retryable(), "the model has been paid for this answer");
}
