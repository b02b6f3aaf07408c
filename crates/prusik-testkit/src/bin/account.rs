//! `account`: what the requests in a server's log come to, as one JSON object to the log.

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use prusik_testkit::account::{SONNET_4_5, analyse, as_answered};
use prusik_testkit::server::log;

/// Adds up the tokens of logged requests, and what they cost with Claude Sonnet 4.5
#[derive(Parser)]
struct Args {
    /// The logs, as `scripted-server --log` writes them
    #[arg(required = true)]
    logs: Vec<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
    for path in Args::parse().logs {
        let entries = log::read(&path)
            .map_err(|error| format!("cannot read the log {}: {error}", path.display()))?;
        let account = analyse(entries, &SONNET_4_5, &mut as_answered)
            .map_err(|error| format!("the log {} is broken: {error}", path.display()))?;
        writeln!(out, "{}", serde_json::to_string(&account)?)?;
    }
    Ok(())
}
