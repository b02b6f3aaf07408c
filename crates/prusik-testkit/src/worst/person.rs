//! Who answers the questions.

use serde_json::Value;

use super::Script;

/// A person who answers what a run asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Person {
    /// Says yes to the calls that the task takes, and no to all others.
    Faithful,
    /// Says yes to everything.
    Tired,
}

impl Person {
    /// Returns whether they say yes to a call of a tool, whose name is without its server's.
    pub fn approves(self, script: &Script, tool: &str, arguments: &Value) -> bool {
        match self {
            Self::Faithful => is_own(script, tool, arguments),
            Self::Tired => true,
        }
    }
}

/// Returns whether a call is one of those that the task takes.
pub(super) fn is_own(script: &Script, tool: &str, arguments: &Value) -> bool {
    script.calls.iter().any(|call| call.is(tool, arguments))
}
