//! `cargo xtask baselines`: long work with `LangChain`'s ways of keeping a context within its window,
//! against the same simulated model and with the same tool as ours.
//!
//! Each strategy has a server of its own, whose log says what was sent. The scripts are in
//! `tests/baselines`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::command::{command, run};
use crate::setup;

/// The strategies, as `tests/baselines/strategies.py` names them.
const STRATEGIES: [&str; 6] =
    ["full", "trim", "trim-after-task", "summarize", "summarize-by-default", "deep-agent"];
/// The one that sends everything. No window takes it, and its work grows with the square of the
/// turns.
const FULL: &str = "full";

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
    /// The window of the model; longer requests are refused, but for the strategy that sends
    /// everything
    #[arg(long, default_value_t = 20_000)]
    window_tokens: u32,
    /// What goes wrong with each summary, for example `forgets`
    #[arg(long)]
    summary_fault: Option<String>,
    /// Where the logs are kept, which may be gigabytes; a temporary folder by default
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Print a JSON object for each strategy, instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the strategies one after the other, and prints what came of them.
pub fn run_baselines(args: &Args) -> Result<()> {
    setup::run_setup(&setup::Args::with_baselines())?;
    let root = crate::root();
    run(command(
        env!("CARGO"),
        &root,
        &["build", "--quiet", "--package", "prusik-testkit", "--bins"],
    ))?;
    let temporary = tempfile::tempdir().context("cannot make a folder for the logs")?;
    let logs = args.logs.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let chosen: Vec<&str> = if args.strategies.is_empty() {
        STRATEGIES.to_vec()
    } else {
        args.strategies.iter().map(String::as_str).collect()
    };
    if !args.json {
        print(HEAD);
    }
    for name in chosen {
        eprintln!("baselines: {name}");
        let report = strategy(args, &root, logs, name)?;
        print(&if args.json { report.to_string() } else { row(&report) });
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what this command prints")]
fn print(text: &str) {
    println!("{text}");
}

/// Does the work with one strategy; returns what its script and its log say.
fn strategy(args: &Args, root: &Path, logs: &Path, name: &str) -> Result<Value> {
    let log = logs.join(format!("{name}.jsonl"));
    if log.exists() {
        fs::remove_file(&log).with_context(|| format!("cannot remove {}", log.display()))?;
    }
    let window = (name != FULL).then_some(args.window_tokens);
    let turns = if name == FULL { args.full_turns } else { args.turns };
    let server = Server::start(root, &log, turns, window, args.summary_fault.as_deref())?;
    let script = root.join("tests/baselines/run.py");
    let mut python = command(root.join(".setup/baselines/bin/python"), root, &[]);
    python.arg(script).args([name, "--server", &server.url, "--window-tokens"]);
    python.arg(args.window_tokens.to_string()).stderr(Stdio::inherit());
    let mut report = printed(python)?;
    drop(server);
    let mut account = command(root.join("target/debug/account"), root, &[]);
    account.arg(&log);
    report["account"] = printed(account).with_context(|| format!("after {report}"))?;
    report["summary_fault"] = json!(args.summary_fault);
    Ok(report)
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

/// A server of long work, until it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(
        root: &Path,
        log: &Path,
        turns: u32,
        window_tokens: Option<u32>,
        summary_fault: Option<&str>,
    ) -> Result<Self> {
        let mut program = command(root.join("target/debug/scripted-server"), root, &["--long"]);
        program.arg("--log").arg(log).args(["--turns", &turns.to_string()]);
        if let Some(window) = window_tokens {
            program.args(["--window-tokens", &window.to_string()]);
        }
        if let Some(fault) = summary_fault {
            program.args(["--summary-fault", fault]);
        }
        let child = program.stdout(Stdio::piped()).spawn().context("cannot start the server")?;
        let mut server = Self { child, url: String::new() };
        let stdout = server.child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            bail!("the server did not start; see the output above");
        };
        url.clone_into(&mut server.url);
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to save.
        drop(self.child.kill());
        drop(self.child.wait());
    }
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
        assert_eq!(names, STRATEGIES);
    }
}
