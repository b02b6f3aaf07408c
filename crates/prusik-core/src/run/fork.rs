//! Forking: a new run that shares another's journal up to a record.
//!
//! The world does not fork. A new run can begin only where no call is open, and its first own
//! record lists the calls behind it that changed the world: they happened, and stay so.

use std::sync::Arc;

use super::definition::Definition;
use super::state::Status;
use super::{Phase, Run, Sealed};
use crate::contract::EffectClass;
use crate::event::{Event, RunForked};
use crate::ids::{CallId, RunId, Seq, Timestamp};
use crate::outcome::Outcome;
use crate::record::{JournalError, Record};

/// Why a run cannot be forked at a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    #[error("record {at} is no place to fork: {why}{}", nearest(.before.as_ref(), .after.as_ref()))]
    NotBetweenTurns { at: Seq, why: &'static str, before: Option<Seq>, after: Option<Seq> },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

fn nearest(before: Option<&Seq>, after: Option<&Seq>) -> String {
    match (before, after) {
        (None, None) => String::new(),
        (Some(seq), None) | (None, Some(seq)) => format!("; --at {seq} is"),
        (Some(before), Some(after)) => format!("; --at {before} and --at {after} are"),
    }
}

/// Begins the run `new` with the records of `records` up to `at`. Returns it with all that must be
/// appended, and the calls behind the fork that changed the world or may have.
pub fn fork(
    definition: &Arc<Definition>,
    records: &[Record],
    at: Seq,
    new: RunId,
    now: Timestamp,
) -> Result<(Run, Sealed, Vec<CallId>), ForkError> {
    let mut source: Option<Run> = None;
    let mut writes = Vec::new();
    let (mut before, mut after) = (None, None);
    let mut found = None;
    let mut status = None;
    let mut in_group = false;
    for record in records {
        let event = record.event()?;
        note_write(definition, source.as_ref(), &event, &mut writes);
        let run = match source.take() {
            None => Run::replay(Arc::clone(definition), std::slice::from_ref(record))?,
            Some(mut run) => {
                run.follow(std::slice::from_ref(record))?;
                run
            }
        };
        let between = is_between_turns(&run);
        match record.seq.cmp(&at) {
            std::cmp::Ordering::Less if between => before = Some(record.seq),
            std::cmp::Ordering::Equal => {
                found = between.then(|| writes.clone());
                status = Some(run.state.status.clone());
                in_group = !run.state.open_groups().is_empty() && run.state.calls.is_empty();
            }
            std::cmp::Ordering::Greater if between && after.is_none() => after = Some(record.seq),
            std::cmp::Ordering::Less | std::cmp::Ordering::Greater => {}
        }
        source = Some(run);
    }
    let Some(writes) = found else {
        let why = match status {
            None => "the run has no such record",
            Some(Status::Ended(_)) => "the run has ended there",
            Some(Status::Parked(_)) => "the run is parked there",
            Some(Status::Running) if in_group => {
                "a group is open there, and its calls belong to one run"
            }
            Some(Status::Running) => "it lies inside a turn, whose calls would hang in the air",
        };
        return Err(ForkError::NotBetweenTurns { at, why, before, after });
    };
    copy(definition, records, at, new, writes, now)
}

fn copy(
    definition: &Arc<Definition>,
    records: &[Record],
    at: Seq,
    new: RunId,
    writes: Vec<CallId>,
    now: Timestamp,
) -> Result<(Run, Sealed, Vec<CallId>), ForkError> {
    let first = records.first().ok_or(JournalError::Empty)?;
    let Event::RunStarted(started) = first.event()? else {
        return Err(JournalError::NoStart.into());
    };
    let (mut run, mut sealed) =
        Run::start(Arc::clone(definition), new, started.task, started.budget, first.at);
    for record in records.iter().filter(|record| record.seq > first.seq && record.seq <= at) {
        let step = super::Step { at: record.at, events: vec![record.event()?], blobs: Vec::new() };
        extend(&mut sealed, run.apply(step));
    }
    let forked = RunForked { from: started.run, at, writes: writes.clone() };
    let event = Event::RunForked(forked);
    let step = super::Step { at: now, events: vec![event], blobs: Vec::new() };
    extend(&mut sealed, run.apply(step));
    Ok((run, sealed, writes))
}

fn extend(sealed: &mut Sealed, more: Sealed) {
    sealed.records.extend(more.records);
    sealed.events.extend(more.events);
    sealed.blobs.extend(more.blobs);
    sealed.refs.extend(more.refs);
}

fn is_between_turns(run: &Run) -> bool {
    let asking = matches!(run.state.program.phase(), Phase::Asking { .. })
        && run.state.agent_loop().summary.is_none();
    // Two runs cannot both undo, or both commit, what one of them did.
    let no_group = run.state.open_groups().is_empty();
    asking && no_group && run.state.calls.is_empty() && run.state.status == Status::Running
}

fn note_write(definition: &Definition, run: Option<&Run>, event: &Event, writes: &mut Vec<CallId>) {
    let (id, changed) = match event {
        Event::CallCompleted(completed) => {
            let changed = match completed.outcome {
                Outcome::Ok(_) | Outcome::InDoubt { .. } => true,
                Outcome::Failed(ref failure) => failure.landed,
                Outcome::Denied { .. } | Outcome::Rejected { .. } | Outcome::Deferred { .. } => {
                    false
                }
            };
            (completed.call, changed)
        }
        Event::RunStarted(_)
        | Event::RunRecovered(_)
        | Event::ModelAnswered(_)
        | Event::ModelFailed(_)
        | Event::CallsStarted(_)
        | Event::CallRetried(_)
        | Event::CallDoubted(_)
        | Event::CallProbed(_)
        | Event::CallSettled(_)
        | Event::Prompted(_)
        | Event::BudgetRaised(_)
        | Event::RunParked(_)
        | Event::RunResumed(_)
        | Event::RunForked(_)
        | Event::CompensationStarted(_)
        | Event::CompensationPlanned(_)
        | Event::GroupClosingStarted(_)
        | Event::CancelRequested(_)
        | Event::EntryRecorded(_)
        | Event::PlanMade(_)
        | Event::GrantSpent(_)
        | Event::ApprovalRequested(_)
        | Event::ApprovalAnswered(_)
        | Event::PolicyAdopted(_)
        | Event::CompactionRequested(_)
        | Event::CompactionStarted(_)
        | Event::SummaryAnswered(_)
        | Event::ContextCompacted(_)
        | Event::RunFinished(_) => return,
    };
    let tool = run.and_then(|run| run.state.calls.get(&id)).map(|call| call.tool.as_str());
    let effect = tool.and_then(|tool| definition.held(tool)).map(|held| held.tool.contract.effect);
    if changed && effect != Some(EffectClass::Read) {
        writes.push(id);
    }
}
