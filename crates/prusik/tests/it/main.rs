//! Dialogues with the built binary, as people and scripts have them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod approvals;
mod certify;
mod certify_safe;
mod chaos;
mod compile_fail;
mod context;
mod control;
mod demo;
mod docs;
mod failures;
mod groups;
mod kill;
mod library;
mod lint;
mod lint_fix;
mod lint_live;
mod lint_pages;
mod live;
mod mistakes;
mod policy;
mod policy_check;
mod prusik;
mod sandbox;
mod undo;
mod worst;
