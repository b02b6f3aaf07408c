//! What a text is: JSON, Markdown, a table, or lines.

use std::borrow::Cow;

use super::shape::Shape;
use super::{counted, list, name, quote};

/// Headings and columns that are kept: more than an outline has room for.
const NAMES_KEPT: usize = 48;
/// Longest head of a column, in bytes: prose has longer ones.
const COLUMN_BYTES_MAX: usize = 60;

/// Returns what a text that says something is.
pub(super) fn describe(text: &str) -> String {
    if let Some(shape) = Shape::of_text(text) {
        return shape.describe();
    }
    let text = unnumbered(text);
    let lines = counted(text.lines().count(), "line", "lines");
    if let Some(headings) = headings(&text) {
        return format!("Markdown, {lines}, headings {headings}");
    }
    if let Some(Table { what, columns, columns_count, rows }) = table(&text) {
        let rows = counted(rows, "row", "rows");
        return format!("{what}, {rows}, columns {}", list(&columns, columns_count));
    }
    format!("text, {lines}, begins {}", quote(&text[..text.floor_char_boundary(1024)]))
}

/// Returns a text without the numbers that the built-in `read` puts before its lines.
fn unnumbered(text: &str) -> Cow<'_, str> {
    fn rest(line: &str) -> Option<&str> {
        let (number, rest) = line.split_once('\t')?;
        let number = number.trim_start();
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(rest)
    }
    let numbered = |line: &&str| rest(line).is_some();
    if !text.lines().next().is_some_and(|line| numbered(&line)) {
        return Cow::Borrowed(text);
    }
    // Below the lines `read` may say that there are more.
    Cow::Owned(text.lines().map_while(rest).collect::<Vec<_>>().join("\n"))
}

/// Returns the headings of a text that is Markdown for all that can be seen: it begins with one, or has
/// several of different depths. One `#` alone may be a comment of a script.
fn headings(text: &str) -> Option<String> {
    let (mut names, mut count, mut depths, mut begins) = (Vec::new(), 0, [false; 7], false);
    let (mut fenced, mut first) = (false, true);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let heading = if fenced { None } else { heading(line) };
        if let Some((depth, heading)) = heading {
            begins |= first;
            depths[depth] = true;
            count += 1;
            if names.len() < NAMES_KEPT {
                names.push(name(heading));
            }
        }
        first &= line.trim().is_empty();
    }
    let is_markdown = depths.iter().filter(|seen| **seen).count() > 1 || (begins && count > 1);
    let is_short = begins && count == 1 && !text.lines().any(|line| line.starts_with("#!"));
    (is_markdown || is_short).then(|| list(&names, count))
}

/// Returns the depth and the text of an ATX heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let depth = line.bytes().take_while(|byte| *byte == b'#').count();
    let text = line[depth..].strip_prefix(' ')?.trim().trim_end_matches('#').trim();
    ((1..=6).contains(&depth) && !text.is_empty()).then_some((depth, text))
}

struct Table {
    what: &'static str,
    columns: Vec<String>,
    columns_count: usize,
    rows: usize,
}

impl Table {
    fn new(what: &'static str, columns: &[&str], rows: usize) -> Self {
        let names = columns.iter().take(NAMES_KEPT).map(|column| name(column)).collect();
        Self { what, columns: names, columns_count: columns.len(), rows }
    }
}

fn table(text: &str) -> Option<Table> {
    markdown_table(text)
        .or_else(|| separated(text, "TSV", b'\t', 2))
        .or_else(|| separated(text, "CSV", b',', 3))
        .or_else(|| separated(text, "CSV with semicolons", b';', 3))
}

/// Returns the first table of Markdown, if the text begins with one.
fn markdown_table(text: &str) -> Option<Table> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| line.is_empty());
    let (head, rule) = (lines.next()?, lines.next()?);
    let is_rule = rule.contains('-')
        && rule.contains('|')
        && rule.bytes().all(|byte| matches!(byte, b'|' | b'-' | b':' | b' '));
    if !head.starts_with('|') || !is_rule {
        return None;
    }
    let head = head.strip_prefix('|').unwrap_or(head);
    let columns: Vec<&str> = head.strip_suffix('|').unwrap_or(head).split('|').collect();
    let rows = lines.take_while(|line| line.starts_with('|')).count();
    Some(Table::new("Markdown table", &columns, rows))
}

/// Returns the table that a text is if each of its records has as many fields as the first, and that
/// one reads like heads of columns.
fn separated(text: &str, what: &'static str, separator: u8, records_min: usize) -> Option<Table> {
    let mut rest = text;
    let (head, after) = record(rest, separator)?;
    let is_head = head.len() > 1
        && head
            .iter()
            .all(|head| head.len() <= COLUMN_BYTES_MAX && head.chars().any(char::is_alphabetic));
    if !is_head {
        return None;
    }
    let mut records = 1;
    rest = after;
    while !rest.is_empty() {
        let (fields, after) = record(rest, separator)?;
        rest = after;
        if fields.len() == 1 && fields[0].trim().is_empty() {
            continue;
        }
        if fields.len() != head.len() {
            return None;
        }
        records += 1;
    }
    (records >= records_min).then(|| Table::new(what, &head, records - 1))
}

/// Splits the first record off, after RFC 4180: a field in quotes may hold separators and line ends.
/// None if a quote is not closed.
fn record(text: &str, separator: u8) -> Option<(Vec<&str>, &str)> {
    let bytes = text.as_bytes();
    let (mut fields, mut begin, mut at, mut quoted) = (Vec::new(), 0, 0, false);
    loop {
        match bytes.get(at) {
            None if quoted => return None,
            Some(b'"') if quoted => quoted = false,
            // A doubled quote closes and opens again.
            Some(b'"') if at == begin || bytes[at - 1] == b'"' => quoted = true,
            Some(byte) if !quoted && *byte == separator => {
                fields.push(unquoted(&text[begin..at]));
                begin = at + 1;
            }
            Some(b'\n') | None if !quoted => {
                fields.push(unquoted(text[begin..at].trim_end_matches('\r')));
                return Some((fields, text.get(at + 1..).unwrap_or("")));
            }
            Some(_) | None => {}
        }
        at += 1;
    }
}

fn unquoted(field: &str) -> &str {
    let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
    inner.unwrap_or(field)
}
