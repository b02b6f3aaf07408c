//! Prusik: a durable, contained runtime for AI agents. The façade library and composition root.

mod assemble;
mod certify;
pub mod cli;
mod demo;
mod fault;
pub mod project;
pub mod scaffold;
mod scratch;
