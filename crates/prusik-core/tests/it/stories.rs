//! Stories: what a run makes of its inputs, one behaviour each.

mod answers;
mod budgets;
mod calls;
mod contained;
mod endings;
mod failures;
mod groups;
mod labels;
mod policy;
mod recovery;
mod undo;

use prusik_core::agent::Agent;
use prusik_core::budget::Budget;

use crate::agents;
use crate::story::Story;

fn begin() -> Story {
    begin_with(agents::agent())
}

fn begin_with(agent: Agent) -> Story {
    Story::of(agent, Budget::default())
}

/// Compares a story with the one that was read and found right.
macro_rules! tell {
    ($story:expr) => {
        insta::assert_snapshot!($story.text())
    };
}
use tell;
