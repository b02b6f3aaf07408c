//! `cargo xtask baselines`: long work in Prusik, and with `LangChain`'s ways of keeping a context within
//! its window, against the same simulated model and with the same tool.
//!
//! Each strategy has a server of its own, whose log says what was sent. The scripts are in
//! `tests/baselines`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use prusik_core::event::{Ending, Event};
use prusik_core::ids::Seq;
use prusik_model::{KeyRef, ModelConfig, Server};
use prusik_store::{SqliteStore, Store};
use prusik_testkit::account::{SONNET_4_5, analyse, by_cache_rules};
use prusik_testkit::long::{self, LongModel, Scenario};
use prusik_testkit::server::log;
use prusik_testkit::{LongWork, Options, ScriptedServer};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::command::command;
use crate::{page, setup};

/// Ours.
const PRUSIK: &str = "prusik";
/// All of them; those that are not ours as `tests/baselines/strategies.py` names them.
const STRATEGIES: [&str; 7] =
    [PRUSIK, "full", "trim", "trim-after-task", "summarize", "summarize-by-default", "deep-agent"];
/// The one that sends everything. No window takes it, and its work grows with the square of the
/// turns.
const FULL: &str = "full";
/// From one request to the next, in milliseconds: what a cache keeps depends on it.
const PACE_MS: u64 = 5_000;
/// What the scenario is drawn from.
const SEED: u64 = 1;

#[derive(clap::Args)]
pub struct Args {
    /// The strategies; all by default
    #[arg(value_parser = STRATEGIES)]
    strategies: Vec<String>,
    /// The turns of the work
    #[arg(long, default_value_t = 2_000)]
    turns: u32,
    /// The turns of the strategy that sends everything: 2,000 take more than an hour
    #[arg(long, default_value_t = 500)]
    full_turns: u32,
    /// What goes wrong with each summary, for example `forgets`
    #[arg(long)]
    summary_fault: Option<long::Fault>,
    /// Where the logs are kept, which may be gigabytes; a temporary folder by default
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Print a JSON object for each strategy, instead of a table
    #[arg(long)]
    json: bool,
    /// Write the table into docs/benchmarks.md, too
    #[arg(long, conflicts_with_all = ["strategies", "turns", "full_turns", "summary_fault", "json"])]
    write: bool,
}

/// Runs the strategies one after the other, and prints what came of them.
pub fn run_baselines(args: &Args) -> Result<()> {
    let chosen: Vec<&str> = if args.strategies.is_empty() {
        STRATEGIES.to_vec()
    } else {
        args.strategies.iter().map(String::as_str).collect()
    };
    if chosen.iter().any(|name| *name != PRUSIK) {
        setup::run_setup(&setup::Args::with_baselines())?;
    }
    let temporary = tempfile::tempdir().context("cannot make a folder for the logs")?;
    let logs = args.logs.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut table = format!("{HEAD}\n");
    if !args.json {
        print(HEAD);
    }
    for name in chosen {
        eprintln!("baselines: {name}");
        let report = strategy(args, &runtime, logs, name)?;
        let row = row(&report);
        print(if args.json { report.to_string() } else { row.clone() }.as_str());
        table.push_str(&row);
        table.push('\n');
    }
    if args.write {
        page::write("cargo xtask baselines --write", &table)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what this command prints")]
fn print(text: &str) {
    println!("{text}");
}

/// Does the work with one strategy; returns what it reports, and what its log comes to.
fn strategy(args: &Args, runtime: &Runtime, logs: &Path, name: &str) -> Result<Value> {
    let log = logs.join(format!("{name}.jsonl"));
    if log.exists() {
        fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    let (turns, window_tokens) =
        if name == FULL { (args.full_turns, None) } else { (args.turns, Some(long::WINDOW)) };
    let scenario = Scenario::new(turns, SEED);
    let model = LongModel { fault: args.summary_fault, window_tokens, ..LongModel::default() };
    let options = Options { log: Some(log.clone()), ..Options::default() };
    let server = runtime
        .block_on(ScriptedServer::start(LongWork { scenario, model }, options))
        .context("cannot start the model's server")?;
    let mut report = if name == PRUSIK {
        runtime.block_on(ours(&scenario, server.url(), &logs.join("prusik.db")))?
    } else {
        theirs(name, server.url())?
    };
    drop(server);
    let entries = log::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let account = analyse(entries, &SONNET_4_5, &mut by_cache_rules(PACE_MS))
        .with_context(|| format!("{} is broken", log.display()))?;
    report["account"] = json!(account);
    Ok(report)
}

/// Does the work in Prusik, over the wire of Anthropic's Messages like the others.
async fn ours(scenario: &Scenario, url: &str, path: &Path) -> Result<Value> {
    let key = tempfile::NamedTempFile::new().context("cannot make a file for a key")?;
    fs::write(key.path(), "any").context("cannot write the key")?;
    let key = KeyRef::File(key.path().to_owned());
    let model = ModelConfig::Anthropic { server: Server::new(url, Some(key)) }.connect()?;
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path)?);
    let run = long::work(&store, scenario, model).await?;
    let records = store.records(&run, Seq(1), Seq(u64::MAX)).await?;
    let (mut turns, mut said, mut error) = (0, String::new(), None);
    for record in records {
        match record.event()? {
            Event::ModelAnswered(_) => turns += 1,
            Event::RunFinished(finished) => match finished.ending {
                Ending::Completed { answer, .. } => said = answer,
                ending => error = Some(format!("{ending:?}")),
            },
            _ => {}
        }
    }
    let marks = scenario.mark(&said);
    Ok(json!({"strategy": PRUSIK, "turns": turns, "said": said, "error": error, "marks": marks}))
}

/// Does the work with one of `LangChain`'s strategies.
fn theirs(name: &str, url: &str) -> Result<Value> {
    let root = crate::root();
    let mut python = command(root.join(".setup/baselines/bin/python"), &root, &[]);
    python
        .arg(root.join("tests/baselines/run.py"))
        .args([name, "--server", url, "--window-tokens", &long::WINDOW.to_string()])
        .stderr(Stdio::inherit());
    printed(python)
}

/// Runs a program that prints one JSON object.
fn printed(mut command: std::process::Command) -> Result<Value> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim())
        .with_context(|| format!("{name} printed {text:?} and no JSON"))
}

const HEAD: &str = "\
| strategy | turns | requests (refused) | longest request | sent | output | fresh / written / read \
| USD | constraint | decision | row | value | end |
|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn row(report: &Value) -> String {
    let account = &report["account"];
    let number = |key: &str| account[key].as_u64().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let marks = &report["marks"];
    let end = report["error"]
        .as_str()
        .map_or("report", |error| error.split_once(':').map_or(error, |(kind, _)| kind));
    let cells = [
        text(&report["strategy"]),
        report["turns"].to_string(),
        format!("{} ({})", number("requests"), number("refused")),
        thousands(number("longest_tokens")),
        thousands(number("sent_tokens")),
        thousands(number("output_tokens")),
        ["fresh_tokens", "written_tokens", "read_tokens"]
            .map(|key| thousands(number(key)))
            .join(" / "),
        dollars(number("cost_nano_usd")),
        text(&marks["constraint"]),
        text(&marks["decision"]),
        text(&marks["row"]),
        text(&marks["value"]),
        end.to_owned(),
    ];
    format!("| {} |", cells.join(" | "))
}

/// Returns a number with commas between its thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn dollars(nano: u64) -> String {
    let cents = nano.div_ceil(10_000_000);
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(dollars(10_425_000_001), "10.43");
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let report = json!({
            "strategy": "trim", "turns": 96, "error": "BadRequest: no message",
            "marks": {"constraint": "unknown"}, "account": {"requests": 95, "refused": 1},
        });
        let row = row(&report);
        let columns = HEAD.lines().next().map(|line| line.matches('|').count());
        assert_eq!(Some(row.matches('|').count()), columns);
        assert!(row.contains("| 95 (1) |") && row.ends_with("| BadRequest |"), "{row}");
    }

    #[test]
    fn the_strategies_are_those_of_the_script() {
        let script = crate::root().join("tests/baselines/strategies.py");
        let text = fs::read_to_string(script).unwrap();
        let (_, table) = text.split_once("STRATEGIES = {").unwrap();
        let names: Vec<&str> = table.lines().filter_map(|line| line.split('"').nth(1)).collect();
        assert_eq!(names, STRATEGIES[1..]);
    }
}
