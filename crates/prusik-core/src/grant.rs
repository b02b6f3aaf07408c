//! Grants: what a run may still do once it has read what it cannot trust.
//!
//! A model is an opaque function of its whole context: once that holds a word from outside, every call
//! that it makes may be the attacker's. So what a call may do is laid down before, in a plan, or said by
//! a person. An argument of a planned call is pinned to a value, or is a hole of a declared kind, which
//! bounds what an attacker could put there.

mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use text::{is_closed, links, occurs};

/// What an argument decides, from the least dangerous to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentKind {
    /// Words for whoever receives the call's effect, who is laid down elsewhere: a subject, a body.
    Content,
    /// A value that cannot carry words: a number, a date or time, a boolean, an id, a choice.
    Closed,
    /// An amount of money.
    Money,
    /// The id of something that the call destroys or gives away.
    DestructiveId,
    /// Who or what is affected: a recipient, a path, a URL, a command. What nobody declared is that.
    Identity,
}

impl ArgumentKind {
    pub const ALL: [Self; 5] =
        [Self::Content, Self::Closed, Self::Money, Self::DestructiveId, Self::Identity];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Closed => "closed",
            Self::Money => "money",
            Self::DestructiveId => "destructive_id",
            Self::Identity => "identity",
        }
    }
}

/// What a contract says of an argument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArgumentTerm {
    pub kind: ArgumentKind,
    /// The largest amount that a plan may leave open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The only values that a plan may leave open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Value>,
}

impl ArgumentTerm {
    pub fn of(kind: ArgumentKind) -> Self {
        Self { kind, max: None, members: Vec::new() }
    }
}

impl From<ArgumentKind> for ArgumentTerm {
    fn from(kind: ArgumentKind) -> Self {
        Self::of(kind)
    }
}

/// A plan, as the model makes it before it has read anything from outside.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The tools that it will read with.
    #[serde(default)]
    pub reads: Vec<String>,
    /// The calls that it foresees beside reads.
    #[serde(default)]
    pub writes: Vec<PlannedWrite>,
}

/// Calls that a plan foresees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedWrite {
    pub tool: String,
    #[serde(default)]
    pub arguments: BTreeMap<String, Slot>,
    /// How many of them.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// What a plan says of an argument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// This value and no other.
    Pinned(Value),
    /// To be found out, and of this kind.
    Hole(ArgumentKind),
}

/// What a run may do: a planned call, and how often still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    pub write: PlannedWrite,
    pub left: u32,
    /// How often people have said no to a call that it foresees.
    #[serde(default)]
    pub denied: u32,
}

impl Grant {
    /// A call that a person denied may still come as it was meant. But who asks again and again wears
    /// people out.
    const DENIED_MAX: u32 = 3;

    pub fn of(write: PlannedWrite) -> Self {
        Self { left: write.times, write, denied: 0 }
    }

    /// Takes back what was kept for a call that is not made.
    pub fn denied(&mut self) {
        self.denied = self.denied.saturating_add(1);
        if self.denied < Self::DENIED_MAX {
            self.left = self.left.saturating_add(1);
        }
    }
}

/// How a call stands to the grants of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// This grant covers it.
    Covered(usize),
    /// This grant foresees it, but these arguments are for a person to look at.
    Foreseen(usize, Vec<Doubt>),
    /// No grant that is left foresees it.
    Unforeseen,
}

/// Why a person is asked about an argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    pub argument: String,
    pub why: String,
}

/// What is known from where no attacker writes.
pub trait Sources {
    /// Returns whether something trusted says this value, which holds no others.
    fn knows(&self, leaf: &Value) -> bool;

    /// Returns whether this is the id of something that the run itself has made.
    fn made_by_run(&self, id: &Value) -> bool;

    /// Returns whether something trusted says this text.
    fn says(&self, text: &str) -> bool {
        self.knows(&Value::String(text.to_owned()))
    }
}

/// Returns how a call stands to what is left of the grants. `term` says what the tool's contract makes
/// of an argument.
pub fn fit(
    grants: &[Grant],
    tool: &str,
    arguments: &Value,
    term: impl Fn(&str) -> ArgumentTerm,
    known: &impl Sources,
) -> Fit {
    let Value::Object(arguments) = arguments else { return Fit::Unforeseen };
    let mut foreseen = None;
    // Of those that cover it the narrowest is spent, so that an open one is left for what only it covers.
    let mut covered: Option<(usize, usize)> = None;
    for (index, grant) in grants.iter().enumerate() {
        if grant.left == 0 || grant.write.tool != tool || !pins_hold(&grant.write, arguments) {
            continue;
        }
        let doubts: Vec<Doubt> = arguments
            .iter()
            .filter_map(|(name, value)| {
                let Some(Slot::Hole(kind)) = grant.write.arguments.get(name) else { return None };
                let mut term = term(name);
                term.kind = term.kind.max(*kind);
                let why = doubt(&term, value, known)?;
                Some(Doubt { argument: name.clone(), why })
            })
            .collect();
        if doubts.is_empty() {
            let slots = grant.write.arguments.values();
            let open = slots.filter(|slot| matches!(slot, Slot::Hole(_))).count();
            if covered.is_none_or(|(_, fewest)| open < fewest) {
                covered = Some((index, open));
            }
            continue;
        }
        let fewer = |known: &(usize, Vec<Doubt>)| doubts.len() < known.1.len();
        if foreseen.as_ref().is_none_or(fewer) {
            foreseen = Some((index, doubts));
        }
    }
    if let Some((index, _)) = covered {
        return Fit::Covered(index);
    }
    foreseen.map_or(Fit::Unforeseen, |(index, doubts)| Fit::Foreseen(index, doubts))
}

/// Returns whether a call has the arguments that were pinned, and none that was not foreseen.
fn pins_hold(write: &PlannedWrite, arguments: &serde_json::Map<String, Value>) -> bool {
    let pins = write.arguments.iter().all(|(name, slot)| match slot {
        Slot::Pinned(value) => arguments.get(name).is_some_and(|given| same(given, value)),
        Slot::Hole(_) => true,
    });
    pins && arguments.keys().all(|name| write.arguments.contains_key(name))
}

/// Returns whether two values are the same: numbers numerically.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right
                || left
                    .as_f64()
                    .zip(right.as_f64())
                    .is_some_and(|(left, right)| left.to_bits() == right.to_bits())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        (left, right) => left == right,
    }
}

/// Returns why a person must look at a value that fills a hole; none if it is harmless.
fn doubt(term: &ArgumentTerm, value: &Value, known: &impl Sources) -> Option<String> {
    if !term.members.is_empty() {
        let member = term.members.iter().any(|member| same(member, value));
        return (!member).then(|| "it is none of the values that are allowed".to_owned());
    }
    match term.kind {
        ArgumentKind::Content => {
            let texts = leaves(value).into_iter().map(text_of);
            let mut texts = texts.chain(keys(value).into_iter().map(str::to_owned));
            let found =
                texts.find_map(|text| links(&text).into_iter().find(|link| !known.says(link)));
            found.map(|link| format!("it brings a link or an address of its own: {link}"))
        }
        ArgumentKind::Closed => {
            let open = !leaves(value).into_iter().all(text::is_closed) || speaks(value);
            open.then(|| "it is text where a number, a date or an id is due".to_owned())
        }
        ArgumentKind::Money => match term.max {
            Some(max) if leaves(value).iter().all(|leaf| within(leaf, max)) && !speaks(value) => {
                None
            }
            Some(max) => Some(format!("it is no amount up to {max}")),
            None => Some("it is an amount of money without a limit".to_owned()),
        },
        ArgumentKind::DestructiveId => {
            let own = !leaves(value).is_empty()
                && leaves(value).into_iter().all(|leaf| known.made_by_run(leaf));
            (!own).then(|| "it names what is destroyed or given away".to_owned())
        }
        ArgumentKind::Identity => Some("it says who or what is affected".to_owned()),
    }
}

/// Returns whether a value is an amount up to `max`, as a number or as one written out.
fn within(value: &Value, max: f64) -> bool {
    let amount = match value {
        Value::String(text) if text.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            text.parse().ok()
        }
        other => other.as_f64(),
    };
    amount.is_some_and(|amount: f64| (0.0..=max).contains(&amount))
}

/// Returns the values in a value that hold no others.
pub fn leaves(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(map) => map.values().flat_map(leaves).collect(),
        leaf => vec![leaf],
    }
}

/// Returns the keys of the objects in a value: whoever fills in a value chooses them, too.
pub fn keys(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().flat_map(keys).collect(),
        Value::Object(map) => {
            let own = map.keys().map(String::as_str);
            own.chain(map.values().flat_map(keys)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns whether the keys in a value could carry words.
fn speaks(value: &Value) -> bool {
    keys(value).into_iter().any(|key| !text::is_closed_text(key))
}

/// Returns a leaf as text.
pub fn text_of(leaf: &Value) -> String {
    match leaf {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
