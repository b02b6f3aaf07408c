//! The numbers as a table for people and as one JSON object for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use prusik_testkit::long::WINDOW;
use serde_json::{Map, Value, json};

use super::review::TOOLS;
use super::throughput::RUNS;
use super::window::Window;
use super::{Numbers, workload};
use crate::command::output;

/// Returns the object that `--json` prints.
pub fn json(numbers: &Numbers) -> Value {
    let stored: Map<String, Value> = numbers
        .growth
        .iter()
        .map(|grown| (grown.turns.to_string(), json!(rounded(grown.stored_over_payload()))))
        .collect();
    let longest = numbers.growth.last().map_or(0, |grown| grown.turns);
    let most = RUNS[RUNS.len() - 1];
    let mut object = Map::new();
    object.insert("commits_per_turn".into(), json!(rounded(numbers.commits_per_turn)));
    object.insert("commits_per_read_turn".into(), json!(rounded(numbers.commits_per_read_turn)));
    object.insert("turn_over_commits".into(), json!(rounded(numbers.turns.over_commits)));
    object.insert("stored_over_payload".into(), Value::Object(stored));
    object.insert(format!("resume_ms_{longest}"), json!(rounded(numbers.resume.all_ms)));
    for window in &numbers.windows {
        let turns = window.turns;
        object.insert(format!("turn_{turns}_over_early"), json!(rounded(window.late_over_early)));
        object.insert(format!("resume_ms_{turns}_in_window"), json!(rounded(window.resume_ms)));
    }
    object.insert(
        format!("throughput_{most}_over_1"),
        json!(rounded(numbers.throughput.last_over_first)),
    );
    object.insert(format!("peak_memory_mib_{most}"), json!(rounded(numbers.peak_memory_mib)));
    object.insert(format!("review_ms_{TOOLS}"), json!(rounded(numbers.review.all_ms())));
    if let Some(peers) = &numbers.peers {
        let peers: Map<String, Value> = peers
            .iter()
            .map(|peer| {
                let said = json!({
                    "turns_per_second": rounded(peer.turns_per_second),
                    "stored_bytes": peer.stored_bytes,
                });
                (peer.name.to_owned(), said)
            })
            .collect();
        object.insert("peers".into(), Value::Object(peers));
    }
    Value::Object(object)
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// A line of the table: what, the number as it is printed, and the target where there is one.
struct Line {
    what: String,
    number: String,
    target: Option<Target>,
}

struct Target {
    words: &'static str,
    holds: bool,
}

fn at_most(number: f64, limit: f64, words: &'static str) -> Target {
    Target { words, holds: rounded(number) <= limit }
}

fn lines(numbers: &Numbers) -> Vec<Line> {
    let line = |what: String, number: String, target| Line { what, number, target };
    let n = numbers;
    let mut lines = vec![
        line(
            "durable commits that a turn waits for, `write` tool".into(),
            format!("{:.2}", n.commits_per_turn),
            Some(at_most(n.commits_per_turn, 2.0, "≤ 2")),
        ),
        line(
            "the same, `read` tool".into(),
            format!("{:.2}", n.commits_per_read_turn),
            Some(at_most(n.commits_per_read_turn, 1.0, "≤ 1")),
        ),
        line(
            "a turn over two bare commits".into(),
            format!(
                "{:.2} × ({:.0} µs a turn, {:.0} µs a commit)",
                n.turns.over_commits, n.turns.turn_us, n.turns.commit_us
            ),
            Some(at_most(n.turns.over_commits, 1.3, "≤ 1.3 ×")),
        ),
    ];
    for grown in &n.growth {
        let ratio = grown.stored_over_payload();
        lines.push(line(
            format!("stored over payload bytes, {} turns", grown.turns),
            format!(
                "{ratio:.2} × ({} of {} KiB; {} bytes of it blobs)",
                grown.file_bytes / 1024,
                grown.payload_bytes / 1024,
                grown.blob_bytes
            ),
            (grown.turns >= 10_000).then(|| at_most(ratio, 1.3, "≤ 1.3 ×")),
        ));
    }
    let longest = n.growth.last().map_or(0, |grown| grown.turns);
    lines.push(line(
        format!("resume of {longest} turns to the next model call"),
        format!("{:.0} ms (alone: open and load {:.0}, read the records {:.0}, build the transcript {:.0})",
            n.resume.all_ms, n.resume.open_ms, n.resume.records_ms, n.resume.transcript_ms),
        Some(at_most(n.resume.all_ms, 50.0, "≤ 50 ms")),
    ));
    for window in &n.windows {
        lines.extend(of_window(window));
    }
    for (runs, rate) in RUNS.iter().zip(n.throughput.turns_per_second) {
        lines.push(line(format!("turns per second, {runs} at once"), format!("{rate:.0}"), None));
    }
    let ratio = n.throughput.last_over_first;
    lines.push(line(
        format!("throughput of {} runs over one", RUNS[RUNS.len() - 1]),
        format!("{ratio:.1} ×"),
        Some(Target { words: "≥ 20 ×", holds: ratio >= 20.0 }),
    ));
    lines.push(line(
        format!("peak memory, {} runs at once", RUNS[RUNS.len() - 1]),
        format!("{:.0} MiB", n.peak_memory_mib),
        None,
    ));
    lines.push(line(
        format!("`check` of {TOOLS} tools, with its page"),
        format!(
            "{:.0} ms (the rules alone, as `lint` has them, {:.0}; SARIF of all {} findings, {:.0} more)",
            n.review.all_ms(),
            n.review.lint_ms,
            n.review.findings,
            n.review.sarif_ms
        ),
        Some(at_most(n.review.all_ms(), 200.0, "≤ 200 ms")),
    ));
    lines
}

fn of_window(window: &Window) -> [Line; 2] {
    let Window { turns, late_over_early, early_us, late_us, resume_ms } = window;
    [
        Line {
            what: format!(
                "a late turn of {turns} over an early one, in a window of {WINDOW} tokens"
            ),
            number: format!("{late_over_early:.2} × ({late_us:.0} and {early_us:.0} µs)"),
            target: Some(at_most(*late_over_early, 1.2, "≤ 1.2 ×")),
        },
        Line {
            what: format!("resume of {turns} turns in that window"),
            number: format!("{resume_ms:.0} ms"),
            target: Some(at_most(*resume_ms, 50.0, "≤ 50 ms")),
        },
    ]
}

/// Returns the report as Markdown.
pub fn markdown(numbers: &Numbers, folder: &Path) -> String {
    let mut out = String::from("| what | measured | target | holds |\n|---|---|---|---|\n");
    for Line { what, number, target } in lines(numbers) {
        let (words, holds) = match target {
            Some(Target { words, holds }) => (words, if holds { "yes" } else { "**no**" }),
            None => ("", ""),
        };
        let _ = writeln!(out, "| {what} | {number} | {words} | {holds} |");
    }
    if let Some(peers) = &numbers.peers {
        let turns = peers.first().map_or(0, |peer| peer.turns);
        let _ = write!(
            out,
            "\n{turns} turns of one run, durable after every step:\n\n\
             | system | turns per second | stored bytes | over payload |\n|---|---|---|---|\n"
        );
        for peer in peers {
            let _ = writeln!(
                out,
                "| {} | {:.0} | {} | {:.1} × |",
                peer.name,
                peer.turns_per_second,
                peer.stored_bytes,
                peer.stored_over_payload()
            );
        }
    }
    let _ = write!(out, "\n{}\n", machine(folder));
    out
}

/// Says on what and when it was measured.
fn machine(folder: &Path) -> String {
    let word = |found: Option<String>| {
        found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let folder = folder.to_string_lossy();
    let file_system = word(output("stat", &["-f", "-c", "%T", &folder]));
    let kernel = word(output("uname", &["-sr"]));
    let date = word(output("date", &["-u", "+%Y-%m-%d"]));
    let unknown = || "unknown".to_owned();
    format!(
        "Measured on {}: {} × {}, {}, file system {}, {}-byte answers and {}-byte results.",
        date.unwrap_or_else(unknown),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        cpu.unwrap_or_else(unknown),
        kernel.unwrap_or_else(unknown),
        file_system.unwrap_or_else(unknown),
        workload::ANSWER_BYTES,
        workload::RESULT_BYTES,
    )
}
