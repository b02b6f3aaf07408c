//! What is wrong with a contract or with how a context is kept, whoever declared it: a project's file
//! or a program.

use std::collections::BTreeMap;

use prusik_core::agent::ContextPolicy;
use prusik_core::contract::{Contract, EffectClass, KeyPlace};
use prusik_core::label::Label;
use prusik_core::ledger::{Author, Entry, Ledger, LedgerError, Note};
use prusik_core::run::{COMMIT_GROUP, PLAN, RECALL, RECORD, UNDO_GROUP};
use serde_json::Value;

use crate::project::suggestion;

/// Most tries that a contract may ask for.
const ATTEMPTS_MAX: u32 = 100;

/// Smallest window that is worked with, in tokens: prompts are not much smaller.
pub(crate) const WINDOW_TOKENS_MIN: u64 = 2_000;
/// Bytes that a token stands for where nobody counted.
const BYTES_PER_TOKEN: u64 = 3;

/// A mistake in a contract, or in how a context is kept.
pub(crate) struct Mistake {
    /// The keys that lead to it, as a project's file has them.
    pub path: Vec<String>,
    pub message: String,
    pub help: String,
}

impl Mistake {
    fn at(path: &[&str], message: impl Into<String>, help: impl Into<String>) -> Self {
        let path = path.iter().copied().map(str::to_owned).collect();
        Self { path, message: message.into(), help: help.into() }
    }

    /// Returns the mistake for those who have no file to show it in.
    pub(crate) fn told(&self, tool: &str) -> String {
        format!("the contract of `{tool}`: {}: {}", self.message, self.help)
    }
}

/// Returns what is wrong with a contract before the tool's schema is known.
pub(crate) fn mistaken_terms(contract: &Contract) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if contract.key.is_some() && contract.effect != EffectClass::Idempotent {
        let message = "a `key` makes a call repeatable: it is for `effect: idempotent`";
        let help = "set `effect: idempotent`, or remove the key";
        mistakes.push(Mistake::at(&["key"], message, help));
    }
    if contract.undo.is_some() && contract.effect == EffectClass::Read {
        mistakes.push(Mistake::at(&["undo"], "a read leaves nothing to undo", "remove `undo`"));
    }
    for (key, zero) in [
        ("timeout_ms", contract.timeout_ms == 0),
        ("result_bytes_max", contract.result_bytes_max == 0),
    ] {
        if zero {
            let message = format!("`{key}` is 1 or more");
            mistakes.push(Mistake::at(&[key], message, "leave it out for the default"));
        }
    }
    if !(1..=ATTEMPTS_MAX).contains(&contract.retry.attempts_max) {
        let message = format!("`attempts_max` is between 1 and {ATTEMPTS_MAX}");
        let help = "1 means that nothing is tried again";
        mistakes.push(Mistake::at(&["retry", "attempts_max"], message, help));
    }
    mistakes
}

/// Returns the arguments that a contract names and that the tool, called `name`, does not have.
pub(crate) fn mistaken_names(name: &str, schema: &Value, contract: &Contract) -> Vec<Mistake> {
    let properties = schema["properties"].as_object();
    let has = |argument: &str| properties.is_some_and(|all| all.contains_key(argument));
    let help = |argument: &str| {
        let all = properties.into_iter().flat_map(|all| all.keys().map(String::as_str));
        suggestion(argument, "arguments", all.collect::<Vec<_>>())
    };
    let none = |argument: &str| format!("`{name}` has no argument `{argument}`");
    let mut mistakes = Vec::new();
    if let Some(KeyPlace::Argument(argument)) = &contract.key
        && !has(argument)
    {
        mistakes.push(Mistake::at(&["key", "argument"], none(argument), help(argument)));
    }
    if properties.is_none() {
        // A schema that lists no properties may take any.
        return mistakes;
    }
    let probe = contract.probe.as_ref().map(|probe| ("probe", &probe.arguments));
    let undo = contract.undo.as_ref().map(|undo| ("undo", &undo.arguments));
    for (key, arguments) in probe.into_iter().chain(undo) {
        for (argument, used) in taken(arguments) {
            if !has(used) {
                let path = [key, "arguments", argument];
                mistakes.push(Mistake::at(&path, none(used), help(used)));
            }
        }
    }
    mistakes
}

/// Returns the arguments that are `=args.x`, whole, with that `x`.
fn taken(arguments: &BTreeMap<String, Value>) -> impl Iterator<Item = (&str, &str)> {
    arguments.iter().filter_map(|(argument, template)| {
        let used = template.as_str()?.strip_prefix("=args.")?;
        let plain = used.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        plain.then_some((argument.as_str(), used))
    })
}

/// Returns what is wrong with how a context is to be kept. The paths are those of an agent's
/// `context`.
pub(crate) fn mistaken_policy(policy: &ContextPolicy) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let ContextPolicy { window_tokens: window, reserve_tokens: reserve, .. } = *policy;
    if window < WINDOW_TOKENS_MIN {
        let message = format!("a window has {WINDOW_TOKENS_MIN} tokens at least, and not {window}");
        let help = "leave it out for all that the model can take in";
        mistakes.push(Mistake::at(&["window_tokens"], message, help));
        return mistakes;
    }
    if reserve > window / 2 {
        let message =
            format!("{reserve} of {window} tokens are kept free, which leaves less than half");
        let help = "leave it out for `max_tokens`, or say where the window is larger";
        mistakes.push(Mistake::at(&["reserve_tokens"], message, help));
        return mistakes;
    }
    let percents = [
        ("keep_percent", policy.keep_percent),
        ("target_percent", policy.target_percent),
        ("compact_at_percent", policy.compact_at_percent),
    ];
    let help = "the newest turns stay up to `keep_percent`, a prompt is made smaller to \
                `target_percent` when it has passed `compact_at_percent`: 25, 50 and 80 when they are \
                left out";
    for (key, percent) in percents {
        if !(1..=100).contains(&percent) {
            let message = format!("`{key}` is between 1 and 100, and not {percent}");
            mistakes.push(Mistake::at(&[key], message, help));
        }
    }
    for [(low, less), (high, more)] in [[percents[0], percents[1]], [percents[1], percents[2]]] {
        if less >= more {
            let message = format!("`{low}` is {less}, which is not below the {more} of `{high}`");
            mistakes.push(Mistake::at(&[low], message, help));
        }
    }
    let most = policy.room_tokens() / 2 * BYTES_PER_TOKEN;
    // A summary that says nothing is none.
    let least = |key: &str| if key == "summary_bytes_max" { 512 } else { 1 };
    let sizes = [
        ("ledger_bytes_max", policy.ledger_bytes_max),
        ("summary_bytes_max", policy.summary_bytes_max),
    ];
    for (key, bytes) in
        sizes.into_iter().filter(|(key, bytes)| *bytes < least(key) || *bytes > most)
    {
        let message = format!(
            "`{key}` is between {} and {most}, which is half of what the window has beside the \
             reserve, and not {bytes}",
            least(key)
        );
        mistakes.push(Mistake::at(&[key], message, "leave it out for a share of the window"));
    }
    mistakes
}

/// Returns which entries a ledger of at most `bytes_max` cannot begin with, why, and the way out.
pub(crate) fn mistaken_ledger(notes: &[Note], bytes_max: u64) -> Vec<(usize, String, String)> {
    let mut mistakes = Vec::new();
    let mut ledger = Ledger::default();
    for (index, note) in notes.iter().enumerate() {
        let (id, author, label) = (ledger.next_id(), Author::Agent, Label::trusted());
        let entry = Entry { id, note: note.clone(), author, label, supersedes: None };
        let Err(error) = ledger.check(&entry, bytes_max) else {
            ledger.record(&entry);
            continue;
        };
        let (message, help, is_full) = match error {
            LedgerError::Full { bytes, used, max, .. } => (
                format!(
                    "with this entry the ledger has {} bytes, and may have {max}",
                    used + bytes
                ),
                "shorten entries or leave some out; `ledger_bytes_max` says how much there may be",
                true,
            ),
            LedgerError::Empty
            | LedgerError::TooLong { .. }
            | LedgerError::TooMany { .. }
            | LedgerError::NotYours { .. }
            | LedgerError::NoSuchEntry { .. }
            | LedgerError::None => (
                error.to_string(),
                "an entry is one or two sentences; what is longer belongs into the prompt",
                false,
            ),
        };
        mistakes.push((index, message, help.to_owned()));
        if is_full {
            // All that follow are too many, too.
            break;
        }
    }
    mistakes
}

/// Returns what is wrong with the names of tools beside those that come with the context.
pub(crate) fn mistaken_for_context<'a>(tools: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let taken = tools.into_iter().filter(|name| [RECORD, RECALL, PLAN].contains(name));
    taken
        .map(|name| {
            format!(
                "a tool is called `{name}`, and that is a tool by which every model keeps track of \
                 its own run: give the tool another name"
            )
        })
        .collect()
}

/// Returns what is wrong with the names of tools where there are groups.
pub(crate) fn mistaken_for_groups<'a>(tools: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let taken = tools.into_iter().filter(|name| [COMMIT_GROUP, UNDO_GROUP].contains(name));
    taken
        .map(|name| {
            format!(
                "a tool is called `{name}`, and where there are groups that is how a model closes \
                 one: give the tool another name"
            )
        })
        .collect()
}
