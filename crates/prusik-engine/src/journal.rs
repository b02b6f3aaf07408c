//! Reading a run's journal in parts, side by side: decompressing and parsing take most of the time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use prusik_core::event::Event;
use prusik_core::ids::{RunId, Seq};
use prusik_core::record::Record;
use prusik_store::Store;
use tokio::task::JoinSet;

use crate::engine::EngineError;

/// Records that are read and parsed in one go: a few milliseconds of work.
const PART_RECORDS: usize = 2048;

/// Which records are parsed. Deciding must be cheaper than parsing.
pub(crate) type Wanted = Arc<dyn Fn(&Record) -> bool + Send + Sync>;

/// Returns the events of `records` that are wanted, in their order.
pub(crate) async fn read_events(
    store: Arc<dyn Store>,
    run: RunId,
    records: RangeInclusive<Seq>,
    wanted: Wanted,
) -> Result<Vec<(Seq, Event)>, EngineError> {
    let mut reading = JoinSet::new();
    let last = records.end().0;
    for from in (records.start().0..=last).step_by(PART_RECORDS) {
        let to = Seq(last.min(from + PART_RECORDS as u64 - 1));
        let (store, wanted) = (Arc::clone(&store), Arc::clone(&wanted));
        reading.spawn(read_part(store, run.clone(), Seq(from), to, wanted));
    }
    let mut parts = BTreeMap::new();
    while let Some(read) = reading.join_next().await {
        let read = read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (from, events) = read?;
        parts.insert(from, events);
    }
    Ok(parts.into_values().flatten().collect())
}

async fn read_part(
    store: Arc<dyn Store>,
    run: RunId,
    from: Seq,
    to: Seq,
    wanted: Wanted,
) -> Result<(Seq, Vec<(Seq, Event)>), EngineError> {
    let records = store.records(&run, from, to).await?;
    let events = records
        .iter()
        .filter(|record| wanted(record))
        .map(|record| Ok((record.seq, record.event()?)))
        .collect::<Result<_, _>>();
    Ok((from, events.map_err(|problem| EngineError::Journal { run, problem })?))
}
