//! Are answers what the contract says of them: in time, in shape, of the declared kind?

use std::time::Instant;

use super::{
    Claim, Found, Halt, Heard, Lab, Session, Tried, did_not_succeed, readings, untested, would_show,
};
use crate::certify::subject::{Sample, Subject};

pub async fn fits(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let heard = session.call(subject, &arguments, &lab.key("one")).await?;
    let evidence = session.close().await;
    match &heard {
        Heard::Returned(_) => Ok(Found::holds("the result fits", evidence)),
        Heard::Unfit { problem, .. } => Ok(Found::lie(problem.clone(), evidence)),
        Heard::Failed(_) | Heard::TimedOut { .. } | Heard::Lost(_) | Heard::NotSent(_) => {
            Err(did_not_succeed(sample, &heard))
        }
    }
}

pub async fn in_time(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let began = Instant::now();
    let heard = session.call(subject, &arguments, &lab.key("one")).await?;
    let ms = began.elapsed().as_millis();
    let evidence = session.close().await;
    let timeout_ms = subject.contract.timeout_ms;
    match &heard {
        Heard::Returned(_) | Heard::Unfit { .. } | Heard::Failed(_) => {
            Ok(Found::holds(format!("{ms} ms of {timeout_ms}"), evidence))
        }
        Heard::TimedOut { .. } => {
            Ok(Found::lie(format!("there is no answer after {timeout_ms} ms"), evidence))
        }
        Heard::Lost(_) | Heard::NotSent(_) => Err(did_not_succeed(sample, &heard)),
    }
}

pub async fn failure(lab: &Lab, subject: &Subject, claim: Claim, kind: &str) -> Tried {
    let about = |sample: &&Sample| sample.fails.as_deref() == Some(kind);
    let mut kept = Err(untested(format!(
        "no call that fails so is known; give one in `examples`, with `fails: {kind}`"
    )));
    for sample in subject.failing.iter().filter(about) {
        match failing(lab, subject, claim, kind, sample).await {
            Ok(found) if found.verdict == super::Verdict::Lie => return Ok(found),
            Err(Halt::Stopped(stopped)) => return Err(Halt::Stopped(stopped)),
            tried => kept = tried,
        }
    }
    kept
}

async fn failing(lab: &Lab, subject: &Subject, claim: Claim, kind: &str, sample: &Sample) -> Tried {
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let key = lab.key("one");
    let readings = readings(lab, subject, &arguments, &key);
    let before = session.world(&readings).await?;
    let heard = session.call(subject, &arguments, &key).await?;
    let (_, change) = session.change(&before, &readings).await?;
    let evidence = session.close().await;
    if claim == Claim::FailureAsDeclared {
        return match &heard {
            Heard::Failed(failure) if failure.kind == kind => {
                Ok(Found::holds("it is reported so", evidence))
            }
            Heard::Failed(failure) => {
                Ok(Found::lie(format!("it is reported as `{}`", failure.kind), evidence))
            }
            Heard::Returned(_) | Heard::Unfit { .. } => {
                Ok(Found::lie("it is reported as a success", evidence))
            }
            Heard::TimedOut { .. } | Heard::Lost(_) | Heard::NotSent(_) => {
                Err(untested(format!("the call that fails so gives no answer: {}", heard.told())))
            }
        };
    }
    match (&heard, change) {
        (Heard::Failed(failure), Some(change)) if failure.kind == kind => {
            Ok(Found::lie(format!("it did: {change}"), evidence))
        }
        (Heard::Failed(failure), None) if failure.kind == kind => {
            would_show(lab, subject).await?;
            Ok(Found::holds("all is as before", evidence))
        }
        (_, _) => Err(untested("the failure is not reported as declared")),
    }
}
