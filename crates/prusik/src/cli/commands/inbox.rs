//! `inbox`, `approve` and `deny`: what waits for a person's word, and the word.

use std::str::FromStr;

use prusik_core::event::{Decision, Event};
use prusik_core::grant::{leaves, occurs};
use prusik_core::ids::{CallId, Digest, RunId};
use prusik_core::outcome::Outcome;
use prusik_core::run::{Asked, calls_of};
use prusik_store::Filter;
use serde_json::{Value, json};

use super::{Place, find_run};
use crate::cli::args::{ApproveArgs, DenyArgs};
use crate::cli::exit::{Exit, Stopped};
use crate::cli::live::put;
use crate::cli::text::{one_line, within_line};
use crate::cli::timeline::reasons;
use crate::library::{Fact, Prusik, Standing};

/// Longest value that is shown of an argument, in characters; `--json` has all of it.
const VALUE_CHARS: usize = 600;

pub async fn inbox(place: &Place, run: Option<&str>) -> Result<Exit, Stopped> {
    let prusik = place.prusik()?;
    let runs: Vec<RunId> = if let Some(run) = run {
        vec![find_run(&prusik, run).await?]
    } else {
        let filter = Filter { status: Some("parked".to_owned()), ..Filter::default() };
        prusik.runs(&filter).await?.into_iter().map(|row| row.run).collect()
    };
    let mut shown = 0;
    for id in runs {
        let standing = prusik.show(&id).await?;
        if standing.state().authority.asked.is_empty() {
            continue;
        }
        let facts = prusik.events(&id).await?;
        for asked in standing.state().authority.asked.values() {
            shown += 1;
            show(place, &id, &standing, &facts, asked);
        }
    }
    if shown == 0 && !place.json {
        put("nothing waits for your word\n");
    }
    Ok(Exit::Done)
}

/// Shows a question: exactly what would be called, where each value was first seen, and how to answer.
fn show(place: &Place, run: &RunId, standing: &Standing, facts: &[Fact], asked: &Asked) {
    let request = &asked.request;
    let Some(call) = standing.state().calls.get(&request.call) else { return };
    let held = standing.core().definition().agent().tool(&call.tool);
    let effect = held.map_or("write", |tool| tool.contract.effect.as_str());
    let undo = held.is_some_and(|tool| tool.contract.undo.is_some());
    let arguments = call.arguments();
    let origins = origins(facts, request.call, arguments);
    if place.json {
        let object = json!({
            "run": run, "call": request.call, "question": request.digest, "tool": call.tool,
            "arguments": arguments, "effect": effect, "can_be_undone": undo,
            "label": request.label, "doubts": request.doubts, "policies": request.policies,
            "expires_ms": request.expires,
            "people": request.people, "approved_by": asked.approved_by,
            "origins": origins.iter().map(|(argument, from)| json!({"argument": argument, "from": from}))
                .collect::<Vec<_>>(),
        });
        put(&format!("{object}\n"));
        return;
    }
    let mut text = format!(
        "run {run} asks about call {}: {} ({effect}, {})\n",
        request.call,
        within_line(&call.tool),
        if undo { "can be undone" } else { "cannot be undone" }
    );
    for (name, value) in arguments.as_object().into_iter().flatten() {
        let shown = one_line(&value.to_string(), VALUE_CHARS);
        text.push_str(&format!("  {}: {shown}\n", within_line(name)));
        let from = origins.iter().filter(|(argument, _)| argument == name);
        for (_, from) in from {
            text.push_str(&format!("      {}\n", within_line(from)));
        }
    }
    let why = reasons(request);
    text.push_str(&format!("  asked because {}\n", within_line(&why)));
    text.push_str(&format!(
        "  the model has read what is {}\n",
        within_line(&request.label.words())
    ));
    if request.people > 1 {
        text.push_str(&format!("  {} people must approve it", request.people));
        let so_far: Vec<&str> = asked.approved_by.iter().map(String::as_str).collect();
        let so_far = if so_far.is_empty() { "nobody".to_owned() } else { so_far.join(", ") };
        text.push_str(&format!("; {} has so far\n", within_line(&so_far)));
    }
    let (option, digest) = (place.option(), request.digest);
    text.push_str(&format!(
        "  prusik{option} approve {run} {0} --question {digest}\n  \
         prusik{option} deny {run} {0} --question {digest} --reason \"…\"\n\n",
        request.call
    ));
    put(&text);
}

/// Returns for each argument where its values were first seen. It is a help to people: a value that
/// occurs somewhere need not come from there.
fn origins(facts: &[Fact], call: CallId, arguments: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        for leaf in leaves(value) {
            let from = origin(facts, call, leaf)
                .unwrap_or_else(|| "seen nowhere before: the model's own words".to_owned());
            let entry = (name.clone(), from);
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

fn origin(facts: &[Fact], call: CallId, leaf: &Value) -> Option<String> {
    let mut tools = std::collections::BTreeMap::new();
    for fact in facts {
        match &fact.event {
            Event::RunStarted(started) if occurs(leaf, &started.task) => {
                return Some("in the task".to_owned());
            }
            Event::ModelAnswered(answered) if answered.turn < call.turn => {
                for (id, tool_use) in calls_of(answered.turn, &answered.content) {
                    tools.insert(id, tool_use.name.clone());
                }
            }
            Event::CallCompleted(completed) if completed.call.turn < call.turn => {
                let text = match &completed.outcome {
                    Outcome::Ok(result) => result.plain_text(),
                    Outcome::Failed(failure) => failure.message.clone(),
                    Outcome::Denied { .. }
                    | Outcome::Rejected { .. }
                    | Outcome::InDoubt { .. }
                    | Outcome::Deferred { .. } => continue,
                };
                if occurs(leaf, &text) {
                    let tool = tools.get(&completed.call).map_or("?", String::as_str);
                    return Some(format!(
                        "first seen in what {tool} returned (call {})",
                        completed.call
                    ));
                }
            }
            Event::Prompted(prompted) if occurs(leaf, &prompted.text) => {
                return Some("in what a person said".to_owned());
            }
            _ => {}
        }
    }
    None
}

pub async fn approve(place: &Place, args: ApproveArgs) -> Result<Exit, Stopped> {
    let arguments = args
        .arguments
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| Stopped::misuse(format!("--arguments is not JSON: {error}")))?;
    let decision = Decision::Approved { arguments, endorsed: args.endorse };
    answer(place, &args.run, &args.call, &args.question, decision, "approved").await
}

pub async fn deny(place: &Place, args: DenyArgs) -> Result<Exit, Stopped> {
    let decision = Decision::Denied { reason: args.reason };
    answer(place, &args.run, &args.call, &args.question, decision, "denied").await
}

async fn answer(
    place: &Place,
    run: &str,
    call: &str,
    question: &str,
    decision: Decision,
    done: &str,
) -> Result<Exit, Stopped> {
    let call: CallId = call.parse().map_err(|error| Stopped::misuse(format!("{error}")))?;
    let question = Digest::from_str(question)
        .map_err(|error| Stopped::misuse(format!("--question names no question: {error}")))?;
    let prusik: Prusik = place.prusik()?;
    let id = find_run(&prusik, run).await?;
    let left = prusik.decide(&id, call, question, decision).await?;
    if place.json {
        put(&format!("{}\n", json!({"run": id, "done": done, "left": left})));
        return Ok(Exit::Done);
    }
    let option = place.option();
    if left.contains(&call) {
        put(&format!("call {call} is {done}; it takes somebody else's word, too\n"));
    } else {
        put(&format!("call {call} is {done}\n"));
    }
    if left.is_empty() {
        put(&format!("next: prusik{option} resume {id}\n"));
    } else {
        put(&format!("still asked about: prusik{option} inbox {id}\n"));
    }
    Ok(Exit::Done)
}
