//! What a model was sent, or would be sent next: read from the journal, piece by piece.
//!
//! A request is a pure function of the records before it, so that it need not have been kept. Nothing
//! here does I/O.

mod diff;
mod fill;
mod page;
mod picture;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use prusik_core::agent::ContextPolicy;
use prusik_core::event::{CompactReason, ContextCompacted, Event};
use prusik_core::ids::{CallId, RunId, Seq, Turn};
use prusik_core::label::Label;
use prusik_core::ledger::{Author, Entry, EntryId};
use prusik_core::model::{ModelRequest, Purpose, Usage};
use prusik_core::record::{JournalError, Record};
use prusik_core::run::{Definition, Program, Run};

pub use diff::{Change, Difference};
pub(crate) use fill::{Filling, filling};
pub(crate) use page::html;
pub(crate) use picture::svg;
pub use segments::{Segment, SegmentKind};

/// A request to a model, piece by piece, and how it stands in the model's window.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextView {
    pub run: RunId,
    /// The agent's name.
    pub agent: String,
    pub which: Which,
    /// The turn that the model is asked for.
    pub turn: Turn,
    /// Whether it is asked to go on, or for a summary.
    pub purpose: Purpose,
    /// The provider's name of the model.
    pub model: String,
    /// What the request has, in tokens.
    pub tokens: u64,
    /// Whether the provider counted them; otherwise they are estimated.
    pub is_counted: bool,
    /// None for runs whose context is not compacted.
    pub window: Option<WindowView>,
    pub compactions: u32,
    /// Why the context is made smaller before the model is asked again, if it is.
    pub due: Option<CompactReason>,
    /// In the order in which the model reads them.
    pub segments: Vec<Segment>,
    pub request: ModelRequest,
}

/// Which of a run's requests it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Exactly the one that this record answered.
    Answered(Seq),
    /// The one that is sent next, or is being answered.
    Next,
    /// The last one that was answered, by this record: what comes next is not known while calls are
    /// open or when the run is over.
    Last(Seq),
    /// The first one, which was never sent.
    Unsent,
}

/// What a prompt may have, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowView {
    pub window_tokens: u64,
    /// What the window has beside the reserve, or less where the provider took less.
    pub room_tokens: u64,
    /// Beyond it the context is made smaller.
    pub threshold_tokens: u64,
}

/// Why a request cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    #[error("the run has no record {at}: its last one is {last}")]
    NoSuchRecord { at: Seq, last: Seq },
    #[error("the journal is damaged: {0}")]
    Journal(#[from] JournalError),
}

/// What is known of a journal besides the state that it comes to.
#[derive(Debug, Default)]
struct Marks {
    /// The record at which a result was folded.
    folded_at: BTreeMap<CallId, Seq>,
    /// The newest compaction that turns left the context by.
    replaced_at: Option<Seq>,
    compacted_at: Option<Seq>,
    /// Every entry that there ever was.
    entries: BTreeMap<EntryId, Arc<Entry>>,
}

impl Marks {
    fn of(definition: &Definition, records: &[Record]) -> Result<Self, JournalError> {
        let mut marks = Self::default();
        for (index, note) in (1..).zip(&definition.agent().ledger) {
            let (id, author, label) = (EntryId(index), Author::Agent, Label::trusted());
            let entry = Entry { id, note: note.clone(), author, label, supersedes: None };
            marks.entries.insert(id, Arc::new(entry));
        }
        for record in records {
            marks.absorb(record.seq, &record.event()?);
        }
        Ok(marks)
    }

    fn absorb(&mut self, seq: Seq, event: &Event) {
        if let Event::ContextCompacted(ContextCompacted { folded, replaced, .. }) = event {
            for call in folded {
                self.folded_at.entry(*call).or_insert(seq);
            }
            self.compacted_at = Some(seq);
            if replaced.is_some() {
                self.replaced_at = Some(seq);
            }
        }
        if let Event::EntryRecorded(recorded) = event {
            self.entries.insert(recorded.entry.id, Arc::new(recorded.entry.clone()));
        }
    }
}

/// Returns what a model saw of a run: by a record that is an answer, exactly the request that it
/// answered; by any other, the request that comes next, or the last one where none does. Without a
/// record it is the run's last.
pub fn view(
    definition: &Arc<Definition>,
    records: &[Record],
    at: Option<Seq>,
) -> Result<ContextView, ContextError> {
    let last = records.last().ok_or(JournalError::Empty)?.seq;
    let at = at.unwrap_or(last);
    let upto = usize::try_from(at.0).unwrap_or(usize::MAX);
    let Some(here) = upto.checked_sub(1).and_then(|index| records.get(index)) else {
        return Err(ContextError::NoSuchRecord { at, last });
    };
    if let Some(usage) = usage_of(&here.event()?) {
        return answered(definition, records, at, usage, Which::Answered(at));
    }
    let run = Run::replay(Arc::clone(definition), &records[..upto])?;
    let is_over = run.state().ended() || matches!(run.state().program, Program::Compensation(_));
    let request = run.request_now();
    if let Some(request) = &request
        && !is_over
    {
        return shown(&run, &records[..upto], request.clone(), None, Which::Next);
    }
    let newest = records[..upto].iter().rev().find_map(|record| match record.event() {
        Ok(event) => usage_of(&event).map(|usage| Ok((record.seq, usage))),
        Err(error) => Some(Err(error)),
    });
    match (newest.transpose()?, request) {
        (Some((seq, usage)), _) => answered(definition, records, seq, usage, Which::Last(seq)),
        (None, Some(request)) => shown(&run, &records[..upto], request, None, Which::Unsent),
        // Calls are open only behind an answer.
        (None, None) => Err(JournalError::NoStart.into()),
    }
}

fn answered(
    definition: &Arc<Definition>,
    records: &[Record],
    by: Seq,
    usage: Usage,
    which: Which,
) -> Result<ContextView, ContextError> {
    let before = usize::try_from(by.0).unwrap_or(usize::MAX).saturating_sub(1);
    let before = records.get(..before).unwrap_or(records);
    let run = Run::replay(Arc::clone(definition), before)?;
    let unreadable = || JournalError::Unreadable {
        seq: by,
        problem: "it answers a request that the records before it do not make".to_owned(),
    };
    let request = run.request_now().ok_or_else(unreadable)?;
    shown(&run, before, request, Some(usage), which)
}

/// Returns what an answer was charged for; none for events that are no answers.
fn usage_of(event: &Event) -> Option<Usage> {
    if let Event::ModelAnswered(answered) = event {
        return Some(answered.usage);
    }
    if let Event::SummaryAnswered(answered) = event {
        return Some(answered.usage);
    }
    None
}

fn shown(
    run: &Run,
    records: &[Record],
    request: ModelRequest,
    usage: Option<Usage>,
    which: Which,
) -> Result<ContextView, ContextError> {
    let marks = Marks::of(run.definition(), records)?;
    let mut segments = segments::of(run, &request, &marks);
    let state = run.state();
    let counted = usage.map(|usage| usage.input_total()).filter(|tokens| *tokens > 0);
    let estimated = || {
        let asked = segments.iter().filter(|one| one.kind == SegmentKind::Request);
        let asked: u64 = asked.map(|one| one.bytes).sum();
        state.tokens_in_window() + if asked > 0 { state.tokens_of(asked) } else { 0 }
    };
    let tokens = counted.unwrap_or_else(estimated);
    share_out(tokens, &mut segments);
    let policy = run.definition().agent().context.as_ref();
    Ok(ContextView {
        run: state.started.run.clone(),
        agent: run.definition().agent().name.clone(),
        which,
        turn: request.turn,
        purpose: request.purpose,
        model: request.model.model.clone(),
        tokens,
        is_counted: counted.is_some(),
        window: policy.map(|policy| {
            let room_tokens = state.room_tokens(policy);
            let threshold_tokens = threshold_tokens(room_tokens, policy);
            WindowView { window_tokens: policy.window_tokens, room_tokens, threshold_tokens }
        }),
        compactions: state.view.compactions,
        due: run
            .compaction_due()
            .filter(|_| which == Which::Next && request.purpose == Purpose::Turn),
        segments,
        request,
    })
}

fn threshold_tokens(room_tokens: u64, policy: &ContextPolicy) -> u64 {
    let share = u128::from(room_tokens) * u128::from(policy.compact_at_percent) / 100;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Gives each segment its share of the tokens, by its bytes.
fn share_out(tokens: u64, segments: &mut [Segment]) {
    let bytes: Vec<u64> = segments.iter().map(|segment| segment.bytes).collect();
    for (segment, share) in segments.iter_mut().zip(shares(tokens, &bytes)) {
        segment.tokens = share;
    }
}

/// Shares tokens out by bytes; together the shares are all of them.
fn shares(tokens: u64, bytes: &[u64]) -> impl Iterator<Item = u64> {
    let all: u64 = bytes.iter().sum();
    let (mut before, mut given) = (0u64, 0u64);
    bytes.iter().map(move |bytes| {
        before += bytes;
        let through = u128::from(tokens) * u128::from(before) / u128::from(all.max(1));
        let through = u64::try_from(through).unwrap_or(u64::MAX);
        let share = through - given;
        given = through;
        share
    })
}
