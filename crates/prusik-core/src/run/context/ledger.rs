//! How entries come into the ledger: by the model's own calls, by people, and by contracts.

use serde_json::{Value, json};

use super::super::decide::Draft;
use super::super::definition::Held;
use crate::agent::{ContextPolicy, Tool};
use crate::contract::Contract;
use crate::event::{EntryRecorded, Event, PromptReason};
use crate::ids::{Attempt, CallId};
use crate::input::Rejected;
use crate::label::Label;
use crate::ledger::{
    Author, ENTRY_BYTES_MAX, Entry, EntryId, EntryKind, LedgerError, Note, REJECTED_MAX,
};
use crate::outcome::{Failure, Outcome, ToolResult, kind};

/// What is kept of a word that has no room, in bytes.
const WORD_BYTES_KEPT: usize = 300;

/// The call that records an entry in the ledger.
pub const RECORD: &str = "record";

/// Returns whether the core answers the calls of this tool, so that no driver sees them.
pub(in crate::run) fn answers_itself(tool: &str, policy: Option<&ContextPolicy>) -> bool {
    tool == RECORD && policy.is_some_and(|policy| policy.record)
}

/// Returns the tool that the model records entries with.
pub(in crate::run) fn tool(policy: &ContextPolicy) -> Tool {
    let longest = policy.ledger_bytes_max.min(ENTRY_BYTES_MAX as u64);
    let kinds: Vec<&str> = EntryKind::ALL.into_iter().map(EntryKind::as_str).collect();
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": {"type": "string", "enum": kinds, "description":
                "goal: what is to be reached. constraint: what must or must not be done. decision: \
                 what was decided. fact: what is known. question: what is not known yet. artefact: \
                 where something is (a file, a URL, the handle of a result)."},
            "text": {"type": "string", "description":
                "The entry in one or two sentences that can be understood alone."},
            "reason": {"type": "string", "description": "Why it was decided so."},
            "rejected": {
                "type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": REJECTED_MAX,
                "description": "What was decided against.",
            },
            "source": {"type": "string", "description": "Where it is known from."},
            "supersedes": {"type": "string", "pattern": "^L[0-9]+$", "description":
                "The entry that no longer holds, such as L3."},
        },
        "required": ["kind", "text"],
        "additionalProperties": false,
    });
    Tool {
        name: RECORD.to_owned(),
        description: format!(
            "Writes down what must not be forgotten: goals, constraints, decisions with their reasons, \
             facts with their sources, open questions, where things are. Older turns are summarized \
             when the context fills up; entries stay word for word. Record an entry as soon as you \
             decide or learn what later turns need. At most {longest} bytes."
        ),
        input_schema: schema,
        output_schema: None,
        contract: Contract::of(crate::contract::EffectClass::Read),
        shown: true,
    }
}

impl Draft<'_> {
    /// Answers the calls of this turn that record entries.
    pub(in crate::run) fn record_entries(&mut self) {
        for id in self.open_calls() {
            let Some(call) = self.state.calls.get(&id) else { continue };
            if !answers_itself(&call.tool, self.policy()) {
                continue;
            }
            let arguments = call.arguments().clone();
            let recorded = read_note(&arguments).and_then(|(note, supersedes)| {
                // What the model says may draw on all that it was shown.
                let label = self.state.label();
                let record = self.record(note, Author::Model(id), label, supersedes);
                record.map_err(|error| (kind_of(&error), error.to_string()))
            });
            match recorded {
                Ok(entry) => {
                    let told = json!({"status": "ok", "entry": entry});
                    self.complete(id, Attempt(0), Outcome::Ok(ToolResult::json(told)), 0);
                }
                Err((kind, message)) => {
                    let failure = Failure::new(kind, message);
                    self.complete(id, Attempt(0), Outcome::Failed(failure), 0);
                }
            }
        }
    }

    fn policy(&self) -> Option<&ContextPolicy> {
        self.definition.agent().context.as_ref()
    }

    fn record(
        &mut self,
        note: Note,
        author: Author,
        label: Label,
        supersedes: Option<EntryId>,
    ) -> Result<EntryId, LedgerError> {
        let bytes_max = self.policy().ok_or(LedgerError::None)?.ledger_bytes_max;
        let id = self.state.ledger.next_id();
        let entry = Entry { id, note, author, label, supersedes };
        self.state.ledger.check(&entry, bytes_max)?;
        // Only a person speaks while the model is being asked.
        let unseen = self.model_under_way && matches!(entry.author, Author::Person(_));
        self.emit(Event::EntryRecorded(EntryRecorded { entry, unseen }));
        Ok(id)
    }

    /// Records what a person wants kept.
    pub(in crate::run) fn noted(
        &mut self,
        by: String,
        note: Note,
        supersedes: Option<EntryId>,
    ) -> Result<(), Rejected> {
        self.record(note, Author::Person(by), Label::trusted(), supersedes)?;
        Ok(())
    }

    /// Keeps what a person said to the model: it must outlive the turn that it was said in. Of what has
    /// no room the beginning is kept, and where the rest is.
    pub(in crate::run) fn keep_word(&mut self, by: &str, text: &str) {
        let (word, label) = (Author::Word(by.to_owned()), Label::trusted());
        let kept = self.record(Note::new(EntryKind::Goal, text), word, label, None);
        if matches!(kept, Err(LedgerError::TooLong { .. } | LedgerError::Full { .. })) {
            let end = text.floor_char_boundary(text.len().min(WORD_BYTES_KEPT));
            let gist = format!(
                "{}… (the beginning of what {by} said; `recall` finds all of it)",
                &text[..end]
            );
            let person = Author::Person(by.to_owned());
            // People themselves may have filled it to the brim. What they say is said all the same.
            let _ = self.record(Note::new(EntryKind::Goal, gist), person, Label::trusted(), None);
        }
    }

    /// Returns what a contract wants kept of a result, or why that cannot be said.
    pub(in crate::run) fn entries_of(
        &self,
        id: CallId,
        held: &Held,
        result: &ToolResult,
    ) -> Vec<Result<Note, String>> {
        let contract = &held.tool.contract;
        if contract.records.is_empty() || self.policy().is_none() {
            return Vec::new();
        }
        let Some(call) = self.state.calls.get(&id) else { return Vec::new() };
        let value = result.value();
        let variables = [("args", call.arguments()), ("result", &value)];
        let notes = contract.records.iter().filter_map(|term| {
            let wanted = term.when.as_ref().map_or(Ok(true), |when| when.eval_bool(&variables));
            let text = match wanted {
                Ok(false) => return None,
                Ok(true) => term.text.eval(&variables),
                Err(error) => Err(error),
            };
            Some(text.map_err(|error| error.to_string()).map(|text| {
                let text = match text {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let source = format!("result of call {id} ({})", held.tool.name);
                Note { source: Some(source), ..Note::new(term.kind, text) }
            }))
        });
        notes.collect()
    }

    /// Records what a contract wants kept of a result, and tells the model what could not be.
    pub(in crate::run) fn record_entries_of(
        &mut self,
        id: CallId,
        held: &Held,
        notes: Vec<Result<Note, String>>,
    ) {
        let tool = &held.tool.name;
        for note in notes {
            let recorded = note.and_then(|note| {
                // It may say what the model asked for, which may draw on all that it was shown.
                let label = self.state.label();
                let recorded = self.record(note, Author::Contract(id), label, None);
                recorded.map_err(|error| error.to_string())
            });
            if let Err(problem) = recorded {
                let text = format!(
                    "What the contract of `{tool}` wants kept of call {id} is not in the ledger: {problem}"
                );
                self.prompt(PromptReason::Ledger, text);
            }
        }
    }
}

/// Reads the arguments of [`RECORD`], which fit its schema.
pub(super) fn read_note(
    arguments: &Value,
) -> Result<(Note, Option<EntryId>), (&'static str, String)> {
    let refused = |problem: String| (kind::LEDGER_REFUSED, problem);
    let supersedes =
        arguments["supersedes"].as_str().map(str::parse).transpose().map_err(refused)?;
    let mut arguments = arguments.clone();
    if let Value::Object(map) = &mut arguments {
        map.shift_remove("supersedes");
    }
    let note = serde_json::from_value(arguments).map_err(|error| refused(error.to_string()))?;
    Ok((note, supersedes))
}

fn kind_of(error: &LedgerError) -> &'static str {
    match error {
        LedgerError::Full { .. } => kind::LEDGER_FULL,
        LedgerError::Empty
        | LedgerError::TooLong { .. }
        | LedgerError::TooMany { .. }
        | LedgerError::NotYours { .. }
        | LedgerError::NoSuchEntry { .. }
        | LedgerError::None => kind::LEDGER_REFUSED,
    }
}
