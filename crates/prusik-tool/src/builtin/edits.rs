//! `edit`, and the notes that make it safe to repeat.
//!
//! Whether an edit landed cannot be read off the file: after `a` became `aa`, `a` is still there
//! and the same edit fits again. And the same edit made twice on purpose is two edits. So an edit
//! carries the key of its call, and before the file is replaced (which is atomic) a note is made
//! durable under that key: the digest of the file before and after. A repeated call finds the
//! note. If the file is as it was after, the edit landed and the answer is given again; if it is as
//! it was before, it did not and is made now. If it is neither, somebody else changed it since,
//! and the truth is that we do not know.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use prusik_core::ids::Digest;
use prusik_core::outcome::{Reply, ToolResult};
use serde::{Deserialize, Serialize};

use super::files::{FILE_BYTES_MAX, WRITE_BYTES_MAX};
use super::problem::{Kind, Problem};
use super::workspace::{Replacement, Workspace};

/// Notes that are kept before the old ones are thrown away.
const RECORDS_MAX: usize = 4_096;
/// A note younger than this is never thrown away: its run may still be resumed.
const RECORD_AGE_MIN: Duration = Duration::from_hours(30 * 24);
/// Largest note that is read.
const RECORD_BYTES_MAX: u64 = 16 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditArguments {
    path: String,
    old_text: String,
    new_text: String,
    #[serde(default)]
    replace_all: bool,
}

/// Replaces a text that occurs exactly once, or everywhere.
pub fn edit(
    workspace: &Workspace,
    records: &EditRecords,
    arguments: &EditArguments,
    key: Option<&str>,
) -> Result<Reply, Problem> {
    let path = &arguments.path;
    // Two edits at once would each start from the same old file.
    let _one_at_a_time = records.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let old = workspace.read_file(path, FILE_BYTES_MAX)?;
    if let Some(key) = key
        && let Some(record) = records.find(key)?
    {
        let now = Digest::of(&old);
        if now == record.after {
            return Ok(Reply::Returned(ToolResult::text(note(path, record.replaced))));
        }
        if now != record.before {
            let reason = format!(
                "{path} was changed by somebody else since this edit began; it cannot be told \
                 whether the edit landed"
            );
            return Ok(Reply::Lost { reason });
        }
    }
    let (new, replaced) = apply(&old, arguments)?;
    let staged = Replacement::stage(workspace, path, &new)?;
    if let Some(key) = key {
        let (before, after) = (Digest::of(&old), Digest::of(&new));
        records.keep(key, &EditRecord { before, after, replaced })?;
    }
    staged.commit()?;
    Ok(Reply::Returned(ToolResult::text(note(path, replaced))))
}

fn note(path: &str, replaced: usize) -> String {
    let places = if replaced == 1 { "place" } else { "places" };
    format!("Replaced {replaced} {places} in {path}.")
}

fn apply(old: &[u8], arguments: &EditArguments) -> Result<(Vec<u8>, usize), Problem> {
    let EditArguments { path, old_text, new_text, replace_all } = arguments;
    let Ok(text) = std::str::from_utf8(old) else {
        return Err(Problem::new(Kind::NotText, format!("{path} is not UTF-8 text")));
    };
    if old_text.is_empty() {
        let message = "old_text is empty; use `write` to make a file";
        return Err(Problem::new(Kind::NoMatch, message));
    }
    if old_text == new_text {
        return Err(Problem::new(Kind::NoChange, "old_text and new_text are the same"));
    }
    let count = text.matches(old_text.as_str()).count();
    match count {
        0 => return Err(Problem::new(Kind::NoMatch, format!("old_text is not in {path}"))),
        1 => {}
        _ if *replace_all => {}
        _ => {
            let message = format!("old_text is in {path} {count} times");
            return Err(Problem::new(Kind::NotUnique, message));
        }
    }
    let removed = old_text.len() * count;
    let bytes = (text.len() - removed).saturating_add(new_text.len().saturating_mul(count));
    if bytes > WRITE_BYTES_MAX {
        let message = format!("{path} would have {bytes} bytes; the limit is {WRITE_BYTES_MAX}");
        return Err(Problem::new(Kind::TooLarge, message));
    }
    Ok((text.replace(old_text.as_str(), new_text).into_bytes(), count))
}

/// What an edit was about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EditRecord {
    before: Digest,
    after: Digest,
    replaced: usize,
}

/// The notes of edits, one file per key.
#[derive(Debug)]
pub struct EditRecords {
    folder: PathBuf,
    lock: Mutex<()>,
}

impl EditRecords {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, lock: Mutex::new(()) }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{}.json", Digest::of(key.as_bytes())))
    }

    fn find(&self, key: &str) -> Result<Option<EditRecord>, Problem> {
        let path = self.path(key);
        let shown = path.display().to_string();
        match fs::metadata(&path) {
            Ok(stat) if stat.len() <= RECORD_BYTES_MAX => {}
            Ok(_) => return Err(Problem::new(Kind::Io, format!("{shown} is damaged"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Problem::of_io(&error, &shown)),
        }
        let bytes = fs::read(&path).map_err(|error| Problem::of_io(&error, &shown))?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Problem::new(Kind::Io, format!("{shown} is damaged: {error}")))
    }

    /// Makes the note durable before it returns.
    fn keep(&self, key: &str, record: &EditRecord) -> Result<(), Problem> {
        let path = self.path(key);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            fs::File::open(&self.folder)?.sync_all()?;
            self.forget_old()
        };
        write().map_err(|error| Problem::of_io(&error, &self.folder.display().to_string()))
    }

    fn forget_old(&self) -> std::io::Result<()> {
        let mut notes = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // A note may be removed by another process meanwhile.
            if let Ok(written) = entry.metadata().and_then(|stat| stat.modified()) {
                notes.push((written, entry.path()));
            }
        }
        if notes.len() <= RECORDS_MAX {
            return Ok(());
        }
        notes.sort_unstable();
        let now = SystemTime::now();
        for (written, path) in notes.into_iter().take(RECORDS_MAX / 2) {
            if now.duration_since(written).is_ok_and(|age| age > RECORD_AGE_MIN) {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}
