//! `--json`: one object per line, documented in the reference.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq, Timestamp};
use prusik_core::model::Purpose;
use prusik_engine::{Notice, Observer};
use prusik_model::Delta;
use serde_json::{Value, json};

use super::live::put;

/// Prints a driven run as JSON lines. An event's line appears when the event is durable.
pub struct JsonLines {
    run: RunId,
    /// Lines of events that are on their way to the disk.
    pending: Mutex<VecDeque<(Seq, Value)>>,
}

impl JsonLines {
    pub fn new(run: RunId) -> Self {
        Self { run, pending: Mutex::default() }
    }

    fn print_through(&self, through: Seq) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, value)) = pending.pop_front_if(|(seq, _)| *seq <= through) {
            print(&value);
        }
    }
}

impl Observer for JsonLines {
    fn notice(&self, notice: Notice<'_>) {
        let run = self.run.as_str();
        let value = match notice {
            Notice::Event { seq, at, event } => {
                let value = event_object(&self.run, seq, at, event);
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.push_back((seq, value));
                return;
            }
            Notice::Durable { through } => return self.print_through(through),
            Notice::Delta(Delta::Text(text)) => json!({"run": run, "delta": {"text": text}}),
            Notice::Delta(Delta::Thinking(text)) => {
                json!({"run": run, "delta": {"thinking": text}})
            }
            Notice::Delta(Delta::ToolUse { name }) => {
                json!({"run": run, "delta": {"tool_use": name}})
            }
            Notice::Progress { call, text } => {
                json!({"run": run, "progress": {"call": call, "text": text}})
            }
            Notice::ModelCalled { purpose: Purpose::Turn } => {
                json!({"run": run, "waiting_for": "model"})
            }
            Notice::ModelCalled { purpose: Purpose::Summary } => {
                json!({"run": run, "waiting_for": "summary"})
            }
            Notice::Refused { by, rejected } => {
                json!({"run": run, "refused": {"by": by, "why": rejected.to_string()}})
            }
            Notice::CallBegun { call, tool, probe } => json!({
                "run": run, "waiting_for": if probe { "probe" } else { "call" },
                "call": call, "tool": tool,
            }),
        };
        print(&value);
    }
}

fn print(value: &Value) {
    put(&format!("{value}\n"));
}

/// Returns the object that stands for a record of a journal.
pub fn event_object(run: &RunId, seq: Seq, at: Timestamp, event: &Event) -> Value {
    json!({"run": run, "seq": seq, "at_ms": at, "event": event})
}
