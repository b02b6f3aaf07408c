//! `scripted-server`: the scripted model server as a program of its own.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use prusik_model::Script;
use prusik_testkit::{FaultPlan, Options, ScriptedServer, UsageBy};

/// Answers as Anthropic Messages and OpenAI chat completions, from a script
#[derive(Parser)]
struct Args {
    /// The script, in YAML or JSON
    script: PathBuf,
    /// The port on the loopback address; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The one key that is taken; without it, any
    #[arg(long)]
    key: Option<String>,
    /// Pause before each event of a stream, in milliseconds
    #[arg(long, default_value_t = 0)]
    event_delay_ms: u64,
    /// What happens to the first requests, for example `overloaded,overloaded,cut:5`
    #[arg(long, default_value = "")]
    faults: FaultPlan,
    /// Count what is read from and written to the cache by the services' published rules
    #[arg(long)]
    cache_rules: bool,
    /// A file that each request is appended to, as a line of JSON
    #[arg(long)]
    log: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let name = args.script.display().to_string();
    let text = std::fs::read_to_string(&args.script)
        .map_err(|error| format!("cannot read the script {name}: {error}"))?;
    let options = Options {
        port: args.port,
        key: args.key,
        event_delay: Duration::from_millis(args.event_delay_ms),
        faults: args.faults,
        usage: if args.cache_rules { UsageBy::CacheRules } else { UsageBy::Estimate },
        log: args.log,
    };
    let server = ScriptedServer::start(Script::parse(&text, &name)?, options).await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", server.url())?;
    out.flush()?;
    server.serve_forever().await;
    Ok(())
}
