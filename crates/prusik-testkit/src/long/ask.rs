//! What a request asks for: the next turn, or a summary.

use prusik_core::message::{Block, Role};
use prusik_core::model::ModelRequest;
use prusik_core::run::COMPACTION;

/// By these words the prompt of `LangChain`'s `SummarizationMiddleware` is known.
const PROSE: &str =
    "Your sole objective in this task is to extract the highest quality/most relevant context";

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Turn,
    /// A summary as a typed document; `again` where a first one was refused.
    Document {
        again: bool,
    },
    /// A summary in words, for `LangChain`.
    Prose,
}

impl Ask {
    pub fn of(request: &ModelRequest) -> Self {
        let last = request.messages.last().and_then(|message| message.content.last());
        let Some(Block::Text(last)) = last else { return Self::Turn };
        if is_compaction(last) {
            let asked = request
                .messages
                .iter()
                .filter(|message| message.role == Role::User)
                .flat_map(|message| &message.content)
                .filter(|block| matches!(block, Block::Text(text) if is_compaction(text)));
            return Self::Document { again: asked.count() > 1 };
        }
        if last.contains(PROSE) { Self::Prose } else { Self::Turn }
    }
}

fn is_compaction(text: &str) -> bool {
    text.lines().next() == Some(COMPACTION)
}
