//! Lives many schedules and prints what they came to; with `--tell`, the story of one.

#![expect(clippy::print_stdout, reason = "this is a command for people")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use prusik_testkit::oracle::{self, Kind};
use prusik_testkit::sim;

#[derive(Parser)]
#[command(about = "Live seeded schedules of the whole runtime, and check what must hold")]
struct Cli {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds from there on
    #[arg(long, default_value_t = 1_000)]
    schedules: u64,
    /// How many sequences of operations each store is compared on
    #[arg(long, default_value_t = 0)]
    stores: u64,
    /// Tell what happens in the first of them
    #[arg(long)]
    tell: bool,
    /// Stop after this many failures
    #[arg(long, default_value_t = 10)]
    failures: usize,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.tell {
        let report = sim::tell(cli.seed);
        println!("{}", report.story.join("\n"));
        for violation in &report.violations {
            println!("seed {}: {:?}: {}", report.seed, violation.invariant, violation.detail);
        }
        return ExitCode::from(u8::from(!report.violations.is_empty()));
    }
    let began = Instant::now();
    let summary = sim::simulate_many(cli.seed, cli.schedules, cli.failures);
    for report in &summary.failed {
        for violation in &report.violations {
            println!("seed {}: {:?}: {}", report.seed, violation.invariant, violation.detail);
        }
    }
    println!("{} in {:.1} s", summary.line(), began.elapsed().as_secs_f64());
    let stores_agree = compare_stores(cli.seed, cli.stores);
    ExitCode::from(u8::from(!summary.failed.is_empty() || !stores_agree))
}

/// Compares the stores with the oracle until one differs.
fn compare_stores(first: u64, sequences: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of this thread alone");
    for seed in first..first + sequences {
        for kind in [Kind::Memory, Kind::Sqlite] {
            if let Err(wrong) = runtime.block_on(oracle::compare(kind, seed)) {
                println!(
                    "seed {}: {:?} store, {}: {} where the contract says {}",
                    wrong.seed, wrong.kind, wrong.operation, wrong.found, wrong.expected
                );
                return false;
            }
        }
    }
    if sequences > 0 {
        println!("{sequences} sequences of operations: both stores answer as the contract says");
    }
    true
}
