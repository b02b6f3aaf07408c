//! Checking a whole journal, record by record.

use prusik_core::ids::{RunId, Seq};
use prusik_core::record::{self, Head, JournalError};

use crate::{Store, StoreError};

/// Why a journal could not be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Reads the journal of `run` from its first record to its last and returns its head. It finds
/// changed, missing and reordered records, those at the end included.
pub async fn verify(store: &dyn Store, run: &RunId) -> Result<Head, VerifyError> {
    let records = store.records(run, Seq(1), Seq(u64::MAX)).await?;
    let head = record::verify(&records)?;
    // A chain that was cut at its end is whole in itself; loading compares it with the stored head.
    store.load(run).await?;
    Ok(head)
}
