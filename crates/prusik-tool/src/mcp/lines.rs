//! Lines of bounded length from a stream, and what can be told of a line that was too long.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest JSON key or value that [`IdScanner`] remembers, in bytes.
const TOKEN_BYTES_MAX: usize = 128;

/// One step of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line without its end.
    Whole(Vec<u8>),
    /// A line above the limit was skipped. `id` is the raw JSON of its top-level `id`, if any.
    TooLong {
        bytes: usize,
        id: Option<Vec<u8>>,
    },
    End,
}

/// Reads lines and never holds more than the limit. Cancel-safe: what was read stays.
#[derive(Debug)]
pub(super) struct LineReader<R> {
    input: BufReader<R>,
    bytes_max: usize,
    held: Vec<u8>,
    skipping: Option<Skipped>,
}

#[derive(Debug)]
struct Skipped {
    bytes: usize,
    scanner: IdScanner,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Self {
        Self { input: BufReader::new(input), bytes_max, held: Vec::new(), skipping: None }
    }

    /// Returns the next line. An error of the stream is its end; so is an end amid a line.
    pub(super) async fn next(&mut self) -> Line {
        loop {
            let available = match self.input.fill_buf().await {
                Ok(available) if !available.is_empty() => available,
                Ok(_) | Err(_) => return Line::End,
            };
            // From here to `consume` nothing waits, so nothing is lost when we are dropped.
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            if let Some(skipped) = &mut self.skipping {
                skipped.bytes += part.len();
                skipped.scanner.feed(part);
            } else if self.held.len() + part.len() > self.bytes_max {
                let mut scanner = IdScanner::default();
                scanner.feed(&self.held);
                scanner.feed(part);
                let bytes = self.held.len() + part.len();
                self.held = Vec::new();
                self.skipping = Some(Skipped { bytes, scanner });
            } else {
                self.held.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(newline.is_some());
            self.input.consume(consumed);
            if newline.is_some() {
                return match self.skipping.take() {
                    Some(Skipped { bytes, scanner }) => Line::TooLong { bytes, id: scanner.id },
                    None => Line::Whole(std::mem::take(&mut self.held)),
                };
            }
        }
    }
}

/// Finds the value of the top-level key `id` in a JSON object that is too large to be parsed.
#[derive(Debug, Default)]
struct IdScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last string or bare token at depth 1, up to a limit.
    token: Vec<u8>,
    /// The key whose value comes next.
    key: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
}

impl IdScanner {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.remember(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.remember(byte);
            }
            b'{' | b'[' => self.depth += 1,
            b':' if self.depth == 1 => self.key = Some(std::mem::take(&mut self.token)),
            b',' if self.depth == 1 => self.end_value(),
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_value();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ if byte.is_ascii_whitespace() => {}
            _ => self.remember(byte),
        }
    }

    fn remember(&mut self, byte: u8) {
        if self.depth == 1 && self.token.len() < TOKEN_BYTES_MAX {
            self.token.push(byte);
        }
    }

    fn end_value(&mut self) {
        let value = std::mem::take(&mut self.token);
        if self.key.take().as_deref() == Some(br#""id""#) && !value.is_empty() {
            self.id = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8], bytes_max: usize) -> Vec<Line> {
        let mut reader = LineReader::new(input, bytes_max);
        let mut found = Vec::new();
        loop {
            match reader.next().await {
                Line::End => return found,
                line => found.push(line),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_whole_and_an_unfinished_one_does_not() {
        let found = lines(b"one\n\ntwo\nthr", 100).await;
        assert_eq!(found, ["one", "", "two"].map(|text| Line::Whole(text.into())));
    }

    #[tokio::test]
    async fn a_line_above_the_limit_is_skipped_and_its_id_is_told() {
        let long = "x".repeat(50_000);
        for (text, id) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"id":8,"t":"{long}"}}}}"#), Some("7")),
            (
                format!(r#"{{"result":{{"t":["{long}",{{"id":1}}]}},"jsonrpc":"2.0","id" : 9 }}"#),
                Some("9"),
            ),
            (format!(r#"{{"result":"\"id\":4,{long}","id":"ab"}}"#), Some(r#""ab""#)),
            (format!(r#"{{"method":"x","params":{{"id":3,"t":"{long}"}}}}"#), None),
            (long.clone(), None),
        ] {
            let found = lines(format!("{text}\nnext\n").as_bytes(), 1_000).await;
            let id = id.map(|id| id.as_bytes().to_vec());
            let long = Line::TooLong { bytes: text.len(), id };
            assert_eq!(found, [long, Line::Whole(b"next".to_vec())]);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_scanner_never_panics(bytes: Vec<u8>) {
            IdScanner::default().feed(&bytes);
        }
    }
}
