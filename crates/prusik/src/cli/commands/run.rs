//! `run` and `resume`: drive a run until it is parked or has ended.

use std::io::Read as _;
use std::sync::Arc;

use prusik_core::budget::BudgetKind;
use prusik_core::event::{CallFailed, Ending, Kept, ParkReason};
use prusik_core::ids::CallId;
use prusik_core::run::{Run, Stage, State, Status, waits_for_network};
use prusik_engine::Observer;
use serde_json::json;

use super::{Place, find_run};
use crate::cli::args::{ResumeArgs, RunArgs};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::jsonl::JsonLines;
use crate::cli::live::{Live, complain, put};
use crate::cli::text::{Paint, count, counted, duration, one_line, printable, usd};
use crate::cli::timeline::park_reason;
use crate::cli::values;
use crate::library::{self, Fact, Stopper, Word};

/// Longest task that is read, in bytes.
const TASK_BYTES_MAX: u64 = 1024 * 1024;

/// Longest message of a failed call that is shown at the end.
const FAILURE_CHARS: usize = 200;
/// Fewest tokens that a parked run is offered: a few turns of any conversation that is not long.
const TOKENS_MORE: u64 = 50_000;

pub async fn run(place: &Place, args: RunArgs) -> Result<Exit, Stopped> {
    let project = place.project()?;
    let (agent, task) = words(&project, args.words)?;
    let ceilings = values::budget(&args.budget)?;
    project.agent(agent.as_deref())?;
    let run = place.open(project)?.start_within(agent.as_deref(), task, ceilings).await?;
    drive(place, run).await
}

/// Tells the agent from the task, and reads a task from standard input.
fn words(
    project: &crate::project::Project,
    words: Vec<String>,
) -> Result<(Option<String>, String), Stopped> {
    let mut words = words.into_iter();
    let (agent, task) = match (words.next(), words.next()) {
        (Some(agent), Some(task)) => (Some(agent), task),
        (Some(only), None) => {
            if project.agents().iter().any(|agent| agent.name == only) {
                let message = format!(
                    "`{only}` is an agent, and the task is missing: prusik run {only} \"…\""
                );
                return Err(Stopped::misuse(message));
            }
            (None, only)
        }
        (None, _) => return Err(Stopped::misuse("the task is missing: prusik run \"…\"")),
    };
    let task = if task == "-" {
        let mut text = String::new();
        let read = std::io::stdin().take(TASK_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| {
            Stopped::misuse(format!("the task on standard input cannot be read: {error}"))
        })?;
        text
    } else {
        task
    };
    if task.trim().is_empty() {
        return Err(Stopped::misuse("the task is empty"));
    }
    if task.len() as u64 > TASK_BYTES_MAX {
        let message = format!(
            "the task is larger than {TASK_BYTES_MAX} bytes; put it into a file of the workspace"
        );
        return Err(Stopped::misuse(message));
    }
    Ok((agent, task))
}

/// Undoes what a parked or ended run did.
pub async fn compensate(place: &Place, run: &str, dry_run: bool) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, run).await?;
    if dry_run {
        return super::look::undo_plan(place, &prusik, &id).await;
    }
    let undone = match prusik.show(&id).await?.status() {
        Status::Ended(Ending::Compensated { undone, kept, .. }) => Some((undone.len(), kept.len())),
        Status::Running | Status::Parked(_) | Status::Ended(_) => None,
    };
    if let Some((undone, kept)) = undone
        && prusik.undo_plan(&id).await?.undos.is_empty()
    {
        let (undone, kept) = (counted(undone, "call"), counted(kept, "call"));
        complain(&format!("nothing is left to undo: {undone} undone before, {kept} kept"));
        return Ok(exit_of(prusik.show(&id).await?.status()));
    }
    let known = prusik.events(&id).await?;
    drive_known(place, prusik.compensate(&id).await?, &known).await
}

pub async fn resume(place: &Place, args: ResumeArgs) -> Result<Exit, Stopped> {
    let project = place.project()?;
    let raise = values::budget(&args.raise)?;
    let prusik = place.open(project)?;
    let id = find_run(&prusik, &args.run).await?;
    let word = Word { raise, message: args.message };
    drive(place, prusik.resume_with(&id, word).await?).await
}

pub(super) async fn drive(place: &Place, run: library::Run) -> Result<Exit, Stopped> {
    drive_known(place, run, &[]).await
}

/// Drives a run; what happened in it before gives names to calls that are spoken of now.
pub(super) async fn drive_known(
    place: &Place,
    run: library::Run,
    known: &[Fact],
) -> Result<Exit, Stopped> {
    let paint = Paint::for_stdout();
    let live = Arc::new(Live::new(run.core(), paint));
    live.learn(known);
    let observer: Arc<dyn Observer> = if place.json {
        Arc::new(JsonLines::new(run.id().clone()))
    } else {
        let agent = run.core().definition().agent();
        let head =
            format!("run {} · agent {} · model {}\n", run.id(), agent.name, agent.model.model);
        put(&paint.dim(&head));
        Arc::clone(&live) as Arc<dyn Observer>
    };
    let listener = tokio::spawn(listen(run.stopper(), place.json));
    let driven = run.watch(observer).drive().await;
    listener.abort();
    live.finish();
    Ok(report(place, driven?.core(), paint))
}

/// The first Ctrl-C parks the run when what is under way is done; the second stops at once.
async fn listen(stopper: Stopper, quiet: bool) {
    if wait_for_stop().await {
        if !quiet {
            complain("\nstopping when what is under way is done; Ctrl-C again stops at once");
        }
        stopper.interrupt();
    }
    if wait_for_stop().await {
        // What was under way is looked at when the run is resumed.
        if !quiet {
            complain("stopped at once; `prusik resume last` looks at what was under way");
        }
        std::process::exit(i32::from(Exit::Parked.code()));
    }
}

/// Waits for Ctrl-C or SIGTERM; false if that cannot be waited for.
#[cfg(unix)]
pub(super) async fn wait_for_stop() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return false };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.is_ok(),
        _ = terminate.recv() => true,
    }
}

#[cfg(not(unix))]
pub(super) async fn wait_for_stop() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}

/// Prints how the run stands and what to do next.
fn report(place: &Place, run: &Run, paint: Paint) -> Exit {
    let state = run.state();
    let exit = exit_of(&state.status);
    if place.json {
        let object = json!({
            "run": state.started.run, "status": state.status, "spent": state.spent, "exit_code": exit.code(),
        });
        put(&format!("{object}\n"));
        return exit;
    }
    let spent = state.spent;
    let cost =
        if spent.nano_usd > 0 { format!(", {}", usd(spent.nano_usd)) } else { String::new() };
    let summary = format!(
        "{} turns, {} calls, {} tokens{cost}, {}",
        spent.turns,
        spent.tool_calls,
        count(spent.tokens),
        duration(spent.wall_ms)
    );
    put(&status_lines(place, run, paint));
    put(&format!("{}\n", paint.dim(&summary)));
    exit
}

/// Returns the exit code that a status leads to.
pub fn exit_of(status: &Status) -> Exit {
    match status {
        Status::Ended(Ending::Completed { failures, .. }) if failures.is_empty() => Exit::Done,
        // Undone by a person, and wholly: that is what was asked.
        Status::Ended(Ending::Compensated { by, kept, .. })
            if kept.is_empty() && by != "on_failure" =>
        {
            Exit::Done
        }
        Status::Ended(
            Ending::Completed { .. }
            | Ending::Compensated { .. }
            | Ending::Failed { .. }
            | Ending::Cancelled { .. },
        ) => Exit::Failed,
        Status::Parked(reason) if waits_for_network(reason) => Exit::Unavailable,
        Status::Parked(_) | Status::Running => Exit::Parked,
    }
}

fn kept_lines(kept: &[Kept]) -> String {
    let line = |kept: &Kept| format!("  call {} stays done: {}\n", kept.call, printable(&kept.why));
    kept.iter().map(line).collect()
}

/// Returns what the run was kept from. It may be an attack, or what a plan has forgotten.
fn contained_lines(contained: &[CallFailed], paint: Paint) -> String {
    let line = |call: &CallFailed| {
        let CallFailed { call, tool, message, .. } = call;
        let what = format!("{} {}", printable(tool), one_line(message, FAILURE_CHARS));
        paint
            .yellow(&format!("  contained: call {call} {what} was not made: no plan foresees it\n"))
    };
    contained.iter().map(line).collect()
}

/// Returns how a run stands and the commands that bring it on.
pub fn status_lines(place: &Place, run: &Run, paint: Paint) -> String {
    let option = place.option();
    let state = run.state();
    let id = &state.started.run;
    match &state.status {
        Status::Running => {
            let next = format!("prusik{option} resume {id}");
            let open: Vec<CallId> = state
                .calls
                .iter()
                .filter(|(_, call)| !matches!(call.stage, Stage::Waiting | Stage::Done))
                .map(|(id, _)| *id)
                .collect();
            let head = paint.yellow("not ended");
            format!("{head}: if nobody drives it any more, {next}\n{}", open_calls(run, &open))
        }
        Status::Ended(Ending::Completed {
            output,
            failures,
            contained,
            label,
            foreign_links,
            ..
        }) => {
            let mut text = if failures.is_empty() {
                format!("{}\n", paint.green("✓ completed"))
            } else {
                let head = "✗ completed, with failures that were not made good:";
                format!("{}\n", paint.red(head))
            };
            for failed in failures {
                let message = one_line(&failed.message, FAILURE_CHARS);
                let CallFailed { call, tool, outcome, .. } = failed;
                text.push_str(&format!("  call {call} {} {outcome}: {message}\n", printable(tool)));
            }
            text.push_str(&contained_lines(contained, paint));
            if !label.is_none() {
                let words = printable(&label.words()).into_owned();
                text.push_str(&paint.dim(&format!("  the answer draws on what is {words}\n")));
            }
            for link in foreign_links {
                let link = one_line(link, FAILURE_CHARS);
                let warning = format!("  nothing trusted says where it leads: {link}\n");
                text.push_str(&paint.yellow(&warning));
            }
            if let Some(output) = output {
                text.push_str(&format!("output: {output}\n"));
            }
            text
        }
        Status::Ended(Ending::Failed { message, kept, .. }) => {
            let look = format!("prusik{option} show {id}");
            format!(
                "{}\n{}{look} shows how it came to that\n",
                paint.red(&format!("✗ failed: {}", printable(message))),
                kept_lines(kept),
            )
        }
        Status::Ended(Ending::Compensated { by, was, undone, kept }) => {
            let was = match was.as_deref() {
                Some(Ending::Failed { message, .. }) => format!(", after: {}", printable(message)),
                Some(_) | None => String::new(),
            };
            let by = printable(by);
            let head = format!("↶ undone by {by}: {}{was}", counted(undone.len(), "call"));
            let paint = if kept.is_empty() { paint.green(&head) } else { paint.yellow(&head) };
            let mut text = format!("{paint}\n");
            text.push_str(&kept_lines(kept));
            if !kept.is_empty() {
                let again = format!("prusik{option} compensate {id}");
                text.push_str(&format!("undo these by hand, or mend why and: {again}\n"));
            }
            text
        }
        Status::Ended(Ending::Cancelled { by, reason, in_doubt, kept }) => {
            let head = format!("✗ cancelled by {}: {}", printable(by), printable(reason));
            let mut text = format!("{}\n{}", paint.yellow(&head), kept_lines(kept));
            if !in_doubt.is_empty() {
                text.push_str("nobody has found out whether this took effect:\n");
                text.push_str(&open_calls(run, in_doubt));
            }
            text
        }
        Status::Parked(reason) => {
            let mut text =
                format!("{}\n", paint.yellow(&format!("⏸ parked: {}", park_reason(reason))));
            let doubts = state.doubts();
            text.push_str(&open_calls(run, &doubts));
            for next in next_steps(reason, state, &doubts, &option) {
                text.push_str(&format!("  {next}\n"));
            }
            text
        }
    }
}

/// Returns a line for each of these calls: what it was, with all of its arguments, so that a person can
/// find out what became of it.
pub fn open_calls(run: &Run, calls: &[CallId]) -> String {
    let mut text = String::new();
    for id in calls {
        if let Some(call) = run.state().calls.get(id) {
            let (tool, arguments) = (printable(&call.tool), call.arguments().to_string());
            text.push_str(&format!("  call {id}: {tool} {}\n", printable(&arguments)));
        }
    }
    text
}

fn next_steps(reason: &ParkReason, state: &State, doubts: &[CallId], option: &str) -> Vec<String> {
    let run = &state.started.run;
    let resume = format!("prusik{option} resume {run}");
    match reason {
        ParkReason::Budget { kind, limit, spent } => {
            // Twice as much, and enough for the next step whatever the ceiling was.
            let twice = limit.max(spent).saturating_mul(2);
            let more = match kind {
                BudgetKind::NanoUsd => {
                    let cents = twice.max(spent + 100_000_000).div_ceil(10_000_000);
                    format!("{}.{:02}", cents / 100, cents % 100)
                }
                BudgetKind::WallMs => {
                    format!("{}s", twice.max(60_000).div_ceil(1_000))
                }
                BudgetKind::Tokens => twice.max(spent + TOKENS_MORE).to_string(),
                BudgetKind::Turns | BudgetKind::ToolCalls => twice.max(10).to_string(),
            };
            vec![format!("{resume} --raise {kind}={more}")]
        }
        ParkReason::InDoubt { .. } if !doubts.is_empty() => doubts
            .iter()
            .map(|call| {
                format!(
                    "find out whether call {call} took effect, then: prusik{option} settle {run} \
                     {call} --landed | --not-landed | --unknown"
                )
            })
            .chain([format!("then: {resume}")])
            .collect(),
        ParkReason::Approval { .. } if !state.authority.asked.is_empty() => {
            vec![format!("prusik{option} inbox shows what is asked, and how to answer")]
        }
        ParkReason::Failed { .. } => vec![
            format!("{resume} --message \"what to do instead\""),
            format!("or undo what it did: prusik{option} compensate {run}"),
        ],
        ParkReason::Loop { .. } => vec![format!("{resume} --message \"what to do instead\"")],
        ParkReason::Model { .. } => vec![format!("when that is mended: {resume}")],
        ParkReason::InDoubt { .. } | ParkReason::Approval { .. } | ParkReason::Interrupted => {
            vec![resume]
        }
    }
}
