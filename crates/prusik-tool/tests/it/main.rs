//! Black-box tests of the toolbox: real servers, and a server of ours that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that fails is meant to panic")]

mod common;
mod faults;
mod http;
mod lifecycle;
mod official;
