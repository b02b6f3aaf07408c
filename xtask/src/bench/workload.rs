//! What is measured with: an agent whose model and tool answer at once, with seeded noise.
//!
//! Every turn is an answer of 200 bytes, the arguments of its one call included, and a result of
//! 1 KiB. All of it is drawn from the 64 characters of Base64, so that nothing repeats.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use prusik_core::agent::{self, Agent, Limits};
use prusik_core::budget::Budget;
use prusik_core::contract::{Contract, EffectClass};
use prusik_core::message::{Block, ToolInput, ToolUse};
use prusik_core::model::{Answer, ModelError, ModelRequest, ModelSpec, StopReason, Usage};
use prusik_core::outcome::{Reply, ToolResult};
use prusik_engine::World;
use prusik_model::{Delta, Model};
use prusik_tool::{CallAttempt, Tool, ToolInfo};
use serde_json::json;
use tokio::sync::watch;

/// Bytes of an answer: its text and the arguments of its call.
pub const ANSWER_BYTES: usize = 200;
/// Bytes of a result.
pub const RESULT_BYTES: usize = 1024;
/// What a turn's model and tool say.
pub const TURN_BYTES: usize = ANSWER_BYTES + RESULT_BYTES;

/// `{"item":"…"}` without what stands for the dots.
const ARGUMENT_FRAME_BYTES: usize = 11;
const ITEM_BYTES: usize = 24;
const ID_BYTES: usize = 24;
const TOOL: &str = "look_up";

/// Noise that is the same in every run of the benchmark.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits of S. Vigna's `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns `bytes` characters of Base64.
    pub fn text(&mut self, bytes: usize) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::with_capacity(bytes + 10);
        while text.len() < bytes {
            let bits = self.next();
            text.extend((0..10).map(|i| char::from(ALPHABET[(bits >> (6 * i)) as usize & 63])));
        }
        text.truncate(bytes);
        text
    }
}

/// Returns the agent whose only tool has this effect.
pub fn agent(effect: EffectClass) -> Agent {
    let schema = json!({
        "type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"],
    });
    let tool = agent::Tool {
        name: TOOL.to_owned(),
        description: "Looks an item up.".to_owned(),
        input_schema: schema,
        output_schema: None,
        contract: Contract::of(effect),
        shown: true,
    };
    Agent {
        groups: Vec::new(),
        context: None,
        ledger: Vec::new(),
        containment: None,
        on_failure: agent::OnFailure::Leave,
        name: "bench".to_owned(),
        system: "You look items up, one at a time, until you are told to stop.".to_owned(),
        model: ModelSpec {
            alias: "bench".to_owned(),
            model: "bench-1".to_owned(),
            max_tokens: 1024,
            temperature: None,
            thinking_tokens: None,
            price: None,
        },
        tools: vec![tool],
        budget: Budget::default(),
        output: None,
        limits: Limits::default(),
    }
}

/// Returns a world in which a run has `turns` turns, and the model through which it is watched.
pub fn world(seed: u64, turns: u32, end: End) -> (World, Arc<Answers>) {
    let model = Arc::new(Answers {
        seed,
        turns,
        end,
        reached: watch::Sender::new(Reached::default()),
        calls: AtomicU64::new(0),
    });
    let tools: BTreeMap<String, Arc<dyn Tool>> =
        BTreeMap::from([(TOOL.to_owned(), Arc::new(Results::new(seed)) as Arc<dyn Tool>)]);
    (World { model: Arc::clone(&model) as Arc<dyn Model>, summarizer: None, tools }, model)
}

/// What the model does when all turns are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It gives its final answer.
    Finish,
    /// It never answers, so that the run can be abandoned in the middle.
    Hang,
}

/// When the model was asked for the first time, and for what follows the last turn.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reached {
    pub first: Option<Instant>,
    pub last: Option<Instant>,
    /// Messages of the last request.
    pub messages: usize,
}

/// A model that answers at once.
pub struct Answers {
    seed: u64,
    turns: u32,
    end: End,
    reached: watch::Sender<Reached>,
    calls: AtomicU64,
}

impl Answers {
    /// Returns when the turns began and ended. Waits until they have.
    pub async fn reached(&self) -> Reached {
        let mut reached = self.reached.subscribe();
        *reached.wait_for(|reached| reached.last.is_some()).await.expect("the sender is in self")
    }

    /// Returns how often the model has been asked.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Model for Answers {
    async fn answer(
        &self,
        request: &ModelRequest,
        _progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let turn = request.turn.0;
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 {
            self.reached.send_modify(|reached| reached.first = Some(Instant::now()));
        }
        let mut noise = Noise::new(self.seed ^ (u64::from(turn) << 20));
        let over = turn > self.turns;
        if over {
            self.reached.send_modify(|reached| {
                reached.last = Some(Instant::now());
                reached.messages = request.messages.len();
            });
            if self.end == End::Hang {
                std::future::pending::<()>().await;
            }
        }
        let content = if over {
            vec![Block::Text("That was the last item.".to_owned())]
        } else {
            let item = noise.text(ITEM_BYTES);
            let text = noise.text(ANSWER_BYTES - ARGUMENT_FRAME_BYTES - ITEM_BYTES);
            let id = format!("toolu_{}", noise.text(ID_BYTES));
            let input = ToolInput::Json(json!({"item": item}));
            vec![Block::Text(text), Block::ToolUse(ToolUse { id, name: TOOL.to_owned(), input })]
        };
        Ok(Answer {
            content,
            stop: if over { StopReason::EndTurn } else { StopReason::ToolUse },
            usage: Usage { input: 1_000, output: 80, cache_read: 20_000, cache_write: 400 },
            model: "bench-1".to_owned(),
        })
    }
}

/// A tool that answers at once.
struct Results {
    info: ToolInfo,
    seed: u64,
}

impl Results {
    fn new(seed: u64) -> Self {
        let info = ToolInfo {
            name: TOOL.to_owned(),
            description: String::new(),
            input_schema: json!({"type": "object"}),
            output_schema: None,
            hints: None,
        };
        Self { info, seed }
    }
}

#[async_trait]
impl Tool for Results {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        // The result follows from the arguments, so that a repeated call has the same one.
        let item = attempt.arguments["item"].as_str().unwrap_or_default();
        let of_item = item.bytes().fold(self.seed, |n, b| n.rotate_left(7) ^ u64::from(b));
        Reply::Returned(ToolResult::text(Noise::new(of_item).text(RESULT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_bytes_it_says() {
        let item = Noise::new(1).text(ITEM_BYTES);
        assert_eq!(json!({"item": item}).to_string().len(), ARGUMENT_FRAME_BYTES + ITEM_BYTES);
    }
}
