//! What can be said of an agent's tools before it runs. Pure: nothing here does I/O.
//!
//! A [`Catalogue`] holds what a project's tools say of themselves and what the project declares of
//! them. [`lint()`] reviews it as an API: [`Rule`] is the closed list of what it looks for, and each
//! [`Finding`] names the tool, the place and the way out. [`Report`] answers the questions that
//! must have an answer before an agent runs, a [`Section`] for each. Both are written as SARIF by
//! [`sarif()`], and the report as a page by [`html()`].

mod blast;
mod catalogue;
mod finding;
mod lint;
mod out;
mod params;
mod report;
mod rule;
mod rules;
mod words;

pub use blast::{
    Blast, Cell, Hold, Level, OTHERS, Read, Says, Shape, Sink, Source, Stop, Verdict, Way, Witness,
};
pub use catalogue::{
    AgentContext, AgentEntry, Allowed, Catalogue, Drift, GroupEntry, LeftOut, Place, Provider,
    Settings, Stray, ToolEntry,
};
pub use finding::{Counts, Finding, Severity};
pub use lint::{LintReport, Suppressed, lint, tool_tokens};
pub use out::{Checked, escaped, html, page, sarif};
pub use report::{
    AgentReport, Fact, Kept, Question, Report, Section, ToolFacts, contexts, failures, injections,
};
pub use rule::Rule;
pub use words::hides;
