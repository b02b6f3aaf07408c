//! `cargo xtask`: what CI and people run. Each command has a file of its own.

mod baselines;
mod bench;
mod command;
mod docs;
mod dojo;
mod mutants;
mod page;
mod setup;
mod simulate;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What CI and people run on this repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the reference of the book from the code
    Docs(docs::Args),
    /// Install what the tests need into `.setup`; quick when it is there already
    Setup(setup::Args),
    /// Set up, then run every check and every test
    Test,
    /// Measure what the design promises
    Bench(bench::Args),
    /// Do long work in Prusik, and with `LangChain`'s ways of keeping a context within its window
    Baselines(baselines::Args),
    /// Measure what containment holds, on `AgentDojo`'s suites with a model that is the attacker's
    Dojo(dojo::Args),
    /// What `dojo`'s projects start as their MCP server
    #[command(hide = true)]
    DojoRelay(dojo::RelayArgs),
    /// Live many seeded schedules of the whole runtime, and check what must hold
    Simulate(simulate::Args),
    /// Plant mistakes in a copy, and see that the simulator finds each of them
    Mutants(mutants::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Docs(args) => docs::run_docs(&args),
        Command::Setup(args) => setup::run_setup(&args),
        Command::Test => test::run_test(),
        Command::Bench(args) => bench::run_bench(&args),
        Command::Baselines(args) => baselines::run_baselines(&args),
        Command::Dojo(args) => dojo::run_dojo(&args),
        Command::DojoRelay(args) => dojo::run_relay(&args),
        Command::Simulate(args) => simulate::run_simulate(&args),
        Command::Mutants(args) => mutants::run_mutants(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the root of the repository.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().expect("xtask lies in a folder of the workspace").to_path_buf()
}
