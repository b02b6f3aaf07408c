//! Does a call with the same key land once, and does its undo take it back?

use prusik_core::contract::KeyPlace;
use prusik_core::expr;
use prusik_core::outcome::ToolResult;
use serde_json::Value;

use super::{Found, Halt, Heard, Lab, Loss, Reading, Session, Tried, readings, untested, visible};
use crate::certify::Effects;
use crate::certify::subject::{Sample, Subject};
use crate::certify::world::{Likeness, World};

/// The purpose of the key that calls share which must land once.
const ONE: &str = "one";

/// A session in which one call has landed.
struct Landed<'a> {
    session: Session<'a>,
    arguments: Value,
    key: String,
    readings: Vec<Reading>,
    before: World,
    world: World,
    result: ToolResult,
}

async fn landed<'a>(lab: &'a Lab, subject: &Subject, sample: &Sample) -> Result<Landed<'a>, Halt> {
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let key = lab.key(ONE);
    let readings = readings(lab, subject, &arguments, &key);
    let before = session.world(&readings).await?;
    let result = session.succeed(subject, sample, &arguments, &key).await?;
    let world = session.world(&readings).await?;
    Ok(Landed { session, arguments, key, readings, before, world, result })
}

/// Tries whether a call that lands is seen.
pub async fn shows(lab: &Lab, subject: &Subject, sample: &Sample) -> Result<(), Halt> {
    let Landed { session, before, world, .. } = landed(lab, subject, sample).await?;
    session.close().await;
    visible(&before, &world).map(|_| ())
}

pub async fn repeated(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let Landed { mut session, arguments, key, readings, before, world, .. } =
        landed(lab, subject, sample).await?;
    let seen = visible(&before, &world)?;
    let again = session.call(subject, &arguments, &key).await?;
    let (twice, change) = session.change(&world, &readings).await?;
    if let Some(change) = change {
        return Ok(Found::lie(
            format!("the second call lands, too: {change}"),
            session.close().await,
        ));
    }
    if let Some(problem) = refused(&again) {
        return Ok(Found::lie(problem, session.close().await));
    }
    let mut says = format!("after the first call {seen}; the second changes nothing");
    if subject.contract.key != Some(KeyPlace::Call) {
        let other = session.call(subject, &arguments, &lab.key("another")).await?;
        let apart = twice.change(&session.world(&readings).await?);
        says.push_str(match apart {
            Some(_) => "; with another key it lands again",
            None if other.landed().is_some() => {
                "; nor does one with another key, so that the key itself was not put to the test"
            }
            None => "; one with another key fails",
        });
    }
    Ok(Found::holds(says, session.close().await))
}

/// A repeated call must be answered as the first one was: the runtime believes what it hears.
fn refused(again: &Heard) -> Option<String> {
    again.landed().is_none().then(|| {
        format!("it landed, and repeated it is answered as if it had not: {}", again.told())
    })
}

pub async fn lost(lab: &Lab, subject: &Subject, sample: &Sample, loss: Loss) -> Tried {
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let key = lab.key(ONE);
    let readings = readings(lab, subject, &arguments, &key);
    let before = session.world(&readings).await?;
    session.lose(subject, &arguments, &key, loss).await?;
    let world = session.world(&readings).await?;
    visible(&before, &world)?;
    let again = session.call(subject, &arguments, &key).await?;
    let (_, change) = session.change(&world, &readings).await?;
    if let Some(change) = change {
        return Ok(Found::lie(
            format!("the repeated call lands, too: {change}"),
            session.close().await,
        ));
    }
    if let Some(problem) = refused(&again) {
        return Ok(Found::lie(problem, session.close().await));
    }
    Ok(Found::holds(
        "the lost call landed, and the repeated one changes nothing",
        session.close().await,
    ))
}

pub async fn overlapping(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    if lab.effects == Effects::Live {
        return Err(untested(
            "what one call leaves is compared in fresh folders, which a live server has not",
        ));
    }
    // What one call leaves, twice, to know what of it varies by itself.
    let one = landed(lab, subject, sample).await?;
    one.session.close().await;
    visible(&one.before, &one.world)?;
    let other = landed(lab, subject, sample).await?;
    other.session.close().await;
    let likeness = Likeness::of(&one.world, &other.world);
    if likeness.unlike(&one.before).is_none() {
        return Err(untested("what one call leaves varies too much from one time to the next"));
    }

    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let readings = readings(lab, subject, &arguments, &one.key);
    let before = session.world(&readings).await?;
    let (again, first_failed) = session.overlap(subject, &arguments, &one.key).await?;
    let world = session.world(&readings).await?;
    if let Some(unlike) = likeness.unlike(&world) {
        let says = format!("not as after one call: {unlike}");
        return Ok(Found::lie(says, session.close().await));
    }
    if let Some(problem) = refused(&again) {
        return Ok(Found::lie(problem, session.close().await));
    }
    if first_failed {
        let says = "made twice at once, it lands, and one of the two is answered as if it had not";
        return Ok(Found::lie(says, session.close().await));
    }
    visible(&before, &world)?;
    Ok(Found::holds("all is as after one call", session.close().await))
}

pub async fn undone(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let Some(undo) = &subject.contract.undo else { return Err(untested("it has no undo")) };
    let undoer = lab.named(&undo.tool)?;
    let Landed { mut session, arguments, readings, before, world, result, .. } =
        landed(lab, subject, sample).await?;
    let seen = visible(&before, &world)?;
    let result = result.value();
    let variables = [("args", &arguments), ("result", &result)];
    let filled = match expr::fill_arguments(&undo.arguments, &variables) {
        Ok(filled) => filled,
        Err(error) => {
            return Ok(Found::lie(
                format!("what undoes it cannot be said: {error}"),
                session.close().await,
            ));
        }
    };
    let heard = session.call(undoer, &filled, &lab.key("undo")).await?;
    if heard.landed().is_none() {
        return Ok(Found::lie(format!("the undo fails: {}", heard.told()), session.close().await));
    }
    let (_, change) = session.change(&before, &readings).await?;
    match change {
        None => {
            let says = format!("after the call {seen}; after its undo all is as before");
            Ok(Found::holds(says, session.close().await))
        }
        Some(change) => Ok(Found::lie(format!("after the undo, {change}"), session.close().await)),
    }
}
