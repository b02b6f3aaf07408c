//! An ordinary turn: the next step, what is worth noting, what must be looked up, the report.

use std::borrow::Cow;

use prusik_core::ids::Digest;
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{ModelRequest, StopReason};
use serde_json::{Value, json};

use super::reading::{self, Newest, Shown};
use super::scenario::{Facts, WORK};
use super::words::{self, Question};
use super::{RECALL, RECORD};

/// How often the model looks for something before it gives it up.
const RECALLS_MAX: usize = 3;

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
    let tries = reading::recalls(request);
    let calls = if reading::can_recall(&request.tools) && tries < RECALLS_MAX {
        wanted(&shown, tries)
    } else {
        Vec::new()
    };
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

/// Returns the calls that look for what the report still lacks. What was not found is looked for in
/// another way.
fn wanted(shown: &Shown, tries: usize) -> Vec<(&'static str, Value)> {
    let mut calls = Vec::new();
    let mut look = |missing: bool, query: &str, regex: String| {
        if missing {
            let input =
                if tries == 0 { json!({ "query": query }) } else { json!({"regex": regex}) };
            calls.push((RECALL, input));
        }
    };
    look(shown.amount.is_none(), "rule R1 never release an order above", words::rule("[0-9]+"));
    look(
        shown.carrier.is_none(),
        "Decision D1 carrier",
        "Decision D1: carrier [A-Za-z0-9-]+".into(),
    );
    let Some(Question { part, table_step, seal_step }) = &shown.question else {
        look(true, "Report now: constraint, decision, row, value", "Report now: .*".into());
        return calls;
    };
    let seal = words::seal(*seal_step, "[0-9a-f]+");
    look(shown.seal.is_none(), &format!("Seal of step {seal_step}"), seal);
    if shown.bin.is_none() {
        let noted = shown.table.as_ref().filter(|(step, _)| step == table_step);
        let input = match noted.and_then(|(_, handle)| handle.as_deref()) {
            Some(handle) if tries < 2 => {
                json!({"handle": handle, "path": format!("$.rows[?@.part == '{part}']")})
            }
            Some(handle) => json!({"handle": handle, "regex": part}),
            None if tries == 0 => {
                json!({"query": format!("{part} bin {} {table_step}", words::TABLE)})
            }
            None => json!({ "regex": part }),
        };
        calls.push((RECALL, input));
    }
    calls
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
