//! What a program can do with agents, tools and runs.

mod approvals;
mod bank;
mod context;
mod policy;
mod refused;
mod runs;
mod tools;
