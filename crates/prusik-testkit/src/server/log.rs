//! The file log of a server: one line for each request, with the exact bytes of its body and with
//! its answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A request and its answer, as the log has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Counted from 1, in the order in which requests came in.
    pub n: u64,
    pub path: String,
    /// How often this body has come, counted from 1.
    pub attempt: u32,
    /// The body, byte for byte; what was not UTF-8 is replaced.
    pub body: String,
    /// The status that was answered, had nothing gone wrong on the way.
    pub status: u16,
    /// The answer as one document, streamed or not; for an error, its body.
    pub answer: Value,
    /// What was made to go wrong on the way.
    pub fault: Option<String>,
}

/// A line. A body that is a JSON object on one line stands in it as it came, so that a log of long requests is
/// not twice their size, and is read as easily as any JSON; every other body is a string.
#[derive(Serialize, Deserialize)]
struct Line {
    n: u64,
    path: String,
    attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    status: u16,
    answer: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Appends a request to the log.
pub fn append(log: &mut File, entry: Entry) -> io::Result<()> {
    let Entry { n, path, attempt, body, status, answer, fault } = entry;
    let (body, raw) = split(body);
    let line = Line { n, path, attempt, body, raw, status, answer, fault };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    log.write_all(&bytes)
}

/// Returns the body as what it is in a line.
fn split(body: String) -> (Option<Box<RawValue>>, Option<String>) {
    // Spaces around a value are not part of it, a line must not be broken, and null is no body.
    let stays_whole = body.starts_with('{') && body.ends_with('}') && !body.contains(['\n', '\r']);
    match RawValue::from_string(body.clone()) {
        Ok(value) if stays_whole => (Some(value), None),
        Ok(_) | Err(_) => (None, Some(body)),
    }
}

/// Reads a log, one entry after the other; it may be longer than the memory.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map(|line| {
        let line: Line = serde_json::from_str(&line?)?;
        let Line { n, path, attempt, body, raw, status, answer, fault } = line;
        let body = raw.or_else(|| body.map(|body| body.get().to_owned())).unwrap_or_default();
        Ok(Entry { n, path, attempt, body, status, answer, fault })
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_read_back_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut log = File::create(&path).unwrap();
        let bodies = [
            r#"{"b":1.0,"a":1e2 ,  "a":"\u00e4"}"#,
            " {\"spaces\": \"around\"} ",
            "{\n  \"pretty\": true\n}",
            "not JSON",
            "",
            "null",
            "{\"a\":\"line\\nbreak\"}",
        ];
        for (n, body) in (1..).zip(bodies) {
            let entry = Entry {
                n,
                path: "/v1/messages".to_owned(),
                attempt: 1,
                body: body.to_owned(),
                status: 200,
                answer: json!({"n": n}),
                fault: (n == 2).then(|| "cut".to_owned()),
            };
            append(&mut log, entry).unwrap();
        }
        let read: Vec<Entry> = read(&path).unwrap().map(Result::unwrap).collect();
        let bytes: Vec<&str> = read.iter().map(|entry| entry.body.as_str()).collect();
        assert_eq!(bytes, bodies);
        assert_eq!(read[1].fault.as_deref(), Some("cut"));
        assert_eq!((read[2].n, &read[2].answer), (3, &json!({"n": 3})));
    }
}
