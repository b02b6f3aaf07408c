//! Labels: where data came from.
//!
//! What a person or the agent's own files say is trusted. What a tool returned is not, and neither is
//! anything that a model says once it has read it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The integrity of a value: trusted, or the untrusted sources that it may draw on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Label {
    /// Names of tools. Empty means trusted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<String>,
}

impl Label {
    pub fn trusted() -> Self {
        Self::default()
    }

    /// Returns the label of what a source said.
    pub fn of(source: impl Into<String>) -> Self {
        Self { sources: BTreeSet::from([source.into()]) }
    }

    pub fn is_trusted(&self) -> bool {
        self.sources.is_empty()
    }

    /// Makes this the label of something that draws on both.
    pub fn join(&mut self, other: &Self) {
        self.sources.extend(other.sources.iter().cloned());
    }

    /// Returns whether this says at least as much against a value as `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.sources.is_superset(&other.sources)
    }

    /// Returns the label in words: `trusted`, or `untrusted (fetch, search)`. Of many sources some are
    /// named, and the others counted.
    pub fn words(&self) -> String {
        const NAMED_MAX: usize = 6;
        if self.is_trusted() {
            return "trusted".to_owned();
        }
        let names: Vec<&str> = self.sources.iter().take(NAMED_MAX).map(String::as_str).collect();
        let names = names.join(", ");
        match self.sources.len().saturating_sub(NAMED_MAX) {
            0 => format!("untrusted ({names})"),
            more => format!("untrusted ({names} and {more} more)"),
        }
    }
}
