//! What a description says of its tool.

use crate::catalogue::ToolEntry;
use crate::finding::Finding;
use crate::rule::Rule;
use crate::words;

/// What people write where a description is to come.
const PLACEHOLDERS: [&str; 9] = [
    "todo",
    "tbd",
    "fixme",
    "n/a",
    "none",
    "no description",
    "description",
    "description here",
    "lorem ipsum",
];

pub(crate) fn check(tool: &ToolEntry, found: &mut Vec<Finding>) {
    let text = tool.description.trim();
    let name = tool.own_name();
    if text.is_empty() {
        let help = "say in a sentence or two what it does, on what, and what it returns";
        let message = "it has no description: the model knows only its name";
        found.push(Finding::new(Rule::DescriptionMissing, message, help).at("/description"));
    } else if is_placeholder(text) || words::only_restates(name, text) {
        let message = format!("its description says nothing beyond the name: “{}”", brief(text));
        let help = "say what the name does not: on what, from where, what comes back, and when to \
                    use another tool instead";
        found.push(Finding::new(Rule::DescriptionSaysNothing, message, help).at("/description"));
    }
}

fn is_placeholder(text: &str) -> bool {
    let plain = text.to_lowercase();
    let plain = plain.trim_end_matches(['.', '!', '…', ':']);
    PLACEHOLDERS.iter().any(|word| plain == *word || plain.starts_with(&format!("{word}:")))
}

/// Returns the beginning of a text, on one line.
pub(crate) fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}
