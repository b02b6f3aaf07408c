//! Records: events with their place in a hash-chained journal.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::{Digest, Seq, Timestamp};

/// The format of a record's body. A reader refuses what is newer than it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FormatVersion(pub u16);

impl FormatVersion {
    pub const CURRENT: Self = Self(1);
}

/// Room for most bodies, so that writing them need not look for more again and again.
const BODY_BYTES_COMMON: usize = 2048;

/// One fact in its place, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub version: FormatVersion,
    pub seq: Seq,
    pub at: Timestamp,
    /// The event as JSON.
    pub body: Vec<u8>,
    /// SHA-256 over version, seq, time, the predecessor's hash and the body.
    pub hash: Digest,
}

/// The end of a journal: what the next record is chained to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub seq: Seq,
    pub hash: Digest,
}

/// What is wrong with a journal, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("record {expected} is missing: record {found} follows record {}", expected.0 - 1)]
    Gap { expected: Seq, found: Seq },
    #[error(
        "record {seq} was changed after it was written, or stands in the wrong place: \
         its hash does not match"
    )]
    HashMismatch { seq: Seq },
    #[error(
        "record {seq} has format {}, and this version reads up to {}: use a newer prusik",
        found.0, FormatVersion::CURRENT.0
    )]
    NewerFormat { seq: Seq, found: FormatVersion },
    #[error("record {seq} cannot be read: {problem}")]
    Unreadable { seq: Seq, problem: String },
    #[error("the journal is empty")]
    Empty,
    #[error("the journal does not begin with run_started")]
    NoStart,
    #[error("the definition {expected} does not match its digest")]
    WrongDefinition { expected: Digest },
}

impl Head {
    /// The head of a journal without records.
    pub const START: Self = Self { seq: Seq(0), hash: Digest::ZERO };

    /// Makes the next record of the journal and moves the head onto it.
    pub fn seal(&mut self, at: Timestamp, event: &Event) -> Record {
        let version = FormatVersion::CURRENT;
        let seq = self.seq.next();
        let mut body = Vec::with_capacity(BODY_BYTES_COMMON);
        serde_json::to_writer(&mut body, event).expect("an event is plain data");
        let hash = hash(version, seq, at, self.hash, &body);
        *self = Self { seq, hash };
        Record { version, seq, at, body, hash }
    }

    /// Checks that `record` is the next of the journal, unchanged, and moves the head onto it.
    pub fn follow(&mut self, record: &Record) -> Result<(), JournalError> {
        let expected = self.seq.next();
        if record.seq != expected {
            return Err(JournalError::Gap { expected, found: record.seq });
        }
        let computed = hash(record.version, record.seq, record.at, self.hash, &record.body);
        if computed != record.hash {
            return Err(JournalError::HashMismatch { seq: record.seq });
        }
        *self = Self { seq: record.seq, hash: record.hash };
        Ok(())
    }
}

impl Record {
    /// Reads the event.
    pub fn event(&self) -> Result<Event, JournalError> {
        if self.version > FormatVersion::CURRENT {
            return Err(JournalError::NewerFormat { seq: self.seq, found: self.version });
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| JournalError::Unreadable { seq: self.seq, problem: error.to_string() })
    }
}

fn hash(version: FormatVersion, seq: Seq, at: Timestamp, previous: Digest, body: &[u8]) -> Digest {
    Digest::of_parts(&[
        &version.0.to_le_bytes(),
        &seq.0.to_le_bytes(),
        &at.0.to_le_bytes(),
        &previous.0,
        body,
    ])
}

/// Checks a whole journal and returns its head.
pub fn verify<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Head, JournalError> {
    let mut head = Head::START;
    for record in records {
        head.follow(record)?;
        record.event()?;
    }
    Ok(head)
}
