//! What is shown of a result that was folded.

use crate::ids::CallId;
use crate::message::Content;

/// Returns what stands for a result: its size, what it is, and how to read it again.
pub(in crate::run) fn of(call: CallId, content: &[Content]) -> Vec<Content> {
    let bytes: usize = content.iter().map(Content::bytes).sum();
    let text = format!("[folded: {bytes} bytes. recall {{\"handle\":\"{call}\"}} reads it]");
    vec![Content::Text(text)]
}
