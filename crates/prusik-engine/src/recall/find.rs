//! Lines that match a regular expression.
//!
//! The engine of the expressions is linear in the text. An expression is small, a line is read in
//! pieces, and between pieces others get their turn: so the worst that can be written takes long and
//! is stopped in time.

use regex::{Regex, RegexBuilder};

use super::{Pace, Problem, kind, refused, shortened, visible};

/// Largest expression once it is compiled, in bytes.
const COMPILED_BYTES_MAX: usize = 512 * 1024;

/// Longest line that is shown whole, in bytes. Of a longer one each match is shown with what stands
/// around it.
const LINE_BYTES_MAX: usize = 300;
/// What is shown around a match of a long line, on either side, in bytes.
const AROUND_BYTES: usize = 120;
/// Longest neighbour of a line that is shown with it, in bytes.
const NEIGHBOUR_BYTES_MAX: usize = 120;

/// How much of a long line is searched in one go, and how much of it twice, so that what stands on the
/// seam is found.
const WINDOW_BYTES: usize = 64 * 1024;
const OVERLAP_BYTES: usize = 4 * 1024;

/// A place that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Counted from 1.
    pub line: usize,
    pub line_begin: usize,
    pub line_end: usize,
    pub begin: usize,
    pub end: usize,
}

pub(super) fn compile(pattern: &str) -> Result<Regex, Problem> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(2 * COMPILED_BYTES_MAX);
    builder.build().map_err(|error| {
        let message = format!(
            "The regex cannot be used: {error}. It is RE2 syntax: no look-around, no back references; \
             escape `.`, `[`, `(` where they stand for themselves. For plain words use `query`."
        );
        refused(kind::BAD_PATTERN, message)
    })
}

/// Calls `take` with each match of `text` from byte `from` on: one for each line, of long lines those
/// that do not stand close together.
pub(super) async fn find(
    regex: &Regex,
    text: &str,
    from: usize,
    pace: &mut Pace,
    mut take: impl FnMut(Found),
) {
    let mut line = 1 + text[..from].matches('\n').count();
    let mut line_begin = text[..from].rfind('\n').map_or(0, |at| at + 1);
    let mut at = from;
    while line_begin < text.len() {
        let next = text[line_begin..].find('\n').map_or(text.len(), |len| line_begin + len);
        let line_end = if text[line_begin..next].ends_with('\r') { next - 1 } else { next };
        let mut found = |begin: usize, end: usize| {
            take(Found { line, line_begin, line_end, begin, end });
        };
        if line_end - line_begin <= LINE_BYTES_MAX {
            let haystack = &text[line_begin..line_end];
            let start = (at - line_begin).min(haystack.len());
            if let Some(m) = regex.find_at(haystack, start) {
                found(line_begin + m.start(), line_begin + m.end());
            }
            pace.walk(haystack.len() + 1).await;
        } else {
            while at < line_end {
                let window_end = text.floor_char_boundary(line_end.min(at + WINDOW_BYTES));
                // The end of a window is taken for the end of the line, which matters to few.
                let haystack = &text[line_begin..window_end];
                while at < window_end {
                    let Some(m) = regex.find_at(haystack, at - line_begin) else { break };
                    let (begin, end) = (line_begin + m.start(), line_begin + m.end());
                    found(begin, end);
                    let behind = end.max(begin + AROUND_BYTES).min(window_end);
                    at = text.ceil_char_boundary(behind.max(at + 1));
                }
                pace.walk(WINDOW_BYTES).await;
                if window_end == line_end {
                    break;
                }
                at = at.max(text.floor_char_boundary(window_end - OVERLAP_BYTES));
            }
        }
        line_begin = next + 1;
        at = line_begin;
        line += 1;
    }
}

/// Returns what is shown of a match: its line and the ones beside it, or what stands around it.
pub(super) fn shown(text: &str, found: &Found) -> String {
    let Found { line_begin, line_end, begin, end, .. } = *found;
    if line_end - line_begin > LINE_BYTES_MAX {
        let end = end.min(begin + AROUND_BYTES);
        let from = text.floor_char_boundary(begin.saturating_sub(AROUND_BYTES).max(line_begin));
        let to = text.ceil_char_boundary((end + AROUND_BYTES).min(line_end));
        let before = if from > line_begin { "…" } else { "" };
        let behind = if to < line_end { "…" } else { "" };
        return format!("{before}{}{behind}", visible(&text[from..to]));
    }
    let before = text[..line_begin].strip_suffix('\n').and_then(|text| text.rsplit('\n').next());
    let behind = text[line_end..].split('\n').nth(1);
    let neighbour = |line: Option<&str>| {
        let line = line.filter(|line| !line.trim().is_empty())?;
        Some(shortened(line, NEIGHBOUR_BYTES_MAX))
    };
    let line = visible(&text[line_begin..line_end]);
    let lines = [neighbour(before), Some(line), neighbour(behind)];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(pattern: &str, text: &str, from: usize) -> Vec<Found> {
        let regex = compile(pattern).unwrap();
        let mut all = Vec::new();
        find(&regex, text, from, &mut Pace::default(), |found| all.push(found)).await;
        all
    }

    #[tokio::test]
    async fn what_stands_on_the_seam_of_two_windows_is_found_once() {
        for shift in 0..40 {
            let mut text = "ä".repeat((WINDOW_BYTES - 20) / 2) + &"x".repeat(shift);
            let at = text.len();
            text = text + "KESTREL-7261" + &"y".repeat(2 * WINDOW_BYTES) + "\nKESTREL-7262";
            let found = all(r"KESTREL-\d+", &text, 0).await;
            let places: Vec<_> = found.iter().map(|found| (found.line, found.begin)).collect();
            assert_eq!(places, [(1, at), (2, text.len() - 12)], "{shift}");
            assert!(shown(&text, &found[0]).contains("KESTREL-7261yyy"));
        }
    }

    #[tokio::test]
    async fn each_line_is_a_text_of_its_own() {
        let text = "one\r\n\ntwo ä\nthree";
        let lines = |found: Vec<Found>| found.iter().map(|f| f.line).collect::<Vec<_>>();
        assert_eq!(lines(all("^t", text, 0).await), [3, 4]);
        assert_eq!(lines(all("e$", text, 0).await), [1, 4]);
        assert_eq!(lines(all("^$", text, 0).await), [2]);
        assert!(all("one\\s+two", text, 0).await.is_empty());
        // From the middle of a line, which does not begin there.
        let two = text.find("wo").unwrap();
        assert_eq!(lines(all("^w|ä", text, two).await), [3]);
        assert_eq!(lines(all("", text, text.len()).await), [4]);
        assert!(all("", "", 0).await.is_empty());
        let found = all("two", text, 0).await;
        assert_eq!(shown(text, &found[0]), "two ä\nthree");
    }
}
