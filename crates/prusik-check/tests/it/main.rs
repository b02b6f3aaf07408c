//! The review, driven from outside: planted faults, labelled overlaps, and what is written of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blast;
mod common;
mod hostile;
mod injected;
mod overlap;
mod planted;
mod radius;
mod sarif;
