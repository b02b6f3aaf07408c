//! Wire truth: official clients read our server, and our clients read it and one that is not ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aimock;
mod ask;
mod cache;
mod clients;
mod long;
mod sdk;
mod server;
