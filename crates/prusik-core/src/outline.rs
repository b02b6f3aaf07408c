//! Outlines: one line that says what a result is, so that a model can decide whether to read it.
//!
//! Most of what an outline names comes from outside: keys, columns, headings, first lines. It is
//! shortened and stripped of whatever could make it look like more than a name: an outline is always
//! one line, holds no brackets of the kind that the runtime puts around its own words, and nothing that
//! cannot be seen.

mod shape;
#[cfg(test)]
mod tests;
mod text;

use crate::message::{Content, Image};
use shape::Shape;

/// Longest outline, in bytes.
pub const OUTLINE_BYTES_MAX: usize = 240;

/// Pieces of a result that are told apart; of more only the number is told.
const PIECES_MAX: usize = 6;
/// Longest name of a key, a column or a heading, in bytes.
const NAME_BYTES_MAX: usize = 40;
/// Longest beginning of a text that is quoted, in bytes.
const QUOTE_BYTES_MAX: usize = 80;
/// Room for a list of names, in bytes.
const LIST_BYTES_MAX: usize = 150;

/// Returns what `content` is, in one line of at most [`OUTLINE_BYTES_MAX`] bytes.
pub fn outline(content: &[Content]) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut more = 0;
    for piece in content {
        let Some(piece) = describe(piece) else { continue };
        // A server often says the same thing twice, as JSON and as its text.
        if told.contains(&piece) {
            continue;
        }
        if told.len() < PIECES_MAX {
            told.push(piece);
        } else {
            more += 1;
        }
    }
    if told.is_empty() {
        return "empty".to_owned();
    }
    if more > 0 {
        told.push(format!("{more} more pieces"));
    }
    cut(told.join("; "), OUTLINE_BYTES_MAX)
}

/// Returns what one piece is; none if it says nothing.
fn describe(piece: &Content) -> Option<String> {
    match piece {
        Content::Text(text) if text.trim().is_empty() => None,
        Content::Text(text) => Some(text::describe(text)),
        Content::Json(value) => Some(Shape::of(value).describe()),
        Content::Image(image) => Some(describe_image(image)),
    }
}

fn describe_image(image: &Image) -> String {
    let padding = image.data.bytes().rev().take_while(|byte| *byte == b'=').count().min(2);
    let bytes = (image.data.len() / 4 * 3).saturating_sub(padding);
    format!("image {}, {bytes} bytes", name(&image.media_type))
}

/// Returns a name from outside as it may stand in an outline: short, and quoted where it is not plain.
fn name(raw: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '$' | '@');
    let shown = shown(raw, NAME_BYTES_MAX);
    match shown.strip_suffix('…').unwrap_or(&shown) {
        "" => "\"\"".to_owned(),
        text if text.chars().all(plain) => shown,
        _ => format!("\"{shown}\""),
    }
}

/// Returns the beginning of a text in quotes.
fn quote(raw: &str) -> String {
    format!("\"{}\"", shown(raw, QUOTE_BYTES_MAX))
}

/// Returns the first `bytes_max` bytes of what can be seen of `raw`, on one line.
fn shown(raw: &str, bytes_max: usize) -> String {
    let mut out = String::new();
    for c in raw.trim().chars().filter_map(visible) {
        // White space in a row says no more than one space.
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if out.len() + c.len_utf8() > bytes_max {
            out.truncate(out.trim_end().len());
            out.push('…');
            return out;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

/// Returns `c` as it may stand in an outline; none if it cannot be seen.
fn visible(c: char) -> Option<char> {
    match c {
        // Square brackets are what the runtime's own notes stand in.
        '[' => Some('('),
        ']' => Some(')'),
        '"' => Some('\''),
        // Zero width, direction and tags: what a person does not see, a model reads.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => None,
        c if c.is_whitespace() || c.is_control() => Some(' '),
        c => Some(c),
    }
}

/// Joins as many names as there is room for, and says how many there are where some are left out.
fn list(names: &[String], total: usize) -> String {
    let mut out = String::new();
    for (i, name) in names.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        if out.len() + comma.len() + name.len() > LIST_BYTES_MAX {
            return format!("{out}, … ({total} in all)");
        }
        out.push_str(comma);
        out.push_str(name);
    }
    if names.len() < total { format!("{out}, … ({total} in all)") } else { out }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn cut(mut text: String, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max - MARK.len()));
        text.push_str(MARK);
    }
    text
}
