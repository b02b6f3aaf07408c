//! The fingerprints of a request, part by part, so that a drift can be said to lie in one of them.

use prusik_core::ids::Digest;
use prusik_core::json;
use prusik_core::message::{Block, Message, Role};
use prusik_core::model::ModelRequest;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// How much of a message a fingerprint shows, in bytes.
const SHOWN_BYTES_MAX: usize = 80;

/// What two equal requests have in common. The attempt is not part of it, nor the turn, nor what
/// the project calls the model and what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prints {
    pub model: Digest,
    pub system: Digest,
    pub tools: Digest,
    pub messages: Vec<MessagePrint>,
    /// The digests of the conversation's beginnings: entry n is that of the first n messages.
    chain: Vec<Digest>,
}

/// The fingerprint of one message, with its beginning for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessagePrint {
    pub digest: Digest,
    pub role: Role,
    pub shows: String,
}

impl Prints {
    pub(super) fn of(request: &ModelRequest) -> Self {
        let model = json!({
            "model": request.model.model,
            "max_tokens": request.max_tokens,
            "temperature": request.model.temperature,
            "thinking_tokens": request.model.thinking_tokens,
        });
        let tools = serde_json::to_value(&*request.tools).expect("declarations are plain data");
        let messages = request.messages.iter().map(|message| MessagePrint::of(message)).collect();
        let system = Digest::of(request.system.as_bytes());
        Self::new(json::digest(&model), system, json::digest(&tools), messages)
    }

    pub(super) fn new(
        model: Digest,
        system: Digest,
        tools: Digest,
        messages: Vec<MessagePrint>,
    ) -> Self {
        let mut chain = vec![Digest::ZERO];
        for message in &messages {
            let before = chain[chain.len() - 1];
            chain.push(Digest::of_parts(&[&before.0, &message.digest.0]));
        }
        Self { model, system, tools, messages, chain }
    }

    /// Returns the digest of the whole request.
    pub(super) fn whole(&self) -> Digest {
        let parts = [&self.model.0[..], &self.system.0, &self.tools.0, &self.conversation().0];
        Digest::of_parts(&parts)
    }

    /// Returns the digest of all messages.
    pub(super) fn conversation(&self) -> Digest {
        self.chain[self.chain.len() - 1]
    }

    /// Returns the digests of the conversation's beginnings, the shortest first.
    pub(super) fn conversations(&self) -> impl DoubleEndedIterator<Item = Digest> {
        self.chain.iter().copied()
    }

    /// Returns how much two requests have in common: first the messages, then the rest.
    pub(super) fn likeness(&self, other: &Self) -> (usize, usize, std::cmp::Reverse<usize>) {
        let rest =
            [self.model == other.model, self.system == other.system, self.tools == other.tools];
        let same = rest.iter().filter(|same| **same).count();
        let lengths = std::cmp::Reverse(self.messages.len().abs_diff(other.messages.len()));
        (self.common(other), same, lengths)
    }

    fn common(&self, other: &Self) -> usize {
        let pairs = self.messages.iter().zip(&other.messages);
        pairs.take_while(|(own, other)| own.digest == other.digest).count()
    }

    /// Says in which parts this request differs from a recorded one.
    pub(super) fn difference(&self, recorded: &Self) -> String {
        let mut parts = Vec::new();
        if self.model != recorded.model {
            parts.push("the model or its limits (model, max_tokens, temperature, thinking)".into());
        }
        if self.system != recorded.system {
            parts.push("the system prompt".into());
        }
        if self.tools != recorded.tools {
            parts.push("the tools (a name, a description or a schema)".into());
        }
        let common = self.common(recorded);
        let (now, then) = (self.messages.get(common), recorded.messages.get(common));
        let number = common + 1;
        match (now, then) {
            (Some(now), Some(then)) => parts.push(format!(
                "message {number} of {} is now {}, where {} was recorded",
                self.messages.len(),
                now.describe(),
                then.describe()
            )),
            (Some(now), None) => parts.push(format!(
                "message {number} is new: {}; the recorded request has {common} messages",
                now.describe()
            )),
            (None, Some(then)) => parts.push(format!(
                "message {number} is missing: {} was recorded there",
                then.describe()
            )),
            (None, None) => {}
        }
        parts.join("; ")
    }
}

impl MessagePrint {
    fn of(message: &Message) -> Self {
        let value = serde_json::to_value(message).expect("a message is plain data");
        let mut shows: String = message.content.first().map(describe_block).unwrap_or_default();
        shows.truncate(shows.floor_char_boundary(SHOWN_BYTES_MAX));
        Self { digest: json::digest(&value), role: message.role, shows }
    }

    fn describe(&self) -> String {
        let role = match self.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        format!("{:?} ({role})", self.shows)
    }
}

fn describe_block(block: &Block) -> String {
    match block {
        Block::Text(text) => text.clone(),
        Block::Opaque(opaque) => {
            format!("[{} {}]", opaque.provider, opaque.block["type"].as_str().unwrap_or("block"))
        }
        Block::ToolUse(call) => format!("[call of {}]", call.name),
        Block::ToolResult(result) => {
            let whole =
                prusik_core::outcome::ToolResult { content: result.content.clone(), whole: None };
            format!("[result] {}", whole.plain_text())
        }
    }
}
