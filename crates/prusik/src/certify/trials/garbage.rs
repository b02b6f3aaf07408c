//! Does garbage get an error, and nothing worse?

use std::collections::BTreeMap;
use std::time::Duration;

use prusik_core::contract::EffectClass;
use serde_json::{Value, json};

use super::{Claim, Found, Halt, Heard, Lab, Session, Tried, no_sample, readings, untested};
use crate::certify::garbage::{Due, Garbage, garbage};
use crate::certify::subject::Subject;
use crate::cli::text::one_line;

/// Garbage is waited for no longer than this, however long the tool may take for its work.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest garbage that is told.
const SHOWN_CHARS_MAX: usize = 100;

/// What came of all garbage.
#[derive(Default)]
struct Heap {
    evidence: Vec<String>,
    died: Option<String>,
    accepted: Option<String>,
    landed: Option<String>,
    refused: usize,
    answered: usize,
    forbidden: usize,
}

/// Sends garbage to a tool and judges the three claims about it.
pub async fn tried(lab: &Lab, subject: &Subject) -> BTreeMap<Claim, Tried> {
    let claims = [Claim::SurvivesGarbage, Claim::RefusesGarbage, Claim::GarbageLandsNothing];
    match heap(lab, subject).await {
        Ok(heap) => claims.map(|claim| (claim, judged(&heap, claim))).into_iter().collect(),
        Err(Halt::Untested(reason)) => {
            claims.map(|claim| (claim, Err(untested(reason.clone())))).into_iter().collect()
        }
        Err(stopped) => [(Claim::SurvivesGarbage, Err(stopped))].into_iter().collect(),
    }
}

fn judged(heap: &Heap, claim: Claim) -> Tried {
    let evidence = heap.evidence.clone();
    let (problem, holds) = match claim {
        Claim::RefusesGarbage => {
            (&heap.accepted, format!("{} of {} got an error", heap.refused, heap.forbidden))
        }
        Claim::GarbageLandsNothing => {
            (&heap.landed, format!("after {} that got an error all is as before", heap.refused))
        }
        _ => (&heap.died, format!("{} of {} answered", heap.answered, heap.answered)),
    };
    match problem {
        Some(problem) => Ok(Found::lie(problem.clone(), evidence)),
        None if claim != Claim::SurvivesGarbage && heap.forbidden == 0 => {
            Err(untested("nothing was tried that its schema forbids"))
        }
        None => Ok(Found::holds(holds, evidence)),
    }
}

async fn heap(lab: &Lab, subject: &Subject) -> Result<Heap, Halt> {
    let mut session = Session::open(lab).await?;
    let good = good_arguments(&mut session, subject).await?;
    let good = subject.with_key(&good, &lab.key("garbage"));
    let readings = if subject.contract.effect == EffectClass::Read {
        Vec::new()
    } else {
        readings(lab, subject, &json!({}), "")
    };
    let mut heap = Heap::default();
    let mut before = session.world(&readings).await?;
    for Garbage { what, arguments, fault, due } in garbage(&subject.input_schema, &good) {
        if subject.denied(&arguments).is_some() {
            continue;
        }
        let limit = LIMIT.min(Duration::from_millis(subject.contract.timeout_ms));
        let starts = session.starts(subject);
        let heard = match &fault {
            Some(fault) => match session.call_with(subject, &arguments, fault, limit).await {
                Err(Halt::Untested(_)) => continue,
                heard => heard?,
            },
            None => session.call_raw(subject, &arguments, limit).await?,
        };
        heap.evidence.push(format!("{what} → {}", one_line(&heard.told(), SHOWN_CHARS_MAX)));
        if due == Due::Error {
            heap.forbidden += 1;
        }
        match &heard {
            Heard::TimedOut { .. } | Heard::Lost(_) | Heard::NotSent(_) => {
                heap.died = Some(format!("{what}: {}", heard.told()));
                break;
            }
            Heard::Failed(_) => {
                heap.answered += 1;
                heap.refused += usize::from(due == Due::Error);
            }
            Heard::Returned(_) | Heard::Unfit { .. } => {
                heap.answered += 1;
                if due == Due::Error {
                    heap.accepted.get_or_insert(format!("{what}: {}", heard.told()));
                }
            }
        }
        if session.starts(subject) != starts {
            heap.died = Some(format!("{what}: the server ended after its answer"));
            break;
        }
        let world = session.world(&readings).await?;
        let was_refused = matches!(heard, Heard::Failed(_)) && due == Due::Error;
        if let Some(change) = before.change(&world).filter(|_| was_refused) {
            heap.landed.get_or_insert(format!("{what}: {change}"));
        }
        before = world;
    }
    if heap.died.is_none() {
        still_answers(&session, subject, &mut heap).await;
    }
    session.close().await;
    Ok(heap)
}

/// After all that the server still lists its tools, and is the same process.
async fn still_answers(
    session: &Session<'_>,
    subject: &Subject,
    heap: &mut Heap,
) {
    let starts = session.starts(subject);
    match tokio::time::timeout(LIMIT, session.connect()).await {
        Ok(Ok(())) if session.starts(subject) == starts => {}
        Ok(Ok(())) => heap.died = Some("after all garbage the server had ended".to_owned()),
        Ok(Err(stopped)) => heap.died = Some(format!("after all garbage: {}", stopped.message)),
        Err(_) => heap.died = Some("after all garbage it lists its tools no more".to_owned()),
    }
}

async fn good_arguments(session: &mut Session<'_>, subject: &Subject) -> Result<Value, Halt> {
    let mut reason = untested(no_sample(subject));
    for sample in subject.samples.iter().chain(&subject.failing) {
        match session.prepare(subject, sample).await {
            Ok(arguments) => return Ok(arguments),
            Err(Halt::Stopped(stopped)) => return Err(Halt::Stopped(stopped)),
            Err(halt) => reason = halt,
        }
    }
    Err(reason)
}
