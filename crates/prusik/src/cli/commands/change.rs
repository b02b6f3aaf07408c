//! `cancel`, `settle`, `note`, `compact` and `fork`: a person changes what a run does.

use std::time::{Duration, Instant};

use prusik_core::event::{Event, Verdict};
use prusik_core::ids::{CallId, RunId, Seq};
use prusik_core::ledger::{Author, EntryId, EntryKind, Note};
use prusik_core::run::Status;
use serde_json::json;

use super::run::{drive_known, open_calls};
use super::{Place, find_run};
use crate::cli::args::{NoteArgs, NoteKind, SettleArgs};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::text::{Paint, one_line};
use crate::cli::timeline::Timeline;
use crate::library::{Cancelled, Compacting, Forked, Noted, Prusik};

/// How long it is waited until another process has read what it was told. They look twice a second.
const TOLD_WAIT: Duration = Duration::from_secs(3);

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

fn answer(place: &Place, run: &RunId, what: &str, text: &str) {
    if place.json {
        put(&format!("{}\n", json!({"run": run, "done": what})));
    } else {
        put(&format!("{text}\n"));
    }
}

pub async fn note(place: &Place, args: NoteArgs) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, &args.run).await?;
    let supersedes: Option<EntryId> =
        args.supersedes.as_deref().map(str::parse).transpose().map_err(Stopped::misuse)?;
    let kind = match args.kind {
        NoteKind::Goal => EntryKind::Goal,
        NoteKind::Constraint => EntryKind::Constraint,
        NoteKind::Decision => EntryKind::Decision,
        NoteKind::Fact => EntryKind::Fact,
        NoteKind::Question => EntryKind::Question,
        NoteKind::Artefact => EntryKind::Artefact,
    };
    let (reason, source) = (args.reason, args.source);
    let note = Note { reason, source, ..Note::new(kind, args.text) };
    let before = prusik.show(&id).await?.state().ledger.next_id();
    let entry = match prusik.note(&id, note.clone(), supersedes).await? {
        Noted::Recorded { entry } => Some(entry),
        Noted::Told { owner } => {
            let entry = entry_of(&prusik, &id, &note, before).await?;
            if entry.is_none() {
                let text = format!(
                    "{owner} drives run {id}, and was told; it is not in the ledger yet. \
                     prusik{} show {id} lists it when it is",
                    place.option()
                );
                answer(place, &id, "told", &text);
            }
            entry
        }
    };
    if let Some(entry) = entry {
        if place.json {
            put(&format!("{}\n", json!({"run": id, "done": "noted", "entry": entry})));
        } else {
            let option = place.option();
            put(&format!("{entry} is in the ledger of run {id}\n"));
            if matches!(prusik.show(&id).await?.status(), Status::Parked(_)) {
                put(&format!("next: prusik{option} resume {id}\n"));
            }
        }
    }
    Ok(Exit::Done)
}

/// Waits until the process that drives a run has recorded a note, and returns its entry; none if that
/// does not come about in time.
async fn entry_of(
    prusik: &Prusik,
    run: &RunId,
    note: &Note,
    from: EntryId,
) -> Result<Option<EntryId>, Stopped> {
    let end = Instant::now() + TOLD_WAIT;
    loop {
        let standing = prusik.show(run).await?;
        let entries = standing.state().ledger.entries();
        let is_ours = |author: &Author| matches!(author, Author::Person(_));
        let ours = entries
            .iter()
            .find(|entry| entry.id >= from && entry.note == *note && is_ours(&entry.author));
        if let Some(entry) = ours {
            return Ok(Some(entry.id));
        }
        if Instant::now() >= end || standing.state().ended() {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub async fn compact(place: &Place, run: &str) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let id = find_run(&prusik, run).await?;
    match prusik.compact(&id).await? {
        Compacting::Told { owner } => {
            let text = format!(
                "{owner} drives run {id}, and was told to make its context smaller before the model \
                 is asked again\nprusik{} context {id} shows what the model is sent",
                place.option()
            );
            answer(place, &id, "told", &text);
        }
        Compacting::Recorded => {
            let text = format!(
                "the context of run {id} is made smaller before its model is asked again\n\
                 next: prusik{} resume {id}",
                place.option()
            );
            answer(place, &id, "wanted", &text);
        }
    }
    Ok(Exit::Done)
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
