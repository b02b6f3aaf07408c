//! `prusik lint --fix`: contract skeletons for undeclared tools, put into `prusik.yaml` as text.
//!
//! The file is edited where the entries belong and nowhere else, so that comments, order and
//! layout stay as people wrote them. What comes of it is read again and compared: unless it says
//! exactly what the file said before and the new entries besides, nothing is written.

use std::ops::Range;
use std::path::Path;

use serde_json::{Value, json};

use super::PROJECT_FILE;
use super::source::{Entry, Shape, Source};

/// A tool for which no effect is declared.
#[derive(Debug, Clone)]
pub struct Undeclared {
    /// `server__tool`.
    pub name: String,
    /// What its server claims, such as `readOnlyHint: true`.
    pub claims: Vec<String>,
}

/// What is to become of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// The whole file.
    pub text: String,
    /// The lines that were put in, each block with the number of the line that it follows.
    pub inserted: Vec<(usize, String)>,
}

/// Why the file is left alone, and what a person would have to put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFixed {
    pub reason: String,
    pub skeleton: String,
}

/// Returns the file with a skeleton for each of `tools`. Each says `effect: write`, which is what
/// holds without it: a skeleton loosens nothing.
pub fn fixed(text: &str, tools: &[Undeclared]) -> Result<Fixed, NotFixed> {
    edit(text, tools).map_err(|reason| {
        let blocks: Vec<String> = tools.iter().map(|tool| whole(tool, 2)).collect();
        NotFixed { reason, skeleton: format!("tools:\n{}", blocks.concat()) }
    })
}

/// A change of the text: what stands before byte `at` gets `new` behind it, and `removed` bytes go.
struct Change {
    at: usize,
    removed: usize,
    new: String,
}

fn edit(text: &str, tools: &[Undeclared]) -> Result<Fixed, String> {
    let before = parsed(text).ok_or("it cannot be read")?;
    let Shape::Map(root) = &before.root.shape else { return Err("it is no mapping".to_owned()) };
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines = Lines::of(text);
    let known = root.iter().find(|entry| entry.key == "tools");
    let own: &[Entry] = match known.map(|entry| &entry.value.shape) {
        Some(Shape::Map(entries)) => entries,
        _ => &[],
    };
    let mut changes = Vec::new();
    let mut fresh = Vec::new();
    for tool in tools {
        match own.iter().find(|entry| entry.key == tool.name) {
            Some(entry) => changes.push(completed(&lines, entry, tool)?),
            None => fresh.push(tool),
        }
    }
    if !fresh.is_empty() {
        changes.push(added(&lines, root, known, &fresh)?);
    }
    changes.sort_by_key(|change| change.at);
    let mut result = String::new();
    let mut inserted = Vec::new();
    let mut from = 0;
    for change in changes {
        result.push_str(&text[from..change.at]);
        inserted.push((text[..change.at].lines().count(), change.new.clone()));
        result.push_str(&change.new.replace('\n', newline));
        from = change.at + change.removed;
    }
    result.push_str(&text[from..]);
    agrees(&before, &result, tools)?;
    Ok(Fixed { text: result, inserted })
}

fn parsed(text: &str) -> Option<Source> {
    let mut errors = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::yaml(Path::new(PROJECT_FILE).to_owned(), text, 1, &mut errors)?;
    errors.is_empty().then_some(source)
}

/// Checks that the new text says what the old one did, and that each tool is a write.
fn agrees(before: &Source, text: &str, tools: &[Undeclared]) -> Result<(), String> {
    let unclear = || "its layout leaves no safe place for an entry".to_owned();
    let after = parsed(text).ok_or_else(unclear)?.root.to_value();
    let mut wanted = before.root.to_value();
    let root = wanted.as_object_mut().ok_or_else(unclear)?;
    let entries = root.entry("tools").or_insert(Value::Null);
    if entries.is_null() {
        *entries = json!({});
    }
    for tool in tools {
        let entry = entries.as_object_mut().ok_or_else(unclear)?.entry(&tool.name);
        let entry = entry.or_insert(Value::Null);
        if entry.is_null() {
            *entry = json!({});
        }
        entry.as_object_mut().ok_or_else(unclear)?.insert("effect".to_owned(), json!("write"));
    }
    if after == wanted { Ok(()) } else { Err(unclear()) }
}

/// The lines of a text, by the place where each begins.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Returns a line by its number, counted from 1, without its break.
    fn get(&self, number: usize) -> &'a str {
        let Some(start) = number.checked_sub(1).and_then(|index| self.starts.get(index)) else {
            return "";
        };
        let line = self.text[*start..].split('\n').next().unwrap_or_default();
        line.trim_start_matches('\u{feff}').trim_end_matches('\r')
    }

    fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns where the line after this one begins; the end of the text after the last.
    fn after(&self, number: usize) -> usize {
        self.starts.get(number).copied().unwrap_or(self.text.len())
    }

    /// Returns text to be put behind a line, which may be the last one and have no break.
    fn behind(&self, number: usize, new: &str) -> Change {
        let at = self.after(number);
        let broken = at == 0 || self.text[..at].ends_with('\n');
        let mut text = if broken { new.to_owned() } else { format!("\n{new}") };
        if !broken {
            // The text ends as it did: without a break.
            text.truncate(text.trim_end_matches('\n').len());
        }
        Change { at, removed: 0, new: text }
    }
}

fn line_of(entry: &Entry) -> usize {
    usize::try_from(entry.key_place.line).unwrap_or(usize::MAX)
}

/// Returns how far a key is indented, if nothing but blanks stands before it.
fn indent_of(lines: &Lines<'_>, entry: &Entry) -> Option<usize> {
    let column = usize::try_from(entry.key_place.column).ok()?.checked_sub(1)?;
    let before: String = lines.get(line_of(entry)).chars().take(column).collect();
    before.chars().all(|char| char == ' ').then_some(column)
}

/// Puts new entries behind the last one of `tools`, or makes `tools`.
fn added(
    lines: &Lines<'_>,
    root: &[Entry],
    known: Option<&Entry>,
    fresh: &[&Undeclared],
) -> Result<Change, String> {
    let blocks = |indent| fresh.iter().map(|tool| whole(tool, indent)).collect::<Vec<_>>().concat();
    if root.iter().any(|entry| indent_of(lines, entry) != Some(0)) {
        return Err("it is written in braces, or indented as a whole".to_owned());
    }
    let Some(entry) = known else {
        let last = (1..=lines.count()).rev().find(|line| !lines.get(*line).trim().is_empty());
        let gap = if last.is_some() { "\n" } else { "" };
        return Ok(lines.behind(last.unwrap_or(0), &format!("{gap}tools:\n{}", blocks(2))));
    };
    let line = line_of(entry);
    match &entry.value.shape {
        Shape::Null => Ok(nothing(lines, entry, &blocks(2))),
        Shape::Map(own) if own.is_empty() => emptied(lines, entry, &blocks(2)),
        Shape::Map(own) => {
            let first = own.first().ok_or("`tools` has no entry")?;
            let indent = indent_of(lines, first).filter(|indent| *indent > 0);
            let indent = indent.ok_or("`tools` is written in braces")?;
            Ok(lines.behind(end_of(lines, root, line, indent), &blocks(indent)))
        }
        Shape::Bool(_) | Shape::Number(_) | Shape::Text(_) | Shape::List(_) => {
            Err("`tools` is no mapping".to_owned())
        }
    }
}

/// Turns `tools: {}` into `tools:` with lines below it.
fn emptied(lines: &Lines<'_>, entry: &Entry, blocks: &str) -> Result<Change, String> {
    let line = lines.get(line_of(entry));
    let braces = "`tools` is written in braces over several lines";
    let open = line.find('{').ok_or(braces)?;
    let close = line[open..].find('}').map(|at| open + at).ok_or(braces)?;
    if !line[open + 1..close].trim().is_empty() || !line[..open].trim_end().ends_with(':') {
        return Err(braces.to_owned());
    }
    Ok(instead(lines, entry, open..close + 1, blocks))
}

/// Puts lines below `tools:`, where a word for nothing may stand.
fn nothing(lines: &Lines<'_>, entry: &Entry, blocks: &str) -> Change {
    let line = lines.get(line_of(entry));
    let word = line.find(':').and_then(|colon| {
        let value = &line[colon + 1..];
        let start = colon + 1 + value.len() - value.trim_start().len();
        let word = line[start..].split_whitespace().next()?;
        ["null", "Null", "NULL", "~"].contains(&word).then_some(start..start + word.len())
    });
    match word {
        Some(word) => instead(lines, entry, word, blocks),
        None => lines.behind(line_of(entry), blocks),
    }
}

/// Puts lines below the one of `entry`, whose value is taken out of it.
fn instead(lines: &Lines<'_>, entry: &Entry, value: Range<usize>, blocks: &str) -> Change {
    let line = lines.get(line_of(entry));
    let start = lines.starts[line_of(entry) - 1];
    let kept = line[..value.start].trim_end();
    let rest = &line[value.end..];
    let removed = line.len() - kept.len();
    let comment = if rest.trim().is_empty() { "" } else { rest.trim_end() };
    let new = format!("{comment}\n{}", blocks.trim_end_matches('\n'));
    // A byte-order mark stands before the first line.
    let mark = lines.text[start..].len() - lines.text[start..].trim_start_matches('\u{feff}').len();
    Change { at: start + mark + kept.len(), removed, new }
}

/// Returns the last line that belongs to `tools`: what is blank before the next key, or a comment
/// that stands further out than the entries, is the next key's.
fn end_of(lines: &Lines<'_>, root: &[Entry], line: usize, indent: usize) -> usize {
    let next = root.iter().map(line_of).filter(|other| *other > line).min();
    let mut last = next.unwrap_or(lines.count() + 1) - 1;
    while last > line {
        let text = lines.get(last);
        let inner = text.trim_start();
        let is_foreign =
            inner.is_empty() || (inner.starts_with('#') && text.len() - inner.len() < indent);
        if !is_foreign {
            break;
        }
        last -= 1;
    }
    last
}

/// Puts the effect into an entry that has none.
fn completed(lines: &Lines<'_>, entry: &Entry, tool: &Undeclared) -> Result<Change, String> {
    let braces = || format!("the entry of `{}` is written in braces", tool.name);
    let line = line_of(entry);
    match &entry.value.shape {
        Shape::Null => {
            let indent = indent_of(lines, entry).ok_or_else(braces)?;
            Ok(lines.behind(line, &effect(tool, indent + 2)))
        }
        Shape::Map(keys) => {
            let first = keys.first().ok_or_else(braces)?;
            let indent = indent_of(lines, first).ok_or_else(braces)?;
            let before = line_of(first) - 1;
            Ok(Change { at: lines.after(before), removed: 0, new: effect(tool, indent) })
        }
        Shape::Bool(_) | Shape::Number(_) | Shape::Text(_) | Shape::List(_) => Err(braces()),
    }
}

/// Returns the line with the effect, marked for whoever reviews it.
fn effect(tool: &Undeclared, indent: usize) -> String {
    let claims = match tool.claims.as_slice() {
        [] => String::new(),
        claims => format!("; its server claims {}", claims.join(", ")),
    };
    format!(
        "{:indent$}effect: write # review: the strict reading, nobody has looked yet{claims}\n",
        ""
    )
}

fn whole(tool: &Undeclared, indent: usize) -> String {
    let inner = indent + 2;
    let pad = " ".repeat(inner);
    format!(
        "{:indent$}{}:\n{}{pad}# timeout_ms: 60000\n\
         {pad}# failures: {{ KIND: {{ retry: false, tell: What to do about it }} }}\n\
         {pad}# probe: {{ tool: TOOL, arguments: {{ }}, landed: CEL }}\n\
         {pad}# undo: {{ tool: TOOL, arguments: {{ }} }}\n",
        "",
        key(&tool.name),
        effect(tool, inner),
    )
}

/// Returns a tool's name as a key: names of offered tools hold letters, digits, `_` and `-` alone.
fn key(name: &str) -> String {
    if name.starts_with(|char: char| char.is_ascii_alphabetic()) {
        name.to_owned()
    } else {
        json!(name).to_string()
    }
}

/// Returns what a server claims of a tool, as words for a comment.
pub fn claims(hints: Option<&Value>) -> Vec<String> {
    ["readOnlyHint", "destructiveHint", "idempotentHint"]
        .iter()
        .filter_map(|key| Some(format!("{key}: {}", hints?[*key].as_bool()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(names: &[&str]) -> Vec<Undeclared> {
        let tool = |name: &&str| Undeclared { name: (*name).to_owned(), claims: Vec::new() };
        names.iter().map(tool).collect()
    }

    fn outcome(text: &str, names: &[&str]) -> String {
        let tools = tools(names);
        let fixed = fixed(text, &tools).unwrap();
        // Every line of the old text is still there, in order.
        let mut rest = fixed.text.lines();
        let is_replaced = |line: &str| {
            ["{", "~", "null"].iter().any(|value| {
                line.trim_start_matches('\u{feff}').starts_with(&format!("tools: {value}"))
            })
        };
        for line in text.lines().filter(|line| !is_replaced(line)) {
            assert!(rest.any(|found| found == line), "{line:?} is gone:\n{}", fixed.text);
        }
        let value = parsed(&fixed.text).unwrap().root.to_value();
        for name in names {
            assert_eq!(value["tools"][*name]["effect"], "write", "{}", fixed.text);
        }
        fixed.text
    }

    const MODELS: &str = "models: # the models\n  default: { provider: scripted }\n";

    #[test]
    fn an_entry_goes_where_it_belongs() {
        let tail = "\n# The last words.\nlint:\n  tools_max: 4\n";
        for middle in [
            "",
            "tools:\n",
            "tools: # none yet\n",
            "tools: {}\n",
            "tools: { } # none yet\n",
            "tools: null\n",
            "tools: ~ # none yet\n",
            "tools:\n  a__b:\n    effect: read # as tried\n  # That was all.\n",
            "tools:\n      a__b: { effect: read }\n",
            "tools:\n  s__new: # half\n    timeout_ms: 5\n",
            "tools:\n  s__new:\n",
        ] {
            for text in [format!("{MODELS}{middle}{tail}"), format!("{tail}{MODELS}{middle}")] {
                let unix = outcome(&text, &["s__new", "s__other"]);
                assert!(unix.contains("# review:"), "{unix}");
                let windows = outcome(&text.replace('\n', "\r\n"), &["s__new", "s__other"]);
                assert_eq!(windows.replace("\r\n", "\n"), unix);
                assert!(!windows.replace("\r\n", "").contains('\n'), "{windows:?}");
                let open = outcome(text.trim_end(), &["s__new", "s__other"]);
                assert!(!open.ends_with(' '), "{open}");
                outcome(&format!("\u{feff}{text}"), &["s__new"]);
            }
        }
    }

    #[test]
    fn comments_stay_with_what_they_are_about() {
        let text = format!(
            "{MODELS}tools:\n  a__b: {{ effect: read }}\n  # About a__b.\n\n# About lint.\nlint: {{}}\n"
        );
        let fixed = outcome(&text, &["s__new"]);
        let at = |part: &str| fixed.find(part).unwrap();
        assert!(at("# About a__b.") < at("s__new"), "{fixed}");
        assert!(at("# undo:") < at("# About lint."), "{fixed}");
        assert!(fixed.contains("    # undo: { tool: TOOL, arguments: { } }\n\n# About"), "{fixed}");
    }

    #[test]
    fn what_cannot_be_edited_safely_is_left_alone() {
        for text in [
            "{ models: { default: { provider: scripted } } }\n",
            "tools: { a__b: { effect: read } }\n",
            "tools: {\n}\n",
            "tools: {\n  a__b: { effect: read }\n}\n",
            "tools:\n  s__new: { timeout_ms: 5 }\n",
            "models: {}\n...\n",
            "base: &base\n  a__b: { effect: read }\ntools: *base\n",
            "tools: []\n",
            // What is blank at the end belongs to the text above it.
            "notes: |+\n  a\n\n\n",
        ] {
            let error = fixed(text, &tools(&["s__new"])).unwrap_err();
            assert!(error.skeleton.starts_with("tools:\n  s__new:\n    effect: write"), "{text}");
            assert!(!error.reason.is_empty());
        }
    }

    #[test]
    fn what_a_server_claims_stands_as_a_claim_only() {
        let hints = json!({"readOnlyHint": true, "title": "x\n  effect: read"});
        let tool = Undeclared { name: "s__new".to_owned(), claims: claims(Some(&hints)) };
        let text = fixed(MODELS, &[tool]).unwrap().text;
        assert!(text.contains("effect: write # review:"), "{text}");
        assert!(text.contains("its server claims readOnlyHint: true\n"), "{text}");
        assert!(!text.contains("effect: read"), "{text}");
    }
}
