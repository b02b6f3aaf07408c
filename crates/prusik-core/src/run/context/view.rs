//! Where the model's view of its run begins, and when it is to be made smaller.

use serde::{Deserialize, Serialize};

use super::super::State;
use super::super::group::is_planned;
use super::super::recall::{RECALL, RECALL_BYTES_MIN};
use crate::agent::{ContextPolicy, Tool};

use crate::event::{CompactReason, ContextCompacted};
use crate::ids::{Seq, Turn};
use crate::label::Label;

/// What the model is shown of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The record from which on the messages are shown as they were.
    pub from_seq: Seq,
    /// The last turn that is no longer shown.
    pub through: Turn,
    /// How often the context was made smaller.
    pub compactions: u32,
    /// The join of the labels of what is no longer shown.
    pub label: Label,
    /// What the last compaction came to, in tokens.
    compacted_to: u64,
    /// What the provider has refused, less a tenth, in tokens.
    room_learned: Option<u64>,
    /// Set when a compaction is due whatever the size.
    wanted: Option<CompactReason>,
}

impl View {
    pub(in crate::run) fn start() -> Self {
        Self {
            from_seq: Seq(1),
            through: Turn(0),
            compactions: 0,
            label: Label::trusted(),
            compacted_to: 0,
            room_learned: None,
            wanted: None,
        }
    }

    pub(in crate::run) fn asked(&mut self, by: &str) {
        self.wanted = Some(CompactReason::Asked { by: by.to_owned() });
    }

    /// The provider does not take a prompt of that many tokens.
    pub(in crate::run) fn refused(&mut self, tokens: u64) {
        let learned = tokens.saturating_sub(tokens / 10);
        self.room_learned = Some(self.room_learned.map_or(learned, |known| known.min(learned)));
        self.wanted = Some(CompactReason::Refused);
    }

    pub(in crate::run) fn compacted(&mut self, compacted: &ContextCompacted) {
        if let Some(replaced) = &compacted.replaced {
            self.from_seq = replaced.from_seq;
            self.through = replaced.through;
        }
        self.compactions += 1;
        self.label = compacted.label.clone();
        self.compacted_to = compacted.tokens_after;
        self.wanted = None;
    }

    /// Returns what a prompt may have, in tokens.
    pub(in crate::run) fn room(&self, policy: &ContextPolicy) -> u64 {
        let room = policy.room_tokens();
        self.room_learned.map_or(room, |learned| learned.min(room))
    }
}

/// Returns a share of something, without overflow.
pub(super) fn percent(of: u64, percent: u8) -> u64 {
    of / 100 * u64::from(percent) + of % 100 * u64::from(percent) / 100
}

/// Returns why the context is to be made smaller before the model is asked, if it is.
pub(in crate::run) fn due(state: &State, policy: Option<&ContextPolicy>) -> Option<CompactReason> {
    let policy = policy?;
    if state.view.wanted.is_some() {
        return state.view.wanted.clone();
    }
    let room = state.view.room(policy);
    // What cannot be made small is not made smaller in every turn.
    let grown = state.view.compacted_to.saturating_add(room / 10).min(room);
    let threshold = percent(room, policy.compact_at_percent).max(grown);
    (state.context.in_window() > threshold).then_some(CompactReason::Threshold)
}

/// Room that every result has, in bytes.
const RESULT_BYTES_MIN: u64 = 512;

/// Returns the largest result that a call may put into the context: what its contract says, and no
/// more than its share of what one turn may bring. What is recalled comes in whole pages.
pub(in crate::run) fn result_bytes_max(
    state: &State,
    policy: Option<&ContextPolicy>,
    tool: &Tool,
) -> u64 {
    let contract = &tool.contract;
    let least = if tool.name == RECALL { RECALL_BYTES_MIN } else { RESULT_BYTES_MIN };
    let Some(policy) = policy else { return contract.result_bytes_max };
    let calls = state.calls.keys().filter(|id| !is_planned(**id)).count().max(1) as u64;
    let turn_bytes =
        percent(state.view.room(policy), ContextPolicy::TURN_PERCENT).saturating_mul(3);
    contract.result_bytes_max.min((turn_bytes / calls).max(least))
}
