//! The static report: the questions that must have an answer before an agent runs.
//!
//! A report is a list of sections, one for each question that is answered; a section holds what is
//! known of each agent and each of its tools as facts, and what is wrong as findings. A further
//! question is a further section: whoever prints, serves or judges a report need not change.

mod context;
mod failure;
mod injection;

use serde::Serialize;

pub use context::contexts;
pub use failure::failures;
pub use injection::{Kept, injections};

use crate::blast::Blast;
use crate::finding::{Counts, Finding};
use crate::lint::Suppressed;

/// What must have an answer before an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    Failure,
    Context,
    Injection,
    Confirmation,
}

impl Question {
    /// Returns the question as people ask it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Failure => "What does failure look like at each tool boundary?",
            Self::Context => "What state survives a summarization of the context?",
            Self::Injection => "What can an injected instruction cause?",
            Self::Confirmation => "Where must a person confirm before it goes on?",
        }
    }

    pub fn id(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Context => "context",
            Self::Injection => "injection",
            Self::Confirmation => "confirmation",
        }
    }
}

/// What is known of a project before anything of it runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub sections: Vec<Section>,
}

/// The answer to one question.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    pub question: Question,
    pub agents: Vec<AgentReport>,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What the project accepts, with its reasons.
    pub suppressed: Vec<Suppressed>,
}

/// What is known of one agent.
#[derive(Debug, Clone, Serialize)]
pub struct AgentReport {
    pub agent: String,
    /// What is so of the agent as a whole.
    pub facts: Vec<Fact>,
    pub tools: Vec<ToolFacts>,
    /// What whoever writes what it reads can have it do, where that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blast: Option<Blast>,
}

/// What is known of one tool that an agent holds.
#[derive(Debug, Clone, Serialize)]
pub struct ToolFacts {
    pub tool: String,
    pub effect: &'static str,
    /// Whether the model may call it. A probe's tool is held without being shown.
    pub shown: bool,
    /// Whether a crash in the middle of a call may leave the run waiting for a person.
    pub needs_person: bool,
    pub facts: Vec<Fact>,
}

/// One answer: what it is about, and what is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub about: &'static str,
    /// A line for each thing to be said.
    pub text: String,
}

impl Report {
    pub fn counts(&self) -> Counts {
        Counts::of(self.findings())
    }

    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }
}
