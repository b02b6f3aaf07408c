//! An ordinary turn: the next step, what is worth noting, what must be looked up, the report.

use std::borrow::Cow;

use prusik_core::ids::Digest;
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{ModelRequest, StopReason};
use prusik_core::run::RECORD;
use serde_json::{Value, json};

use super::reading::{self, Newest, Shown};
use super::scenario::{Facts, WORK};
use super::{lookup, words};

/// What the model says, and why it stops.
#[derive(Debug)]
pub struct Said {
    pub content: Vec<Block>,
    pub stop: StopReason,
}

impl Said {
    pub fn text(text: String) -> Self {
        Self { content: vec![Block::Text(text)], stop: StopReason::EndTurn }
    }

    /// Says `text` and makes the calls, with ids that no other request leads to.
    pub fn calls(request: &ModelRequest, text: String, calls: Vec<(&str, Value)>) -> Self {
        let mut content = vec![Block::Text(text)];
        for (index, (name, input)) in calls.into_iter().enumerate() {
            let (id, name) = (call_id(request, index), name.to_owned());
            content.push(Block::ToolUse(ToolUse { id, name, input: ToolInput::Json(input) }));
        }
        Self { content, stop: StopReason::ToolUse }
    }
}

/// Returns an id that depends on the place in the conversation and on its newest message.
fn call_id(request: &ModelRequest, index: usize) -> String {
    let newest = request.messages.last().map(|message| &message.content);
    let newest = serde_json::to_vec(&newest).unwrap_or_default();
    let (place, index) = (request.messages.len().to_le_bytes(), index.to_le_bytes());
    format!("toolu_{}", &Digest::of_parts(&[&place, &newest, &index]).to_string()[..20])
}

/// Takes the next turn.
pub fn turn(request: &ModelRequest, texts: &[Cow<'_, str>]) -> Said {
    let newest = reading::newest(request);
    let shown = || reading::shown(texts.iter().map(Cow::as_ref));
    let done = match &newest {
        Some(newest) => Some((newest.step, newest.steps)),
        // The results are gone, and a summary may still say how far the work is.
        None => shown().done,
    };
    if done.is_none_or(|(step, steps)| step < steps) && reading::can_work(&request.tools) {
        return work(request, newest.as_ref(), done.map_or(1, |(step, _)| step + 1));
    }
    let shown = shown();
    let calls = lookup::calls(request, &shown);
    if calls.is_empty() {
        return Said::text(report(&shown));
    }
    Said::calls(request, "I look up what I do not see.".to_owned(), calls)
}

fn work(request: &ModelRequest, newest: Option<&Newest>, step: u32) -> Said {
    let mut text = format!("Step {step} is next.");
    let mut calls = vec![(WORK, json!({ "step": step }))];
    let can_record = reading::can_record(&request.tools);
    // What is older than the last message has been decided on and noted already.
    if let Some(newest) = newest.filter(|newest| newest.is_last) {
        if let Some(decision) = words::find_offer(&newest.text) {
            text = format!("{} {text}", decision.sentence());
            let entry = json!({
                "kind": "decision", "text": decision.text(), "reason": decision.reason(),
                "rejected": [decision.rejected], "source": newest.handle,
            });
            calls.extend(can_record.then_some((RECORD, entry)));
        }
        if words::find_table_note(&newest.text).is_some() {
            let note = words::table(newest.step, &newest.handle);
            let entry = json!({"kind": "artefact", "text": note, "source": newest.handle});
            calls.extend(can_record.then_some((RECORD, entry)));
        }
    }
    Said::calls(request, text, calls)
}

fn report(shown: &Shown) -> String {
    let facts = Facts {
        constraint: shown.amount.clone(),
        decision: shown.carrier.clone(),
        row: shown.bin.clone(),
        value: shown.seal.clone(),
    };
    json!(facts).to_string()
}
