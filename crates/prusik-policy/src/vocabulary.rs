//! What policies can speak of: the agents, the tools and their arguments, as a schema of Cedar's.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Schema, SchemaFragment};
use prusik_core::agent::Tool;
use prusik_core::contract::EffectClass;
use serde_json::{Map, Value, json};

use crate::shape::{self, Record};

/// The server of the tools that come with this program.
pub const SERVERLESS: &str = "(built-in)";

/// Something that policies cannot look at, for who writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub tool: String,
    /// `args.items`.
    pub at: String,
    pub why: String,
}

/// The agents and the tools that policies may name.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    agents: BTreeSet<String>,
    pub(crate) tools: BTreeMap<String, Record>,
    notes: Vec<Note>,
    /// Tools that there are, and of which nothing more is known here.
    others: BTreeSet<String>,
    /// Servers whose tools nobody has asked for here.
    unheard: BTreeSet<String>,
    servers: BTreeSet<String>,
}

/// Returns the server that a tool is called at.
pub(crate) fn server_of(tool: &str) -> &str {
    tool.split_once("__").map_or(SERVERLESS, |(server, _)| server)
}

impl Vocabulary {
    pub fn new<'a>(
        agents: impl IntoIterator<Item = String>,
        tools: impl IntoIterator<Item = &'a Tool>,
    ) -> Self {
        let mut vocabulary = Self { agents: agents.into_iter().collect(), ..Self::default() };
        for tool in tools {
            let (record, omitted) = shape::arguments(tool);
            let tool = tool.name.clone();
            vocabulary.servers.insert(server_of(&tool).to_owned());
            vocabulary.tools.insert(tool.clone(), record);
            let notes = omitted.into_iter();
            let notes = notes.map(|of| Note { tool: tool.clone(), at: of.at, why: of.why });
            vocabulary.notes.extend(notes);
        }
        vocabulary
    }

    /// Adds tools that may be named, and that are not offered here.
    pub fn with_others(mut self, tools: impl IntoIterator<Item = String>) -> Self {
        for tool in tools {
            self.servers.insert(server_of(&tool).to_owned());
            self.others.insert(tool);
        }
        self
    }

    /// Adds servers of which it is not known here which tools they have.
    pub fn with_unheard(mut self, servers: impl IntoIterator<Item = String>) -> Self {
        self.unheard.extend(servers);
        self
    }

    /// Returns what policies cannot look at.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    pub(crate) fn has_agent(&self, name: &str) -> bool {
        self.agents.contains(name)
    }

    pub(crate) fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.iter().map(String::as_str)
    }

    pub(crate) fn has_server(&self, name: &str) -> bool {
        name == SERVERLESS || self.servers.contains(name) || self.unheard.contains(name)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        let known = self.servers.iter().chain(&self.unheard).map(String::as_str);
        known.chain([SERVERLESS])
    }

    /// Returns whether a tool can be there without being offered here.
    pub(crate) fn is_elsewhere(&self, tool: &str) -> bool {
        !self.tools.contains_key(tool)
            && (self.others.contains(tool) || self.unheard.contains(server_of(tool)))
    }

    pub(crate) fn tool_names(&self) -> impl Iterator<Item = &str> {
        let others = self.others.iter().filter(|name| !self.tools.contains_key(*name));
        self.tools.keys().chain(others).map(String::as_str)
    }

    fn to_json(&self) -> Value {
        let mut actions = Map::new();
        for (name, record) in &self.tools {
            let context = json!({"type": "Record", "attributes": {
                "args": with_required(shape::record_to_json(record)),
                "tainted": with_required(json!({"type": "Boolean"})),
                "sources": with_required(json!({"type": "Set", "element": {"type": "String"}})),
                "effect": with_required(json!({"type": "String"})),
                "can_be_undone": with_required(json!({"type": "Boolean"})),
                "contained": with_required(json!({"type": "Boolean"})),
                "planned": with_required(json!({"type": "Boolean"})),
            }});
            let applies = json!({
                "principalTypes": ["Agent"], "resourceTypes": ["Server"], "context": context,
            });
            actions.insert(name.clone(), json!({"appliesTo": applies}));
        }
        // An enumeration of nothing is none.
        let agent = if self.agents.is_empty() { json!({}) } else { json!({"enum": self.agents}) };
        let servers: BTreeSet<&str> = self.servers().collect();
        let types = json!({"Agent": agent, "Server": {"enum": servers}});
        json!({"": {"entityTypes": types, "actions": actions}})
    }

    pub(crate) fn schema(&self) -> Result<Schema, String> {
        Schema::from_json_value(self.to_json()).map_err(|error| error.to_string())
    }

    /// Returns the schema in Cedar's own language, for its editors and tools, with what is not in it.
    pub fn schema_text(&self) -> Result<String, String> {
        let fragment =
            SchemaFragment::from_json_value(self.to_json()).map_err(|error| error.to_string())?;
        let schema = fragment.to_cedarschema().map_err(|error| error.to_string())?;
        let mut text = String::from(
            "// What policies of this project can speak of: made by `prusik policy schema` from the \
             tools' schemas.\n",
        );
        let effects = [EffectClass::Read, EffectClass::Idempotent, EffectClass::Write];
        let effects = effects.map(EffectClass::as_str).join(", ");
        text.push_str(&format!("// context.effect is one of: {effects}.\n"));
        for note in &self.notes {
            // A name with a line break must not end the comment.
            let at = crate::finding::shown(&format!("{}: {}", note.tool, note.at));
            text.push_str(&format!("// {at} is not here: {}\n", crate::finding::shown(&note.why)));
        }
        text.push('\n');
        text.push_str(&schema);
        text.push('\n');
        Ok(text)
    }
}

fn with_required(mut shape: Value) -> Value {
    shape["required"] = Value::Bool(true);
    shape
}
