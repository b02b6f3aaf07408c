//! What a program can do with agents, tools and runs.

mod bank;
mod context;
mod refused;
mod runs;
mod tools;
