//! What is read from the database, over connections of its own, beside the writer.

use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use prusik_core::ids::{Digest, RunId, Seq, Timestamp};
use prusik_core::record::{FormatVersion, Head, JournalError, Record};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Semaphore;

use super::error::Failure;
use super::schema::open_reader;
use crate::encoding::unpack;
use crate::prepare::unknown;
use crate::{Filter, Loaded, Pruned, RunRow, Snapshot, StoreError};

/// The most connections that read at once.
const READERS_MAX: usize = 4;

/// From this many records on it pays to unpack and check them on several threads.
const PARALLEL_RECORDS_MIN: usize = 2000;

/// Tells an old run: it ended, and its last record is older than `?1`.
pub const OLD_RUN: &str = "ended <> 0
    AND (SELECT at FROM log WHERE log.run = runs.key AND log.seq = runs.head_seq) < ?1";

/// Connections for reading, opened as they are needed and used again.
#[derive(Debug)]
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_owned(),
            idle: Mutex::default(),
            permits: Semaphore::new(READERS_MAX),
        })
    }

    /// Reads on a thread that may block, in one transaction, so that all of it is of one instant.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.permits.acquire().await.expect("it is never closed");
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            readers.read_now(work).map_err(|failure| failure.at(&readers.path))
        });
        task.await.unwrap_or_else(|error| {
            Err(StoreError::Io { at: self.path.display().to_string(), detail: error.to_string() })
        })
    }

    fn read_now<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = idle.map_or_else(|| open_reader(&self.path), Ok)?;
        let transaction = conn.unchecked_transaction()?;
        let value = work(&conn)?;
        transaction.commit()?;
        // A connection that failed is not kept.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        Ok(value)
    }
}

/// Returns the number as SQLite's largest if it is larger: for comparing, not for storing.
pub fn saturate(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Finds a run that has records.
pub fn run_key(conn: &Connection, run: &RunId) -> Result<i64, Failure> {
    Ok(run_head(conn, run)?.0)
}

fn run_head(conn: &Connection, run: &RunId) -> Result<(i64, Head), Failure> {
    conn.prepare_cached(
        "SELECT key, head_seq, head_hash FROM runs WHERE id = ?1 AND head_seq <> 0",
    )?
    .query_row([run.as_str()], |row| {
        Ok((row.get(0)?, Head { seq: seq(row, 1)?, hash: digest(row, 2)? }))
    })
    .optional()?
    .ok_or_else(|| unknown(run).into())
}

/// Returns the hash of a record, if it exists.
pub fn hash_of(conn: &Connection, run_key: i64, at: Seq) -> rusqlite::Result<Option<Digest>> {
    conn.prepare_cached("SELECT hash FROM log WHERE run = ?1 AND seq = ?2")?
        .query_row(params![run_key, saturate(at.0)], |row| digest(row, 0))
        .optional()
}

/// Reads what a driver needs to go on, and checks it.
pub fn load(conn: &Connection, run: &RunId) -> Result<Loaded, Failure> {
    let (key, head) = run_head(conn, run)?;
    let snapshot = read_snapshot(conn, key, run)?;
    let start = snapshot.as_ref().map_or(Head::START, |snapshot| snapshot.head);
    let records = read_records(conn, key, start.seq.next(), head.seq)?;
    let damaged = |detail: String| StoreError::Corrupt {
        at: format!("the journal of run {run}"),
        detail: format!("{detail}; `prusik events {run} --verify` checks all of it"),
    };
    let reached = follow(start, &records).map_err(|error| damaged(error.to_string()))?;
    if reached.seq < head.seq {
        return Err(damaged(format!("record {} is missing", reached.seq.next())).into());
    }
    if reached != head {
        return Err(damaged(format!("record {} is not the one last appended", head.seq)).into());
    }
    Ok(Loaded { snapshot, records })
}

/// Reads the snapshot. One that is damaged is left out: the records say the same.
fn read_snapshot(
    conn: &Connection,
    run_key: i64,
    run: &RunId,
) -> Result<Option<Snapshot>, Failure> {
    let found = conn
        .prepare_cached("SELECT seq, hash, encoding, digest, bytes FROM snapshots WHERE run = ?1")?
        .query_row([run_key], |row| {
            let head = Head { seq: seq(row, 0)?, hash: digest(row, 1)? };
            let bytes = unpack(row.get(2)?, row.get_ref(4)?.as_blob()?);
            Ok((head, bytes, digest(row, 3)?))
        })
        .optional()?;
    let Some((head, bytes, digest)) = found else { return Ok(None) };
    let stands = hash_of(conn, run_key, head.seq)? == Some(head.hash);
    let snapshot = bytes
        .filter(|bytes| stands && Digest::of(bytes) == digest)
        .map(|bytes| Snapshot { head, bytes });
    if snapshot.is_none() {
        tracing::warn!(%run, "the snapshot is damaged; the whole journal is read instead");
    }
    Ok(snapshot)
}

/// Reads records as they are, right or wrong.
pub fn records(conn: &Connection, run: &RunId, from: Seq, to: Seq) -> Result<Vec<Record>, Failure> {
    Ok(read_records(conn, run_key(conn, run)?, from, to)?)
}

fn read_records(
    conn: &Connection,
    run_key: i64,
    from: Seq,
    to: Seq,
) -> rusqlite::Result<Vec<Record>> {
    let mut select = conn.prepare_cached(
        "SELECT seq, at, version, encoding, hash, body FROM log
         WHERE run = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
    )?;
    let rows = select
        .query_map(params![run_key, saturate(from.0), saturate(to.0)], read_record)?
        .collect::<Result<Vec<_>, _>>()?;
    let parts = in_parts(rows.len(), |part| rows[part].iter().map(unpacked).collect::<Vec<_>>());
    Ok(parts.into_iter().flatten().collect())
}

/// Reads a record, its body still packed.
fn read_record(row: &Row<'_>) -> rusqlite::Result<(Record, i64)> {
    let at: i64 = row.get(1)?;
    let version: i64 = row.get(2)?;
    let record = Record {
        // What was changed to something that cannot be right becomes something that does not match
        // the record's hash, so that verification names the place.
        version: FormatVersion(u16::try_from(version).unwrap_or(u16::MAX)),
        seq: seq(row, 0)?,
        at: Timestamp(at.cast_unsigned()),
        body: row.get(5)?,
        hash: digest(row, 4)?,
    };
    Ok((record, row.get(3)?))
}

fn unpacked((packed, encoding): &(Record, i64)) -> Record {
    let body = unpack(*encoding, &packed.body).unwrap_or_else(|| packed.body.clone());
    Record { body, ..*packed }
}

/// Checks that the records follow `start`, each the one before it, and returns the last's head.
fn follow(start: Head, records: &[Record]) -> Result<Head, JournalError> {
    let head_before = |first: usize| {
        let before = first.checked_sub(1).map(|last| &records[last]);
        before.map_or(start, |record| Head { seq: record.seq, hash: record.hash })
    };
    let parts = in_parts(records.len(), |part| {
        let mut head = head_before(part.start);
        records[part].iter().try_for_each(|record| head.follow(record))
    });
    parts.into_iter().collect::<Result<(), _>>()?;
    Ok(head_before(records.len()))
}

/// Does `work` on all of `0..count` in parts, side by side if there is much of it; returns what
/// came of each part, in order.
fn in_parts<T: Send>(count: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let threads = if count < PARALLEL_RECORDS_MIN {
        1
    } else {
        thread::available_parallelism().map_or(1, NonZero::get).min(READERS_MAX)
    };
    let length = count.div_ceil(threads);
    let parts = (0..threads).map(|n| (n * length).min(count)..((n + 1) * length).min(count));
    if threads == 1 {
        return parts.map(work).collect();
    }
    thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().map(|part| part.join().expect("the work does not panic")).collect()
    })
}

fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get::<_, i64>(column).map(|seq| Seq(seq.cast_unsigned()))
}

/// Reads a digest; what is none becomes one that matches nothing.
fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Ok(bytes.try_into().map_or(Digest::ZERO, Digest))
}

/// Reads a blob and checks it.
pub fn blob(conn: &Connection, wanted: &Digest) -> Result<Vec<u8>, Failure> {
    let found = conn
        .prepare_cached("SELECT encoding, bytes FROM blobs WHERE digest = ?1")?
        .query_row([&wanted.0[..]], |row| Ok(unpack(row.get(0)?, row.get_ref(1)?.as_blob()?)))
        .optional()?
        .ok_or(StoreError::UnknownBlob { digest: *wanted })?;
    found.filter(|bytes| Digest::of(bytes) == *wanted).ok_or_else(|| {
        StoreError::Corrupt {
            at: format!("blob {wanted}"),
            detail: "its bytes do not match its digest".to_owned(),
        }
        .into()
    })
}

/// Reads rows, newest first.
pub fn list(conn: &Connection, filter: &Filter) -> Result<Vec<RunRow>, Failure> {
    let mut select = conn.prepare_cached(
        "SELECT id, agent, task, status, note, ended, turns, tokens, nano_usd, created, updated
         FROM runs
         WHERE head_seq <> 0
             AND (?1 IS NULL OR substr(id, 1, length(?1)) = ?1)
             AND (?2 IS NULL OR status = ?2)
         ORDER BY created DESC, id DESC LIMIT ?3",
    )?;
    let limit = filter.limit.map_or(-1, i64::from);
    let rows = select.query_map(params![filter.id_prefix, filter.status, limit], |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(RunRow {
            run: RunId::new(row.get::<_, String>(0)?),
            agent: row.get(1)?,
            task: row.get(2)?,
            status: row.get(3)?,
            note: row.get(4)?,
            ended: row.get(5)?,
            turns: number(6)?,
            tokens: number(7)?,
            nano_usd: number(8)?,
            created: Timestamp(number(9)?),
            updated: Timestamp(number(10)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Says what pruning would remove.
pub fn prunable(conn: &Connection, before: Timestamp) -> Result<Pruned, Failure> {
    let before = saturate(before.0);
    let mut select = conn.prepare(&format!("SELECT id FROM runs WHERE {OLD_RUN} ORDER BY id"))?;
    let runs = select
        .query_map([before], |row| Ok(RunId::new(row.get::<_, String>(0)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let record_bytes: i64 = conn.query_row(
        &format!(
            "SELECT coalesce(sum(length(body)), 0) FROM log
             WHERE run IN (SELECT key FROM runs WHERE {OLD_RUN})"
        ),
        [before],
        |row| row.get(0),
    )?;
    let (blobs, blob_bytes) = conn.query_row(
        &format!(
            "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM blobs WHERE key NOT IN (
                 SELECT blob FROM refs WHERE run NOT IN (SELECT key FROM runs WHERE {OLD_RUN}))"
        ),
        [before],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    Ok(Pruned {
        runs,
        blobs: blobs.cast_unsigned(),
        bytes: (record_bytes + blob_bytes).cast_unsigned(),
    })
}

#[cfg(test)]
mod tests {
    use prusik_core::event::{Event, RunResumed};

    use super::*;

    #[test]
    fn long_journals_are_checked_in_parts_as_short_ones_are() {
        let mut head = Head::START;
        let event = Event::RunResumed(RunResumed { by: "ann".to_owned(), repeated: Vec::new() });
        let mut records: Vec<_> =
            (0..PARALLEL_RECORDS_MIN + 7).map(|_| head.seal(Timestamp(1), &event)).collect();
        assert_eq!(follow(Head::START, &records), Ok(head));
        let middle = Head { seq: records[99].seq, hash: records[99].hash };
        assert_eq!(follow(middle, &records[100..]), Ok(head));
        assert_eq!(follow(middle, &[]), Ok(middle));
        // Wherever the damage is, at the joints of parts too, the first is named.
        for place in [0, 1, 500, 501, 502, 1003, 1004, 2000, records.len() - 1] {
            let whole = records[place].clone();
            records[place].at = Timestamp(2);
            let mismatch = JournalError::HashMismatch { seq: whole.seq };
            assert_eq!(follow(Head::START, &records), Err(mismatch), "{place}");
            records[place] = whole;
        }
        records.remove(1500);
        let gap = JournalError::Gap { expected: Seq(1501), found: Seq(1502) };
        assert_eq!(follow(Head::START, &records), Err(gap));
    }

    #[test]
    fn parts_cover_everything_once() {
        for count in [0, 1, PARALLEL_RECORDS_MIN, PARALLEL_RECORDS_MIN + 1] {
            let all: Vec<usize> = in_parts(count, Iterator::collect::<Vec<_>>).concat();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
