//! What is shown of a result that was folded.

use crate::ids::CallId;
use crate::message::Content;
use crate::outline::outline;
use crate::run::RECALL;

/// Returns what stands for a result: its size, what it is, and how to read it again.
pub(in crate::run) fn of(call: CallId, tool: &str, content: &[Content]) -> Vec<Content> {
    let bytes: usize = content.iter().map(Content::bytes).sum();
    let outline = outline(content);
    let text = format!("[folded: {bytes} bytes, {outline}. {}]", way_back(call, tool));
    vec![Content::Text(text)]
}

/// Returns how a folded result is read again. What was recalled is not kept a second time.
pub(super) fn way_back(call: CallId, tool: &str) -> String {
    if tool == RECALL {
        return format!("{RECALL} as call {call} asked for it reads it");
    }
    format!("{RECALL} {{\"handle\":\"{call}\"}} reads it")
}
