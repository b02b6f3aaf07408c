//! `scripted-server`: the scripted model server as a program of its own.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use prusik_model::Script;
use prusik_testkit::long::{self, Correction, LongModel, Scenario};
use prusik_testkit::{Brain, FaultPlan, LongWork, Options, ScriptedServer, UsageBy};

/// Answers as Anthropic Messages and OpenAI chat completions, from a script or as the model of long
/// work
#[derive(Parser)]
struct Args {
    /// The script, in YAML or JSON
    #[arg(required_unless_present = "long", conflicts_with = "long")]
    script: Option<PathBuf>,
    #[command(flatten)]
    long: LongArgs,
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
    /// A file that each request is appended to with its answer, as a line of JSON
    #[arg(long)]
    log: Option<PathBuf>,
}

#[derive(clap::Args)]
struct LongArgs {
    /// Be the model of long work instead; its scenario is at `/long/scenario`, and what its tool
    /// returns at `/long/work?step=1`
    #[arg(long)]
    long: bool,
    /// The turns of the scenario
    #[arg(long, requires = "long", default_value_t = long::TURNS,
        value_parser = clap::value_parser!(u32).range(i64::from(long::TURNS_MIN)..))]
    turns: u32,
    /// What the scenario is drawn from
    #[arg(long, requires = "long", default_value_t = 1)]
    seed: u64,
    /// Refuse longer requests, as a provider does
    #[arg(long, requires = "long")]
    window_tokens: Option<u64>,
    /// What goes wrong with each summary, for example `truncated`
    #[arg(long, requires = "long")]
    summary_fault: Option<long::Fault>,
    /// Do better when a summary is asked for again
    #[arg(long, requires = "summary_fault")]
    mends: bool,
}

impl LongArgs {
    fn work(&self) -> LongWork {
        let correction =
            if self.mends { Correction::WhenAskedAgain } else { Correction::default() };
        let model =
            LongModel { fault: self.summary_fault, correction, window_tokens: self.window_tokens };
        LongWork { scenario: Scenario::new(self.turns, self.seed), model }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let brain = match &args.script {
        None => Brain::Long(args.long.work()),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read the script {name}: {error}"))?;
            Brain::Script(Script::parse(&text, &name)?)
        }
    };
    let options = Options {
        port: args.port,
        key: args.key,
        event_delay: Duration::from_millis(args.event_delay_ms),
        faults: args.faults,
        usage: if args.cache_rules { UsageBy::CacheRules } else { UsageBy::Estimate },
        log: args.log,
    };
    let server = ScriptedServer::start(brain, options).await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", server.url())?;
    out.flush()?;
    server.serve_forever().await;
    Ok(())
}
