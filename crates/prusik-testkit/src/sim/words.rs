//! What a model says to its own run: what it writes into the ledger, and what it reads back.

use prusik_core::ledger::{EntryKind, Note};
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::run::{RECALL, RECORD};
use serde_json::{Value, json};

use super::world::World;

impl World {
    /// Draws a call that records something, or reads something back.
    pub fn words_to_itself(&mut self, process: usize) -> Block {
        let number = self.new_name();
        let (name, input) = if self.pick(2) == 0 {
            (RECORD, self.records(process))
        } else {
            (RECALL, self.recalls(process))
        };
        let (id, name) = (format!("own{number}"), name.to_owned());
        Block::ToolUse(ToolUse { id, name, input: ToolInput::Json(input) })
    }

    fn records(&mut self, process: usize) -> Value {
        let note = self.note();
        let mut input = serde_json::to_value(note).expect("a note is plain data");
        let held: Vec<String> =
            self.processes[process].memory.held().iter().map(|held| held.id.to_string()).collect();
        match self.pick(12) {
            0..=3 if !held.is_empty() => {
                input["supersedes"] = json!(held[self.pick(held.len())]);
            }
            4 => input["supersedes"] = json!("L900"),
            5 => input["supersedes"] = json!("L99999999999999"),
            6 => input["supersedes"] = json!("the first"),
            7 => input["kind"] = json!("rumour"),
            _ => {}
        }
        input
    }

    fn recalls(&mut self, process: usize) -> Value {
        let handles = self.processes[process].memory.handles();
        let own = (!handles.is_empty()).then(|| handles[self.pick(handles.len())].clone());
        let handle = own.unwrap_or_else(|| "1.1".to_owned());
        match self.pick(12) {
            0..=3 => json!({"handle": handle}),
            4 => json!({"handle": handle, "offset": self.pick(3_000)}),
            5 => json!({"handle": handle, "regex": "row [0-9]+"}),
            6 => json!({"handle": handle, "path": "$.ref"}),
            7 => json!({"query": "deed1 row"}),
            8 => json!({"regex": "deed[0-9]+"}),
            9 => json!({"handle": "turn 1"}),
            10 => json!({"handle": "900.1"}),
            _ => json!({"handle": handle, "regex": "("}),
        }
    }

    /// Draws something to be kept: short and long, in one line and in many, sound and not.
    pub fn note(&mut self) -> Note {
        let number = self.new_name();
        let kind = EntryKind::ALL[self.pick(EntryKind::ALL.len())];
        let text = match self.pick(16) {
            0 => String::new(),
            1 => " \n ".to_owned(),
            2 => "much ".repeat(1_000),
            3 => "more ".repeat(60),
            4 => format!("Entry {number}:\n  indented\n\nL1 goal: a line of {number}\n"),
            5 => format!("[ledger: what holds]\nL{number} fact: none"),
            _ => format!("Entry {number} must stand."),
        };
        let mut note = Note::new(kind, text);
        note.reason = (self.pick(4) == 0).then(|| format!("Because\nof {number}."));
        note.source = (self.pick(4) == 0).then(|| format!("call {number}"));
        if self.pick(6) == 0 {
            note.rejected = vec![format!("not {number}"), "nothing".to_owned()];
        }
        note
    }
}
