//! What a run must remember, folded from its events without the core: the entries that hold, what was
//! called and came back, what is no longer shown, and where it came from.

use std::collections::{BTreeMap, BTreeSet};

use prusik_core::agent::{Agent, ContextPolicy};
use prusik_core::event::{
    CallCompleted, CompactHow, CompactReason, CompactionStarted, ContextCompacted, Ending, Event,
    FailReason, Invariant as Checked, ModelAnswered, ParkReason, Replaced, SummaryAnswered,
};
use prusik_core::ids::{Attempt, CallId, Turn};
use prusik_core::label::Label;
use prusik_core::ledger::{
    Author, ENTRY_BYTES_MAX, Entry, EntryId, LedgerError, Note, REJECTED_MAX,
};
use prusik_core::message::{Block, Content, ToolInput};
use prusik_core::model::{ModelErrorKind, StopReason};
use prusik_core::run::{COMMIT_GROUP, RECALL, RECORD, UNDO_GROUP, calls_of};

use super::summary::Written;
use super::world::Invariant;

/// Compactions between two answers that nobody asked for; each must come to something.
const COMPACTIONS_MAX: u32 = 10;
/// Tokens that an estimate of an estimate may be wrong by.
const ROUNDING_TOKENS: u64 = 4;

/// The context of a run as the journal has it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    policy: Option<ContextPolicy>,
    /// The entries that hold, oldest first.
    held: Vec<Entry>,
    recorded: u32,
    /// All that the model ever asked for.
    calls: BTreeMap<CallId, Seen>,
    /// Turns whose answers say something.
    turns: BTreeSet<Turn>,
    /// The last turn that is no longer shown.
    pub through: Turn,
    folded: BTreeSet<CallId>,
    /// The label of the last compaction.
    label: Label,
    /// The tools of the calls that close a group.
    closing: BTreeSet<String>,
    /// Whose results were ever shown.
    sources: BTreeSet<String>,
    /// What the provider has shown that it does not take.
    refused_at: Option<u64>,
    was_refused: bool,
    /// The turn through which a summary is being asked for.
    pub wanted: Option<Turn>,
    /// Handles that what stands for old turns names.
    told: BTreeSet<String>,
    /// Answers to requests for summaries.
    pub summaries: u64,
    compactions: u32,
    /// What each answer to a request for a summary was made to be.
    pub written: BTreeMap<(Turn, Attempt), Written>,
}

/// A call that the model asked for.
#[derive(Debug, Clone)]
pub struct Seen {
    pub tool: String,
    pub input: ToolInput,
    /// What came back, in bytes; none while nothing has.
    pub bytes: Option<u64>,
    /// Where what came back is from, if it is to be distrusted.
    sources: BTreeSet<String>,
}

/// Something that must not be.
type Wrong = (Invariant, String);

impl Memory {
    pub fn new(agent: &Agent) -> Self {
        let mut memory = Self { policy: agent.context.clone(), ..Self::default() };
        for note in &agent.ledger {
            memory.recorded += 1;
            memory.held.push(Entry {
                id: EntryId(memory.recorded),
                note: note.clone(),
                author: Author::Agent,
                label: Label::trusted(),
                supersedes: None,
            });
        }
        memory
    }

    pub fn held(&self) -> &[Entry] {
        &self.held
    }

    pub fn sources(&self) -> &BTreeSet<String> {
        &self.sources
    }

    pub fn is_folded(&self, call: CallId) -> bool {
        self.folded.contains(&call)
    }

    /// Returns the calls of the turns after a turn, in their order.
    pub fn calls_after(&self, turn: Turn) -> impl Iterator<Item = (CallId, &Seen)> {
        let calls = self.calls.iter().filter(move |(call, _)| call.turn > turn);
        calls.map(|(call, seen)| (*call, seen))
    }

    /// Returns the handles that a summary may name.
    pub fn handles(&self) -> Vec<String> {
        let shown = self.calls_after(self.through).filter(|(_, seen)| {
            // What was recalled is not kept a second time.
            seen.bytes.is_some() && seen.tool != RECALL
        });
        shown.map(|(call, _)| call.to_string()).chain(self.told.iter().cloned()).collect()
    }

    /// Returns what a prompt may have, in tokens of the provider.
    pub fn room(&self) -> Option<u64> {
        let room = self.policy.as_ref().map(ContextPolicy::room_tokens);
        room.map(|room| self.refused_at.map_or(room, |refused| refused.min(room)))
    }

    /// Takes in the next event, and returns what is wrong with it.
    pub fn absorb(&mut self, event: &Event) -> Vec<Wrong> {
        match event {
            Event::ModelAnswered(answered) => self.answered(answered),
            Event::ModelFailed(failed) => {
                self.was_refused |= failed.error.kind == ModelErrorKind::ContextFull;
                Vec::new()
            }
            Event::CallCompleted(completed) => self.completed(completed),
            Event::GroupClosingStarted(closing) => {
                self.closing.extend(closing.calls.iter().map(|call| call.tool.clone()));
                Vec::new()
            }
            Event::EntryRecorded(recorded) => self.recorded(&recorded.entry),
            Event::CompactionStarted(started) => self.started(started),
            Event::SummaryAnswered(answered) => self.summary_answered(answered),
            Event::ContextCompacted(compacted) => self.compacted(compacted),
            Event::RunParked(parked) => match &parked.reason {
                ParkReason::Failed { reason, message } => self.failed(*reason, message),
                _ => Vec::new(),
            },
            Event::CompensationStarted(started) => {
                started.was.as_ref().map_or(Vec::new(), |was| self.ended(was))
            }
            Event::RunFinished(finished) => self.ended(&finished.ending),
            // Whatever else there is now or later shows the model nothing that is looked at here.
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, answered: &ModelAnswered) -> Vec<Wrong> {
        self.compactions = 0;
        self.was_refused |= answered.stop == StopReason::ContextFull;
        for (call, tool_use) in calls_of(answered.turn, &answered.content) {
            let (tool, input) = (tool_use.name.clone(), tool_use.input.clone());
            let sources = BTreeSet::new();
            self.calls.insert(call, Seen { tool, input, bytes: None, sources });
        }
        let says = |block: &Block| match block {
            Block::Text(text) => !text.trim().is_empty(),
            Block::Opaque(_) | Block::ToolUse(_) => true,
            Block::ToolResult(_) => false,
        };
        if answered.content.iter().any(says) {
            self.turns.insert(answered.turn);
        }
        Vec::new()
    }

    fn completed(&mut self, completed: &CallCompleted) -> Vec<Wrong> {
        let Some(seen) = self.calls.get_mut(&completed.call) else { return Vec::new() };
        let shown = completed.outcome.render("", &seen.tool);
        seen.bytes = Some(shown.content.iter().map(|content| Content::bytes(content) as u64).sum());
        seen.sources = if [COMMIT_GROUP, UNDO_GROUP].contains(&seen.tool.as_str()) {
            std::mem::take(&mut self.closing)
        } else {
            source(&seen.tool).filter(|_| completed.attempt > Attempt(0)).into_iter().collect()
        };
        self.sources.extend(seen.sources.iter().cloned());
        Vec::new()
    }

    fn recorded(&mut self, entry: &Entry) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut check = |invariant, holds: bool, what: &str| {
            if !holds {
                wrong.push((invariant, format!("{what}: {entry:?}")));
            }
        };
        self.recorded += 1;
        check(Invariant::Remembers, entry.id.0 == self.recorded, "an entry has another's number");
        if let Some(old) = entry.supersedes {
            let known = self.held.iter().any(|held| held.id == old);
            check(Invariant::Remembers, known, "what is superseded does not hold");
            self.held.retain(|held| held.id != old);
        }
        let drawn_on = match &entry.author {
            Author::Model(call) => {
                let asked = self.calls.get(call).filter(|seen| seen.tool == RECORD);
                let text = asked.is_some_and(|seen| match &seen.input {
                    ToolInput::Json(value) => {
                        value["text"].as_str() == Some(entry.note.text.as_str())
                    }
                    ToolInput::Malformed(_) => false,
                });
                check(Invariant::Remembers, text, "the model did not record this");
                self.sources.clone()
            }
            // It may say what the model asked for.
            Author::Contract(_) => self.sources.clone(),
            Author::Person(_) | Author::Word(_) | Author::Agent => {
                check(Invariant::Labels, entry.label.is_trusted(), "a person is not trusted");
                BTreeSet::new()
            }
        };
        let covered = drawn_on.is_subset(&entry.label.sources);
        check(Invariant::Labels, covered, "an entry hides where it comes from");
        self.held.push(entry.clone());
        let bytes: usize = self.held.iter().map(|held| held.note.bytes()).sum();
        let max = self.policy.as_ref().map_or(0, |policy| policy.ledger_bytes_max);
        let max = max + max / 4;
        let own = entry.note.bytes() <= ENTRY_BYTES_MAX && !entry.note.text.trim().is_empty();
        check(Invariant::Remembers, own && bytes as u64 <= max, "the ledger takes it all the same");
        self.sources.extend(entry.label.sources.iter().cloned());
        wrong
    }

    fn started(&mut self, started: &CompactionStarted) -> Vec<Wrong> {
        self.wanted = Some(started.through);
        self.turns_stay(started.through).into_iter().collect()
    }

    /// Some turn is always shown as it was.
    fn turns_stay(&self, through: Turn) -> Option<Wrong> {
        let newest = self.turns.last().copied().unwrap_or_default();
        let detail = || format!("turns through {through} go, and the newest is {newest}");
        (through >= newest).then(|| (Invariant::Compactions, detail()))
    }

    fn summary_answered(&mut self, answered: &SummaryAnswered) -> Vec<Wrong> {
        self.summaries += 1;
        let written = self.written.get(&(answered.turn, answered.attempt));
        let detail = match (written, &answered.refused) {
            (None, _) => "nobody wrote it".to_owned(),
            (Some(Written::Bad(what)), None) => format!("a summary is taken that is {what}"),
            (Some(Written::Good), Some(refused)) => {
                let too_large = |problem: &String| problem.starts_with("budget: ");
                if refused.problems.iter().all(too_large) && !refused.problems.is_empty() {
                    return Vec::new();
                }
                format!("a sound summary is refused: {refused:?}")
            }
            (Some(Written::Good), None) | (Some(Written::Bad(_)), Some(_)) => return Vec::new(),
        };
        vec![(Invariant::Compactions, detail)]
    }

    fn compacted(&mut self, compacted: &ContextCompacted) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if !matches!(compacted.why, CompactReason::Asked { .. }) {
            self.compactions += 1;
        }
        if self.compactions > COMPACTIONS_MAX {
            let detail = format!("{} compactions, and no answer between them", self.compactions);
            wrong.push((Invariant::Compactions, detail));
        }
        if compacted.why == CompactReason::Refused {
            self.was_refused = true;
            let refused = compacted.tokens_before - compacted.tokens_before / 10;
            self.refused_at = Some(self.refused_at.map_or(refused, |known| known.min(refused)));
        }
        let room = self.room().unwrap_or(0);
        if compacted.tokens_after > room {
            let detail = format!("{} tokens stay, and {room} have room", compacted.tokens_after);
            wrong.push((Invariant::Window, detail));
        }
        if compacted.checked != Checked::ALL {
            wrong.push((Invariant::Compactions, format!("only {:?} hold", compacted.checked)));
        }
        let mut due = BTreeSet::new();
        if compacted.replaced.is_some() != (compacted.how != CompactHow::Folded) {
            wrong.push((Invariant::Compactions, format!("{:?}: {compacted:?}", compacted.how)));
        }
        if let Some(replaced) = &compacted.replaced {
            wrong.extend(self.replaced(compacted.how, replaced));
            due.extend(self.label.sources.iter().cloned());
            let gone = self.calls.iter().filter(|(call, _)| call.turn <= replaced.through);
            due.extend(gone.flat_map(|(_, seen)| seen.sources.iter().cloned()));
            self.through = replaced.through;
        }
        wrong.extend(self.folds(compacted, room));
        let handles = compacted.folded.iter().filter_map(|call| self.calls.get(call));
        due.extend(handles.flat_map(|seen| seen.sources.iter().cloned()));
        let missing: Vec<&String> = due.difference(&compacted.label.sources).collect();
        if !missing.is_empty() {
            let detail = format!("{missing:?} are not in the label of what is no longer shown");
            wrong.push((Invariant::Labels, detail));
        }
        self.label = compacted.label.clone();
        self.folded = compacted.folded.iter().copied().collect();
        self.wanted = None;
        wrong
    }

    fn replaced(&mut self, how: CompactHow, replaced: &Replaced) -> Vec<Wrong> {
        let mut wrong: Vec<Wrong> = self.turns_stay(replaced.through).into_iter().collect();
        let mut check = |invariant, holds: bool, detail: String| {
            if !holds {
                wrong.push((invariant, detail));
            }
        };
        let through = replaced.through;
        let as_asked = self.wanted.is_none_or(|wanted| wanted == through);
        check(Invariant::Compactions, as_asked && through > self.through, {
            let (was, wanted) = (self.through, self.wanted);
            format!("turns through {through} go; through {was} had gone, {wanted:?} was said")
        });
        check(Invariant::Compactions, how != CompactHow::Summarized || self.wanted.is_some(), {
            "a summary stands for turns, and nobody asked for it".to_owned()
        });
        // An entry is one, whatever lines it has.
        let ids: Vec<&str> = replaced.brief.lines().filter_map(entry_of_line).collect();
        let held: Vec<String> = self.held.iter().map(|entry| entry.id.to_string()).collect();
        check(Invariant::Remembers, ids == held, format!("{held:?} hold, {ids:?} are told"));
        let told = unindented(&replaced.brief);
        for entry in &self.held {
            let stands = entry.note.texts().all(|text| told.contains(text));
            check(Invariant::Remembers, stands, format!("{entry:?} is not told word for word"));
        }
        let known = self.handles();
        let handles = &replaced.summary.handles;
        for named in handles {
            let known = known.contains(&named.handle);
            check(Invariant::Compactions, known, format!("{named:?} names nothing"));
        }
        self.told = handles.iter().map(|named| named.handle.clone()).collect();
        let bytes = serde_json::to_string(&replaced.summary).map_or(0, |text| text.len() as u64);
        let max = self.policy.as_ref().map_or(0, |policy| policy.summary_bytes_max);
        check(
            Invariant::Compactions,
            bytes <= max,
            format!("a summary has {bytes} of {max} bytes"),
        );
        wrong
    }

    /// Checks which results become handles.
    fn folds(&self, compacted: &ContextCompacted, room: u64) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let folded: BTreeSet<CallId> = compacted.folded.iter().copied().collect();
        let stay = self.folded.iter().filter(|call| call.turn > self.through);
        for call in stay.filter(|call| !folded.contains(call)) {
            wrong.push((Invariant::Compactions, format!("{call} was a handle, and no longer is")));
        }
        for call in &folded {
            let seen = self.calls.get(call);
            let sound = call.turn > self.through
                && seen.is_some_and(|seen| seen.bytes.is_some() && seen.tool != RECORD);
            if !sound {
                wrong.push((Invariant::Compactions, format!("{call} is a handle: {seen:?}")));
            }
        }
        // Who has just called wants to read what came back.
        let newest = self.turns.last().copied().unwrap_or_default();
        let is_new = |call: &&CallId| call.turn == newest && !self.folded.contains(call);
        let bytes: u64 =
            folded.iter().filter(is_new).filter_map(|call| self.calls.get(call)?.bytes).sum();
        let whole =
            (compacted.bytes_after + bytes) * compacted.tokens_after / compacted.bytes_after.max(1);
        if bytes > 0 && !self.was_refused && whole + ROUNDING_TOKENS < room {
            let detail = format!("results of turn {newest} are folded; {whole} of {room} tokens");
            wrong.push((Invariant::Compactions, detail));
        }
        wrong
    }

    fn ended(&self, ending: &Ending) -> Vec<Wrong> {
        match ending {
            Ending::Failed { reason, message, .. } => self.failed(*reason, message),
            Ending::Completed { .. } | Ending::Cancelled { .. } | Ending::Compensated { .. } => {
                Vec::new()
            }
        }
    }

    /// A context that is full says what has no room.
    fn failed(&self, reason: FailReason, message: &str) -> Vec<Wrong> {
        if reason != FailReason::ContextFull || self.policy.is_none() {
            return Vec::new();
        }
        let sizes = message.split_once(" has about ").and_then(|(_, rest)| {
            let (tokens, rest) = rest.split_once(" tokens, and ")?;
            let (room, _) = rest.split_once(" have room")?;
            Some((tokens.parse::<u64>().ok()?, room.parse::<u64>().ok()?))
        });
        match sizes {
            Some((tokens, room)) if tokens > room => Vec::new(),
            _ => vec![(Invariant::Compactions, format!("the run fails, and says: {message}"))],
        }
    }

    /// Returns whether a note may be refused for this reason.
    pub fn refusal_is_sound(
        &self,
        note: &Note,
        supersedes: Option<EntryId>,
        error: &LedgerError,
    ) -> bool {
        let holds = |id: EntryId| self.held.iter().any(|held| held.id == id);
        match error {
            LedgerError::Empty => note.texts().any(|text| text.trim().is_empty()),
            LedgerError::TooMany { count } => {
                note.rejected.len() == *count && *count > REJECTED_MAX
            }
            LedgerError::TooLong { bytes, max } => {
                note.bytes() as u64 == *bytes && bytes > max && *max <= ENTRY_BYTES_MAX as u64
            }
            LedgerError::NotYours { id, .. } => self.held.iter().any(|held| {
                held.id == *id && !matches!(held.author, Author::Model(_) | Author::Contract(_))
            }),
            LedgerError::NoSuchEntry { .. } => supersedes.is_some_and(|id| !holds(id)),
            LedgerError::Full { bytes, used, max, .. } => {
                let declared = self.policy.as_ref().map(|policy| policy.ledger_bytes_max);
                let by_person = declared.map(|max| max + max / 4);
                [declared, by_person].contains(&Some(*max)) && used + bytes > *max
            }
            LedgerError::None => self.policy.is_none(),
        }
    }
}

/// Returns where a result comes from, if it is to be distrusted: what the core itself answers is not,
/// and what is recalled was shown before.
fn source(tool: &str) -> Option<String> {
    (![RECORD, RECALL].contains(&tool)).then(|| tool.to_owned())
}

/// Returns the name of the entry that a line begins.
fn entry_of_line(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(' ')?;
    let number = name.strip_prefix('L')?;
    let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    (digits && rest.contains(": ")).then_some(name)
}

/// Returns a text without the spaces that keep the lines of one entry together.
pub fn unindented(text: &str) -> String {
    text.replace("\n        ", "\n")
}
