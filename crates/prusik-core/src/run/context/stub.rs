//! What is shown of a result that was folded.

use crate::ids::CallId;
use crate::message::Content;
use crate::outline::outline;
use crate::run::RECALL;

/// Returns what stands for a result: its size, what it is, and how to read it again.
pub(in crate::run) fn of(call: CallId, content: &[Content]) -> Vec<Content> {
    let bytes: usize = content.iter().map(Content::bytes).sum();
    let outline = outline(content);
    let text =
        format!("[folded: {bytes} bytes, {outline}. {RECALL} {{\"handle\":\"{call}\"}} reads it]");
    vec![Content::Text(text)]
}
