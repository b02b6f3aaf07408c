//! `cancel`, `settle` and `fork`: a person changes what a run does.

use prusik_core::event::{Event, Verdict};
use prusik_core::ids::{CallId, Seq};
use prusik_core::input::Input;
use prusik_core::run::Status;
use prusik_engine::{EngineError, Held, now};
use prusik_store::{Signal, StoreError};
use serde_json::json;

use super::run::{drive, open_calls};
use super::{Place, engine, find_run, person};
use crate::assemble::{self, Asks, no_orphans};
use crate::cli::args::SettleArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::text::{Paint, one_line};
use crate::cli::timeline::Timeline;
use crate::project::Project;

pub async fn cancel(place: &Place, run: &str, reason: String) -> Result<Exit, Stopped> {
    let project = place.project()?;
    let engine = engine(&project)?;
    let id = find_run(&engine, run).await?;
    let by = person();
    let mut held = match engine.open(&id).await {
        Ok(held) => held,
        // Somebody drives it: they are told.
        Err(EngineError::Store(StoreError::Leased { owner, .. })) => {
            engine.store().post(&id, &Signal::Cancel { by, reason }, now()).await?;
            answer(
                place,
                &id,
                "told",
                &format!("{owner} drives run {id}, and was told to stop it"),
            );
            return Ok(Exit::Done);
        }
        Err(error) => return Err(error.into()),
    };
    let input = Input::Cancelled { by, reason };
    if !held.run().state().open_groups().is_empty() {
        return cancel_and_undo(place, &project, held, input).await;
    }
    let changed = change(&project, &mut held, input).await;
    let left = open_calls(held.run(), &held.run().state().unresolved(held.run().definition()));
    held.release().await?;
    changed?;
    answer(place, &id, "cancelled", &format!("run {id} is cancelled"));
    if !left.is_empty() && !place.json {
        put(&format!("nobody has found out whether this took effect:\n{left}"));
    }
    Ok(Exit::Done)
}

/// What the run's open groups did is undone before it ends, and for that its tools are needed.
async fn cancel_and_undo(
    place: &Place,
    project: &Project,
    held: Held,
    input: Input,
) -> Result<Exit, Stopped> {
    match assemble::again(project, held.run().definition().agent(), Asks::ToolsAlone).await {
        Ok((world, tools)) => drive(place, held, &world, tools, vec![input]).await,
        Err(stopped) => {
            held.release().await?;
            Err(stopped)
        }
    }
}

/// Changes a run that nobody drives. One that was killed has not been looked at since: its calls come
/// into doubt now, and what it left running ends.
async fn change(project: &Project, held: &mut Held, input: Input) -> Result<(), Stopped> {
    if held.run().state().status == Status::Running {
        no_orphans(project).await?;
        held.submit(Input::Recovered { by: person() }).await?;
    }
    held.submit(input).await?;
    Ok(())
}

fn answer(place: &Place, run: &prusik_core::ids::RunId, what: &str, text: &str) {
    if place.json {
        put(&format!("{}\n", json!({"run": run, "done": what})));
    } else {
        put(&format!("{text}\n"));
    }
}

pub async fn settle(place: &Place, args: SettleArgs) -> Result<Exit, Stopped> {
    let call: CallId = args.call.parse().map_err(|error| Stopped::misuse(format!("{error}")))?;
    let result = args
        .result
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| Stopped::misuse(format!("--result is not JSON: {error}")))?;
    let verdict = if args.verdict.landed {
        Verdict::Landed(result)
    } else if args.verdict.not_landed {
        Verdict::NotLanded
    } else {
        Verdict::Unknown
    };
    let project = place.project()?;
    let engine = engine(&project)?;
    let id = find_run(&engine, &args.run).await?;
    let mut held = engine.open(&id).await?;
    let by = person();
    let settled = change(&project, &mut held, Input::Settled { call, verdict, by }).await;
    let left = held.run().state().doubts();
    held.release().await?;
    settled?;
    answer(place, &id, "settled", &format!("call {call} is settled"));
    if !place.json {
        let option = place.option();
        if left.is_empty() {
            put(&format!("next: prusik{option} resume {id}\n"));
        } else {
            let calls: Vec<String> = left.iter().map(ToString::to_string).collect();
            put(&format!("still in doubt: {}\n", calls.join(", ")));
        }
    }
    Ok(Exit::Done)
}

pub async fn fork(place: &Place, run: &str, at: u64) -> Result<Exit, Stopped> {
    let engine = engine(&place.project()?)?;
    let from = find_run(&engine, run).await?;
    let (held, writes) = engine.fork(&from, Seq(at)).await?;
    let id = held.id().clone();
    let definition = std::sync::Arc::clone(held.run().definition());
    held.release().await?;
    if place.json {
        put(&format!("{}\n", json!({"run": id, "from": from, "at": at, "writes": writes})));
        return Ok(Exit::Done);
    }
    put(&format!("run {id} begins where {from} was after record {at}\n"));
    if !writes.is_empty() {
        let mut timeline = Timeline::new(definition, Paint::off());
        for record in engine.store().records(&from, Seq(1), Seq(at)).await? {
            if let Ok(event @ Event::ModelAnswered(_)) = record.event() {
                timeline.lines(&event, record.at, false);
            }
        }
        put("these calls lie behind the fork; they happened, and the fork does not undo them:\n");
        for call in &writes {
            let name = one_line(timeline.name(*call), 40);
            put(&format!("  {call:<6} {name}  {}\n", timeline.arguments(*call)));
        }
    }
    put(&format!("next: prusik{} resume {id}\n", place.option()));
    Ok(Exit::Done)
}
