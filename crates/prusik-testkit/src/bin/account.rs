//! `account`: what the requests in a server's log come to, as one JSON object to the log.

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use prusik_testkit::account::{SONNET_4_5, analyse, by_cache_rules};
use prusik_testkit::server::log;

/// Adds up the tokens of logged requests, and what they cost with Claude Sonnet 4.5
#[derive(Parser)]
struct Args {
    /// The logs, as `scripted-server --log` writes them
    #[arg(required = true)]
    logs: Vec<PathBuf>,
    /// The time from one request to the next, in milliseconds; what a cache keeps depends on it
    #[arg(long, default_value_t = 5_000)]
    pace_ms: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
    let args = Args::parse();
    for path in args.logs {
        let entries = log::read(&path)
            .map_err(|error| format!("cannot read the log {}: {error}", path.display()))?;
        let account = analyse(entries, &SONNET_4_5, &mut by_cache_rules(args.pace_ms))
            .map_err(|error| format!("the log {} is broken: {error}", path.display()))?;
        writeln!(out, "{}", serde_json::to_string(&account)?)?;
    }
    Ok(())
}
