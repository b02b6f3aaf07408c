//! How the model looks for what it does not see, with the tools that it is offered.

use prusik_core::message::{Block, Message, Role};
use prusik_core::model::{ModelRequest, ToolDecl};
use prusik_core::run::RECALL;
use serde_json::{Value, json};

use super::reading::Shown;
use super::words::{self, Question};

/// The tools with which Deep Agents search the files that they move their history into.
const GREP: &str = "grep";
const READ_FILE: &str = "read_file";
const LOOKS: [&str; 3] = [RECALL, GREP, READ_FILE];
/// How often the model looks for something before it gives it up.
const TRIES_MAX: usize = 3;

/// What the history can be searched with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Recall,
    Files,
}

/// Something that the report lacks, and how it may be found.
#[derive(Debug)]
struct Wanted {
    words: String,
    /// The text that stands before it.
    literal: String,
    regex: String,
    /// The handle of the result that holds it, and where in it that is.
    place: Option<(String, String)>,
    /// The file that a search says it is in.
    file: Option<String>,
}

/// Returns the calls that look for what is missing; none if nothing is, or nothing can be done.
pub fn calls(request: &ModelRequest, shown: &Shown) -> Vec<(&'static str, Value)> {
    let tries = tries(request);
    let Some(means) = means(&request.tools).filter(|_| tries < TRIES_MAX) else {
        return Vec::new();
    };
    let all = missing(shown);
    all.into_iter().filter_map(|wanted| call(means, wanted, tries)).collect()
}

fn means(tools: &[ToolDecl]) -> Option<Means> {
    let offered = |name: &str| tools.iter().any(|tool| tool.name == name);
    if offered(RECALL) {
        return Some(Means::Recall);
    }
    offered(GREP).then_some(Means::Files)
}

/// Returns how often something was looked for.
fn tries(request: &ModelRequest) -> usize {
    let looks =
        |block: &Block| matches!(block, Block::ToolUse(call) if LOOKS.contains(&&*call.name));
    let looking =
        |message: &Message| message.role == Role::Assistant && message.content.iter().any(looks);
    request.messages.iter().filter(|message| looking(message)).count()
}

/// Returns how to look for something the next time. What was not found is looked for in another way.
fn call(means: Means, wanted: Wanted, tries: usize) -> Option<(&'static str, Value)> {
    let Wanted { words, literal, regex, place, file } = wanted;
    match means {
        Means::Recall => {
            let input = match (place, tries) {
                (Some((handle, path)), 0) => json!({"handle": handle, "path": path}),
                (Some((handle, _)), 1) => json!({"handle": handle, "regex": regex}),
                (None, 0) => json!({ "query": words }),
                (Some(_) | None, _) => json!({ "regex": regex }),
            };
            Some((RECALL, input))
        }
        Means::Files if tries == 0 => {
            Some((GREP, json!({"pattern": literal, "path": "/", "output_mode": "content"})))
        }
        // It was found, in a line that is too long to be shown by a search.
        Means::Files if tries == 1 => {
            file.map(|file| (READ_FILE, json!({"file_path": file, "offset": 0, "limit": 100})))
        }
        Means::Files => None,
    }
}

fn missing(shown: &Shown) -> Vec<Wanted> {
    let mut missing = Vec::new();
    let mut want = |is_missing: bool, words: &str, literal: String, regex: &str| {
        if is_missing {
            let regex = format!("{literal}{regex}");
            let words = words.to_owned();
            missing.push(Wanted { words, literal, regex, place: None, file: None });
        }
    };
    want(
        shown.amount.is_none(),
        "Rule R1 never release an order above",
        words::before_rule().to_owned(),
        "[0-9]+",
    );
    want(
        shown.carrier.is_none(),
        "Decision D1 carrier",
        words::before_decision().to_owned(),
        "[A-Za-z0-9-]+",
    );
    let Some(Question { part, table_step, seal_step }) = &shown.question else {
        want(true, "Report now: constraint, decision, row, value", "Report now: ".to_owned(), ".*");
        return missing;
    };
    want(
        shown.seal.is_none(),
        &format!("Seal of step {seal_step}"),
        words::before_seal(*seal_step),
        "[0-9a-f]+",
    );
    if shown.bin.is_none() {
        let noted = shown.table.as_ref().filter(|(step, _)| step == table_step);
        let handle = noted.and_then(|(_, handle)| handle.clone());
        missing.push(Wanted {
            words: format!("{part} bin {} {table_step}", words::TABLE),
            literal: part.clone(),
            regex: part.clone(),
            place: handle.map(|handle| (handle, format!("$.rows[?@.part == '{part}']"))),
            file: shown.file.clone(),
        });
    }
    missing
}
