//! The organisation's policy, as the core asks it about a call.
//!
//! What a policy says is decided in a step and journaled by what comes of it, so replay never asks one.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::{Agent, Tool};
use crate::ids::Digest;
use crate::label::Label;

/// The rules of an organisation, in whatever language they are written. They can only narrow: what a
/// policy allows is still held to everything else.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Returns what tells this policy from what it said before, or will say after a change.
    fn digest(&self) -> Digest;

    /// Returns what becomes of a call. The same question has the same answer for as long as the digest
    /// is the same. What cannot be evaluated is denied.
    fn judge(&self, question: &Question<'_>) -> Verdict;
}

/// A call that the model asks for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub agent: &'a Agent,
    pub tool: &'a Tool,
    /// They fit the tool's schema.
    pub arguments: &'a Value,
    /// What the run has read so far.
    pub label: &'a Label,
    /// Whether the model laid down a plan before it read anything from outside.
    pub planned: bool,
}

/// What a policy says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// A person is asked, for each of these reasons; there is one at least.
    Ask(Vec<Concern>),
    Deny {
        /// The rule that forbids it.
        rule: String,
        /// What the model is told.
        message: String,
    },
}

/// Why a policy has a person asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concern {
    /// The rule that asks.
    pub rule: String,
    pub why: String,
}

/// Denies every call: stands where there is a policy that cannot be used.
#[derive(Debug)]
pub struct DenyAll {
    /// Why it cannot be used.
    pub because: String,
}

impl DenyAll {
    /// The rule by which it denies.
    pub const RULE: &str = "policy";
}

impl Policy for DenyAll {
    fn digest(&self) -> Digest {
        Digest::of_parts(&[b"deny all", self.because.as_bytes()])
    }

    fn judge(&self, _question: &Question<'_>) -> Verdict {
        let message = format!("The organisation's policy cannot be used: {}", self.because);
        Verdict::Deny { rule: Self::RULE.to_owned(), message }
    }
}
