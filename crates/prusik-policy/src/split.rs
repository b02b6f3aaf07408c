//! Takes a file apart into its policies, so that a mistake in one is found beside those in others.

use crate::finding::{Finding, Severity};

/// A text with the places of its lines.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub file: String,
    pub text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Text {
    pub fn new(file: String, text: String) -> Self {
        let after = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        let lines = std::iter::once(0).chain(after).collect();
        Self { file, text, lines }
    }

    /// Returns the line and the column of an offset, counted from 1.
    pub fn place(&self, offset: usize) -> (u32, u32) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1];
        let column = self.text[start..offset].chars().count() + 1;
        (number(line), number(column))
    }

    /// Returns a finding about a part of the text.
    pub fn finding(&self, offset: usize, length: usize, message: impl Into<String>) -> Finding {
        /// As much as is shown of what is meant.
        const SHOWN_BYTES: usize = 200;
        let (line, column) = self.place(offset);
        let start = self.text.floor_char_boundary(offset.min(self.text.len()));
        let end = start.saturating_add(length.min(SHOWN_BYTES)).min(self.text.len());
        let end = self.text.floor_char_boundary(end);
        Finding {
            severity: Severity::Error,
            file: self.file.clone(),
            line,
            column,
            policy: None,
            text: self.text[start..end].to_owned(),
            message: message.into(),
            help: None,
        }
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Returns where each policy begins and ends, the `;` included. What comes behind the last one is a
/// part of its own, unless it is empty.
pub(crate) fn policies(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let mut parts = Vec::new();
    // Where the part begins: at its first word, which is no comment.
    let mut start = None;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' => {
                start.get_or_insert(at);
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b';' => {
                parts.push(start.take().unwrap_or(at)..at + 1);
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => {
                start.get_or_insert(at);
            }
        }
        at += 1;
    }
    parts.extend(start.map(|start| start..text.len()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_falls_into_its_policies() {
        let text =
            "// one; no policy\nforbid (a) when { \"x;\\\";\" };\n\n@id(\"é;\") // ;\nforbid;rest";
        let parts: Vec<&str> = policies(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(
            parts,
            ["forbid (a) when { \"x;\\\";\" };", "@id(\"é;\") // ;\nforbid;", "rest"]
        );
        assert!(policies(" \n// nothing").is_empty());
        assert_eq!(policies("\"never closed\\").len(), 1);
    }

    #[test]
    fn places_are_counted_in_characters_from_one() {
        let text = Text::new("a.cedar".to_owned(), "é\nñb\n".to_owned());
        assert_eq!(text.place(0), (1, 1));
        assert_eq!(text.place(5), (2, 2));
        assert_eq!(text.place(99), (3, 1));
        let found = text.finding(3, 100, "x");
        assert_eq!((found.line, found.text.as_str()), (2, "ñb\n"));
    }
}
