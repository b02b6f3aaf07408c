//! Folding: old results become handles, oldest and largest first, those of the newest turns never.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::transcript::Transcript;
use super::ledger::RECORD;
use crate::ids::CallId;
use crate::message::{Block, Content};

/// A result that is not worth a handle, in bytes.
const FOLD_BYTES_MIN: u64 = 640;
/// What a handle takes, about, in bytes.
const STUB_BYTES: u64 = 240;

/// A result that could be folded.
struct Foldable {
    call: CallId,
    bytes: u64,
    /// How many messages came after it.
    age: u64,
}

/// Returns the results among the messages `of` whose folding frees `bytes`, or all if that is not
/// enough, and how much that frees.
pub(super) fn choose(
    transcript: &Transcript,
    of: Range<usize>,
    bytes: u64,
) -> (BTreeSet<CallId>, u64) {
    let mut foldable = foldable(transcript, of);
    // Old and large first: a result is worth the less the longer it was not needed.
    foldable.sort_by_key(|one| (std::cmp::Reverse(one.bytes.saturating_mul(one.age)), one.call));
    let (mut chosen, mut freed) = (BTreeSet::new(), 0);
    for one in foldable {
        if freed >= bytes {
            break;
        }
        freed += one.bytes - STUB_BYTES;
        chosen.insert(one.call);
    }
    (chosen, freed)
}

fn foldable(transcript: &Transcript, of: Range<usize>) -> Vec<Foldable> {
    let mut found = Vec::new();
    let all = transcript.messages().len();
    for index in of {
        let (message, about) = (&transcript.messages()[index], &transcript.about()[index]);
        let results = message.content.iter().filter_map(|block| match block {
            Block::ToolResult(result) => Some(result),
            Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_) => None,
        });
        for (result, of) in results.zip(&about.results) {
            let bytes: u64 = result.content.iter().map(|c| Content::bytes(c) as u64).sum();
            let skip = bytes < FOLD_BYTES_MIN || of.tool == RECORD || transcript.is_folded(of.call);
            if !skip {
                found.push(Foldable { call: of.call, bytes, age: (all - index) as u64 });
            }
        }
    }
    found
}
