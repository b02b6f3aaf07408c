//! Tests of the stores through their public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod crash;
mod damage;
mod format;
mod laws;
mod support;
