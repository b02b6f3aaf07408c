//! Cassettes: a model's answers recorded once and replayed without the model.
//!
//! A cassette is a file of JSON lines, one for each attempt. A line names its request by digest,
//! says in short what the request was, and holds the whole answer or error. Of the conversation a
//! line holds only what is new since an earlier line, so that the file grows with the work.

mod format;
mod prints;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use prusik_core::ids::{Attempt, Digest};
use prusik_core::message::Block;
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};

use crate::{Delta, Model};
use format::Line;
use prints::Prints;

/// Largest cassette that is read, in bytes.
const CASSETTE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Whether a cassette is written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CassetteMode {
    /// Ask the model and add what it answers.
    Record,
    /// Answer from the file alone.
    Replay,
}

/// Why a cassette cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CassetteError {
    #[error("the cassette {} cannot be opened: {source}; record it first", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("the cassette {} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the cassette {} is larger than {CASSETTE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}:{line}: this is no line of a cassette: {problem}; record it again", path.display())]
    Line { path: PathBuf, line: usize, problem: String },
}

/// A model that records another, or stands in for it.
pub struct Cassette {
    path: PathBuf,
    source: Source,
}

enum Source {
    Live { inner: Arc<dyn Model>, tape: Mutex<Tape> },
    Tape(Tape),
}

/// What a cassette holds.
#[derive(Default)]
struct Tape {
    entries: Vec<Entry>,
    by_request: HashMap<Digest, Vec<usize>>,
    /// The newest entry for each conversation, by the digest of its messages.
    by_messages: HashMap<Digest, usize>,
}

/// One recorded attempt.
struct Entry {
    /// Counted from 1, for people.
    line: usize,
    attempt: Attempt,
    prints: Prints,
    outcome: Result<Answer, ModelError>,
}

impl Cassette {
    /// Opens a recording.
    pub fn replay(path: &Path) -> Result<Self, CassetteError> {
        let file = File::open(path)
            .map_err(|source| CassetteError::Open { path: path.to_owned(), source })?;
        let (tape, half_line_at) = read(path, file)?;
        if half_line_at.is_some() {
            tracing::warn!(
                cassette = %path.display(),
                "the last line is only half written and is left out; recording again mends it"
            );
        }
        Ok(Self { path: path.to_owned(), source: Source::Tape(tape) })
    }

    /// Opens a cassette to add what `inner` answers; a missing one is made.
    pub fn record(path: &Path, inner: Arc<dyn Model>) -> Result<Self, CassetteError> {
        let open_error = |source| CassetteError::Open { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(open_error)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(open_error)?;
        let (tape, half_line_at) = read(path, file.try_clone().map_err(open_error)?)?;
        if let Some(bytes) = half_line_at {
            tracing::warn!(cassette = %path.display(), "a half-written last line is removed");
            file.set_len(bytes).map_err(open_error)?;
        }
        let source = Source::Live { inner, tape: Mutex::new(tape) };
        Ok(Self { path: path.to_owned(), source })
    }

    fn replayed(&self, tape: &Tape, request: &ModelRequest) -> Result<Answer, ModelError> {
        let prints = Prints::of(request);
        let Some(entry) = tape.find(&prints, request.attempt) else {
            return Err(self.drift(tape, &prints, request));
        };
        entry.outcome.clone()
    }

    fn drift(&self, tape: &Tape, prints: &Prints, request: &ModelRequest) -> ModelError {
        let what = match tape.nearest(prints) {
            None => "it is empty".to_owned(),
            Some(entry) => {
                format!(
                    "the nearest one, line {}, differs: {}",
                    entry.line,
                    prints.difference(&entry.prints)
                )
            }
        };
        let message = format!(
            "the cassette {} does not hold this request (turn {}): {what}. If the change is meant, \
             record it again: set `mode: record` for this model in prusik.yaml and run once \
             against the live model",
            self.path.display(),
            request.turn
        );
        ModelError::new(ModelErrorKind::Drift, message)
    }

    fn write(
        &self,
        tape: &Mutex<Tape>,
        request: &ModelRequest,
        outcome: &Result<Answer, ModelError>,
    ) -> Result<(), ModelError> {
        let prints = Prints::of(request);
        // A panic elsewhere leaves the tape as it was before or after an entry, both of them whole.
        let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
        let base = tape.longest_prefix(&prints);
        let line = Line::new(request, &prints, base.map(|entry| &entry.prints), outcome);
        append(&self.path, &line.to_bytes()).map_err(|error| {
            let message = format!(
                "the cassette {} cannot be written: {error}; free space or set another `path`",
                self.path.display()
            );
            ModelError::new(ModelErrorKind::Drift, message)
        })?;
        let line = tape.entries.len() + 1;
        tape.push(Entry { line, attempt: request.attempt, prints, outcome: outcome.clone() });
        Ok(())
    }
}

#[async_trait]
impl Model for Cassette {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        match &self.source {
            Source::Tape(tape) => {
                let answer = self.replayed(tape, request)?;
                tell(&answer, progress);
                Ok(answer)
            }
            Source::Live { inner, tape } => {
                let outcome = inner.answer(request, progress).await;
                self.write(tape, request, &outcome)?;
                outcome
            }
        }
    }

    /// A recording holds answers; counts are asked of the model while it is there.
    async fn count_tokens(&self, request: &ModelRequest) -> Result<Option<u64>, ModelError> {
        match &self.source {
            Source::Tape(_) => Ok(None),
            Source::Live { inner, .. } => inner.count_tokens(request).await,
        }
    }
}

impl Tape {
    fn push(&mut self, entry: Entry) {
        let place = self.entries.len();
        self.by_request.entry(entry.prints.whole()).or_default().push(place);
        self.by_messages.insert(entry.prints.conversation(), place);
        self.entries.push(entry);
    }

    /// Returns what was recorded for this attempt of the request, the newest if it was recorded
    /// several times; for an attempt that was not recorded, the newest answer.
    fn find(&self, prints: &Prints, attempt: Attempt) -> Option<&Entry> {
        let places = self.by_request.get(&prints.whole())?;
        let newest_first = || places.iter().rev().map(|place| &self.entries[*place]);
        newest_first()
            .find(|entry| entry.attempt == attempt)
            .or_else(|| newest_first().find(|entry| entry.outcome.is_ok()))
            .or_else(|| newest_first().next())
    }

    /// Returns the newest entry whose conversation is the longest beginning of this one.
    fn longest_prefix(&self, prints: &Prints) -> Option<&Entry> {
        prints
            .conversations()
            .rev()
            .find_map(|digest| self.by_messages.get(&digest).map(|place| &self.entries[*place]))
    }

    fn nearest(&self, prints: &Prints) -> Option<&Entry> {
        self.entries.iter().max_by_key(|entry| prints.likeness(&entry.prints))
    }
}

/// Reads all whole lines, and returns at which byte a half-written last line begins.
fn read(path: &Path, file: File) -> Result<(Tape, Option<u64>), CassetteError> {
    let read_error = |source| CassetteError::Read { path: path.to_owned(), source };
    if file.metadata().map_err(read_error)?.len() > CASSETTE_BYTES_MAX {
        return Err(CassetteError::TooLarge { path: path.to_owned() });
    }
    let mut reader = BufReader::new(file);
    let mut tape = Tape::default();
    let mut at = 0u64;
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes).map_err(read_error)?;
        if read == 0 {
            return Ok((tape, None));
        }
        if bytes.last() != Some(&b'\n') {
            return Ok((tape, Some(at)));
        }
        let line = tape.entries.len() + 1;
        let entry = Line::parse(&bytes)
            .and_then(|parsed| parsed.into_entry(line, &tape))
            .map_err(|problem| CassetteError::Line { path: path.to_owned(), line, problem })?;
        tape.push(entry);
        at += read as u64;
    }
}

/// Adds a line in one write. A line cut by a full disk is taken back, so that the next one does
/// not join it.
fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let before = file.seek(SeekFrom::End(0))?;
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        // If even this fails, the reader knows half a line when it sees one.
        let _ = file.set_len(before);
    }
    written
}

/// Shows a recorded answer as if it had just come.
fn tell(answer: &Answer, progress: &mut (dyn FnMut(Delta) + Send)) {
    for block in &answer.content {
        match block {
            Block::Text(text) => progress(Delta::Text(text.clone())),
            Block::ToolUse(call) => progress(Delta::ToolUse { name: call.name.clone() }),
            Block::Opaque(_) | Block::ToolResult(_) => {}
        }
    }
}
