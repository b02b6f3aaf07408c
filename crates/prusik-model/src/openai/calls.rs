//! Tool calls put together from fragments, which servers number and name in different ways.

use std::collections::HashSet;

use prusik_core::ids::Turn;
use prusik_core::message::{Block, ToolUse};
use serde::Deserialize;
use serde_json::Value;

use crate::stream::not_protocol;
use crate::{Delta, tool_input};
use prusik_core::model::ModelError;

/// Most calls that one answer may make.
const CALLS_MAX: usize = 1_000;

/// A piece of a call as it comes over the wire.
#[derive(Deserialize)]
pub(super) struct Fragment {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize)]
pub(super) struct Function {
    #[serde(default)]
    name: Option<String>,
    /// A string; some servers send the object itself.
    #[serde(default)]
    arguments: Value,
}

/// The calls of an answer as far as they have come.
#[derive(Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

impl Fragment {
    /// Returns the older form of a call, of which an answer has one at most.
    pub(super) fn legacy(function: Function) -> Self {
        Self { index: Some(0), id: None, function: Some(function) }
    }
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|call| call.name.len() + call.arguments.len()).sum()
    }

    pub(super) fn add(
        &mut self,
        fragment: Fragment,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), ModelError> {
        let id = fragment.id.unwrap_or_default();
        let function = fragment.function.unwrap_or(Function { name: None, arguments: Value::Null });
        let name = function.name.unwrap_or_default();
        let place = match self.place(fragment.index, &id, &name) {
            Some(place) => place,
            None if self.0.len() >= CALLS_MAX => {
                return Err(not_protocol(format!("the answer makes more than {CALLS_MAX} calls")));
            }
            None => {
                self.0.push(Call { index: fragment.index, ..Call::default() });
                self.0.len() - 1
            }
        };
        let call = &mut self.0[place];
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() && !name.is_empty() {
            progress(Delta::ToolUse { name: name.clone() });
            call.name = name;
        }
        match function.arguments {
            Value::Null => {}
            Value::String(text) => call.arguments.push_str(&text),
            whole => call.arguments.push_str(&whole.to_string()),
        }
        Ok(())
    }

    /// Returns the call that a fragment goes on with; none where it begins another one.
    ///
    /// Ollama has sent every call under index 0, and others leave index or id out, so that a new
    /// id, or a name after complete arguments, begins a call too.
    fn place(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let candidate = match index {
            Some(index) => self.0.iter().rposition(|call| call.index == Some(index))?,
            None if id.is_empty() && name.is_empty() => self.0.len().checked_sub(1)?,
            None => self.0.iter().rposition(|call| !id.is_empty() && call.id == id)?,
        };
        let call = &self.0[candidate];
        let other_id = !id.is_empty() && !call.id.is_empty() && id != call.id;
        let same_id = !id.is_empty() && id == call.id;
        let begins_anew = !name.is_empty()
            && !call.name.is_empty()
            && (other_id || (!same_id && is_complete(&call.arguments)));
        (!begins_anew).then_some(candidate)
    }

    /// Returns the calls as blocks, each under an id that no other one has.
    pub(super) fn finish(self, turn: Turn) -> Result<Vec<Block>, ModelError> {
        let mut taken = HashSet::new();
        let mut blocks = Vec::with_capacity(self.0.len());
        for (place, call) in (1usize..).zip(self.0) {
            if call.name.is_empty() {
                return Err(not_protocol("a tool call has no name"));
            }
            let mut id = call.id;
            if id.trim().is_empty() || taken.contains(&id) {
                id = format!("call_{turn}_{place}");
                // A server may have used this very id for another call.
                while taken.contains(&id) {
                    id.push('_');
                }
            }
            taken.insert(id.clone());
            let input = tool_input(&call.arguments);
            blocks.push(Block::ToolUse(ToolUse { id, name: call.name, input }));
        }
        Ok(blocks)
    }
}

fn is_complete(arguments: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok()
}
