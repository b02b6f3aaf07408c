//! What tests stand on: a simulator of the whole runtime, an oracle for stores, a scripted model
//! server that speaks the providers' wire formats, and child processes that end with the test. For
//! tests only; nothing of it ships.

pub mod account;
pub mod cache;
pub mod fault;
pub mod long;
pub mod oracle;
pub mod process;
pub mod server;
pub mod sim;
pub mod wire;
pub mod worst;

pub use fault::{Fault, FaultPlan};
pub use server::{Brain, LongWork, Options, Received, ScriptedServer, UsageBy};
