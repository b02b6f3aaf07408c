//! Tests of the run state machine from outside: stories, laws, and the journal's format.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

mod agents;
mod asked;
mod journal;
mod laws;
mod messages;
mod money;
mod speed;
mod stories;
mod story;
mod world;
