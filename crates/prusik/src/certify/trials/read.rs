//! Does a read change anything that can be seen?

use super::{Found, Tried, Verdict, did_not_succeed};
use crate::certify::session::{Lab, Reading, Session};
use crate::certify::subject::{Sample, Subject};
use crate::certify::world::value_change;
use crate::scratch::timeless;

pub async fn changes_nothing(lab: &Lab, subject: &Subject, sample: &Sample) -> Tried {
    let mut session = Session::open(lab).await?;
    let arguments = session.prepare(subject, sample).await?;
    let others: Vec<Reading> =
        lab.observers.iter().filter(|reading| reading.tool != subject.name).cloned().collect();
    // Asked twice, so that what changes by itself is not laid at this tool's door.
    let first = session.world(&others).await?;
    let mut before = session.world(&others).await?;
    before.drop_unsteady(&first);

    let files = session.files()?;
    let heard = session.call(subject, &arguments, &lab.key("read")).await?;
    let again = session.call(subject, &arguments, &lab.key("read")).await?;
    // Before the others are asked: one of them may be the one that lies.
    if let Some(change) = files.file_change(&session.files()?) {
        return Ok(Found::lie(format!("it changes a file: {change}"), session.close().await));
    }
    let after = session.world(&others).await?;
    let change = session.read_change(&before, &after, &others).await?;
    if let Some(change) = change {
        return Ok(Found::lie(format!("after it, {change}"), session.close().await));
    }
    if heard.landed().is_none() {
        return Err(did_not_succeed(sample, &heard));
    }
    // Times tell of nothing that was done; all else that it tells otherwise it may have done itself.
    let (first, second) = (timeless(&heard.value()), timeless(&again.value()));
    if let Some(change) = value_change(&first, &second) {
        return Ok(Found {
            verdict: Verdict::Untested,
            says: format!(
                "called again it answers otherwise{change}; it may count or use up what it reads: give \
                 an example that is answered the same twice, or call it a write"
            ),
            evidence: session.close().await,
        });
    }
    let says = match before.reads.len() {
        0 => "no file is changed; no other read was named that could tell more".to_owned(),
        1 => "no file is changed, and another read tells the same".to_owned(),
        others => format!("no file is changed, and {others} other reads tell the same"),
    };
    Ok(Found::holds(says, session.close().await))
}
