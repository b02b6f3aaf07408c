//! Does the probe tell the truth?

use prusik_core::expr::{self, ExprError};
use serde_json::Value;

use super::{Found, Halt, Lab, Loss, Reading, Session, Tried, untested};
use crate::certify::Effects;
use crate::certify::subject::{Sample, Subject};
use crate::certify::world::value_change;

/// What a probe says.
enum Said {
    Landed(Value),
    NotLanded,
    /// It gives no answer that means either.
    Nothing(String),
}

/// Returns the question that the probe asks; none if there is no probe, or it cannot be asked.
pub fn reading(lab: &Lab, subject: &Subject, arguments: &Value, key: &str) -> Option<Reading> {
    let probe = subject.contract.probe.as_ref()?;
    lab.subjects.get(&probe.tool)?;
    let filled = question(subject, arguments, key).ok()??;
    Some(Reading { tool: probe.tool.clone(), arguments: filled })
}

fn question(subject: &Subject, arguments: &Value, key: &str) -> Result<Option<Value>, ExprError> {
    let Some(probe) = &subject.contract.probe else { return Ok(None) };
    let key = Value::String(key.to_owned());
    expr::fill_arguments(&probe.arguments, &[("args", arguments), ("key", &key)]).map(Some)
}

/// Asks the probe as the runtime does.
async fn ask(
    lab: &Lab,
    session: &mut Session<'_>,
    subject: &Subject,
    arguments: &Value,
    key: &str,
) -> Result<Said, Halt> {
    let Some(probe) = &subject.contract.probe else { return Err(untested("it has no probe")) };
    let asked = lab.named(&probe.tool)?;
    let filled = match question(subject, arguments, key) {
        Ok(filled) => filled.unwrap_or_default(),
        Err(error) => return Ok(Said::Nothing(error.to_string())),
    };
    let heard = session.call(asked, &filled, &lab.key("probe")).await?;
    let Some(result) = heard.landed() else { return Ok(Said::Nothing(heard.told())) };
    let (result, key) = (result.value(), Value::String(key.to_owned()));
    let variables = [("result", &result), ("args", arguments), ("key", &key)];
    let said =
        probe.landed.eval_bool(&variables).and_then(|landed| match (landed, &probe.result) {
            (false, _) => Ok(Said::NotLanded),
            (true, None) => Ok(Said::Landed(result.clone())),
            (true, Some(expression)) => expression.eval(&variables).map(Said::Landed),
        });
    Ok(said.unwrap_or_else(|error| Said::Nothing(error.to_string())))
}

/// A session with the arguments and the key of the call that is asked about.
async fn begun<'a>(
    lab: &'a Lab,
    subject: &Subject,
    sample: &Sample,
) -> Result<(Session<'a>, Value, String), Halt> {
    if let Some(probe) = &subject.contract.probe {
        lab.named(&probe.tool)?;
    }
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    Ok((session, arguments, lab.key("one")))
}

pub async fn before(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    if lab.effects == Effects::Live {
        return Err(untested("a live server may have seen such a call before"));
    }
    let (mut session, arguments, key) = begun(lab, subject, sample).await?;
    let said = ask(lab, &mut session, subject, &arguments, &key).await?;
    let evidence = session.close().await;
    Ok(match said {
        Said::NotLanded => Found::holds("it says that nothing landed", evidence),
        Said::Landed(_) => Found::lie(
            "before any call it says that one landed: a call that is lost on its way would be taken \
             for made",
            evidence,
        ),
        Said::Nothing(problem) => Found::lie(format!("it says neither: {problem}"), evidence),
    })
}

/// Makes the call and asks.
async fn landed<'a>(
    lab: &'a Lab,
    subject: &Subject,
    sample: &Sample,
) -> Result<(Session<'a>, Value, Said), Halt> {
    let (mut session, arguments, key) = begun(lab, subject, sample).await?;
    let result = session.succeed(subject, sample, &arguments, &key).await?;
    let said = ask(lab, &mut session, subject, &arguments, &key).await?;
    Ok((session, result.value(), said))
}

pub async fn after(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let (session, _, said) = landed(lab, subject, sample).await?;
    let evidence = session.close().await;
    Ok(match said {
        Said::Landed(_) => Found::holds("it says that the call landed", evidence),
        Said::NotLanded => Found::lie("it says that a call which landed did not", evidence),
        Said::Nothing(problem) => Found::lie(format!("it says neither: {problem}"), evidence),
    })
}

pub async fn result(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let (session, returned, said) = landed(lab, subject, sample).await?;
    let evidence = session.close().await;
    match said {
        Said::Landed(told) => Ok(match value_change(&returned, &told) {
            None => Found::holds("it gives the same", evidence),
            Some(change) => Found::lie(format!("it gives something else{change}"), evidence),
        }),
        Said::NotLanded => Err(untested("it does not say that the call landed")),
        Said::Nothing(problem) => Err(untested(format!("it says neither: {problem}"))),
    }
}

pub async fn after_loss(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let mut evidence = Vec::new();
    for (loss, how) in [(Loss::Dropped, "was dropped"), (Loss::Cut, "was cut")] {
        let (mut session, arguments, key) = begun(lab, subject, sample).await?;
        session.lose(subject, &arguments, &key, loss).await?;
        let said = ask(lab, &mut session, subject, &arguments, &key).await?;
        evidence.extend(session.close().await);
        match said {
            Said::Landed(_) => {}
            Said::NotLanded => {
                let says = format!("when the answer {how} it says that the call did not land");
                return Ok(Found::lie(says, evidence));
            }
            Said::Nothing(problem) => {
                let says = format!("when the answer {how} it says neither: {problem}");
                return Ok(Found::lie(says, evidence));
            }
        }
    }
    Ok(Found::holds("it says so when the answer was dropped and when it was cut", evidence))
}
