//! `read`, `write` and `list`.

use std::fmt::Write as _;

use base64::Engine as _;
use prusik_core::message::{Content, Image};
use prusik_core::outcome::{Reply, ToolResult};
use rustix::fs::{AtFlags, Dir, FileType};
use serde::Deserialize;

use super::problem::{Kind, Problem};
use super::workspace::{Intent, Place, Replacement, Workspace};

/// Largest file that is read or edited.
pub const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Largest content that is written.
pub const WRITE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Largest image that is shown: what model providers take, before base64.
pub const IMAGE_BYTES_MAX: usize = 3_750_000;
/// Lines that `read` returns when no limit is given.
const LINES_DEFAULT: usize = 2_000;
/// Longest line that is shown whole, in bytes.
pub const LINE_BYTES_MAX: usize = 2_000;
/// Most entries that `list` returns.
const ENTRIES_MAX: usize = 1_000;
/// Most entries that `list` looks at.
const ENTRIES_SEEN_MAX: usize = 100_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadArguments {
    path: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

/// Returns a text with line numbers, an image as an image, and of anything else what it is.
pub fn read(workspace: &Workspace, arguments: &ReadArguments) -> Result<Reply, Problem> {
    let path = &arguments.path;
    let bytes = workspace.read_file(path, FILE_BYTES_MAX)?;
    if let Some(media_type) = image_type(&bytes) {
        if bytes.len() > IMAGE_BYTES_MAX {
            let message = format!("{path} is an image of {} bytes", bytes.len());
            return Err(Problem::new(Kind::TooLarge, message));
        }
        let data = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let image = Image { media_type: media_type.to_owned(), data };
        let content = vec![Content::Image(image)];
        return Ok(Reply::Returned(ToolResult { content, whole: None }));
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) if !text.contains('\0') => text,
        Ok(_) | Err(_) => {
            let note = format!("{path} is not text: {} bytes, not shown.", bytes.len());
            return Ok(Reply::Returned(ToolResult::text(note)));
        }
    };
    if text.is_empty() {
        return Ok(Reply::Returned(ToolResult::text(format!("{path} is empty."))));
    }
    Ok(Reply::Returned(ToolResult::text(numbered(text, arguments))))
}

fn numbered(text: &str, arguments: &ReadArguments) -> String {
    let number = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    let first = number(arguments.offset, 1).max(1);
    let limit = number(arguments.limit, LINES_DEFAULT).max(1);
    let total = text.lines().count();
    let mut out = String::new();
    for (index, line) in text.lines().enumerate().skip(first - 1).take(limit) {
        let (shown, more) = cut(line, LINE_BYTES_MAX);
        let _ = writeln!(out, "{:>6}\t{shown}{more}", index + 1);
    }
    let last = first.saturating_add(limit - 1);
    if first > total {
        out = format!("[There is no line {first}: the file has {total}.]");
    } else if last < total {
        let next = last + 1;
        let _ = write!(out, "[Lines {first} to {last} of {total}. Go on with offset {next}.]");
    }
    out
}

/// Cuts a long line between characters and says so.
pub fn cut(line: &str, bytes_max: usize) -> (&str, &'static str) {
    if line.len() <= bytes_max {
        (line, "")
    } else {
        (&line[..line.floor_char_boundary(bytes_max)], " [… line cut]")
    }
}

fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [..] => None,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteArguments {
    path: String,
    content: String,
}

/// Replaces a file or makes it. The answer is the same when it is repeated.
pub fn write(workspace: &Workspace, arguments: &WriteArguments) -> Result<Reply, Problem> {
    let WriteArguments { path, content } = arguments;
    if content.len() > WRITE_BYTES_MAX {
        let message = format!("{} bytes; the limit is {WRITE_BYTES_MAX}", content.len());
        return Err(Problem::new(Kind::TooLarge, message));
    }
    Replacement::stage(workspace, path, content.as_bytes())?.commit()?;
    let note = format!("Wrote {} bytes to {path}.", content.len());
    Ok(Reply::Returned(ToolResult::text(note)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListArguments {
    path: Option<String>,
}

/// Returns what a folder holds, sorted by name.
pub fn list(workspace: &Workspace, arguments: &ListArguments) -> Result<Reply, Problem> {
    let path = arguments.path.as_deref().unwrap_or(".");
    let dir = match workspace.find(path, Intent::Read)? {
        Place::Folder { dir, .. } => dir,
        Place::Entry { stat: None, .. } => {
            return Err(Problem::new(Kind::NotFound, format!("{path} does not exist")));
        }
        Place::Entry { stat: Some(_), .. } => {
            return Err(Problem::new(Kind::NotAFolder, format!("{path} is not a folder")));
        }
    };
    let problem = |errno| Problem::of_errno(errno, path);
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir).map_err(problem)?.take(ENTRIES_SEEN_MAX) {
        let entry = entry.map_err(problem)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    let total = names.len();
    let mut out = String::new();
    for name in names.iter().take(ENTRIES_MAX) {
        // An entry may be gone by now.
        let Ok(stat) = rustix::fs::statat(&dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let shown = name.to_string_lossy();
        let _ = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => writeln!(out, "{shown}/"),
            FileType::RegularFile => writeln!(out, "{shown}  {} bytes", stat.st_size),
            FileType::Symlink => writeln!(out, "{shown}  link"),
            _ => writeln!(out, "{shown}  special"),
        };
    }
    if total == 0 {
        out = format!("{path} is an empty folder.");
    } else if total > ENTRIES_MAX {
        let _ = write!(out, "[{ENTRIES_MAX} of {total} entries. Narrow it down with glob.]");
    }
    Ok(Reply::Returned(ToolResult::text(out)))
}
