//! `cargo xtask simulate`: many seeded schedules of the whole runtime, and both stores against their
//! oracle.

use anyhow::Result;

use crate::command::{command, run};

#[derive(clap::Args)]
pub struct Args {
    /// How many schedules
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many sequences of operations each store is compared on
    #[arg(long, default_value_t = 500)]
    stores: u64,
    /// Tell what happens in the schedule of the first seed, and do nothing else
    #[arg(long)]
    tell: bool,
}

/// Builds the simulator and runs it; it prints what it finds.
pub fn run_simulate(args: &Args) -> Result<()> {
    let numbers = [args.seed, args.schedules, args.stores].map(|number| number.to_string());
    let [seed, schedules, stores] = &numbers;
    let mut words =
        vec!["run", "--quiet", "--package", "prusik-testkit", "--bin", "simulate", "--"];
    words.extend(["--seed", seed, "--schedules", schedules, "--stores", stores]);
    if args.tell {
        words.push("--tell");
    }
    run(command(env!("CARGO"), &crate::root(), &words))
}
