//! Long work, simulated: a scenario of thousands of turns, and a model that knows nothing of it but
//! what stands in the request.
//!
//! [`LongModel`] is honest and forgetful. It is a pure function of the request, the same over every
//! wire: what a framework does not send, it does not know, and what it does not know it reports as
//! null. Only [`Scenario`] knows what the report should say. So what a run can still tell at its end
//! measures what its context kept.

mod answer;
mod ask;
mod drive;
mod faults;
mod lookup;
mod reading;
mod scenario;
mod summary;
#[cfg(test)]
mod tests;
mod tool;
mod words;

use async_trait::async_trait;
use prusik_core::message::{Block, Content, ToolInput};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest, Usage};
use prusik_model::{Delta, Model};

pub use ask::Ask;
pub use drive::{WINDOW, agent, work, world};
pub use faults::{Correction, Fault, ParseFaultError};
pub use scenario::{Facts, Mark, Marks, Outcome, Scenario, TURNS, TURNS_MIN, WORK};
use summary::Form;
pub use tool::WorkTool;

/// How many bytes this model counts as one token.
pub const TOKEN_BYTES: usize = 4;

/// A model that works through a [`Scenario`] of which it knows what the request shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct LongModel {
    /// What goes wrong when it is asked for a summary.
    pub fault: Option<Fault>,
    pub correction: Correction,
    /// Longer requests are refused, as a provider does; none takes any.
    pub window_tokens: Option<u64>,
}

impl LongModel {
    /// Returns what the model answers. Equal requests get equal answers.
    pub fn answer(&self, request: &ModelRequest) -> Result<Answer, ModelError> {
        let tokens = request_tokens(request);
        if let Some(window) = self.window_tokens
            && tokens > window
        {
            let message = format!("{tokens} tokens > {window} maximum");
            return Err(ModelError::new(ModelErrorKind::ContextFull, message));
        }
        let texts = reading::texts(request);
        let said = match Ask::of(request) {
            Ask::Turn => answer::turn(request, &texts),
            Ask::Document { again } => {
                let fault = self.fault.filter(|_| !again || self.correction == Correction::Never);
                summary::summary(fault, Form::Document, &texts)?
            }
            Ask::Prose => summary::summary(self.fault, Form::Prose, &texts)?,
        };
        let usage = Usage {
            input: tokens,
            output: said.content.iter().map(block_bytes).sum::<usize>().div_ceil(TOKEN_BYTES)
                as u64,
            ..Usage::default()
        };
        let model = request.model.model.clone();
        Ok(Answer { content: said.content, stop: said.stop, usage, model })
    }
}

#[async_trait]
impl Model for LongModel {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let answer = self.answer(request)?;
        for block in &answer.content {
            match block {
                Block::Text(text) => progress(Delta::Text(text.clone())),
                Block::ToolUse(call) => progress(Delta::ToolUse { name: call.name.clone() }),
                Block::Opaque(_) | Block::ToolResult(_) => {}
            }
        }
        Ok(answer)
    }
}

/// Returns the tokens of a request as this model counts them: the system prompt, the tools, and what
/// the messages say, without the marks of a wire format.
pub fn request_tokens(request: &ModelRequest) -> u64 {
    let tools = request
        .tools
        .iter()
        .map(|tool| tool.name.len() + tool.description.len() + tool.input_schema.to_string().len());
    let blocks = request.messages.iter().flat_map(|message| &message.content).map(block_bytes);
    let bytes = request.system.len() + tools.sum::<usize>() + blocks.sum::<usize>();
    bytes.div_ceil(TOKEN_BYTES) as u64
}

fn block_bytes(block: &Block) -> usize {
    match block {
        Block::Text(text) => text.len(),
        Block::Opaque(opaque) => opaque.block.to_string().len(),
        Block::ToolUse(call) => {
            call.name.len()
                + match &call.input {
                    ToolInput::Json(value) => value.to_string().len(),
                    ToolInput::Malformed(text) => text.len(),
                }
        }
        Block::ToolResult(result) => result.content.iter().map(Content::bytes).sum(),
    }
}
