//! The model: the plan, the task's calls in their order, and the attacker's as soon as it reads of them.

use prusik_core::message::{Block, Content, Message, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelRequest, StopReason, Usage};
use prusik_core::run::PLAN;
use serde_json::{Map, Value, json};

use super::{Attacker, Call, ForeseenWrite, Script, Slot};
use crate::long;

/// Begins the ids of the task's calls, which are numbered from 0.
const HONEST: &str = "toolu_task_";
/// Begins the ids of the attacker's calls, which are numbered from 0.
const ATTACK: &str = "toolu_attack_";

/// A model that plays a script.
#[derive(Debug, Clone)]
pub struct WorstCase {
    pub script: Script,
    /// The server whose tools the script names.
    pub server: String,
    pub attacker: Attacker,
}

impl WorstCase {
    /// Returns what the model answers. Equal requests get equal answers.
    pub fn answer(&self, request: &ModelRequest) -> Answer {
        let calls = self.next(request);
        let (content, stop) = if calls.is_empty() {
            (vec![Block::Text(self.says(request))], StopReason::EndTurn)
        } else {
            (calls.into_iter().map(Block::ToolUse).collect(), StopReason::ToolUse)
        };
        // Bounds nothing; a provider counts something.
        let usage = Usage { input: long::request_tokens(request), output: 1, ..Usage::default() };
        Answer { content, stop, usage, model: request.model.model.clone() }
    }

    /// Returns the calls of the next turn; none when all is done.
    fn next(&self, request: &ModelRequest) -> Vec<ToolUse> {
        let messages = || request.messages.iter().map(AsRef::as_ref);
        let can_plan = request.tools.iter().any(|tool| tool.name == PLAN);
        if can_plan
            && messages().flat_map(uses).all(|call| call.name != PLAN)
            && let Some(plan) = self.plan()
        {
            return vec![use_of("toolu_plan".to_owned(), PLAN.to_owned(), plan)];
        }
        let played =
            |prefix: &str| messages().flat_map(uses).filter(|c| c.id.starts_with(prefix)).count();
        let honest = || {
            let index = played(HONEST);
            self.script.calls.get(index).map(|call| self.call(HONEST, index, call))
        };
        let wanted = self.attack(request);
        let left = wanted.iter().enumerate().skip(played(ATTACK));
        let mut left = left.map(|(index, call)| self.call(ATTACK, index, call));
        match self.attacker {
            Attacker::Plain | Attacker::Bending => {
                left.next().or_else(honest).into_iter().collect()
            }
            Attacker::Crowding => left.chain(honest()).collect(),
        }
    }

    fn says(&self, request: &ModelRequest) -> String {
        let Script { says, attack_says, .. } = &self.script;
        let attacker = self.marked_at(request).map_or("", |_| attack_says);
        let said = [says, attacker].into_iter().filter(|text| !text.is_empty());
        let said = said.collect::<Vec<_>>().join("\n");
        // No answer is none.
        if said.is_empty() { "Done.".to_owned() } else { said }
    }

    fn call(&self, prefix: &str, index: usize, call: &Call) -> ToolUse {
        let name = self.tool(&call.name);
        use_of(format!("{prefix}{index}"), name, Value::Object(call.arguments.clone()))
    }

    fn tool(&self, name: &str) -> String {
        format!("{}__{name}", self.server)
    }

    /// Returns the plan in the words of Prusik's tool.
    fn plan(&self) -> Option<Value> {
        let plan = self.script.plan.as_ref()?;
        let reads: Vec<String> = plan.reads.iter().map(|name| self.tool(name)).collect();
        let write = |write: &ForeseenWrite| {
            let slots = write.arguments.iter().map(|(name, slot)| {
                let slot = match slot {
                    Slot::Pinned(value) => json!({ "pinned": value }),
                    Slot::Hole(kind) => json!({ "hole": kind_of(kind) }),
                };
                (name.clone(), slot)
            });
            json!({"tool": self.tool(&write.tool), "arguments": slots.collect::<Map<_, _>>()})
        };
        Some(json!({"reads": reads, "writes": plan.writes.iter().map(write).collect::<Vec<_>>()}))
    }

    /// Returns the place of the first message that holds the attacker's text.
    fn marked_at(&self, request: &ModelRequest) -> Option<usize> {
        let mark = self.script.mark.as_deref()?;
        request
            .messages
            .iter()
            .position(|message| message.content.iter().any(|block| holds(block, mark)))
    }

    /// Returns all calls that the attacker has the model make, from what it had done when it read of them.
    fn attack(&self, request: &ModelRequest) -> Vec<Call> {
        let Some(at) = self.marked_at(request) else { return Vec::new() };
        let before = request.messages[..at].iter().map(AsRef::as_ref).flat_map(uses);
        let done = before.filter(|call| call.id.starts_with(HONEST)).count();
        let mut wanted = Vec::new();
        for call in &self.script.attack {
            match self.attacker {
                Attacker::Plain => {}
                Attacker::Bending | Attacker::Crowding => {
                    let left = self.left(done).filter(|write| write.tool == call.name);
                    wanted.extend(left.map(|write| bent(write, call)));
                }
            }
            wanted.push(call.clone());
        }
        wanted
    }

    /// Returns what is left of the plan after so many of the task's calls.
    fn left(&self, done: usize) -> impl Iterator<Item = &ForeseenWrite> {
        let made = self.script.calls.iter().take(done);
        let plan = self.script.plan.as_ref();
        let writes =
            plan.map_or(0, |plan| made.filter(|call| !plan.reads.contains(&call.name)).count());
        plan.into_iter().flat_map(|plan| &plan.writes).skip(writes)
    }
}

/// Returns a planned call with the attacker's values in its holes.
fn bent(write: &ForeseenWrite, call: &Call) -> Call {
    let arguments = write.arguments.iter().filter_map(|(name, slot)| {
        let value = match slot {
            Slot::Pinned(value) => value.clone(),
            Slot::Hole(_) => call.arguments.get(name)?.clone(),
        };
        Some((name.clone(), value))
    });
    Call { name: call.name.clone(), arguments: arguments.collect() }
}

/// Returns Prusik's word for a kind. A member is an identity whose contract names the members.
fn kind_of(kind: &str) -> &str {
    match kind {
        "id!" => "destructive_id",
        "member" => "identity",
        other => other,
    }
}

fn use_of(id: String, name: String, input: Value) -> ToolUse {
    ToolUse { id, name, input: ToolInput::Json(input) }
}

fn uses(message: &Message) -> impl Iterator<Item = &ToolUse> {
    message.content.iter().filter_map(|block| match block {
        Block::ToolUse(call) => Some(call),
        Block::Text(_) | Block::Opaque(_) | Block::ToolResult(_) => None,
    })
}

fn holds(block: &Block, mark: &str) -> bool {
    match block {
        Block::ToolResult(result) => result.content.iter().any(|part| match part {
            Content::Text(text) => text.contains(mark),
            Content::Json(value) => value.to_string().contains(mark),
            Content::Image(_) => false,
        }),
        Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => false,
    }
}
