//! What is wrong with a contract, whoever declared it: a project's file or a program.

use std::collections::BTreeMap;

use prusik_core::contract::{Contract, EffectClass, KeyPlace};
use prusik_core::run::{COMMIT_GROUP, UNDO_GROUP};
use serde_json::Value;

use crate::project::suggestion;

/// Most tries that a contract may ask for.
const ATTEMPTS_MAX: u32 = 100;

/// A mistake in a contract.
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
