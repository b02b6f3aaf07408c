//! The cassette's file format: its own types, one JSON object a line.

use prusik_core::ids::{Attempt, Digest, Turn};
use prusik_core::message::Block;
use prusik_core::model::{Answer, ModelError, ModelRequest, StopReason, Usage};
use serde::{Deserialize, Serialize};

use super::prints::{MessagePrint, Prints};
use super::{Entry, Tape};

/// The version of the format that is written here.
const VERSION: u32 = 1;

/// One recorded attempt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    version: u32,
    /// The digest of the whole request.
    request: Digest,
    turn: Turn,
    attempt: Attempt,
    /// The model's name, for people; the digest is what counts.
    model_name: String,
    model: Digest,
    system: Digest,
    tools: Digest,
    /// The conversation that this one goes on from, by digest, and how long it is.
    after: Digest,
    after_messages: usize,
    /// The messages that come after it.
    messages: Vec<MessagePrint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<LineAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ModelError>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineAnswer {
    model: String,
    stop: StopReason,
    usage: Usage,
    content: Vec<Block>,
}

impl Line {
    pub(super) fn new(
        request: &ModelRequest,
        prints: &Prints,
        base: Option<&Prints>,
        outcome: &Result<Answer, ModelError>,
    ) -> Self {
        let after_messages = base.map_or(0, |base| base.messages.len());
        Self {
            version: VERSION,
            request: prints.whole(),
            turn: request.turn,
            attempt: request.attempt,
            model_name: request.model.model.clone(),
            model: prints.model,
            system: prints.system,
            tools: prints.tools,
            after: base.map_or(Digest::ZERO, Prints::conversation),
            after_messages,
            messages: prints.messages[after_messages..].to_vec(),
            answer: outcome.as_ref().ok().map(|answer| LineAnswer {
                model: answer.model.clone(),
                stop: answer.stop.clone(),
                usage: answer.usage,
                content: answer.content.clone(),
            }),
            error: outcome.as_ref().err().cloned(),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a line is plain data");
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let line: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if line.version != VERSION {
            let version = line.version;
            return Err(format!("its version is {version}, where {VERSION} is known here"));
        }
        Ok(line)
    }

    /// Puts the conversation together again and checks it against the request's digest.
    pub(super) fn into_entry(self, line: usize, tape: &Tape) -> Result<Entry, String> {
        let mut messages = Vec::new();
        if self.after != Digest::ZERO {
            let place = tape
                .by_messages
                .get(&self.after)
                .ok_or("the line that it goes on from is missing")?;
            messages.clone_from(&tape.entries[*place].prints.messages);
        }
        if messages.len() != self.after_messages {
            return Err("the line that it goes on from has another length".to_owned());
        }
        messages.extend(self.messages);
        let prints = Prints::new(self.model, self.system, self.tools, messages);
        if prints.whole() != self.request {
            return Err("its digest is not that of its parts".to_owned());
        }
        let outcome = match (self.answer, self.error) {
            (Some(answer), None) => Ok(Answer {
                content: answer.content,
                stop: answer.stop,
                usage: answer.usage,
                model: answer.model,
            }),
            (None, Some(error)) => Err(error),
            (Some(_), Some(_)) | (None, None) => {
                return Err("it needs an answer or an error, and not both".to_owned());
            }
        };
        Ok(Entry { line, attempt: self.attempt, prints, outcome })
    }
}
