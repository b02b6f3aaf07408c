//! The outline: what stands for old turns where no summary of a model is to be had.

use std::collections::BTreeMap;

use super::super::recall::RECALL;
use super::super::transcript::Transcript;
use crate::event::{NamedHandle, Summary};
use crate::ids::Turn;
use crate::message::{Block, Content};

/// Largest results that are named.
const HANDLES_MAX: usize = 8;

/// Returns what is known without a model of the turns through `through`: what stood for the turns
/// before them, and what was called in them.
pub(super) fn of(transcript: &Transcript, task: &str, through: Turn, bytes_max: u64) -> Summary {
    let before = transcript.compacted().and_then(|compacted| compacted.replaced.as_ref());
    let mut summary = before.map(|replaced| replaced.summary.clone()).unwrap_or_default();
    if summary.asked.is_empty() {
        let end = task.floor_char_boundary(task.len().min(200));
        summary.asked = format!("the task above: {}", &task[..end]);
    }
    let first = before.map_or(Turn(1), |replaced| replaced.through.next());
    let mut calls: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    let mut results: Vec<(u64, NamedHandle)> = Vec::new();
    for (message, about) in transcript.messages().iter().zip(transcript.about()).skip(1) {
        if about.turn > through {
            break;
        }
        let blocks = message.content.iter().filter_map(|block| match block {
            Block::ToolResult(result) => Some(result),
            Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
        });
        for (result, of) in blocks.zip(&about.results) {
            let (made, failed) = calls.entry(of.tool.as_str()).or_default();
            *made += 1;
            *failed += u32::from(result.is_error);
            if of.tool == RECALL {
                continue;
            }
            let bytes = result.content.iter().map(|c| Content::bytes(c) as u64).sum();
            let (handle, what) = (of.call.to_string(), format!("result of {}", of.tool));
            results.push((bytes, NamedHandle { handle, what }));
        }
    }
    let counts: Vec<String> = calls
        .into_iter()
        .map(|(tool, (made, failed))| match failed {
            0 => format!("{tool} ×{made}"),
            failed => format!("{tool} ×{made}, {failed} of them failed"),
        })
        .collect();
    let counts = if counts.is_empty() { "no calls".to_owned() } else { counts.join("; ") };
    summary
        .done
        .push(format!("turns {first} to {through}, of which no summary was made: {counts}"));
    results.sort_by_key(|(bytes, named)| (std::cmp::Reverse(*bytes), named.handle.clone()));
    let largest = results.into_iter().take(HANDLES_MAX).map(|(_, named)| named);
    let known: Vec<String> = summary.handles.iter().map(|named| named.handle.clone()).collect();
    summary.handles.extend(largest.filter(|named| !known.contains(&named.handle)));
    shorten(summary, bytes_max)
}

/// Drops what is oldest, of what is longest, until a summary is short enough. All of it can be
/// recalled.
fn shorten(mut summary: Summary, bytes_max: u64) -> Summary {
    while bytes_of(&summary) > bytes_max {
        let handles: usize = summary.handles.iter().map(|h| h.handle.len() + h.what.len()).sum();
        let Summary { done, learned, decided, open, files, .. } = &mut summary;
        let lists = [done, learned, decided, open, files].into_iter();
        let sized = lists.map(|list| (list.iter().map(String::len).sum::<usize>(), list));
        let longest = sized.max_by_key(|(bytes, _)| *bytes);
        if let Some((bytes, list)) = longest
            && bytes >= handles
            && !list.is_empty()
        {
            list.remove(0);
        } else if !summary.handles.is_empty() {
            summary.handles.remove(0);
        } else {
            let end = summary.asked.floor_char_boundary(summary.asked.len() / 2);
            summary.asked.truncate(end);
            if end == 0 {
                break;
            }
        }
    }
    summary
}

/// Returns the bytes that a summary has in the context.
pub(super) fn bytes_of(summary: &Summary) -> u64 {
    serde_json::to_string(summary).expect("a summary is plain data").len() as u64
}
