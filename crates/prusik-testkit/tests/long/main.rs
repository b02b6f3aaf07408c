//! Long work: thousands of turns in a small window, with facts that are needed at the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod drive;
mod kill;
mod survives;
