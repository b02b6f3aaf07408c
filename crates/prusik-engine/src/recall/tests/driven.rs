//! A recall as a model asks for it: through the driver, from a run in progress.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use prusik_core::agent::{Agent, Limits};
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::event::Ending;
use prusik_core::input::Input;
use prusik_core::message::Message;
use prusik_core::model::{Answer, ModelError, ModelRequest};
use prusik_core::run::Status;
use prusik_model::{Delta, Model};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::perform::{Brought, call_recall};
use crate::{Engine, World};

/// Recalls its task, then says what it was told.
struct Forgetful {
    asked: Mutex<Vec<Arc<Message>>>,
}

#[async_trait]
impl Model for Forgetful {
    async fn answer(
        &self,
        request: &ModelRequest,
        _progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let begins = request.turn == Turn(1);
        let block = if begins {
            let input = ToolInput::Json(json!({"handle": "task"}));
            Block::ToolUse(ToolUse { id: "a".into(), name: RECALL.into(), input })
        } else {
            Block::Text("Done.".into())
        };
        self.asked.lock().unwrap().clone_from(&request.messages);
        let stop = if begins { StopReason::ToolUse } else { StopReason::EndTurn };
        Ok(Answer { content: vec![block], stop, usage: Usage::default(), model: "m".into() })
    }
}

fn agent() -> Agent {
    let contract = serde_json::to_value(Contract::of(EffectClass::Read)).unwrap();
    let recall = json!({
        "name": RECALL, "description": "", "input_schema": {"type": "object"},
        "contract": contract, "shown": true,
    });
    let agent = json!({
        "name": "a", "system": "", "model": {"alias": "m", "model": "m", "max_tokens": 100},
        "tools": [recall], "limits": serde_json::to_value(Limits::default()).unwrap(),
    });
    serde_json::from_value(agent).unwrap()
}

#[tokio::test]
async fn a_call_of_recall_needs_no_tool_in_the_world() {
    let engine = Engine::new(Arc::new(MemoryStore::new()));
    let task = "Find the order of Müller.".to_owned();
    let mut held = engine.start(agent(), task.clone(), Budget::default()).await.unwrap();
    let model = Arc::new(Forgetful { asked: Mutex::default() });
    let world = World { model: Arc::clone(&model) as _, summarizer: None, tools: BTreeMap::new() };
    let (_sender, mut controls) = tokio::sync::mpsc::unbounded_channel();
    held.drive(&world, "test", vec![], &mut controls, Arc::new(())).await.unwrap();
    let status = &held.run().state().status;
    assert!(
        matches!(status, Status::Ended(Ending::Completed { failures, .. }) if failures.is_empty())
    );
    let messages = model.asked.lock().unwrap().clone();
    let [Block::ToolResult(result)] = &messages[2].content[..] else { panic!("{messages:?}") };
    let head = json!({
        "handle": "task", "what": "the task", "bytes": task.len(), "offset": 0,
    });
    assert_eq!(result.content, [Content::Json(head), Content::Text(task)]);
    assert!(!result.is_error);
}

/// A call of `recall` that has `timeout_ms` to be answered.
fn call(timeout_ms: u64) -> prusik_core::effect::ToolCall {
    prusik_core::effect::ToolCall {
        call: CallId::new(Turn(1), 1),
        attempt: Attempt(1),
        tool: RECALL.into(),
        arguments: Arc::new(json!({"regex": "(a|b|ab)*c"})),
        meta_key: None,
        timeout_ms,
        result_bytes_max: 32_768,
    }
}

#[tokio::test]
async fn a_recall_that_takes_too_long_or_is_told_to_stop_ends() {
    let mut past = Past::begin();
    for _ in 0..40 {
        past.turn("read", json!({}), ToolResult::text("ab".repeat(200_000)));
    }
    let Shelf { store, run, through } = past.store().await;
    let cancel = CancellationToken::new();
    let store: Arc<dyn Store> = store;
    let brought =
        call_recall(Arc::clone(&store), run.clone(), through, call(1), cancel.clone()).await;
    let Brought::Input(Input::CallReplied { reply: Reply::Refused(refusal), .. }) = brought else {
        panic!("it was not refused")
    };
    assert_eq!(refusal.kind.as_deref(), Some("too_slow"));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        cancel.cancel();
    };
    let stopped = call_recall(store, run, through, call(60_000), cancel.clone());
    let (brought, ()) = tokio::join!(stopped, stop);
    let Brought::Input(Input::CallReplied { reply: Reply::Lost { reason }, .. }) = brought else {
        panic!("it was not stopped")
    };
    assert!(reason.contains("told to stop"), "{reason}");
}
