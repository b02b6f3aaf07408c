//! Labels: where data came from.
//!
//! What a person or the agent's own files say is trusted. What a tool returned is not, and neither is
//! anything that a model says once it has read it. And what only some may see stays theirs, in whatever
//! draws on it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The integrity of a value: trusted, or the untrusted sources that it may draw on. And its
/// confidentiality: who may see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Label {
    /// Names of tools. Empty means trusted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sources: BTreeSet<String>,
    /// Those who may see it; none if it is nobody's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<BTreeSet<String>>,
}

impl Label {
    pub fn trusted() -> Self {
        Self::default()
    }

    /// Returns the label of what a source said.
    pub fn of(source: impl Into<String>) -> Self {
        Self { sources: BTreeSet::from([source.into()]), readers: None }
    }

    pub fn is_trusted(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns whether it says nothing against a value.
    pub fn is_none(&self) -> bool {
        self.is_trusted() && self.readers.is_none()
    }

    /// Makes this the label of something that draws on both.
    pub fn join(&mut self, other: &Self) {
        self.sources.extend(other.sources.iter().cloned());
        self.readers = match (self.readers.take(), &other.readers) {
            (Some(mine), Some(theirs)) => Some(mine.intersection(theirs).cloned().collect()),
            (Some(one), None) => Some(one),
            (None, one) => one.clone(),
        };
    }

    /// Returns whether this says at least as much against a value as `other`.
    pub fn covers(&self, other: &Self) -> bool {
        let readers = match (&self.readers, &other.readers) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_subset(theirs),
        };
        readers && self.sources.is_superset(&other.sources)
    }

    /// Returns the label in words: `trusted`, or `untrusted (fetch, search), for ann only`. Of many names
    /// some are said, and the others counted.
    pub fn words(&self) -> String {
        let sources = if self.is_trusted() {
            "trusted".to_owned()
        } else {
            format!("untrusted ({})", named(&self.sources))
        };
        match &self.readers {
            None => sources,
            Some(readers) if readers.is_empty() => format!("{sources}, for nobody else"),
            Some(readers) => format!("{sources}, for {} only", named(readers)),
        }
    }
}

fn named(names: &BTreeSet<String>) -> String {
    const NAMED_MAX: usize = 6;
    let some: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    let some = some.join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
