//! What the writer does to the database: each piece of work inside a transaction that it does not
//! open or close. Checks come first, so that what is refused has changed nothing.

use prusik_core::ids::{Digest, RunId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Failure;
use super::lease::{Owner, held};
use super::read::{OLD_RUN, hash_of, run_key};
use crate::encoding::Packed;
use crate::prepare::{self, SIGNALS_WAITING_MAX, too_many_signals};
use crate::{Append, Lease, RunRow, Signal, StoreError};

/// A step, packed on its caller's thread so that the writer's is free for writing.
#[derive(Debug)]
pub struct PackedStep {
    step: Append,
    records: Vec<Packed>,
    blobs: Vec<Packed>,
    snapshot: Option<PackedSnapshot>,
}

#[derive(Debug)]
struct PackedSnapshot {
    packed: Packed,
    digest: Digest,
}

impl PackedStep {
    pub fn new(step: Append) -> Result<Self, StoreError> {
        prepare::check_step(&step)?;
        Ok(Self {
            records: step.records.iter().map(|record| Packed::event(&record.body)).collect(),
            blobs: step.blobs.iter().map(|blob| Packed::new(&blob.bytes)).collect(),
            snapshot: step.snapshot.as_ref().map(|snapshot| PackedSnapshot {
                packed: Packed::new(&snapshot.bytes),
                digest: Digest::of(&snapshot.bytes),
            }),
            step,
        })
    }

    /// Returns the bytes that it keeps in memory while it waits, its packed form not counted.
    pub fn bytes(&self) -> usize {
        prepare::step_bytes(&self.step)
    }
}

/// Appends a step: records, blobs, references, snapshot and row.
pub fn append(conn: &Connection, owner: &Owner, packed: &PackedStep) -> Result<(), Failure> {
    let step = &packed.step;
    let run = held(conn, owner, &step.lease)?;
    let head =
        prepare::follow(step, run.head, |seq| Ok::<_, Failure>(hash_of(conn, run.key, seq)?))?;
    for digest in &step.refs {
        let comes_along = step.blobs.iter().any(|blob| blob.digest == *digest);
        if !comes_along && blob_key(conn, digest)?.is_none() {
            return Err(StoreError::UnknownBlob { digest: *digest }.into());
        }
    }

    insert_blobs(conn, run.key, packed)?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO log (run, seq, at, version, encoding, hash, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (record, packed) in step.records.iter().zip(&packed.records) {
        insert.execute(params![
            run.key,
            record.seq.0.cast_signed(),
            record.at.0.cast_signed(),
            record.version.0,
            packed.encoding.column(),
            &record.hash.0[..],
            packed.stored(&record.body)
        ])?;
    }
    replace_snapshot(conn, run.key, packed)?;
    let RunRow { run: _, agent, task, status, note, ended, .. } = &step.row;
    conn.prepare_cached(
        "UPDATE runs SET head_seq = ?2, head_hash = ?3, agent = ?4, task = ?5, status = ?6,
             note = ?7, ended = ?8, turns = ?9, tokens = ?10, nano_usd = ?11, created = ?12,
             updated = ?13
         WHERE key = ?1",
    )?
    .execute(params![
        run.key,
        head.seq.0.cast_signed(),
        &head.hash.0[..],
        agent,
        task,
        status,
        note,
        ended,
        step.row.turns.cast_signed(),
        step.row.tokens.cast_signed(),
        step.row.nano_usd.cast_signed(),
        step.row.created.0.cast_signed(),
        step.row.updated.0.cast_signed()
    ])?;
    Ok(())
}

fn blob_key(conn: &Connection, digest: &Digest) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM blobs WHERE digest = ?1")?
        .query_row([&digest.0[..]], |row| row.get(0))
        .optional()
}

fn insert_blobs(conn: &Connection, run_key: i64, packed: &PackedStep) -> rusqlite::Result<()> {
    let step = &packed.step;
    for (blob, packed) in step.blobs.iter().zip(&packed.blobs) {
        conn.prepare_cached(
            "INSERT INTO blobs (digest, encoding, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO NOTHING",
        )?
        .execute(params![
            &blob.digest.0[..],
            packed.encoding.column(),
            packed.stored(&blob.bytes)
        ])?;
    }
    for digest in step.blobs.iter().map(|blob| &blob.digest).chain(&step.refs) {
        conn.prepare_cached(
            "INSERT OR IGNORE INTO refs (run, blob) SELECT ?1, key FROM blobs WHERE digest = ?2",
        )?
        .execute(params![run_key, &digest.0[..]])?;
    }
    Ok(())
}

fn replace_snapshot(conn: &Connection, run_key: i64, packed: &PackedStep) -> rusqlite::Result<()> {
    let (Some(snapshot), Some(packed)) = (&packed.step.snapshot, &packed.snapshot) else {
        return Ok(());
    };
    conn.prepare_cached(
        "INSERT OR REPLACE INTO snapshots (run, seq, hash, encoding, digest, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        run_key,
        snapshot.head.seq.0.cast_signed(),
        &snapshot.head.hash.0[..],
        packed.packed.encoding.column(),
        &packed.digest.0[..],
        packed.packed.stored(&snapshot.bytes)
    ])?;
    Ok(())
}

/// Leaves a message for the driver of a run.
pub fn post(conn: &Connection, run: &RunId, json: &str, now: Timestamp) -> Result<(), Failure> {
    let key = run_key(conn, run)?;
    let waiting: i64 = conn
        .prepare_cached("SELECT count(*) FROM signals WHERE run = ?1")?
        .query_row([key], |row| row.get(0))?;
    if waiting.cast_unsigned() >= SIGNALS_WAITING_MAX as u64 {
        return Err(too_many_signals(run).into());
    }
    conn.prepare_cached("INSERT INTO signals (run, at, body) VALUES (?1, ?2, ?3)")?
        .execute(params![key, now.0.cast_signed(), json])?;
    Ok(())
}

/// Takes the messages for a run, oldest first.
pub fn take_signals(
    conn: &Connection,
    owner: &Owner,
    lease: &Lease,
) -> Result<Vec<Signal>, Failure> {
    let run = held(conn, owner, lease)?;
    let mut select = conn.prepare_cached("SELECT body FROM signals WHERE run = ?1 ORDER BY key")?;
    let bodies = select
        .query_map([run.key], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    if bodies.is_empty() {
        // Nothing is written, so that asking often costs no commit.
        return Ok(Vec::new());
    }
    conn.prepare_cached("DELETE FROM signals WHERE run = ?1")?.execute([run.key])?;
    // What a newer version posted and this one cannot read must not stop the run for ever.
    Ok(bodies
        .iter()
        .filter_map(|body| {
            serde_json::from_str(body)
                .inspect_err(|error| tracing::warn!(run = %lease.run, %error, "unreadable signal"))
                .ok()
        })
        .collect())
}

/// Deletes a run if it ended before `before`; returns the stored bytes of its records.
pub fn prune_run(
    conn: &Connection,
    run: &RunId,
    before: Timestamp,
) -> Result<Option<u64>, Failure> {
    let key: Option<i64> = conn
        .prepare_cached(&format!("SELECT key FROM runs WHERE id = ?2 AND {OLD_RUN}"))?
        .query_row(params![super::read::saturate(before.0), run.as_str()], |row| row.get(0))
        .optional()?;
    let Some(key) = key else { return Ok(None) };
    let bytes: i64 = conn
        .prepare_cached("SELECT coalesce(sum(length(body)), 0) FROM log WHERE run = ?1")?
        .query_row([key], |row| row.get(0))?;
    for sql in [
        "DELETE FROM log WHERE run = ?1",
        "DELETE FROM snapshots WHERE run = ?1",
        "DELETE FROM refs WHERE run = ?1",
        "DELETE FROM signals WHERE run = ?1",
        "DELETE FROM runs WHERE key = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([key])?;
    }
    Ok(Some(bytes.cast_unsigned()))
}

/// Deletes the blobs that no run holds on to; returns how many and their stored bytes.
pub fn drop_blobs(conn: &Connection) -> Result<(u64, u64), Failure> {
    let (blobs, bytes) = conn.query_row(
        "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM blobs
         WHERE key NOT IN (SELECT blob FROM refs)",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    if blobs > 0 {
        conn.execute("DELETE FROM blobs WHERE key NOT IN (SELECT blob FROM refs)", [])?;
    }
    Ok((blobs.cast_unsigned(), bytes.cast_unsigned()))
}

/// Gives some unused pages back to the file system; returns whether there are more.
pub fn reclaim(conn: &Connection) -> Result<bool, Failure> {
    let mut vacuum = conn.prepare("PRAGMA incremental_vacuum(2048)")?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    let unused: i64 = conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
    Ok(unused > 0)
}
