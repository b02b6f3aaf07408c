//! Reading a run's journal in parts, side by side: decompressing and parsing take most of the time.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use prusik_core::ids::{RunId, Seq};
use prusik_core::record::{JournalError, Record};
use prusik_store::Store;
use tokio::task::JoinSet;

use crate::engine::EngineError;

/// Records that are read and parsed in one go: a few milliseconds of work.
const PART_RECORDS: usize = 2048;

/// Makes of a record what its reader wants to know; none if it does not want to know of it.
pub(crate) type Reader<T> = Arc<dyn Fn(&Record) -> Result<Option<T>, JournalError> + Send + Sync>;

/// Returns what `reader` makes of the `records`, in their order.
pub(crate) async fn read<T: Send + 'static>(
    store: Arc<dyn Store>,
    run: RunId,
    records: RangeInclusive<Seq>,
    reader: Reader<T>,
) -> Result<Vec<T>, EngineError> {
    let mut reading = JoinSet::new();
    let last = records.end().0;
    for from in (records.start().0..=last).step_by(PART_RECORDS) {
        let to = Seq(last.min(from + PART_RECORDS as u64 - 1));
        let (store, reader) = (Arc::clone(&store), Arc::clone(&reader));
        reading.spawn(read_part(store, run.clone(), Seq(from), to, reader));
    }
    let mut parts = BTreeMap::new();
    while let Some(read) = reading.join_next().await {
        let read = read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (from, part) = read?;
        parts.insert(from, part);
    }
    Ok(parts.into_values().flatten().collect())
}

async fn read_part<T>(
    store: Arc<dyn Store>,
    run: RunId,
    from: Seq,
    to: Seq,
    reader: Reader<T>,
) -> Result<(Seq, Vec<T>), EngineError> {
    let records = store.records(&run, from, to).await?;
    let read = records.iter().filter_map(|record| reader(record).transpose());
    let read = read.collect::<Result<_, _>>();
    Ok((from, read.map_err(|problem| EngineError::Journal { run, problem })?))
}
