//! What SQLite and the file system say, in the words of a store.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::StoreError;

/// Why a piece of work on the database came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// A check said no, before anything was written.
    Refused(StoreError),
    /// The database failed, perhaps in the middle; the transaction must be rolled back.
    Sql(rusqlite::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    pub fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => sql_error(path, &error),
        }
    }
}

/// Says what an error of SQLite means for the store at `path`.
pub fn sql_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let at = path.display().to_string();
    let detail = error.to_string();
    let Some(code) = error.sqlite_error_code() else {
        // A value of the wrong type where the schema allows only one.
        return StoreError::Corrupt { at, detail };
    };
    match code {
        ErrorCode::DiskFull => StoreError::DiskFull { at, detail },
        ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::AuthorizationForStatementDenied => StoreError::ReadOnly {
            at,
            detail: format!("{detail}; the file and its folder must be writable"),
        },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked {
            at,
            detail: format!("{detail}; close what holds it, then try again"),
        },
        ErrorCode::DatabaseCorrupt => StoreError::Corrupt {
            at,
            detail: format!(
                "{detail}; restore a copy, or save what can be read with sqlite3's \
                             `.recover`"
            ),
        },
        ErrorCode::NotADatabase => {
            StoreError::Corrupt { at, detail: "it is not a prusik store".to_owned() }
        }
        _ => StoreError::Io { at, detail },
    }
}

/// Says what an error of the file system means at `path`.
pub fn io_error(path: &Path, error: &io::Error) -> StoreError {
    let at = path.display().to_string();
    let detail = error.to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::DiskFull { at, detail }
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { at, detail }
        }
        _ => StoreError::Io { at, detail },
    }
}
