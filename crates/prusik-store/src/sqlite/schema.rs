//! The layout of the database file, its versions, and how connections to it are opened.
//!
//! The log holds the records of all runs in the order in which they were appended, so that its
//! pages fill to the end however many runs take turns; an index finds a run's records in it.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::error::{io_error, sql_error};
use crate::StoreError;

/// How long a connection waits for another program before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// `PRSK`, which tells our files from other databases.
const APPLICATION_ID: i64 = 0x5052_534B;

/// The schema that this version writes: the number of migrations.
pub const SCHEMA: u32 = 1;

/// `MIGRATIONS[n]` leads from schema n to n + 1. What was released is never edited.
const MIGRATIONS: [&str; SCHEMA as usize] = [include_str!("v1.sql")];

/// Opens the database for writing, and makes or migrates it where that is needed.
pub fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| io_error(folder, &error))?;
    }
    let started = Instant::now();
    loop {
        // Two programs that make the same file at once may be told to wait without SQLite's own
        // patience applying, as only one of them can switch it to WAL.
        match try_open_writer(path) {
            Err(StoreError::Locked { .. }) if started.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn try_open_writer(path: &Path) -> Result<Connection, StoreError> {
    let fail = |error: rusqlite::Error| sql_error(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(fail)?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    // It binds only while the file is empty. Incremental vacuum gives room back without a second
    // copy of the file, which may not fit where room is short. Pages stay at SQLite's 4096 bytes:
    // larger ones store no less and make each commit write more.
    conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL;").map_err(fail)?;
    if schema_version(&conn, path)? < SCHEMA {
        let mode: String =
            conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fail)?;
        if mode != "wal" {
            return Err(StoreError::Io {
                at: path.display().to_string(),
                detail:
                    "this file system cannot hold a store (no shared memory for SQLite's WAL); \
                         choose a local one"
                        .to_owned(),
            });
        }
        migrate(&mut conn, path)?;
    }
    conn.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;
         PRAGMA journal_size_limit = 33554432;",
    )
    .map_err(fail)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Opens the database for reading. It must have been opened for writing before.
pub fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    // A reader of a WAL database takes part in its shared memory, which needs write access.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.execute_batch("PRAGMA query_only = ON;")?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// Returns the schema of the file; 0 if it is empty. Refuses what is not ours or too new.
fn schema_version(conn: &Connection, path: &Path) -> Result<u32, StoreError> {
    let number = |sql: &str| {
        conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| sql_error(path, &e))
    };
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let empty = version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if application != APPLICATION_ID && !empty {
        return Err(StoreError::Corrupt {
            at: path.display().to_string(),
            detail: "it is a database of another program".to_owned(),
        });
    }
    let found = u32::try_from(version).unwrap_or(u32::MAX);
    if found > SCHEMA {
        return Err(StoreError::NewerSchema {
            at: path.display().to_string(),
            found,
            known: SCHEMA,
        });
    }
    Ok(found)
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| sql_error(path, &error);
    let transaction = Transaction::new(conn, TransactionBehavior::Immediate).map_err(fail)?;
    // Another program may have done it while this one waited for the lock.
    let found = schema_version(&transaction, path)?;
    for (version, migration) in (0..).zip(MIGRATIONS) {
        if version >= found {
            transaction.execute_batch(migration).map_err(fail)?;
        }
    }
    transaction
        .execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA};"
        ))
        .map_err(fail)?;
    transaction.commit().map_err(fail)
}
