//! `cancel`, `settle` and `fork`: a person changes what a run does.

use prusik_core::event::{Event, Verdict};
use prusik_core::ids::{CallId, Seq};
use serde_json::json;

use super::run::{drive_known, open_calls};
use super::{Place, find_run};
use crate::cli::args::SettleArgs;
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::text::{Paint, one_line};
use crate::cli::timeline::Timeline;
use crate::library::{Cancelled, Forked};

pub async fn cancel(place: &Place, run: &str, reason: String) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, run).await?;
    match prusik.cancel(&id, reason).await? {
        // What its open groups did is undone before it ends.
        Cancelled::Undoing(run) => {
            let known = prusik.events(&id).await?;
            return drive_known(place, *run, &known).await;
        }
        Cancelled::Told { owner } => {
            let text = format!("{owner} drives run {id}, and was told to stop it");
            answer(place, &id, "told", &text);
        }
        Cancelled::Done { unresolved } => {
            answer(place, &id, "cancelled", &format!("run {id} is cancelled"));
            if !unresolved.is_empty() && !place.json {
                let left = open_calls(prusik.show(&id).await?.core(), &unresolved);
                put(&format!("nobody has found out whether this took effect:\n{left}"));
            }
        }
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
    let prusik = place.prusik()?;
    let id = find_run(&prusik, &args.run).await?;
    let left = prusik.settle(&id, call, verdict).await?;
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
    let prusik = place.prusik()?;
    let from = find_run(&prusik, run).await?;
    let Forked { run: id, writes } = prusik.fork(&from, Seq(at)).await?;
    if place.json {
        put(&format!("{}\n", json!({"run": id, "from": from, "at": at, "writes": writes})));
        return Ok(Exit::Done);
    }
    put(&format!("run {id} begins where {from} was after record {at}\n"));
    if !writes.is_empty() {
        let definition = std::sync::Arc::clone(prusik.show(&id).await?.core().definition());
        let mut timeline = Timeline::new(definition, Paint::off());
        for fact in prusik.events(&from).await? {
            if fact.seq <= Seq(at) && matches!(fact.event, Event::ModelAnswered(_)) {
                timeline.lines(&fact.event, fact.at, false);
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
