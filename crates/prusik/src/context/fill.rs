//! How a run's context filled, request by request, read in one pass over its journal.

use std::sync::Arc;

use prusik_core::event::{CompactHow, CompactReason, ContextCompacted, Event};
use prusik_core::ids::{RunId, Seq, Turn};
use prusik_core::message::Block;
use prusik_core::record::{JournalError, Record};
use prusik_core::run::{Definition, Run, Transcript, bytes_of};

use super::segments::{SegmentKind, head_kinds};
use super::{ContextError, WindowView, shares, threshold_tokens};

/// What takes room in a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// System prompt and tools.
    Fixed,
    /// Task and ledger.
    Head,
    /// What stands for turns that are no longer shown.
    History,
    /// The turns as they were.
    Messages,
    /// Results that are shown as their handles.
    Folded,
}

impl Group {
    pub const ALL: [Self; 5] =
        [Self::Fixed, Self::Head, Self::History, Self::Messages, Self::Folded];

    pub fn words(self) -> &'static str {
        match self {
            Self::Fixed => "system and tools",
            Self::Head => "task and ledger",
            Self::History => "history",
            Self::Messages => "messages",
            Self::Folded => "folded results",
        }
    }
}

/// Sizes, by [`Group`].
pub(crate) type Sizes = [u64; Group::ALL.len()];

/// How a context filled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filling {
    pub run: RunId,
    pub agent: String,
    pub model: String,
    pub window: Option<WindowView>,
    pub points: Vec<Point>,
    pub compactions: Vec<Compacted>,
}

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// The record that answered it.
    pub seq: Seq,
    pub turn: Turn,
    pub tokens: Sizes,
}

impl Point {
    pub fn total(&self) -> u64 {
        self.tokens.iter().fold(0, |sum, tokens| sum.saturating_add(*tokens))
    }
}

/// A compaction, and what it did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compacted {
    pub seq: Seq,
    /// How many requests came before it.
    pub behind: usize,
    pub how: CompactHow,
    pub why: CompactReason,
    /// The last turn that is no longer shown.
    pub through: Option<Turn>,
    pub folded: usize,
    pub tokens_before: u64,
    pub tokens_after: u64,
    pub checked: usize,
}

impl Compacted {
    fn of(seq: Seq, behind: usize, event: &ContextCompacted) -> Self {
        Self {
            seq,
            behind,
            how: event.how,
            why: event.why.clone(),
            through: event.replaced.as_ref().map(|replaced| replaced.through),
            folded: event.folded.len(),
            tokens_before: event.tokens_before,
            tokens_after: event.tokens_after,
            checked: event.checked.len(),
        }
    }

    /// Returns what was done, in words.
    pub fn words(&self) -> String {
        match (self.how, self.through) {
            (CompactHow::Summarized, Some(turn)) => {
                format!("a summary stands for turns 1 to {turn}")
            }
            (CompactHow::Outlined, Some(turn)) => {
                format!("an outline stands for turns 1 to {turn}")
            }
            (CompactHow::Folded | CompactHow::Summarized | CompactHow::Outlined, _) => {
                match self.folded {
                    1 => "1 old result is folded".to_owned(),
                    more => format!("{more} old results are folded"),
                }
            }
        }
    }

    /// Returns why it was done, in words.
    pub fn reason(&self) -> String {
        match &self.why {
            CompactReason::Threshold => "it came near the window's end".to_owned(),
            CompactReason::Refused => "the provider refused it".to_owned(),
            CompactReason::Asked { by } => format!("{by} wanted it"),
        }
    }
}

/// Reads how a context filled. The work grows with the journal, not with its square.
pub(crate) fn filling(
    definition: &Arc<Definition>,
    records: &[Record],
) -> Result<Filling, ContextError> {
    let (first, rest) = records.split_first().ok_or(JournalError::Empty)?;
    let mut run = Run::replay(Arc::clone(definition), std::slice::from_ref(first))?;
    let (mut points, mut compactions) = (Vec::new(), Vec::new());
    let mut tally = Tally::of(&run);
    for record in rest {
        let event = record.event()?;
        if let Event::ModelAnswered(answered) = &event {
            let bytes = tally.measure(&run);
            let counted = Some(answered.usage.input_total()).filter(|tokens| *tokens > 0);
            let total = counted.unwrap_or_else(|| run.state().tokens_in_window());
            let mut of_each = shares(total, &bytes);
            let tokens = bytes.map(|_| of_each.next().unwrap_or_default());
            points.push(Point { seq: record.seq, turn: answered.turn, tokens });
        }
        if let Event::ContextCompacted(compacted) = &event {
            compactions.push(Compacted::of(record.seq, points.len(), compacted));
        }
        run.follow(std::slice::from_ref(record))?;
    }
    let agent = run.definition().agent();
    Ok(Filling {
        run: run.state().started.run.clone(),
        agent: agent.name.clone(),
        model: agent.model.model.clone(),
        window: agent.context.as_ref().map(|policy| {
            let room_tokens = run.state().room_tokens(policy);
            WindowView {
                window_tokens: policy.window_tokens,
                room_tokens,
                threshold_tokens: threshold_tokens(room_tokens, policy),
            }
        }),
        points,
        compactions,
    })
}

/// The sizes of messages that do not change any more: all but the last, until the next compaction.
struct Tally {
    fixed: u64,
    sizes: Sizes,
    known: usize,
    compactions: u32,
}

impl Tally {
    fn of(run: &Run) -> Self {
        let fixed = run.request_now().map_or(0, |request| {
            let tools = request.tools.iter().map(|tool| {
                tool.name.len() + tool.description.len() + tool.input_schema.to_string().len()
            });
            (request.system.len() + tools.sum::<usize>()) as u64
        });
        Self { fixed, sizes: [0; Group::ALL.len()], known: 0, compactions: 0 }
    }

    fn measure(&mut self, run: &Run) -> Sizes {
        let Some(transcript) = run.transcript() else { return self.sizes };
        let compactions = run.state().view.compactions;
        if compactions != self.compactions || self.known == 0 {
            self.compactions = compactions;
            self.known = 0;
            self.sizes = [0; Group::ALL.len()];
            self.sizes[Group::Fixed as usize] = self.fixed;
        }
        let last = transcript.messages().len().saturating_sub(1);
        while self.known < last {
            add(run, transcript, self.known, &mut self.sizes);
            self.known += 1;
        }
        let mut sizes = self.sizes;
        add(run, transcript, last, &mut sizes);
        sizes
    }
}

fn add(run: &Run, transcript: &Transcript, index: usize, sizes: &mut Sizes) {
    let (message, about) = (&transcript.messages()[index], &transcript.about()[index]);
    let head = if index == 0 { head_kinds(run, transcript) } else { Vec::new() };
    let mut results = about.results.iter();
    for (place, block) in message.content.iter().enumerate() {
        let group = match (block, head.get(place)) {
            (_, Some(SegmentKind::Task | SegmentKind::Ledger)) => Group::Head,
            (_, Some(_)) => Group::History,
            (Block::ToolResult(_), None) => match results.next() {
                Some(result) if transcript.is_folded(result.call) => Group::Folded,
                Some(_) | None => Group::Messages,
            },
            (Block::Text(_) | Block::Opaque(_) | Block::ToolUse(_), None) => Group::Messages,
        };
        sizes[group as usize] += bytes_of(block);
    }
}
