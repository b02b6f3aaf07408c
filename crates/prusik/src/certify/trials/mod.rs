//! How each claim is tried.

mod answers;
mod garbage;
mod once;
mod probe;
mod read;

use prusik_core::contract::EffectClass;
use serde_json::Value;

use super::claim::{Claim, Judged, Verdict};
use super::heard::Heard;
use super::session::{Halt, Lab, Loss, Reading, Session, did_not_succeed, untested};
use super::subject::{Sample, Subject};
use super::world::World;
use crate::cli::Stopped;

/// What a trial found.
#[derive(Debug, Clone)]
struct Found {
    verdict: Verdict,
    says: String,
    evidence: Vec<String>,
}

impl Found {
    fn holds(says: impl Into<String>, evidence: Vec<String>) -> Self {
        Self { verdict: Verdict::Holds, says: says.into(), evidence }
    }

    fn lie(says: impl Into<String>, evidence: Vec<String>) -> Self {
        Self { verdict: Verdict::Lie, says: says.into(), evidence }
    }
}

type Tried = Result<Found, Halt>;

/// Returns what is claimed of a tool that can be tried, with the kind of failure where the claim is
/// about one. A read comes first of all tools: what other claims are judged by must be known first.
pub fn claims_of(subject: &Subject) -> Vec<(Claim, Option<String>)> {
    let contract = &subject.contract;
    let mut claims: Vec<Claim> = Vec::new();
    match contract.effect {
        EffectClass::Read => claims.push(Claim::ReadChangesNothing),
        EffectClass::Idempotent => claims.extend([
            Claim::RepeatLandsOnce,
            Claim::DroppedLandsOnce,
            Claim::CutLandsOnce,
            Claim::OverlapLandsOnce,
        ]),
        EffectClass::Write => {}
    }
    if let Some(probe) = &contract.probe {
        claims.extend([Claim::ProbeSeesNothing, Claim::ProbeSeesLanded, Claim::ProbeSeesLost]);
        if probe.result.is_some() {
            claims.push(Claim::ProbeGivesResult);
        }
    }
    if contract.undo.is_some() {
        claims.push(Claim::UndoReverses);
    }
    if subject.output_schema.is_some() || contract.empty_fails {
        claims.push(Claim::ResultAsDeclared);
    }
    claims.extend([Claim::AnswersInTime, Claim::SurvivesGarbage, Claim::RefusesGarbage]);
    if contract.effect != EffectClass::Read {
        claims.push(Claim::GarbageLandsNothing);
    }
    let kinds = contract.failures.keys().flat_map(|kind| {
        [Claim::FailureAsDeclared, Claim::FailureLandsNothing]
            .map(|claim| (claim, Some(kind.clone())))
    });
    let mut all: Vec<(Claim, Option<String>)> =
        claims.into_iter().map(|claim| (claim, None)).chain(kinds).collect();
    all.sort();
    all
}

/// One experiment, or a few that share one.
pub enum Job {
    Claim(Claim, Option<String>),
    Garbage,
}

/// Returns what there is to try of a tool, but for whether a read changes nothing.
pub fn jobs_of(subject: &Subject) -> Vec<Job> {
    let claims = claims_of(subject).into_iter().filter(|(claim, _)| {
        *claim != Claim::ReadChangesNothing && !garbage::CLAIMS.contains(claim)
    });
    claims.map(|(claim, kind)| Job::Claim(claim, kind)).chain([Job::Garbage]).collect()
}

/// Does a job.
pub async fn tried(lab: &Lab, subject: &Subject, job: Job) -> Result<Vec<Judged>, Stopped> {
    match job {
        Job::Claim(claim, kind) => {
            let tried = match &kind {
                Some(kind) => answers::failure(lab, subject, claim, kind).await,
                None => {
                    each_sample(subject, async |sample| one(lab, subject, claim, sample).await)
                        .await
                }
            };
            Ok(vec![judge(subject, claim, kind, tried)?])
        }
        Job::Garbage => {
            let mut found = garbage::tried(lab, subject).await;
            let claimed = claims_of(subject).into_iter().filter_map(|(claim, _)| {
                found.remove(&claim).map(|tried| judge(subject, claim, None, tried))
            });
            claimed.collect()
        }
    }
}

async fn one(lab: &Lab, subject: &Subject, claim: Claim, sample: &Sample) -> Tried {
    match claim {
        Claim::RepeatLandsOnce => once::repeated(lab, subject, sample).await,
        Claim::DroppedLandsOnce => once::lost(lab, subject, sample, Loss::Dropped).await,
        Claim::CutLandsOnce => once::lost(lab, subject, sample, Loss::Cut).await,
        Claim::OverlapLandsOnce => once::overlapping(lab, subject, sample).await,
        Claim::ProbeSeesNothing => probe::before(lab, subject, sample).await,
        Claim::ProbeSeesLanded => probe::after(lab, subject, sample).await,
        Claim::ProbeSeesLost => probe::after_loss(lab, subject, sample).await,
        Claim::ProbeGivesResult => probe::result(lab, subject, sample).await,
        Claim::UndoReverses => once::undone(lab, subject, sample).await,
        Claim::ResultAsDeclared => answers::fits(lab, subject, sample).await,
        Claim::AnswersInTime => answers::in_time(lab, subject, sample).await,
        Claim::ReadChangesNothing => read::changes_nothing(lab, subject, sample).await,
        Claim::FailureAsDeclared
        | Claim::FailureLandsNothing
        | Claim::SurvivesGarbage
        | Claim::RefusesGarbage
        | Claim::GarbageLandsNothing => Err(untested("it needs no call that succeeds")),
    }
}

/// Tries whether a read changes nothing.
pub async fn read(lab: &Lab, subject: &Subject) -> Result<Judged, Stopped> {
    let claim = Claim::ReadChangesNothing;
    let tried = each_sample(subject, async |sample| one(lab, subject, claim, sample).await).await;
    judge(subject, claim, None, tried)
}

fn judge(
    subject: &Subject,
    claim: Claim,
    kind: Option<String>,
    tried: Tried,
) -> Result<Judged, Stopped> {
    let found = match tried {
        Ok(found) => found,
        Err(Halt::Untested(says)) => {
            Found { verdict: Verdict::Untested, says, evidence: Vec::new() }
        }
        Err(Halt::Stopped(stopped)) => return Err(stopped),
    };
    let Found { verdict, says, evidence } = found;
    Ok(Judged { tool: subject.name.clone(), claim, kind, verdict, says, evidence })
}

/// Tries whether it would be seen if a call landed; that nothing is seen says nothing otherwise. A read
/// has nothing that could land: what it changes is another claim.
async fn would_show(lab: &Lab, subject: &Subject) -> Result<(), Halt> {
    if subject.contract.effect == EffectClass::Read {
        return Ok(());
    }
    let mut reason = untested(no_sample(subject));
    for sample in &subject.samples {
        match once::shows(lab, subject, sample).await {
            Ok(()) => return Ok(()),
            Err(Halt::Stopped(stopped)) => return Err(Halt::Stopped(stopped)),
            Err(halt) => reason = halt,
        }
    }
    Err(match reason {
        Halt::Untested(reason) => untested(format!("whether it would be seen: {reason}")),
        Halt::Stopped(stopped) => Halt::Stopped(stopped),
    })
}

/// Tries a claim with each call that is known of the tool. One that breaks it is enough; so is one that
/// it holds for, where others say nothing.
async fn each_sample(subject: &Subject, trial: impl AsyncFn(&Sample) -> Tried) -> Tried {
    let mut kept = Err(untested(no_sample(subject)));
    for sample in &subject.samples {
        match trial(sample).await {
            Ok(found) if found.verdict == Verdict::Lie => return Ok(found),
            Ok(found) => kept = Ok(found),
            Err(Halt::Stopped(stopped)) => return Err(Halt::Stopped(stopped)),
            Err(reason) if kept.is_err() => kept = Err(reason),
            Err(Halt::Untested(_)) => {}
        }
    }
    kept
}

fn no_sample(subject: &Subject) -> String {
    let problem = subject.problem.as_deref().unwrap_or("there is none");
    format!("no call of it is known: {problem}; give `examples` in its contract")
}

/// Returns the reads that tell of the world when `subject` is tried: all but itself, and its probe.
fn readings(lab: &Lab, subject: &Subject, arguments: &Value, key: &str) -> Vec<Reading> {
    let others = lab.observers.iter().filter(|reading| reading.tool != subject.name);
    let mut readings: Vec<Reading> = others.cloned().collect();
    readings.extend(probe::reading(lab, subject, arguments, key));
    readings
}

/// Returns how the first call changed the world; that it did not is why nothing can be learned.
fn visible(before: &World, after: &World) -> Result<String, Halt> {
    before.change(after).ok_or_else(|| {
        untested(
            "what it changes cannot be seen in the project's folder, nor do the named reads tell it; \
             name one that does, and give its `examples`",
        )
    })
}
