//! The context: what the model is sent, computed from what the journal holds.
//!
//! System prompt and tools come from the definition; the messages are the transcript. Between two
//! compactions a prompt only grows at its end, so that a provider's cache holds all of it but the
//! newest message. When the prompt comes near the window's end, in this order: old results become
//! handles ([`fold`]), then a summary stands for old turns ([`summary`]), or a list of what was called
//! where no summary is to be had ([`outline`]). Each of these is checked ([`check`]) before it counts.
//!
//! How it fails: a summary that is no summary is asked for once more and then done without; a model
//! that cannot be asked is done without; a provider that refuses the prompt teaches the run how much
//! it takes. What cannot be made smaller fails the run, and says what is too large.

mod check;
mod compact;
mod fold;
pub(super) mod head;
mod ledger;
mod outline;
mod size;
pub(super) mod stub;
mod summary;
#[cfg(test)]
mod tests;
mod view;

pub use self::head::HISTORY;
pub use self::ledger::RECORD;
pub use self::size::bytes_of;
pub use self::summary::COMPACTION;
pub use self::view::View;

pub(super) use self::size::ContextSize;
pub(super) use self::summary::{
    SummaryWanted, ask as ask_for_summary, bytes_of_asking, tokens_max,
};
pub(super) use self::view::{due, result_bytes_max};

use super::group::{COMMIT_GROUP, UNDO_GROUP};
use super::recall::RECALL;
use crate::agent::{ContextPolicy, Tool};
use crate::ids::Attempt;
use crate::label::Label;

/// Returns the tools that come with a context policy.
pub fn tools(policy: Option<&ContextPolicy>) -> Vec<Tool> {
    let Some(policy) = policy else { return Vec::new() };
    policy.record.then(|| ledger::tool(policy)).into_iter().chain([super::recall::tool()]).collect()
}

/// Returns the label of what a call brought. What the core itself answers is trusted, and so it is if
/// the call never began: the model may have made its tool's name up. What `recall` reads was labelled
/// when it first came, and the closing of a group tells what its own calls brought.
pub fn label_of(tool: &str, attempt: Attempt) -> Label {
    match tool {
        RECORD | RECALL | UNDO_GROUP | COMMIT_GROUP => Label::trusted(),
        _ if attempt == Attempt(0) => Label::trusted(),
        tool => Label::of(tool),
    }
}
