//! Copies of a project's folder to try things in, and what stands in them.

mod copies;
mod programs;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

pub use self::copies::{Copies, Copy};

/// What belongs to nobody's work: our own records, and what tools of developers leave. Packages are
/// copied apart from the rest.
const LEFT_OUT: [&str; 7] =
    [".prusik", ".git", "target", "__pycache__", "node_modules", ".venv", "venv"];
/// Most files and bytes of a project that is copied and compared.
const FILES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
}

/// Visits every file and folder below `root` with its path and its path from there, a folder before
/// what is in it.
pub fn walk(
    root: &Path,
    visit: &mut dyn FnMut(&Path, &Path, Kind) -> io::Result<()>,
) -> io::Result<()> {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let below = path.strip_prefix(root).map_err(io::Error::other)?.to_owned();
            if kind.is_dir() {
                visit(&path, &below, Kind::Folder)?;
                folders.push(path);
            } else if kind.is_file() {
                files += 1;
                bytes += entry.metadata()?.len();
                if files > FILES_MAX || bytes > BYTES_MAX {
                    let problem = format!("has more than {FILES_MAX} files or {BYTES_MAX} bytes");
                    return Err(io::Error::other(problem));
                }
                visit(&path, &below, Kind::File)?;
            }
        }
    }
    Ok(())
}

/// Instants as programs write them: ISO 8601, mail and JavaScript dates, seconds and milliseconds since
/// 1970.
const TIMES: [&str; 4] = [
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?",
    r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [A-Za-z0-9]{1,3} [A-Za-z0-9]{1,3} \d{4} \d\d:\d\d:\d\d( GMT[+-]\d{4})?",
    r"\b\d\d:\d\d:\d\d(\.\d+)?\b",
    r"\b1[6-9]\d{8}(\d{3})?(\.\d+)?\b",
];
/// UUIDs and digests.
const IDS: [&str; 2] = [
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    r"\b[0-9a-fA-F]{32,}\b",
];

static VARYING: LazyLock<Regex> = LazyLock::new(|| any_of(&[&TIMES[..], &IDS[..]].concat()));
static TIME: LazyLock<Regex> = LazyLock::new(|| any_of(&TIMES));

fn any_of(patterns: &[&str]) -> Regex {
    Regex::new(&patterns.join("|")).expect("the patterns are valid ones")
}

/// Returns the line with what varies by itself blanked: times and random ids.
pub fn masked(line: &str) -> String {
    VARYING.replace_all(line, "~").into_owned()
}

/// Returns a value without the times in it.
pub fn timeless(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(TIME.replace_all(text, "~").into_owned()),
        Value::Number(number) => {
            let text = number.to_string();
            let is_time = TIME.find(&text).is_some_and(|found| found.len() == text.len());
            if is_time { Value::String("~".to_owned()) } else { value.clone() }
        }
        Value::Array(items) => items.iter().map(timeless).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), timeless(v))).collect(),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_by_itself_is_blanked_and_nothing_else() {
        for (line, expected) in [
            (r#"{"at":"2026-11-24T16:20:21Z","n":5}"#, r#"{"at":"~","n":5}"#),
            ("run 01a20e60-a674-7151-8998-dbba717851f5 ends", "run ~ ends"),
            ("at 1795534342867 and 1795534342", "at ~ and ~"),
            (
                "INV-1041 184.20 EUR GB72EXPL00999912345678",
                "INV-1041 184.20 EUR GB72EXPL00999912345678",
            ),
        ] {
            assert_eq!(masked(line), expected);
        }
    }

    #[test]
    fn a_value_keeps_all_but_its_times() {
        let value = serde_json::json!({
            "text": "size: 8\naccessed: Wed Nov 25 2026 17:49:43 GMT+0000 (UTC)\nid: 7",
            "mail": "Wed, 25 Nov 2026 17:49:43", "at": 1_795_534_342, "ms": 1_795_534_342_867_u64,
            "float": 1_795_534_342.25, "amount": 1500, "clock": "at 12:30:01",
        });
        let expected = serde_json::json!({
            "text": "size: 8\naccessed: ~ (UTC)\nid: 7", "mail": "~", "at": "~", "ms": "~",
            "float": "~", "amount": 1500, "clock": "at ~",
        });
        assert_eq!(timeless(&value), expected);
    }
}
