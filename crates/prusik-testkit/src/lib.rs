//! What tests stand on: a scripted model server that speaks the providers' wire formats, and
//! child processes that end with the test. A dev-dependency only; nothing of it ships.

pub mod fault;
pub mod process;
pub mod server;
pub mod wire;

pub use fault::{Fault, FaultPlan};
pub use server::{Options, Received, ScriptedServer};
