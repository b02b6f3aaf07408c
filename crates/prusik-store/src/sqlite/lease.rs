//! Who may append to a run: leases, and the lock files that tell living owners from dead ones.
//!
//! Each open store that drives runs keeps a file locked for as long as it lives. The operating
//! system lets go of the lock when the process dies, however it dies, and not when it is merely
//! stopped; so a lease needs no clock and no heartbeat.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use prusik_core::ids::{Digest, Fence, RunId, Seq, Timestamp};
use prusik_core::record::Head;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{Failure, io_error};
use crate::prepare::{FIRST_FENCE, fenced};
use crate::{Lease, StoreError};

/// This store as an owner of leases.
#[derive(Debug)]
pub struct Owner {
    folder: PathBuf,
    /// Made when the first run is taken: a process that only looks around leaves no trace.
    lock: Option<OwnerLock>,
}

#[derive(Debug)]
struct OwnerLock {
    id: String,
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Owner {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, lock: None }
    }

    fn id(&self) -> Option<&str> {
        self.lock.as_ref().map(|lock| lock.id.as_str())
    }

    fn become_one(&mut self, conn: &Connection) -> Result<&str, Failure> {
        if self.lock.is_none() {
            let id: String =
                conn.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))?;
            let path = lock_path(&self.folder, &id);
            let file = make_lock(&self.folder, &path).map_err(|error| io_error(&path, &error))?;
            remove_dead_locks(&self.folder, &path);
            self.lock = Some(OwnerLock { id, path, _file: file });
        }
        Ok(self.id().expect("it was just made"))
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // If it stays, the next owner removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.lock"))
}

fn make_lock(folder: &Path, path: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    // Under its final name it is always locked, so that nobody takes it for a dead owner's.
    let unfinished = path.with_extension("new");
    let file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
    file.try_lock()?;
    fs::rename(&unfinished, path)?;
    Ok(file)
}

/// Removes what killed owners left behind. Whatever cannot be removed does no harm.
fn remove_dead_locks(folder: &Path, own: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_lock = path.extension().is_some_and(|extension| extension == "lock");
        if is_lock && path != own && matches!(is_alive(&path), Ok(false)) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_alive(path: &Path) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes a run, from a dead owner if need be.
pub fn acquire(
    conn: &Connection,
    owner: &mut Owner,
    run: &RunId,
    now: Timestamp,
) -> Result<Lease, Failure> {
    owner.become_one(conn)?;
    let me = owner.id().expect("it became one");
    let found = conn
        .prepare_cached("SELECT fence, owner, owner_label FROM runs WHERE id = ?1")?
        .query_row([run.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?))
        })
        .optional()?;
    let label = format!("process {}", std::process::id());
    let since = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    let Some((fence, holder, holder_label)) = found else {
        conn.prepare_cached(
            "INSERT INTO runs (id, fence, head_seq, head_hash, owner, owner_label)
             VALUES (?1, ?2, 0, ?3, ?4,
                     ?5 || ' since ' || strftime('%Y-%m-%d %H:%M:%SZ', ?6, 'unixepoch'))",
        )?
        .execute(params![
            run.as_str(),
            FIRST_FENCE.0.cast_signed(),
            Digest::ZERO.0,
            me,
            label,
            since
        ])?;
        return Ok(Lease { run: run.clone(), fence: FIRST_FENCE });
    };
    if let Some(holder) = holder {
        let path = lock_path(&owner.folder, &holder);
        if holder == me || is_alive(&path).map_err(|error| io_error(&path, &error))? {
            let label: Option<String> = holder_label;
            let owner = label.unwrap_or_else(|| "another process".to_owned());
            return Err(StoreError::Leased { run: run.clone(), owner }.into());
        }
        // Its other runs are as free without the file as with it.
        let _ = fs::remove_file(&path);
    }
    let fence = Fence(fence.cast_unsigned()).next();
    conn.prepare_cached(
        "UPDATE runs SET fence = ?2, owner = ?3,
             owner_label = ?4 || ' since ' || strftime('%Y-%m-%d %H:%M:%SZ', ?5, 'unixepoch')
         WHERE id = ?1",
    )?
    .execute(params![run.as_str(), fence.0.cast_signed(), me, label, since])?;
    Ok(Lease { run: run.clone(), fence })
}

/// Gives a run back, if the lease is the current one.
pub fn release(conn: &Connection, owner: &Owner, lease: &Lease) -> Result<(), Failure> {
    conn.prepare_cached(
        "UPDATE runs SET owner = NULL, owner_label = NULL
         WHERE id = ?1 AND fence = ?2 AND owner = ?3",
    )?
    .execute(params![lease.run.as_str(), lease.fence.0.cast_signed(), owner.id()])?;
    Ok(())
}

/// A run that this store holds.
pub struct Held {
    pub key: i64,
    pub head: Head,
}

/// Finds the run of a lease, if the lease is the current one.
pub fn held(conn: &Connection, owner: &Owner, lease: &Lease) -> Result<Held, Failure> {
    let run = conn
        .prepare_cached(
            "SELECT key, head_seq, head_hash FROM runs
             WHERE id = ?1 AND fence = ?2 AND owner = ?3",
        )?
        .query_row(params![lease.run.as_str(), lease.fence.0.cast_signed(), owner.id()], |row| {
            let seq: i64 = row.get(1)?;
            let head = Head { seq: Seq(seq.cast_unsigned()), hash: Digest(row.get(2)?) };
            Ok(Held { key: row.get(0)?, head })
        })
        .optional()?;
    run.ok_or_else(|| fenced(&lease.run).into())
}
