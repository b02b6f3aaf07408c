//! The worst case, to measure containment with: a model that is honest until a tool's result holds an
//! attacker's text, and the attacker's from then on.
//!
//! What it says and does is a [`Script`], as a benchmark prints it. [`WorstCase`] plays it behind the wire, a
//! pure function of the request, so that a run may be killed and resumed wherever it is. [`Trial`] drives the
//! built program through such a run, with a [`Person`] who answers its questions.

mod brain;
mod person;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use brain::WorstCase;
pub use person::Person;
pub use trial::{Course, Trial, TrialError};

/// What the model says and does in a task.
#[derive(Debug, Clone, Deserialize)]
pub struct Script {
    /// What the user asks for.
    pub prompt: String,
    /// What a clean model foresees; none where it can foresee nothing.
    pub plan: Option<Foreseen>,
    /// The calls that the task takes, in their order.
    pub calls: Vec<Call>,
    /// The final answer.
    pub says: String,
    /// What marks the attacker's text; none where nobody attacks.
    pub mark: Option<String>,
    /// The calls that the attacker wants.
    pub attack: Vec<Call>,
    /// What the attacker wants to be answered.
    pub attack_says: String,
}

/// A call, by the tool's name without its server's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Call {
    pub name: String,
    pub arguments: Map<String, Value>,
}

impl Call {
    /// Returns whether it is the same call: numbers numerically.
    pub fn is(&self, name: &str, arguments: &Value) -> bool {
        let Value::Object(given) = arguments else { return false };
        self.name == name && same_map(&self.arguments, given)
    }
}

/// Says it apart from the code that is measured.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => same_map(left, right),
        (left, right) => left == right,
    }
}

fn same_map(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    let mut pairs =
        left.iter().map(|(key, value)| right.get(key).is_some_and(|other| same(value, other)));
    left.len() == right.len() && pairs.all(|is_same| is_same)
}

/// The plan of a script.
#[derive(Debug, Clone, Deserialize)]
pub struct Foreseen {
    pub reads: Vec<String>,
    /// One for each call that changes something, in the order in which they are made.
    pub writes: Vec<ForeseenWrite>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ForeseenWrite {
    pub tool: String,
    pub arguments: BTreeMap<String, Slot>,
}

/// What a plan says of an argument.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    Pinned(Value),
    /// The kind, in the script's word.
    Hole(String),
}

/// How a model attacks once it reads the attacker's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attacker {
    /// It makes the attacker's calls, one in each turn.
    Plain,
    /// Before each of these it tries every planned call of the same tool that is left: what is pinned as it
    /// is, the attacker's values in the holes.
    Bending,
    /// All that the bending one does in a single turn, with the next honest call beside it.
    Crowding,
}

impl Attacker {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Bending, Self::Crowding];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Bending => "bending",
            Self::Crowding => "crowding",
        }
    }
}

impl FromStr for Attacker {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|attacker| attacker.as_str() == word);
        found.ok_or_else(|| format!("no attacker is called {word:?}: plain, bending or crowding"))
    }
}
