//! What is checked of a step before it is sent to any store's writer.

use prusik_core::ids::{Digest, Fence, RunId, Seq};
use prusik_core::record::{Head, JournalError};

use crate::encoding::VALUE_BYTES_MAX;
use crate::{Append, RunRow, Signal, StoreError};

/// The longest run id, in bytes.
const RUN_ID_BYTES_MAX: usize = 256;
/// The most records, blobs or references of one step.
const STEP_ITEMS_MAX: usize = 100_000;
/// The longest message to a driver, in bytes.
const SIGNAL_BYTES_MAX: usize = 64 << 10;
/// The most messages that wait for one run.
pub const SIGNALS_WAITING_MAX: usize = 1000;

/// Checks what needs no store: limits, and that blobs are what their digests say.
pub fn check_step(step: &Append) -> Result<(), StoreError> {
    let run = &step.lease.run;
    let items = step.records.len().max(step.blobs.len()).max(step.refs.len());
    if items > STEP_ITEMS_MAX {
        return Err(too_large(run, &format!("a step of {items} items"), STEP_ITEMS_MAX));
    }
    for record in &step.records {
        check_length(run, &format!("record {}", record.seq), record.body.len())?;
    }
    if let Some(snapshot) = &step.snapshot {
        check_length(run, "the snapshot", snapshot.bytes.len())?;
    }
    for blob in &step.blobs {
        check_length(run, "a blob", blob.bytes.len())?;
        if Digest::of(&blob.bytes) != blob.digest {
            return Err(StoreError::Corrupt {
                at: format!("blob {}", blob.digest),
                detail: "its bytes do not match its digest; nothing was stored".to_owned(),
            });
        }
    }
    Ok(())
}

/// Returns the bytes that a step keeps in memory while it waits.
pub fn step_bytes(step: &Append) -> usize {
    let RunRow { agent, task, note, .. } = &step.row;
    step.records.iter().map(|record| record.body.len() + 128).sum::<usize>()
        + step.blobs.iter().map(|blob| blob.bytes.len() + 64).sum::<usize>()
        + step.refs.len() * 32
        + step.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes.len())
        + agent.len()
        + task.len()
        + note.len()
}

/// Checks that the step's records continue the journal, unchanged, and that its snapshot stands at
/// a record; returns the new head. `stored_hash` finds records that are older than the step.
pub fn follow<E: From<StoreError>>(
    step: &Append,
    head: Head,
    stored_hash: impl FnOnce(Seq) -> Result<Option<Digest>, E>,
) -> Result<Head, E> {
    let run = &step.lease.run;
    let mut new_head = head;
    for record in &step.records {
        new_head.follow(record).map_err(|error| broken(run, error))?;
    }
    if let Some(snapshot) = &step.snapshot {
        let seq = snapshot.head.seq;
        let hash = if seq == head.seq && seq > Seq(0) {
            Some(head.hash)
        } else if seq > head.seq {
            step.records.iter().find(|record| record.seq == seq).map(|record| record.hash)
        } else {
            stored_hash(seq)?
        };
        if hash != Some(snapshot.head.hash) {
            return Err(E::from(StoreError::Corrupt {
                at: format!("the new snapshot of run {run}"),
                detail: format!("record {seq} of the journal is another one; nothing was stored"),
            }));
        }
    }
    Ok(new_head)
}

fn broken(run: &RunId, error: JournalError) -> StoreError {
    match error {
        JournalError::Gap { expected, found } => StoreError::OutOfOrder {
            run: run.clone(),
            head: Seq(expected.0 - 1),
            got: Seq(found.0.saturating_sub(1)),
        },
        error @ (JournalError::HashMismatch { .. }
        | JournalError::NewerFormat { .. }
        | JournalError::Unreadable { .. }
        | JournalError::Empty
        | JournalError::NoStart
        | JournalError::WrongDefinition { .. }) => StoreError::Corrupt {
            at: format!("the new step of run {run}"),
            detail: format!("{error}; nothing was stored"),
        },
    }
}

pub fn check_run_id(run: &RunId) -> Result<(), StoreError> {
    let bytes = run.as_str().len();
    if bytes == 0 || bytes > RUN_ID_BYTES_MAX {
        return Err(StoreError::Io {
            at: format!("run id of {bytes} bytes"),
            detail: format!("an id has 1 to {RUN_ID_BYTES_MAX} bytes"),
        });
    }
    Ok(())
}

/// Returns the signal as JSON, if it is not too long.
pub fn signal_json(run: &RunId, signal: &Signal) -> Result<String, StoreError> {
    let json = serde_json::to_string(signal).expect("a signal is plain data");
    if json.len() > SIGNAL_BYTES_MAX {
        return Err(too_large(run, "a signal", SIGNAL_BYTES_MAX));
    }
    Ok(json)
}

pub fn too_many_signals(run: &RunId) -> StoreError {
    StoreError::Io {
        at: format!("run {run}"),
        detail: format!(
            "{SIGNALS_WAITING_MAX} messages already wait for its driver; `prusik resume {run}` \
             lets one read them"
        ),
    }
}

pub fn fenced(run: &RunId) -> StoreError {
    StoreError::Fenced { run: run.clone() }
}

pub fn unknown(run: &RunId) -> StoreError {
    StoreError::UnknownRun { run: run.clone() }
}

pub const FIRST_FENCE: Fence = Fence(1);

fn check_length(run: &RunId, what: &str, bytes: usize) -> Result<(), StoreError> {
    if bytes > VALUE_BYTES_MAX {
        return Err(too_large(run, &format!("{what} with {bytes} bytes"), VALUE_BYTES_MAX));
    }
    Ok(())
}

fn too_large(run: &RunId, what: &str, limit: usize) -> StoreError {
    StoreError::Io {
        at: format!("run {run}"),
        detail: format!("{what} is above the limit of {limit}; nothing was stored"),
    }
}
