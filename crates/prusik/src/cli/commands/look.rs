//! `runs`, `show` and `events`: look at what happened. `runs prune`: forget what is long over.

use std::sync::Arc;

use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq, Timestamp};
use prusik_core::record;
use prusik_core::run::State;
use prusik_engine::now;
use prusik_store::{Filter, RunRow, Store};
use serde_json::json;

use super::run::status_lines;
use super::{Place, find_run};
use crate::cli::args::{EventsArgs, RunStatus, RunsArgs, RunsCommand};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::jsonl::event_object;
use crate::cli::live::put;
use crate::cli::text::{
    Paint, below, count, counted, duration, instant, made_of, one_line, printable, usd,
};
use crate::cli::timeline::Timeline;
use crate::cli::values;
use crate::library::{Fact, Prusik};

pub async fn runs(place: &Place, args: RunsArgs) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    if let Some(RunsCommand::Prune { older_than, dry_run }) = args.command {
        return prune(place, prusik.store().as_ref(), &older_than, dry_run).await;
    }
    let status = args.status.map(|status| match status {
        RunStatus::Running => "running",
        RunStatus::Parked => "parked",
        RunStatus::Completed => "completed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
        RunStatus::CompletedWithFailures => "completed_with_failures",
        RunStatus::Compensated => "compensated",
    });
    let filter =
        Filter { status: status.map(str::to_owned), limit: Some(args.limit), ..Filter::default() };
    let rows = prusik.runs(&filter).await?;
    if place.json {
        for row in rows {
            put(&format!("{}\n", json!(row)));
        }
    } else if rows.is_empty() {
        put("no runs; `prusik run \"…\"` makes one\n");
    } else {
        let paint = Paint::for_stdout();
        for row in rows {
            put(&line(&row, paint));
        }
    }
    Ok(Exit::Done)
}

fn line(row: &RunRow, paint: Paint) -> String {
    let status = format!("{:<9}", row.status);
    let status = match row.status.as_str() {
        "completed" => paint.green(&status),
        "failed" | "cancelled" | "completed_with_failures" => paint.red(&status),
        _ => paint.yellow(&status),
    };
    let cost = if row.nano_usd > 0 { usd(row.nano_usd) } else { String::new() };
    let mut text = format!(
        "{}  {status} {}  {:>4} turns {cost:>9}  {}: {}\n",
        row.run,
        instant(row.updated),
        row.turns,
        one_line(&row.agent, 20),
        one_line(&row.task, 60),
    );
    if !row.note.is_empty() {
        text.push_str(&paint.dim(&format!("    {}\n", one_line(&row.note, 140))));
    }
    text
}

async fn prune(
    place: &Place,
    store: &dyn Store,
    older_than: &str,
    dry_run: bool,
) -> Result<Exit, Stopped> {
    let age = values::age_ms(older_than)?;
    let before = Timestamp(now().0.saturating_sub(age));
    let pruned = store.prune(before, dry_run).await?;
    if place.json {
        let object = json!({
            "dry_run": dry_run, "runs": pruned.runs, "blobs": pruned.blobs, "bytes": pruned.bytes,
        });
        put(&format!("{object}\n"));
    } else {
        let verb = if dry_run { "would delete" } else { "deleted" };
        for run in &pruned.runs {
            put(&format!("{verb} {run}\n"));
        }
        put(&format!(
            "{verb} {} ended runs and {} blobs, {} bytes\n",
            pruned.runs.len(),
            pruned.blobs,
            count(pruned.bytes)
        ));
    }
    Ok(Exit::Done)
}

pub async fn show(place: &Place, run: &str) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, run).await?;
    let loaded = prusik.show(&id).await?;
    let state = loaded.state();
    if place.json {
        let open: Vec<_> = state.calls.iter().map(|(id, call)| {
            json!({"call": id, "tool": call.tool, "arguments": call.arguments(), "stage": call.stage})
        }).collect();
        let object = json!({
            "run": id, "agent": state.started.agent, "task": state.started.task,
            "definition": state.started.definition, "status": state.status, "spent": state.spent,
            "cache_read_percent": state.spent.cache_read_percent(),
            "budget": state.budget, "in_doubt": state.doubts(), "open_calls": open, "compactions": state.view.compactions,
            "ledger": state.ledger.entries(), "records": state.seq,
            "created_ms": state.created, "updated_ms": state.updated,
        });
        put(&format!("{object}\n"));
        return Ok(Exit::Done);
    }
    let paint = Paint::for_stdout();
    let agent = loaded.core().definition().agent();
    put(&format!(
        "{} {id}\n{}\n\n",
        paint.bold("run"),
        paint.dim(&format!(
            "agent {} · model {} · {} · {} records",
            agent.name,
            agent.model.model,
            instant(state.created),
            state.seq
        ))
    ));
    let mut timeline = Timeline::new(Arc::clone(loaded.core().definition()), paint);
    for Fact { event, at, .. } in prusik.events(&id).await? {
        for line in timeline.lines(&event, at, true) {
            put(&format!("{line}\n"));
        }
    }
    put(&ledger_lines(place, state, paint));
    let spent = state.spent;
    put(&format!(
        "\n{} turns · {} calls · {} tokens · {} · {}\n",
        spent.turns,
        spent.tool_calls,
        count(spent.tokens),
        usd(spent.nano_usd),
        duration(spent.wall_ms)
    ));
    if let Some(line) = made_of(&spent) {
        put(&format!("{}\n", paint.dim(&line)));
    }
    put(&status_lines(place, loaded.core(), paint));
    Ok(Exit::Done)
}

/// Returns what the ledger holds, and how often the context was made smaller.
fn ledger_lines(place: &Place, state: &State, paint: Paint) -> String {
    let mut text = String::new();
    if !state.ledger.entries().is_empty() {
        text.push_str(&format!("\n{}\n", paint.bold("ledger")));
    }
    for entry in state.ledger.entries() {
        let by = printable(&entry.author.words()).into_owned();
        text.push_str(&format!("  {} {}\n", below(&entry.render()), paint.dim(&format!("({by})"))));
    }
    if state.view.compactions > 0 {
        let times = counted(state.view.compactions as usize, "compaction");
        let look = format!("prusik{} context {}", place.option(), state.started.run);
        text.push_str(&format!("\n{times}; {look} shows what the model sees\n"));
    }
    text
}

/// Shows what `compensate` would do.
pub async fn undo_plan(place: &Place, prusik: &Prusik, id: &RunId) -> Result<Exit, Stopped> {
    let planned = prusik.undo_plan(id).await?;
    if place.json {
        let object = json!({"run": id, "undos": planned.undos, "kept": planned.kept});
        put(&format!("{object}\n"));
        return Ok(Exit::Done);
    }
    if planned.undos.is_empty() && planned.kept.is_empty() {
        put(&format!("run {id} has done nothing that could be undone\n"));
    }
    let run = prusik.show(id).await?;
    let mut timeline = Timeline::new(Arc::clone(run.core().definition()), Paint::off());
    for Fact { event, at, .. } in prusik.events(id).await? {
        timeline.lines(&event, at, false);
    }
    let is_empty = planned.undos.is_empty();
    let shown = Event::CompensationPlanned(planned);
    for line in timeline.lines(&shown, now(), false) {
        put(&format!("{line}\n"));
    }
    if is_empty {
        put("nothing would be undone\n");
    } else {
        put(&format!("nothing was done; prusik{} compensate {id} does it\n", place.option()));
    }
    Ok(Exit::Done)
}

pub async fn events(place: &Place, args: EventsArgs) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, &args.run).await?;
    let records = prusik.store().records(&id, Seq(1), Seq(u64::MAX)).await?;
    if args.verify {
        return match record::verify(&records) {
            Ok(head) => {
                let text = format!("{} records, head {}", records.len(), head.hash);
                if place.json {
                    let object =
                        json!({"run": id, "records": records.len(), "head": head.hash, "ok": true});
                    put(&format!("{object}\n"));
                } else {
                    put(&format!("{}: {text}\n", Paint::for_stdout().green("intact")));
                }
                Ok(Exit::Done)
            }
            Err(error) => {
                Err(Stopped::failed(format!("the journal of run {id} is damaged: {error}")))
            }
        };
    }
    for record in &records {
        let event = record.event().map_err(|error| Stopped::unavailable(error.to_string()))?;
        if place.json {
            put(&format!("{}\n", event_object(&id, record.seq, record.at, &event)));
        } else {
            let value = serde_json::to_value(&event).unwrap_or_default();
            let (kind, body) = value
                .as_object()
                .and_then(|object| object.iter().next())
                .map_or((String::new(), String::new()), |(kind, body)| {
                    (kind.clone(), body.to_string())
                });
            put(&format!(
                "{:>5}  {}  {kind:<20} {}\n",
                record.seq,
                instant(record.at),
                printable(&one_line(&body, 160))
            ));
        }
    }
    Ok(Exit::Done)
}
