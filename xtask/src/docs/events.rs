//! `events.md`: the kinds of events, from their types' comments and from the golden files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{sentence, table};

/// The types, and one file for each kind with a list of events, one per line.
const SOURCES: [&str; 3] = [
    "crates/prusik-core/src/event.rs",
    "crates/prusik-core/src/event/context.rs",
    "crates/prusik-core/src/event/contain.rs",
];
/// Words that stand inside of events and are told of elsewhere.
const MORE: [(&str, &[&str]); 2] = [
    ("crates/prusik-core/src/ledger.rs", &["EntryKind", "Author"]),
    ("crates/prusik-core/src/grant.rs", &["ArgumentKind", "Slot"]),
];
const GOLDEN: &str = "crates/prusik-core/tests/golden";

/// A type of the source, with its comments.
#[derive(Debug, Default, PartialEq)]
struct Item {
    is_enum: bool,
    name: String,
    meaning: String,
    members: Vec<Member>,
}

/// A field or a variant.
#[derive(Debug, PartialEq)]
struct Member {
    name: String,
    meaning: String,
}

pub fn page(root: &Path) -> Result<String> {
    let mut items = Vec::new();
    for source in SOURCES {
        items.extend(parse(&read(root, source)?));
    }
    for (source, names) in MORE {
        let found = parse(&read(root, source)?).into_iter();
        items.extend(found.filter(|item| names.contains(&item.name.as_str())));
    }
    let events = items.iter().find(|item| item.is_enum && item.name == "Event");
    let events = events.with_context(|| format!("{} has no enum `Event`", SOURCES[0]))?;
    let mut text = String::from(
        "# Events\n\n\
         A run's journal is a list of records, and each record holds one event: a fact, as an object \
         with one key, its kind. `prusik events RUN --json` prints them one per line, as \
         `{\"run\": …, \"seq\": …, \"at_ms\": …, \"event\": {KIND: …}}`. The format is a promise: \
         fields may be added, and none is renamed, removed or given another meaning. A field that \
         has nothing to say is left out.\n\n\
         A call is named by its turn and its place in it: `3.1` is the first call of turn 3.\n",
    );
    for event in &events.members {
        text.push_str(&section(root, event, &items)?);
    }
    text.push_str("\n## Words inside of events\n");
    for item in items.iter().filter(|item| item.is_enum && item.name != "Event") {
        let rows: Vec<Vec<String>> = item
            .members
            .iter()
            .map(|member| vec![format!("`{}`", snake(&member.name)), sentence(&member.meaning)])
            .collect();
        text.push_str(&format!("\n### {}\n\n", title(&item.name)));
        if !item.meaning.is_empty() {
            text.push_str(&format!("{}\n\n", sentence(&item.meaning)));
        }
        text.push_str(&table(&["word", "meaning"], &rows));
    }
    Ok(text)
}

fn read(root: &Path, source: &str) -> Result<String> {
    let path = root.join(source);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn section(root: &Path, event: &Member, items: &[Item]) -> Result<String> {
    let kind = snake(&event.name);
    let body = items.iter().find(|item| !item.is_enum && item.name == event.name);
    let body =
        body.with_context(|| format!("{} have no struct `{}`", SOURCES.join(" and "), event.name))?;
    let meaning = if event.meaning.is_empty() { &body.meaning } else { &event.meaning };
    ensure!(
        !meaning.is_empty(),
        "{}: `{}` has no comment that says what it means",
        SOURCES[0],
        event.name
    );
    let mut text = format!("\n## `{kind}`\n\n{}\n", sentence(meaning));
    let rows: Vec<Vec<String>> = body
        .members
        .iter()
        .filter(|field| !field.meaning.is_empty())
        .map(|field| vec![format!("`{}`", field.name), sentence(&field.meaning)])
        .collect();
    if !rows.is_empty() {
        text.push_str(&format!("\n{}", table(&["field", "meaning"], &rows)));
    }
    text.push_str(&format!("\n```json\n{}\n```\n", example(root, &kind)?));
    Ok(text)
}

/// Returns the first event of a golden file.
fn example(root: &Path, kind: &str) -> Result<String> {
    let path = root.join(GOLDEN).join(format!("{kind}.json"));
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let events: Vec<Value> = serde_json::from_str(&text)
        .with_context(|| format!("{} is no list of events", path.display()))?;
    let first = events.first().with_context(|| format!("{} is empty", path.display()))?;
    ensure!(first.get(kind).is_some(), "{} does not begin with a `{kind}`", path.display());
    Ok(serde_json::to_string_pretty(first)?)
}

/// Reads the public types of a source file that rustfmt has laid out.
fn parse(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut open: Option<Item> = None;
    let mut comment = Vec::new();
    for line in source.lines() {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim();
        let due = if open.is_some() { 4 } else { 0 };
        if indent != due {
            if text == "}" && indent == 0 {
                items.extend(open.take());
                comment.clear();
            }
            continue;
        }
        if let Some(words) = text.strip_prefix("///") {
            comment.push(words.trim());
            continue;
        }
        // Attributes stand between a comment and what it is about.
        if text.starts_with("#[") || text.starts_with(')') {
            continue;
        }
        let meaning = comment.join(" ");
        comment.clear();
        if let Some(item) = &mut open {
            let is_member = text.starts_with("pub ") || item.is_enum;
            let name: String = text
                .trim_start_matches("pub ")
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if is_member && !name.is_empty() {
                item.members.push(Member { name, meaning });
            }
        } else if text.ends_with('{')
            && let Some((is_enum, rest)) = text
                .strip_prefix("pub enum ")
                .map(|rest| (true, rest))
                .or_else(|| text.strip_prefix("pub struct ").map(|rest| (false, rest)))
        {
            let name = rest.trim_end_matches('{').trim().to_owned();
            open = Some(Item { is_enum, name, meaning, members: Vec::new() });
        }
    }
    items
}

fn snake(name: &str) -> String {
    let mut text = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// Returns `ParkReason` as "Park reason".
fn title(name: &str) -> String {
    let words = snake(name).replace('_', " ");
    let mut chars = words.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_their_comments() {
        let source = "\
/// A fact,
/// told.
#[derive(Debug)]
pub enum Event {
    Plain,
    /// With more.
    Rich {
        /// Not a member of the enum.
        inner: u8,
    },
}

fn other() {
    let pub_x = 1;
}

pub struct Plain {
    /// In milliseconds.
    #[serde(
        default
    )]
    pub ms: u64,
    hidden: u8,
}
";
        let member = |name: &str, meaning: &str| Member {
            name: name.to_owned(),
            meaning: meaning.to_owned(),
        };
        let items = parse(source);
        assert_eq!(
            items,
            [
                Item {
                    is_enum: true,
                    name: "Event".to_owned(),
                    meaning: "A fact, told.".to_owned(),
                    members: vec![member("Plain", ""), member("Rich", "With more.")],
                },
                Item {
                    is_enum: false,
                    name: "Plain".to_owned(),
                    meaning: String::new(),
                    members: vec![member("ms", "In milliseconds.")],
                },
            ]
        );
        assert_eq!(
            (snake("RunParked"), title("ParkReason")),
            ("run_parked".into(), "Park reason".into())
        );
    }
}
