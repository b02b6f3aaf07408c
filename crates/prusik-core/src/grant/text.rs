//! What a text holds: links and addresses, values of closed types, and whether a value occurs in it.

use serde_json::Value;

/// Longest id that counts as a closed value, in bytes: a word, and not a message.
const ID_BYTES_MAX: usize = 64;
/// Endings of file names, which look like domains.
const FILES: [&str; 16] = [
    "txt", "md", "pdf", "csv", "json", "yaml", "yml", "xml", "html", "png", "jpg", "jpeg", "gif",
    "doc", "docx", "xlsx",
];

/// Returns what in a text could lead somewhere: URLs, domains, addresses of mail.
pub fn links(text: &str) -> Vec<String> {
    let splits = |c: char| c.is_whitespace() || "\"'<>()[]{}|\\`,;".contains(c);
    let words = text.split(splits).map(|word| word.trim_matches(['.', ':', '!', '?', '*', '_']));
    words.filter(|word| leads_somewhere(word)).map(str::to_owned).collect()
}

fn leads_somewhere(word: &str) -> bool {
    let lower = word.to_lowercase();
    if lower.contains("://") || lower.contains('@') && !lower.starts_with('@') {
        return true;
    }
    let schemes = ["mailto:", "tel:", "data:", "javascript:", "www.", "//"];
    if schemes.iter().any(|scheme| lower.starts_with(scheme)) {
        return true;
    }
    // Whatever looks like a domain: labels with points between, the last one of letters alone.
    let host = lower.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let labels: Vec<&str> = host.split(['.', '。', '．']).collect();
    let sound = |label: &&str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let Some((last, rest)) = labels.split_last() else { return false };
    let top = last.chars().count() >= 2 && last.chars().all(char::is_alphabetic);
    let numbers = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    let file = host.len() == lower.len() && FILES.contains(last);
    numbers || !rest.is_empty() && top && !file && labels.iter().all(sound)
}

/// Returns whether a value cannot carry words: a number, a date or a time, a boolean, an id.
pub fn is_closed(leaf: &Value) -> bool {
    match leaf {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => is_closed_text(text),
        Value::Array(_) | Value::Object(_) => false,
    }
}

pub(super) fn is_closed_text(text: &str) -> bool {
    is_time(text) || is_id(text)
}

/// Dates and times are digits with what stands between them.
fn is_time(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let around = |c: char| c.is_ascii_digit() || " -/:.,+TZ".contains(c);
    digits >= 3 && text.len() <= ID_BYTES_MAX && text.chars().all(around)
}

/// An id is one word. What leads somewhere is none.
fn is_id(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.chars().all(word)
}

/// Returns whether a value stands in a text: as whole words, whatever their case and the spaces
/// between; numbers numerically. It is a reason to show to people, and never proof of where a value
/// came from.
pub fn occurs(leaf: &Value, text: &str) -> bool {
    match leaf {
        Value::Null => true,
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        Value::Number(number) => number.as_f64().is_some_and(|wanted| has_number(text, wanted)),
        Value::String(value) => has_words(&normal(text), &normal(value)),
    }
}

/// Returns a text in lower case with single spaces, and without what cannot be seen.
fn normal(text: &str) -> String {
    let seen = text.chars().filter(|c| !is_invisible(*c)).collect::<String>();
    seen.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Returns whether a character shows nothing, or changes how others are shown.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

fn has_words(text: &str, value: &str) -> bool {
    if value.is_empty() {
        return false;
    }
    let mut from = 0;
    while let Some(at) = text[from..].find(value) {
        let (begin, end) = (from + at, from + at + value.len());
        let before = text[..begin].chars().next_back();
        let after = text[end..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if !joins(before) && !joins(after) {
            return true;
        }
        let step = text[begin..].chars().next().map_or(1, char::len_utf8);
        from = begin + step;
    }
    false
}

fn has_number(text: &str, wanted: f64) -> bool {
    let token = |c: char| !(c.is_alphanumeric() || c == '.' || c == ',');
    text.split(token).any(|word| {
        let word = word.trim_matches(['.', ',']).replace(',', "");
        let number = word.chars().all(|c| c.is_ascii_digit() || c == '.');
        number && word.parse::<f64>().is_ok_and(|found| found.to_bits() == wanted.abs().to_bits())
    })
}
