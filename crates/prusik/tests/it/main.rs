//! Dialogues with the built binary, as people and scripts have them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chaos;
mod control;
mod demo;
mod docs;
mod failures;
mod kill;
mod lint;
mod lint_fix;
mod lint_live;
mod lint_pages;
mod live;
mod mistakes;
mod prusik;
mod undo;
