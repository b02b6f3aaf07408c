//! What is known from where no attacker writes. It is a reason to ask or not, beside what was planned,
//! and never proof of where a value came from.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::agent::Tool;
use crate::grant::{self, Doubt, Sources};
use crate::json;
use crate::label::Label;
use crate::message::{Block, Content, Role};
use crate::run::State;
use crate::run::decide::Draft;
use crate::run::definition::Definition;
use crate::run::transcript::{ResultOf, Transcript};

/// The texts that no outsider can have written: the task, what people and the agent's definition say,
/// and what results hold that their contracts vouch for. And the ids of what the run itself has made.
pub(super) struct Known {
    texts: Vec<String>,
    created: Arc<BTreeSet<String>>,
}

impl Known {
    pub fn of(state: &State, definition: &Definition, transcript: Option<&Transcript>) -> Self {
        let mut texts = vec![state.started.task.clone(), definition.agent().system.clone()];
        let entries = state.ledger.entries().iter().filter(|entry| entry.label.is_trusted());
        texts.extend(entries.map(|entry| entry.note.text.clone()));
        let messages =
            transcript.into_iter().flat_map(|t| t.messages().iter().zip(t.about()).skip(1));
        for (message, about) in messages.filter(|(message, _)| message.role == Role::User) {
            let mut results = about.results.iter();
            for block in &message.content {
                match block {
                    Block::ToolResult(result) => {
                        let Some(of) = results.next() else { continue };
                        let vouched = |part: &Content| vouched(definition, of, part);
                        texts.extend(result.content.iter().filter_map(vouched));
                    }
                    Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => {}
                }
            }
        }
        Self { texts, created: Arc::clone(&state.authority.created) }
    }
}

impl Sources for Known {
    fn knows(&self, leaf: &Value) -> bool {
        self.texts.iter().any(|text| grant::occurs(leaf, text))
    }

    fn made_by_run(&self, id: &Value) -> bool {
        self.created.contains(&json::canonical(id))
    }
}

/// Returns the arguments that are not known from trusted texts: one of their values, or a key that the
/// tool does not have.
pub(super) fn unknown(tool: &Tool, arguments: &Value, known: &impl Sources) -> Vec<Doubt> {
    if grant::leaves(arguments).into_iter().all(Value::is_null) {
        // There is nothing by which it could be told from an attacker's.
        let why = "it has no arguments that could be known from somewhere".to_owned();
        return vec![Doubt { argument: String::new(), why }];
    }
    let own = own_keys(&tool.input_schema);
    let is_known = |key: &&str| own.contains(key) || known.says(key);
    let found = arguments.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let mut keys = grant::keys(value).into_iter().chain([name.as_str()]);
        let key = keys.find(|key| !is_known(key)).map(str::to_owned);
        let leaf = || {
            grant::leaves(value)
                .into_iter()
                .find(|leaf| !known.made_by_run(leaf) && !known.knows(leaf))
        };
        let foreign = key.or_else(|| leaf().map(grant::text_of))?;
        let shown: String = foreign.chars().take(80).collect();
        let why = format!("nothing that is trusted says {shown:?}");
        Some(Doubt { argument: name.clone(), why })
    });
    found.collect()
}

/// Returns the names of properties in a schema, however deep they lie.
fn own_keys(schema: &Value) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut open = vec![schema];
    while let Some(schema) = open.pop() {
        match schema {
            Value::Object(map) => {
                let properties = map.get("properties").and_then(Value::as_object);
                names.extend(properties.into_iter().flatten().map(|(name, _)| name.as_str()));
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    names
}

/// Returns what of a result no outsider can have written.
fn vouched(definition: &Definition, of: &ResultOf, part: &Content) -> Option<String> {
    match part {
        Content::Image { .. } => None,
        Content::Text(text) => of.label.is_trusted().then(|| text.clone()),
        Content::Json(value) if of.label.is_trusted() => Some(value.to_string()),
        // Field by field; but not what this run may have put there itself.
        Content::Json(value) => {
            let whole = !of.is_error && !of.echoes;
            let part = definition.trust.vouched_part(&of.tool, value).filter(|_| whole)?;
            Some(part.to_string())
        }
    }
}

impl Draft<'_> {
    /// Returns what the final answer draws on, and the links and addresses in it that nothing trusted
    /// says: a person who follows one goes where an attacker may want them.
    pub(in crate::run) fn label_of_answer(&self, answer: &str) -> (Label, Vec<String>) {
        let definition = self.definition;
        let label = self.state.label();
        if definition.agent().containment.is_none() || label.is_none() {
            return (Label::trusted(), Vec::new());
        }
        let known = Known::of(&self.state, definition, self.transcript);
        let mut links = grant::links(answer);
        links.retain(|link| !known.says(link));
        links.sort();
        links.dedup();
        links.truncate(LINKS_MAX);
        (label, links)
    }
}

/// Links of an answer that are named.
const LINKS_MAX: usize = 50;
