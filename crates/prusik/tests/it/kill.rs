//! Killed at every append: before it is written, when the effects that led to it have happened,
//! and right after it is durable, before anything that follows from it. Then resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::prusik::{
    copy, json_lines, prusik, prusik_command, prusik_with, said, wait_for, write_files,
};

const PROJECT: &str = "
models:
  default: { provider: scripted, script: script.yaml }
servers:
  s: { command: python3, args: [ledger.py, ledger.jsonl] }
tools:
  s__look: { effect: read }
  s__find: { effect: read }
  s__put: { effect: idempotent, key: { argument: key } }
  s__pay:
    effect: write
    probe:
      tool: s__find
      wait_ms: 0
      arguments: { name: '=args.name' }
      landed: result.found
      result: '{\"name\": args.name, \"done\": \"pay\"}'
  s__send: { effect: write }
";

const AGENT: &str = "---
name: main
description: Does a bit of everything.
tools: [s__look, s__put, s__pay, s__send]
containment: off
---
You do as you are told.
";

/// One turn for each effect class, then all of them at once, twice over where that is harder.
const SCRIPT: &str = "
turns:
  - call: [{ tool: s__look, arguments: { name: a } }, { tool: s__look, arguments: { name: b } }]
  - call: [{ tool: s__put, arguments: { name: c } }]
  - call: [{ tool: s__pay, arguments: { name: d } }]
  - call: [{ tool: s__send, arguments: { name: e } }]
  - call:
      - { tool: s__look, arguments: { name: f } }
      - { tool: s__put, arguments: { name: g } }
      - { tool: s__pay, arguments: { name: h } }
      - { tool: s__send, arguments: { name: i } }
      - { tool: s__pay, arguments: { name: j } }
      - { tool: s__send, arguments: { name: k } }
      - { tool: s__put, arguments: { name: l } }
  - say: '=\"All done: \" + string(all_results.size()) + \" results.\"'
";

/// What a killed and resumed project is compared by.
struct Case {
    make: fn(&Path),
    task: &'static str,
    /// How often each effect stands in the ledger.
    landed: fn(&Path) -> BTreeMap<String, usize>,
}

/// A run's own words and what its calls returned: what the model has seen and said.
fn transcript(folder: &Path) -> BTreeMap<String, Value> {
    let events = prusik(folder, &["events", "last", "--json"]);
    assert!(events.status.success(), "{}", said(&events));
    let mut seen = BTreeMap::new();
    for line in json_lines(&events.stdout) {
        if let Some(answer) = line["event"].get("model_answered") {
            seen.insert(format!("turn {}", answer["turn"]), answer["content"].clone());
        }
        if let Some(completed) = line["event"].get("call_completed") {
            let call = completed["call"].as_str().unwrap();
            seen.insert(format!("call {call}"), completed["outcome"].clone());
        }
        if let Some(finished) = line["event"].get("run_finished") {
            seen.insert("end".to_owned(), finished.clone());
        }
    }
    seen.values_mut().for_each(without_clock);
    seen
}

/// Settles each call in doubt by what the ledger says, as a person would. Returns how many.
fn settle_by_the_ledger(case: &Case, folder: &Path) -> usize {
    let shown = prusik(folder, &["show", "last", "--json"]);
    let shown = &json_lines(&shown.stdout)[0];
    let doubts = shown["in_doubt"].as_array().unwrap();
    for call in doubts {
        let call = call.as_str().unwrap();
        let (tool, name) = call_of(folder, call);
        assert_eq!(tool, "s__send", "only a write without a probe needs a person");
        let landed = (case.landed)(folder).contains_key(&format!("send {name}"));
        let result = json!({"name": name, "done": "send"}).to_string();
        let verdict: &[&str] =
            if landed { &["--landed", "--result", &result] } else { &["--not-landed"] };
        let settled = prusik(folder, &[&["settle", "last", call], verdict].concat());
        assert!(settled.status.success(), "{}", said(&settled));
    }
    doubts.len()
}

fn call_of(folder: &Path, call: &str) -> (String, String) {
    let (turn, index) = call.split_once('.').unwrap();
    let answer = &transcript(folder)[&format!("turn {turn}")];
    let uses: Vec<&Value> =
        answer.as_array().unwrap().iter().filter_map(|block| block.get("tool_use")).collect();
    let tool_use = uses[index.parse::<usize>().unwrap() - 1];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&tool_use["name"]), text(&tool_use["input"]["json"]["name"]))
}

/// Resumes until the run has ended. Returns how often a person was needed.
fn finish(case: &Case, folder: &Path, point: &str) -> usize {
    let mut questions = 0;
    for _ in 0..20 {
        let resumed = prusik(folder, &["resume", "last"]);
        match resumed.status.code() {
            Some(0) => return questions,
            Some(3) => {
                let settled = settle_by_the_ledger(case, folder);
                assert!(settled > 0, "{point}: parked without a question: {}", said(&resumed));
                questions += settled;
            }
            other => panic!("{point}: resume gave {other:?}: {}", said(&resumed)),
        }
    }
    panic!("{point}: the run does not end");
}

/// Runs the case once undisturbed, then killed at every append on both sides. Returns how many
/// points were tried and how often a person was needed.
fn kill_everywhere(case: &Case) -> (usize, usize) {
    let calm = tempfile::tempdir().unwrap();
    (case.make)(calm.path());
    let run = prusik(calm.path(), &["run", case.task]);
    assert!(run.status.success(), "{}", said(&run));
    let (expected, ledger) = (transcript(calm.path()), (case.landed)(calm.path()));
    assert!(ledger.values().all(|times| *times == 1), "{ledger:?}");

    let (mut points, mut questions) = (0, 0);
    for append in 1.. {
        let mut died = false;
        for when in ["before", "after"] {
            let point = format!("{when}:{append}");
            let folder = tempfile::tempdir().unwrap();
            (case.make)(folder.path());
            let env = [("PRUSIK_CRASH", point.as_str())];
            let run = prusik_with(folder.path(), &["run", case.task], &env);
            if run.status.success() {
                continue;
            }
            assert_eq!(killed_by(&run), Some(9), "{point}: {}", said(&run));
            died = true;
            points += 1;
            if point == "before:1" {
                // Nothing was durable: there is no run, and the world is untouched.
                assert!((case.landed)(folder.path()).is_empty());
                continue;
            }
            // Before the last append the answer is lost; after it the run has ended.
            let ended = transcript(folder.path()).contains_key("end");
            if !ended {
                questions += finish(case, folder.path(), &point);
            }
            assert_eq!((case.landed)(folder.path()), ledger, "{point}: the world differs");
            assert_same(&transcript(folder.path()), &expected, &point);
            let verified = prusik(folder.path(), &["events", "last", "--verify"]);
            assert!(verified.status.success(), "{point}: {}", said(&verified));
        }
        if !died {
            break;
        }
    }
    (points, questions)
}

/// Compares transcripts and names only what differs.
fn assert_same(found: &BTreeMap<String, Value>, expected: &BTreeMap<String, Value>, point: &str) {
    for key in expected.keys().chain(found.keys()) {
        let (found, expected) = (found.get(key), expected.get(key));
        assert_eq!(found, expected, "{point}: the transcript differs at {key}");
    }
}

/// Blanks the bank's own clock, which no run can repeat.
fn without_clock(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("booked_at");
            map.values_mut().for_each(without_clock);
        }
        Value::Array(items) => items.iter_mut().for_each(without_clock),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn killed_by(output: &std::process::Output) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt as _;
    output.status.signal()
}

fn ledger_lines(path: PathBuf) -> Vec<Value> {
    std::fs::read(path).map(|bytes| json_lines(&bytes)).unwrap_or_default()
}

fn ledger_project(folder: &Path, script: &str) {
    let server = include_str!("ledger.py");
    write_files(
        folder,
        &[
            ("prusik.yaml", PROJECT),
            ("agents/main.md", AGENT),
            ("script.yaml", script),
            ("ledger.py", server),
        ],
    );
}

fn ledger_effects(folder: &Path) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for line in ledger_lines(folder.join("ledger.jsonl")) {
        let (tool, name) = (line["tool"].as_str().unwrap(), line["name"].as_str().unwrap());
        *times.entry(format!("{tool} {name}")).or_default() += 1;
    }
    times
}

#[test]
fn every_effect_class_lands_once_whenever_the_process_dies() {
    let case = Case {
        make: |folder| ledger_project(folder, SCRIPT),
        task: "Do everything.",
        landed: ledger_effects,
    };
    let (points, questions) = kill_everywhere(&case);
    assert!(points >= 30, "only {points} points");
    // The three calls that nothing but a person can settle, killed between effect and outcome and
    // between intent and effect.
    assert!(questions >= 6, "only {questions} questions");
}

/// Kills the process while its server is inside a write that takes `seconds` to land, resumes at once,
/// and returns how often a person was needed.
fn kill_inside_a_write(tool: &str, seconds: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let turns =
        format!("turns: [{{call: [{{tool: s__{tool}, arguments: {{name: a}}}}]}}, {{say: Done.}}]");
    ledger_project(folder, &turns);
    write_files(folder, &[("slow", seconds)]);
    let mut run = prusik_command(folder, &["run", "Do it."]).stdout(Stdio::null()).spawn().unwrap();
    wait_for(&folder.join("begun"));
    run.kill().unwrap();
    run.wait().unwrap();
    let case = Case { make: |_| {}, task: "Do it.", landed: ledger_effects };
    let questions = finish(&case, folder, &format!("in {tool}, {seconds} s before it lands"));
    // Whatever was going to land has landed: the server that could still do it has ended.
    let landed = ledger_effects(folder);
    assert_eq!(landed, BTreeMap::from([(format!("{tool} a"), 1)]));
    questions
}

/// The server finds its input closed and may finish what it is doing, within a moment.
#[test]
fn a_write_that_lands_after_the_kill_is_found() {
    assert_eq!(kill_inside_a_write("pay", "0.5"), 0);
    assert_eq!(kill_inside_a_write("send", "0.5"), 1);
}

/// The server would land the write long after the probe was asked; it is ended before.
#[test]
fn a_write_that_would_land_after_its_probe_never_does() {
    assert_eq!(kill_inside_a_write("pay", "20"), 0);
    assert_eq!(kill_inside_a_write("send", "20"), 1);
}

#[test]
fn the_demo_pays_once_whenever_the_process_dies() {
    let case = Case {
        make: |folder| {
            let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/invoices"));
            copy(source, folder);
        },
        task: "Pay all open invoices",
        landed: |folder| {
            let mut times = BTreeMap::new();
            for line in ledger_lines(folder.join("ledger.jsonl")) {
                *times.entry(line["reference"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            times
        },
    };
    let (points, questions) = kill_everywhere(&case);
    assert!(points >= 30, "only {points} points");
    assert_eq!(questions, 0, "every payment has a probe");
}
