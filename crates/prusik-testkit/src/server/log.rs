//! The file log of a server: one line for each request, with the exact bytes of its body and with
//! its answer.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request and its answer, as the log has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// Appends a request to the log.
pub fn append(log: &mut File, entry: &Entry) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(entry)?;
    bytes.push(b'\n');
    log.write_all(&bytes)
}

/// Reads a log, one entry after the other; it may be longer than the memory.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
    let lines = BufReader::new(File::open(path)?).lines();
    Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
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
            append(&mut log, &entry).unwrap();
        }
        let read: Vec<Entry> = read(&path).unwrap().map(Result::unwrap).collect();
        let bytes: Vec<&str> = read.iter().map(|entry| entry.body.as_str()).collect();
        assert_eq!(bytes, bodies);
        assert_eq!(read[1].fault.as_deref(), Some("cut"));
        assert_eq!((read[2].n, &read[2].answer), (3, &json!({"n": 3})));
    }
}
