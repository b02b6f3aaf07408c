//! Events of the context, with everything in them and with nothing that may be left out.

use std::collections::BTreeSet;

use prusik_core::event::{
    CompactHow, CompactReason, CompactionRequested, CompactionStarted, ContextCompacted,
    EntryRecorded, Event, Invariant, NamedHandle, RefusedSummary, Replaced, Summary,
    SummaryAnswered,
};
use prusik_core::ids::{Attempt, CallId, Seq, Turn};
use prusik_core::label::Label;
use prusik_core::ledger::{Author, Entry, EntryId, EntryKind, Note};
use prusik_core::model::Usage;

const CALL: CallId = CallId { turn: Turn(3), index: 1 };

fn label() -> Label {
    Label { sources: BTreeSet::from(["fetch".to_owned(), "search".to_owned()]), readers: None }
}

pub fn entry_recorded() -> Vec<Event> {
    let authors = [
        Author::Agent,
        Author::Model(CALL),
        Author::Contract(CALL),
        Author::Person("ann".into()),
        Author::Word("ann".into()),
    ];
    let full = Note {
        kind: EntryKind::Decision,
        text: "Pay in two parts.\nünïcode".into(),
        reason: Some("the limit is 500".into()),
        rejected: vec!["one payment".into()],
        source: Some("call 3.1".into()),
    };
    let recorded = |id, note, author, label, supersedes| {
        let entry = Entry { id: EntryId(id), note, author, label, supersedes };
        Event::EntryRecorded(EntryRecorded { entry, unseen: false })
    };
    let mut events: Vec<Event> = EntryKind::ALL
        .into_iter()
        .zip(1..)
        .map(|(kind, id)| {
            let author = authors[(id as usize - 1) % authors.len()].clone();
            recorded(id, Note::new(kind, "x"), author, Label::trusted(), None)
        })
        .collect();
    events.push(recorded(7, full, Author::Model(CALL), label(), Some(EntryId(3))));
    let (id, note) = (EntryId(8), Note::new(EntryKind::Fact, "while the model was asked"));
    let (author, label) = (Author::Person("ann".into()), Label::trusted());
    let entry = Entry { id, note, author, label, supersedes: None };
    events.push(Event::EntryRecorded(EntryRecorded { entry, unseen: true }));
    events
}

pub fn compaction_requested() -> Vec<Event> {
    vec![Event::CompactionRequested(CompactionRequested { by: "ann".into() })]
}

pub fn compaction_started() -> Vec<Event> {
    let reasons = [
        CompactReason::Threshold,
        CompactReason::Refused,
        CompactReason::Asked { by: "ann".into() },
    ];
    let started = |why| {
        Event::CompactionStarted(CompactionStarted { why, through: Turn(40), tokens: 15_000 })
    };
    reasons.into_iter().map(started).collect()
}

pub fn summary_answered() -> Vec<Event> {
    let refused = RefusedSummary { text: "{".into(), problems: vec!["it is no JSON".into()] };
    let answered = |nano_usd, refused| {
        Event::SummaryAnswered(SummaryAnswered {
            turn: Turn(41),
            attempt: Attempt(2),
            usage: Usage { input: 100, output: 50, cache_read: 14_000, cache_write: 0 },
            nano_usd,
            model: "m".into(),
            ms: 1_200,
            refused,
        })
    };
    vec![answered(0, None), answered(7, Some(refused))]
}

pub fn context_compacted() -> Vec<Event> {
    let summary = Summary {
        asked: "the invoices".into(),
        done: vec!["paid 12".into()],
        learned: vec!["IBAN X".into()],
        decided: vec!["two parts".into()],
        open: vec!["13 to 20".into()],
        files: vec!["a.csv".into()],
        handles: vec![NamedHandle { handle: "3.1".into(), what: "the list".into() }],
    };
    let replaced = |summary| Replaced {
        through: Turn(40),
        from_seq: Seq(160),
        brief: "[ledger]\nL1 goal: x".into(),
        summary,
    };
    let compacted = |how, replaced, folded, label| {
        Event::ContextCompacted(ContextCompacted {
            how,
            why: CompactReason::Threshold,
            replaced,
            folded,
            label,
            tokens_before: 15_000,
            tokens_after: 6_000,
            bytes_after: 24_000,
            checked: Invariant::ALL.to_vec(),
        })
    };
    vec![
        compacted(CompactHow::Folded, None, vec![CALL], label()),
        compacted(CompactHow::Summarized, Some(replaced(summary)), vec![CALL], label()),
        compacted(
            CompactHow::Outlined,
            Some(replaced(Summary::default())),
            Vec::new(),
            Label::trusted(),
        ),
    ]
}
