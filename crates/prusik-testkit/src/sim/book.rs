//! The books of a run: what its journal says, checked record by record as the disk takes them.

use prusik_core::budget::{BudgetKind, Spent};
use prusik_core::contract::EffectClass;
use prusik_core::event::{CallCompleted, CompactHow, Ending, Event, FailReason, ParkReason};
use prusik_core::ids::{CallId, RunId, Seq, Turn};
use prusik_core::ledger::Author;
use prusik_core::message::ToolInput;
use prusik_core::outcome::Outcome;
use prusik_core::record::{self, JournalError, Record};
use prusik_core::run::{
    COMMIT_GROUP, Call, Phase, Program, RECALL, Run, Stage, State, Status, UNDO_GROUP, calls_of,
};

use super::asked::Asked;
use super::messages::reference_in;
use super::undone::Undoable;
use super::world::{Invariant, World};

/// What the disk holds of a run.
#[derive(Debug)]
pub struct Book {
    pub run: RunId,
    /// The state after each record.
    pub states: Vec<State>,
    /// Calls that may change the world: each one's id, reference, and whether it has an outcome.
    pub writes: Vec<(CallId, String, Option<Closed>)>,
    /// The turn of the last answer.
    pub answered: Turn,
    /// Answers to requests for summaries.
    pub summaries: u64,
    /// What the model was last asked, by whichever process.
    pub asked: Vec<Asked>,
    pub pruned: bool,
    pub undoable: Undoable,
}

/// How the journal closed a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    Landed,
    NotLanded,
    Unknown,
}

impl Book {
    pub fn new(run: RunId) -> Self {
        Self {
            run,
            states: Vec::new(),
            writes: Vec::new(),
            answered: Turn(0),
            summaries: 0,
            asked: Vec::new(),
            pruned: false,
            undoable: Undoable::default(),
        }
    }

    pub fn state(&self) -> Option<&State> {
        self.states.last()
    }

    pub fn ended(&self) -> bool {
        self.state().is_some_and(State::ended)
    }

    /// Finds an open call by what it is about.
    pub fn open_call(&self, reference: &str) -> Option<(CallId, &Call)> {
        let calls = &self.state()?.calls;
        // A call that waited for its group is done itself, and made under another id.
        let mut open = calls.iter().filter(|(_, call)| call.stage != Stage::Done);
        open.find(|(_, call)| about(call) == Some(reference)).map(|(id, call)| (*id, call))
    }
}

/// Returns the reference that a call names.
pub fn about(call: &Call) -> Option<&str> {
    call.arguments().get("ref").and_then(|reference| reference.as_str())
}

impl World {
    /// Takes down a record that has become durable, with the state behind it.
    pub fn take_down(&mut self, run: usize, record: &Record, state: State) {
        self.counts.records += 1;
        self.tell(|| format!("{run}: record {} {}", record.seq, record.hash.short()));
        let event = match record.event() {
            Ok(event) => event,
            Err(error) => return self.violate(Invariant::ReplayIsLive, error.to_string()),
        };
        if let Some(story) = &mut self.story {
            story.push(format!("        {}", String::from_utf8_lossy(&record.body)));
        }
        let ended_before = self.books[run].ended();
        let undoes = matches!(event, Event::CompensationStarted(_));
        self.check(Invariant::Ended, !ended_before || undoes, || {
            format!("{event:?} follows the end")
        });
        self.note_calls(run, &event);
        self.note_undoable(run, &event);
        self.note_context(run, &event, &state);
        self.within_budget(run, &state);
        self.calls_in_order(&state);
        self.books[run].states.push(state);
        match &event {
            Event::RunParked(parked) => self.parked(run, &parked.reason),
            Event::RunFinished(finished) => self.finished(run, &finished.ending),
            // Whatever else there is now or later changes nothing that is counted here.
            _ => {}
        }
    }

    fn note_calls(&mut self, run: usize, event: &Event) {
        if let Event::ModelAnswered(answered) = event {
            self.books[run].answered = answered.turn;
            for (id, tool_use) in calls_of(answered.turn, &answered.content) {
                let ToolInput::Json(arguments) = &tool_use.input else { continue };
                let tool = self.plan.agent.tool(&tool_use.name);
                let writes = tool.is_some_and(|tool| tool.contract.effect != EffectClass::Read);
                if let Some(reference) = arguments.get("ref").and_then(|r| r.as_str())
                    && writes
                {
                    self.books[run].writes.push((id, reference.to_owned(), None));
                }
            }
        }
        if let Event::CallCompleted(completed) = event {
            self.completed(run, completed);
        }
    }

    fn note_context(&mut self, run: usize, event: &Event, state: &State) {
        if matches!(event, Event::ModelAnswered(_) | Event::SummaryAnswered(_)) {
            let tokens = |state: &State| state.spent.tokens;
            let before = self.books[run].state().map_or(0, tokens);
            self.check(Invariant::Budget, tokens(state) > before, || {
                format!("an answer costs nothing at record {}", state.seq)
            });
        }
        let counts = &mut self.counts;
        match event {
            Event::EntryRecorded(recorded) => {
                let of_people =
                    matches!(recorded.entry.author, Author::Person(_) | Author::Word(_));
                counts.entries += 1;
                counts.entries_of_people += u64::from(of_people);
                counts.entries_superseded += u64::from(recorded.entry.supersedes.is_some());
            }
            Event::ContextCompacted(compacted) => match compacted.how {
                CompactHow::Folded => counts.folds += 1,
                CompactHow::Summarized => counts.summaries += 1,
                CompactHow::Outlined => counts.outlines += 1,
            },
            Event::SummaryAnswered(answered) => {
                counts.summaries_refused += u64::from(answered.refused.is_some());
                self.books[run].summaries += 1;
                let before = self.books[run].state().map(|state| state.spent);
                let spent = Some(state.spent);
                let calls =
                    |spent: Option<Spent>| spent.map(|spent| (spent.tool_calls, spent.turns));
                let idle = state.calls.is_empty() && calls(before) == calls(spent);
                self.check(Invariant::Compactions, idle, || {
                    format!("a summary leads to calls: {:?}, {spent:?}", state.calls)
                });
            }
            Event::RunFinished(finished) => {
                let full = matches!(
                    &finished.ending,
                    Ending::Failed { reason: FailReason::ContextFull, .. }
                );
                counts.contexts_full += u64::from(full);
            }
            // Whatever else there is now or later is not counted here.
            _ => {}
        }
    }

    fn completed(&mut self, run: usize, completed: &CallCompleted) {
        let asked =
            self.books[run].states.last().and_then(|state| state.calls.get(&completed.call));
        let own = asked.and_then(about).map(str::to_owned);
        let tool = asked.map_or("", |call| call.tool.as_str());
        let recalls = tool == RECALL;
        let closes = recalls || [COMMIT_GROUP, UNDO_GROUP].contains(&tool);
        self.counts.recalls += u64::from(recalls && matches!(completed.outcome, Outcome::Ok(_)));
        if let Outcome::Ok(result) = &completed.outcome
            && !closes
        {
            let text = result.plain_text();
            let found = reference_in(&text).map(str::to_owned);
            let is_own = found.is_none() || found == own;
            self.check(Invariant::Honesty, is_own, || {
                format!("call {} about {own:?} has the result {text}", completed.call)
            });
        }
        let place = self.books[run].writes.iter().position(|(id, _, _)| *id == completed.call);
        let Some(place) = place else { return };
        let reference = self.books[run].writes[place].1.clone();
        let closed = match completed.outcome {
            Outcome::Ok(_) => Closed::Landed,
            Outcome::Failed(ref failure) if failure.landed => Closed::Landed,
            Outcome::Failed(_) | Outcome::Denied { .. } | Outcome::Rejected { .. } => {
                Closed::NotLanded
            }
            Outcome::InDoubt { .. } => Closed::Unknown,
            // It is to come, under another id.
            Outcome::Deferred { .. } => {
                self.books[run].writes.remove(place);
                return;
            }
        };
        let (landed, coming) =
            (self.ledger.has_landed(&reference), self.ledger.is_on_the_way(&reference));
        let beyond = self.ledger.deed(&reference).beyond_fence;
        match closed {
            Closed::Landed => self.check(Invariant::Honesty, landed, || {
                format!("{reference} is said to have landed and did not")
            }),
            Closed::NotLanded => {
                self.ledger.deed(&reference).denied = true;
                self.check(Invariant::Honesty, !landed || beyond, || {
                    format!("{reference} is said not to have landed and did")
                });
                self.check(Invariant::Honesty, !coming || beyond, || {
                    format!("{reference} is said not to have landed while it is on its way")
                });
            }
            Closed::Unknown => {}
        }
        self.books[run].writes[place].2 = Some(closed);
    }

    fn within_budget(&mut self, run: usize, state: &State) {
        let kinds =
            [BudgetKind::Turns, BudgetKind::Tokens, BudgetKind::NanoUsd, BudgetKind::ToolCalls];
        for kind in kinds {
            let (mut spent, limit) = (state.spent.of(kind), state.budget.limit(kind));
            if kind == BudgetKind::ToolCalls {
                spent = spent.saturating_sub(self.books[run].undoable.undos_started);
            }
            self.check(Invariant::Budget, limit.is_none_or(|limit| spent <= limit), || {
                format!("{kind}: {spent} of {limit:?} are spent at record {}", state.seq)
            });
        }
    }

    fn calls_in_order(&mut self, state: &State) {
        let turn = state.agent_loop().turn;
        let strange = state.calls.keys().find(|call| call.turn != turn).copied();
        self.check(Invariant::OpenCalls, strange.is_none(), || {
            format!("call {strange:?} is open in turn {turn}")
        });
        // What is undone is not asked for by any turn.
        let undoing = matches!(state.program, Program::Compensation(_)) || state.is_ending();
        let acting = state.agent_loop().phase == Phase::Acting;
        let open = !state.calls.is_empty();
        self.check(Invariant::OpenCalls, acting == open || undoing || state.ended(), || {
            format!("calls are open: {open}, and the run is {:?}", state.agent_loop().phase)
        });
    }

    fn parked(&mut self, run: usize, reason: &ParkReason) {
        self.counts.parked += 1;
        if let ParkReason::InDoubt { calls } = reason {
            let doubts = self.books[run].state().map(State::doubts).unwrap_or_default();
            let sound = !calls.is_empty() && *calls == doubts;
            self.check(Invariant::WayOut, sound, || {
                format!("parked for {calls:?}, and {doubts:?} are in doubt")
            });
        }
    }

    /// An ended run says what it left open.
    fn finished(&mut self, run: usize, ending: &Ending) {
        let named = match ending {
            Ending::Completed { .. } => {
                self.counts.completed += 1;
                Vec::new()
            }
            Ending::Failed { kept, .. } => {
                self.counts.failed += 1;
                kept.iter().map(|kept| kept.call).collect()
            }
            Ending::Compensated { kept, .. } => {
                self.counts.compensated += 1;
                kept.iter().map(|kept| kept.call).collect()
            }
            Ending::Cancelled { in_doubt, kept, .. } => {
                self.counts.cancelled += 1;
                in_doubt.iter().copied().chain(kept.iter().map(|kept| kept.call)).collect()
            }
        };
        let open = self.books[run].writes.clone();
        for (id, reference, closed) in open.clone() {
            // An undo may have been planned twice, and made once.
            let undos = &self.books[run].undoable.undos;
            let again = undos.contains_key(&id)
                && open.iter().any(|(other, known, closed)| {
                    let known = *other != id && *known == reference && undos.contains_key(other);
                    let closed = matches!(closed, Some(Closed::Landed | Closed::Unknown));
                    known && (closed || named.contains(other))
                });
            let may_land =
                self.ledger.has_landed(&reference) || self.ledger.is_on_the_way(&reference);
            let beyond = self.ledger.deed(&reference).beyond_fence;
            let of = self.books[run].undoable.undos.get(&id);
            let named = named.contains(&id) || of.is_some_and(|of| named.contains(of));
            let said = closed.is_some() || named || again;
            self.check(Invariant::Ended, said || !may_land || beyond, || {
                format!(
                    "the run ended and does not say that call {id} ({reference}) may have landed"
                )
            });
        }
    }

    /// Checks the whole journal of a run: it is a chain, and any part of it leads to the state that
    /// was there live, whether it is read from its beginning or on top of a snapshot.
    pub fn audit(&mut self, run: usize) {
        if self.books[run].pruned {
            return;
        }
        let records = self.plain.journal(&self.books[run].run).to_vec();
        let states = self.books[run].states.clone();
        let verified = record::verify(&records);
        self.check(Invariant::ReplayIsLive, verified.is_ok(), || format!("{verified:?}"));
        self.check(Invariant::ReplayIsLive, records.len() == states.len(), || {
            format!("{} records and {} states", records.len(), states.len())
        });
        if records.is_empty() || records.len() != states.len() {
            return;
        }
        let definition = std::sync::Arc::clone(&self.definition);
        let all = match Run::replay(definition, &records) {
            Ok(all) => all,
            Err(error) => return self.violate(Invariant::ReplayIsLive, error.to_string()),
        };
        self.check(Invariant::ReplayIsLive, Some(all.state()) == states.last(), || {
            "replayed as a whole it is not what it was live".to_owned()
        });
        for through in [records.len(), 1 + self.pick(records.len()), 1 + self.pick(records.len())] {
            if let Err(detail) = self.replays(&records, &states, through, &all) {
                self.violate(Invariant::ReplayIsLive, detail);
            }
        }
    }

    fn replays(
        &self,
        records: &[Record],
        states: &[State],
        through: usize,
        all: &Run,
    ) -> Result<(), String> {
        let definition = || std::sync::Arc::clone(&self.definition);
        let replayed;
        let part = if through == records.len() {
            all
        } else {
            let part = Run::replay(definition(), &records[..through]);
            replayed = part.map_err(|error| error.to_string())?;
            &replayed
        };
        if *part.state() != states[through - 1] {
            return Err(format!("replayed to record {through} it is not what it was live"));
        }
        let (head, bytes) = part.snapshot();
        let mut whole = Run::restore(definition(), head, &bytes, &records[through..])
            .map_err(|error| error.to_string())?
            .ok_or("its own snapshot is not read")?;
        if Some(whole.state()) != states.last() {
            return Err(format!("on a snapshot at record {through} it is not what it was live"));
        }
        let from = usize::try_from(whole.state().view.from_seq.0).unwrap_or(usize::MAX);
        let last = records.get(from - 1..).unwrap_or_default().iter();
        let events: Result<Vec<_>, _> =
            last.map(|record| Ok((record.seq, record.event()?))).collect();
        let events = events.map_err(|error: JournalError| error.to_string())?;
        whole.load_transcript(events).map_err(|error| error.to_string())?;
        if whole.transcript().is_none() || whole.transcript() != all.transcript() {
            return Err(format!("read back from record {from} the messages are not those of all"));
        }
        Ok(())
    }

    /// What must hold once everything is over.
    pub fn last_judgement(&mut self) {
        for run in 0..self.books.len() {
            self.audit(run);
            let status = self.books[run].state().map(|state| state.status.clone());
            // A schedule that went wrong was broken off.
            let ended = matches!(status, Some(Status::Ended(_))) || !self.violations.is_empty();
            self.check(Invariant::Liveness, ended, || format!("run {run} is {status:?} for ever"));
        }
        let lies: Vec<String> = self
            .ledger
            .deeds()
            .filter(|(_, deed)| deed.denied && deed.landed > 0 && !deed.beyond_fence)
            .map(|(reference, _)| reference.clone())
            .collect();
        self.check(Invariant::Honesty, lies.is_empty(), || {
            format!("{lies:?} landed and were said not to have")
        });
        let known = |reference: &String| {
            let mut writes = self.books.iter().flat_map(|book| &book.writes);
            writes.any(|(_, known, _)| known == reference)
        };
        let strange: Vec<String> = self
            .ledger
            .deeds()
            .filter(|(reference, deed)| deed.landed > 0 && !known(reference))
            .map(|(reference, _)| reference.clone())
            .collect();
        self.check(Invariant::AppendThenAct, strange.is_empty(), || {
            format!("{strange:?} landed and stand in no journal")
        });
    }

    /// Returns the first record that a process has not seen land; for messages.
    pub fn durable(&self, run: usize) -> Seq {
        Seq(self.books[run].states.len() as u64)
    }
}
