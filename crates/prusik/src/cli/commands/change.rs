//! `cancel`, `settle` and `fork`: a person changes what a run does.

use prusik_core::event::{Event, Verdict};
use prusik_core::ids::{CallId, Seq};
use prusik_core::input::Input;
use prusik_core::run::Status;
use prusik_engine::{EngineError, now};
use prusik_store::{Signal, StoreError};
use serde_json::json;

use super::{Place, engine, find_run, person};
use crate::cli::args::SettleArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::text::{Paint, one_line};
use crate::cli::timeline::Timeline;

pub async fn cancel(place: &Place, run: &str, reason: String) -> Result<Exit, Stopped> {
    let engine = engine(&place.project()?)?;
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
    if held.run().state().status == Status::Running {
        held.submit(Input::Recovered { by: by.clone() }).await?;
    }
    let cancelled = held.submit(Input::Cancelled { by, reason }).await;
    let doubts = held.run().state().doubts();
    held.release().await?;
    cancelled?;
    answer(place, &id, "cancelled", &format!("run {id} is cancelled"));
    if !doubts.is_empty() && !place.json {
        let calls: Vec<String> = doubts.iter().map(ToString::to_string).collect();
        put(&format!("nobody knows whether call {} took effect\n", calls.join(", ")));
    }
    Ok(Exit::Done)
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
    let engine = engine(&place.project()?)?;
    let id = find_run(&engine, &args.run).await?;
    let mut held = engine.open(&id).await?;
    // A run that was killed has not been looked at since: its calls come into doubt now.
    let looked_at = if held.run().state().status == Status::Running {
        held.submit(Input::Recovered { by: person() }).await.map(|_| ())
    } else {
        Ok(())
    };
    let settled = match looked_at {
        Ok(()) => held.submit(Input::Settled { call, verdict, by: person() }).await.map(|_| ()),
        Err(error) => Err(error),
    };
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
