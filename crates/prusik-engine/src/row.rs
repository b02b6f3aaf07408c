//! What listings show of a run.

use prusik_core::event::{Ending, ParkReason};
use prusik_core::run::{Run, Status};
use prusik_store::RunRow;

/// Longest task and note in a listing, in bytes.
const LINE_BYTES_MAX: usize = 120;

/// Returns the run's line of a listing.
pub(crate) fn row(run: &Run) -> RunRow {
    let state = run.state();
    let id = &state.started.run;
    let (status, note) = match &state.status {
        Status::Running => ("running", String::new()),
        Status::Parked(reason) => ("parked", park_note(run, reason)),
        Status::Ended(Ending::Completed { failures, .. }) if failures.is_empty() => {
            ("completed", String::new())
        }
        Status::Ended(Ending::Completed { failures, .. }) => {
            let calls: Vec<String> =
                failures.iter().map(|f| format!("{} {} {}", f.call, f.tool, f.outcome)).collect();
            ("completed_with_failures", calls.join(", "))
        }
        Status::Ended(Ending::Compensated { undone, kept, .. }) => {
            ("compensated", format!("{} calls undone, {} kept", undone.len(), kept.len()))
        }
        Status::Ended(Ending::Failed { message, .. }) => ("failed", message.clone()),
        Status::Ended(Ending::Cancelled { by, reason, .. }) => {
            ("cancelled", format!("by {by}: {reason}"))
        }
    };
    RunRow {
        run: id.clone(),
        agent: state.started.agent.clone(),
        task: first_line(&state.started.task),
        status: status.to_owned(),
        note: first_line(&note),
        ended: state.ended(),
        turns: state.spent.turns,
        tokens: state.spent.tokens,
        nano_usd: state.spent.nano_usd,
        created: state.created,
        updated: state.updated,
    }
}

fn park_note(run: &Run, reason: &ParkReason) -> String {
    match reason {
        ParkReason::Budget { kind, .. } => {
            format!("{kind} budget reached: resume with --raise {kind}=…")
        }
        ParkReason::InDoubt { .. } => {
            let doubts: Vec<String> =
                run.state().doubts().iter().map(ToString::to_string).collect();
            if doubts.is_empty() {
                "settled: resume goes on".to_owned()
            } else {
                format!("call {} in doubt: settle it", doubts.join(", "))
            }
        }
        ParkReason::Approval { .. } => {
            let asked: Vec<String> =
                run.state().authority.asked.keys().map(ToString::to_string).collect();
            if asked.is_empty() {
                "answered: resume goes on".to_owned()
            } else {
                format!("call {} waits for an approval: inbox shows it", asked.join(", "))
            }
        }
        ParkReason::Loop { tool, times } => {
            format!("{tool} gave the same result {times} times: resume goes on")
        }
        ParkReason::Model { error } => error.message.clone(),
        ParkReason::Failed { message, .. } => {
            format!("it would fail: {message}")
        }
        ParkReason::Interrupted => "interrupted: resume goes on".to_owned(),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    if line.len() <= LINE_BYTES_MAX {
        return line.to_owned();
    }
    format!("{}…", &line[..line.floor_char_boundary(LINE_BYTES_MAX)])
}
