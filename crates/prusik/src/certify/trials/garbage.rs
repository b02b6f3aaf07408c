//! Does garbage get an error, and nothing worse?

use std::collections::BTreeMap;
use std::time::Duration;

use prusik_core::contract::EffectClass;
use serde_json::{Value, json};

use super::{
    Claim, Found, Halt, Heard, Lab, Session, Tried, Verdict, no_sample, readings, untested,
    would_show,
};
use crate::certify::garbage::{Due, Garbage, garbage};
use crate::certify::subject::Subject;
use crate::cli::text::one_line;

/// Garbage is waited for no longer than this, however long the tool may take for its work.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest garbage that is told.
const SHOWN_CHARS_MAX: usize = 100;

/// What came of all garbage. A problem comes with the line of evidence that shows it.
#[derive(Default)]
struct Heap {
    evidence: Vec<String>,
    died: Option<(String, String)>,
    accepted: Option<(String, String)>,
    landed: Option<(String, String)>,
    refused: usize,
    answered: usize,
    forbidden: usize,
}

impl Heap {
    fn died(&mut self, problem: impl Into<String>) {
        let line = self.evidence.last().cloned().unwrap_or_default();
        self.died = Some((problem.into(), line));
    }
}

/// What garbage is about.
pub const CLAIMS: [Claim; 3] =
    [Claim::SurvivesGarbage, Claim::RefusesGarbage, Claim::GarbageLandsNothing];

/// Sends garbage to a tool and judges the three claims about it.
pub async fn tried(lab: &Lab, subject: &Subject) -> BTreeMap<Claim, Tried> {
    let heap = match heap(lab, subject).await {
        Ok(heap) => heap,
        Err(Halt::Untested(reason)) => {
            return CLAIMS
                .map(|claim| (claim, Err(untested(reason.clone()))))
                .into_iter()
                .collect();
        }
        Err(stopped) => return [(Claim::SurvivesGarbage, Err(stopped))].into_iter().collect(),
    };
    let mut found: BTreeMap<Claim, Tried> =
        CLAIMS.map(|claim| (claim, judged(&heap, claim))).into_iter().collect();
    let landed = found.get(&Claim::GarbageLandsNothing);
    if matches!(landed, Some(Ok(found)) if found.verdict == Verdict::Holds)
        && let Err(halt) = would_show(lab, subject).await
    {
        found.insert(Claim::GarbageLandsNothing, Err(halt));
    }
    found
}

fn judged(heap: &Heap, claim: Claim) -> Tried {
    let (problem, holds) = match claim {
        Claim::RefusesGarbage => {
            (&heap.accepted, format!("{} of {} got an error", heap.refused, heap.forbidden))
        }
        Claim::GarbageLandsNothing => {
            (&heap.landed, format!("after {} that got an error all is as before", heap.refused))
        }
        _ => (&heap.died, format!("{} kinds of it were answered", heap.answered)),
    };
    match problem {
        Some((problem, line)) => Ok(Found::lie(problem.clone(), vec![line.clone()])),
        None if claim != Claim::SurvivesGarbage && heap.forbidden == 0 => {
            Err(untested("nothing was tried that its schema forbids"))
        }
        None if claim == Claim::GarbageLandsNothing && heap.refused == 0 => {
            Err(untested("nothing that its schema forbids got an error"))
        }
        None => Ok(Found::holds(holds, heap.evidence.clone())),
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
            Heard::TimedOut { .. } if due == Due::Answer => {
                // A call that is in order tells whether it was the garbage that took so long.
                if let Heard::TimedOut { .. } = session.call_raw(subject, &good, limit).await? {
                    return Err(untested(
                        "calls that are in order are not answered in time either",
                    ));
                }
                heap.died(format!("{what}: {}", heard.told()));
                break;
            }
            Heard::TimedOut { .. } | Heard::Lost(_) | Heard::NotSent(_) => {
                heap.died(format!("{what}: {}", heard.told()));
                break;
            }
            Heard::Failed(_) => {
                heap.answered += 1;
                heap.refused += usize::from(due == Due::Error);
            }
            Heard::Returned(_) | Heard::Unfit { .. } => {
                heap.answered += 1;
                if due == Due::Error {
                    let line = heap.evidence.last().cloned().unwrap_or_default();
                    let says = format!("{what}: {}", heard.told());
                    heap.accepted.get_or_insert((says, line));
                }
            }
        }
        if session.starts(subject) != starts {
            heap.died(format!("{what}: the server ended after its answer"));
            break;
        }
        let (world, change) = session.change(&before, &readings).await?;
        let was_refused = matches!(heard, Heard::Failed(_)) && due == Due::Error;
        if let Some(change) = change.filter(|_| was_refused) {
            let line = heap.evidence.last().cloned().unwrap_or_default();
            heap.landed.get_or_insert((format!("{what}: {change}"), line));
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
async fn still_answers(session: &Session<'_>, subject: &Subject, heap: &mut Heap) {
    let starts = session.starts(subject);
    match tokio::time::timeout(LIMIT, session.connect()).await {
        Ok(Ok(_)) if session.starts(subject) == starts => {}
        Ok(Ok(_)) => heap.died("after all garbage the server had ended"),
        Ok(Err(stopped)) => heap.died(format!("after all garbage: {}", stopped.message)),
        Err(_) => heap.died("after all garbage it lists its tools no more"),
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
