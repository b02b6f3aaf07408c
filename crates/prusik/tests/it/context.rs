//! What a model was sent, known afterwards to the byte; notes, compactions, and what is told of them.

use std::path::Path;
use std::process::Stdio;

use prusik_model::Script;
use prusik_testkit::server::{Options, ScriptedServer};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::prusik::{json_lines, prusik, prusik_command, prusik_with, said, wait_for, write_files};

const KEY: (&str, &str) = ("BANK_KEY", "sk-test-0123456789");

/// Reads note after note, and records one thing on the way.
fn script(notes: u32) -> String {
    let mut text =
        "turns:\n  - call: [{ tool: record, arguments: { kind: decision, text: Count by hand., \
                    reason: There are few. } }]\n"
            .to_owned();
    for note in 1..=notes {
        text.push_str(&format!(
            "  - call: [{{ tool: read, arguments: {{ path: note{note}.txt }} }}]\n"
        ));
    }
    text.push_str(
        "  - say: There are 78 pallets.\nsummary:\n  say: { asked: count, done: [read notes] }\n",
    );
    text
}

const AGENT: &str = "---\ntools: [read, list, shell]\ncontainment: off\nledger:\n  \
                     - constraint: Never delete a note.\n---\n\
                     You count what is in the notes.\n";

fn project(folder: &Path, model: &str, notes: u32, more: &str) {
    let yaml =
        format!("models:\n  default: {{ {model}, max_tokens: 500 }}\nshell: unconfined\n{more}");
    write_files(folder, &[("prusik.yaml", yaml.as_str()), ("agents/main.md", AGENT)]);
    for note in 1..=notes {
        let text = "The warehouse in Ulm has pallets of soap. ".repeat(20 + note as usize % 7 * 4);
        write_files(folder, &[(&format!("workspace/note{note}.txt"), &format!("{note}: {text}"))]);
    }
}

fn scripted(folder: &Path, text: &str, more: &str) {
    write_files(folder, &[("script.yaml", text)]);
    project(folder, "provider: scripted, script: script.yaml", 24, more);
}

fn server(text: &str) -> (Runtime, ScriptedServer) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let script = Script::parse(text, "script").unwrap();
    let server = runtime.block_on(ScriptedServer::start(script, Options::default())).unwrap();
    (runtime, server)
}

fn ask(folder: &Path, arguments: &[&str]) -> Value {
    let output = prusik(folder, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    json_lines(&output.stdout).remove(0)
}

/// Returns the events of the newest run, each with its number.
fn events(folder: &Path) -> Vec<(u64, Value)> {
    let lines = json_lines(&prusik(folder, &["events", "last", "--json"]).stdout);
    lines.into_iter().map(|line| (line["seq"].as_u64().unwrap(), line["event"].clone())).collect()
}

fn of_kind<'a>(events: &'a [(u64, Value)], kind: &str) -> Vec<&'a (u64, Value)> {
    events.iter().filter(|(_, event)| event.get(kind).is_some()).collect()
}

#[test]
fn what_was_sent_is_known_to_the_byte_over_compactions_notes_and_a_park() {
    for (provider, path) in [("anthropic", ""), ("openai", "/v1")] {
        let folder = tempfile::tempdir().unwrap();
        let (_runtime, server) = server(&script(24));
        let model = format!(
            "provider: {provider}, model: m, base_url: \"{}{path}\", api_key: env:{}, window_tokens: 5000, \
             price: {{ input: 1, output: 1 }}",
            server.url(),
            KEY.0
        );
        project(folder.path(), &model, 24, "");
        let run = prusik_with(folder.path(), &["run", "Count", "--budget", "turns=14"], &[KEY]);
        assert_eq!(run.status.code(), Some(3), "{}", said(&run));
        let noted = prusik(folder.path(), &["note", "last", "Ulm has moved.", "--kind", "fact"]);
        assert!(said(&noted).contains("L3 is in the ledger"), "{}", said(&noted));
        assert!(said(&noted).contains("next: prusik resume"), "{}", said(&noted));
        let wanted = prusik(folder.path(), &["compact", "last"]);
        assert!(said(&wanted).contains("next: prusik resume"), "{}", said(&wanted));
        // The key is not needed to look.
        let due = ask(folder.path(), &["context", "last"]);
        assert_eq!(due["which"], "next");
        assert!(due["due"]["asked"]["by"].is_string(), "{}", due["due"]);
        let resumed =
            prusik_with(folder.path(), &["resume", "last", "--raise", "turns=90"], &[KEY]);
        assert!(resumed.status.success(), "{}", said(&resumed));

        let events = events(folder.path());
        let answers: Vec<u64> = events
            .iter()
            .filter(|(_, event)| {
                event.get("model_answered").is_some() || event.get("summary_answered").is_some()
            })
            .map(|(seq, _)| *seq)
            .collect();
        let requests = server.requests();
        assert_eq!(answers.len(), requests.len(), "{provider}");
        for (seq, request) in answers.iter().zip(&requests) {
            let wire =
                prusik(folder.path(), &["context", "last", "--wire", "--at", &seq.to_string()]);
            assert!(wire.status.success(), "{}", said(&wire));
            let wire = String::from_utf8(wire.stdout).unwrap();
            assert_eq!(wire, *request.raw, "{provider}, record {seq}");
        }
        let compacted = of_kind(&events, "context_compacted");
        let asked = compacted
            .iter()
            .filter(|(_, event)| event["context_compacted"]["why"]["asked"]["by"].is_string());
        assert_eq!(asked.count(), 1, "{compacted:#?}");
        assert!(compacted.len() >= 3, "{compacted:#?}");
        assert!(!of_kind(&events, "summary_answered").is_empty());
        // What a person noted is still there at the end, word for word, and so is what the model did.
        let last = &requests.last().unwrap().raw;
        for words in ["Never delete a note.", "Count by hand.", "Ulm has moved."] {
            assert!(last.contains(words), "{words}: {last}");
        }
    }
}

#[test]
fn the_pieces_of_a_request_and_what_became_of_them_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    scripted(folder.path(), &script(24), "");
    let yaml = std::fs::read_to_string(folder.path().join("prusik.yaml")).unwrap();
    let yaml = yaml.replace("max_tokens: 500", "max_tokens: 500, window_tokens: 5000");
    write_files(folder.path(), &[("prusik.yaml", &yaml)]);
    let run = prusik(folder.path(), &["run", "Count"]);
    assert!(run.status.success(), "{}", said(&run));
    assert!(said(&run).contains("a summary stands for turns 1 to"), "{}", said(&run));

    let shown = said(&prusik(folder.path(), &["show", "last"]));
    for words in [
        "L1 constraint: Never delete a note. (the agent's definition)",
        "L2 decision: Count by hand.",
        "because: There are few.",
        "compaction",
        "summary · ",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(ask(folder.path(), &["show", "last"])["ledger"].as_array().unwrap().len(), 2);

    let events = events(folder.path());
    let (at, _) = of_kind(&events, "context_compacted").last().unwrap();
    let view = ask(folder.path(), &["context", "last"]);
    assert!(view["which"]["last"].is_u64() && view["counted"] == true, "{view}");
    let pieces = view["segments"].as_array().unwrap();
    let tokens: u64 = pieces.iter().map(|piece| piece["tokens"].as_u64().unwrap()).sum();
    assert_eq!(view["tokens"], tokens);
    let of = |kind: &str| pieces.iter().find(|piece| piece["kind"] == kind).unwrap();
    assert_eq!(of("task")["text"], "Count");
    assert!(of("ledger")["text"].as_str().unwrap().contains("L2 decision: Count by hand."));
    assert!(of("history")["why"].as_str().unwrap().starts_with("stands for turns 1 to "));
    assert_eq!(of("history")["label"], json!(["read"]));
    let text = said(&prusik(folder.path(), &["context", "last", "--text"]));
    for words in
        ["as the provider counted", "window 5,000", "untrusted (read)", "You count what is"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }

    // The first request, the one that the last compaction made, and what is between them.
    let first = ask(folder.path(), &["context", "last", "--at", "2"]);
    assert_eq!((&first["which"], &first["turn"]), (&json!({"answered": 2}), &json!(1)));
    let other = ask(folder.path(), &["context", "last", "--at", &at.to_string(), "--diff", "2"]);
    assert_eq!(other["to"], "next");
    let added = other["added"].as_array().unwrap();
    assert!(added.iter().any(|piece| piece["kind"] == "history"), "{added:?}");
    let told = prusik(folder.path(), &["context", "last", "--diff", "2"]);
    assert!(said(&told).contains("+ ") && said(&told).contains("the same"), "{}", said(&told));

    let drawn = prusik(folder.path(), &["context", "last", "--svg", "c.svg", "--html", "c.html"]);
    assert!(said(&drawn).contains("c.svg and c.html: 26 requests"), "{}", said(&drawn));
    let drawing = std::fs::read_to_string(folder.path().join("c.svg")).unwrap();
    assert!(drawing.starts_with("<svg ") && drawing.contains("prefers-color-scheme:dark"));
    let page = std::fs::read_to_string(folder.path().join("c.html")).unwrap();
    assert!(page.contains(&drawing) && !page.contains("<script"), "nothing is fetched or run");
}

#[test]
fn a_driven_run_takes_notes_and_the_wish_for_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
turns:
  - call: [{ tool: read, arguments: { path: note1.txt } }]
  - call: [{ tool: shell, arguments: { command: 'echo x > begun; while [ ! -e go ]; do sleep 0.05; done' } }]
  - call: [{ tool: list, arguments: {} }]
  - say: Done.
";
    scripted(folder.path(), text, "");
    let child = prusik_command(folder.path(), &["run", "Do it", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&folder.path().join("workspace/begun"));
    let noted = prusik(
        folder.path(),
        &[
            "note",
            "last",
            "Ask before you pay.",
            "--reason",
            "The bank is slow.",
            "--source",
            "Ann",
        ],
    );
    assert!(said(&noted).contains("L2 is in the ledger"), "{}", said(&noted));
    assert!(!said(&noted).contains("next:"), "it goes on by itself: {}", said(&noted));
    let again = ask(folder.path(), &["note", "last", "Ask twice.", "--supersedes", "L2"]);
    assert_eq!((&again["done"], &again["entry"]), (&json!("noted"), &json!("L3")));
    let gone = prusik(folder.path(), &["note", "last", "x", "--supersedes", "L2"]);
    assert_eq!(gone.status.code(), Some(2), "{}", said(&gone));
    assert!(said(&gone).contains("there is no entry L2 that still holds"), "{}", said(&gone));
    let told = prusik(folder.path(), &["compact", "last"]);
    assert!(said(&told).contains("was told to make its context smaller"), "{}", said(&told));
    // They look twice a second.
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while of_kind(&events(folder.path()), "compaction_requested").is_empty() {
        assert!(std::time::Instant::now() < end, "the driver does not read what it is told");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::fs::write(folder.path().join("workspace/go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    let events = events(folder.path());
    let recorded = of_kind(&events, "entry_recorded");
    assert_eq!(recorded.len(), 2, "{recorded:#?}");
    assert_eq!(recorded[1].1["entry_recorded"]["entry"]["supersedes"], "L2");
    assert!(!of_kind(&events, "context_compacted").is_empty(), "{events:#?}");
    let view = ask(folder.path(), &["context", "last"]);
    let all = view["segments"].to_string();
    assert!(all.contains("Ask twice."), "{all}");
    let shown = said(&prusik(folder.path(), &["show", "last"]));
    assert!(shown.contains("(not L2 any more)") && shown.contains("wants the context compacted"));
    assert!(!shown.contains("L2 constraint: Ask before you pay.\n"), "it holds no more: {shown}");
}

#[test]
fn what_cannot_be_noted_or_shown_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    scripted(
        folder.path(),
        "turns: [{ call: [{ tool: list, arguments: {} }] }, { say: Done. }]",
        "",
    );
    let agent = AGENT.replace("ledger:", "context: { ledger_bytes_max: 150 }\nledger:");
    write_files(folder.path(), &[("agents/main.md", &agent)]);
    let run = prusik(folder.path(), &["run", "Do it", "--budget", "turns=1"]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let long = "x".repeat(5_000);
    let full = "y".repeat(150);
    for (arguments, code, expected) in [
        (&["note", "last", " "][..], 2, "the entry is empty"),
        (&["note", "last", &long], 2, "record the gist"),
        (&["note", "last", &full], 2, "the ledger is full"),
        (&["note", "last", "x", "--supersedes", "9"], 2, "an entry is named like L7"),
        (&["note", "last", "x", "--supersedes", "L9"], 2, "there is no entry L9"),
        (&["note", "last", "x", "--kind", "hint"], 2, "possible values"),
        (&["note", "nope", "x"], 2, "there is no run `nope`"),
        (&["context", "last", "--at", "99"], 2, "the run has no record 99"),
        (&["context", "last", "--diff", "0"], 2, "the run has no record 0"),
        (&["context", "last", "--wire"], 2, "nothing goes over a wire"),
        (&["context", "last", "--wire", "--diff", "2"], 2, "cannot be used with"),
        (&["context", "last", "--svg", "none/c.svg"], 2, "cannot write none/c.svg"),
    ] {
        let output = prusik(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(of_kind(&events(folder.path()), "entry_recorded").len(), 0, "nothing was recorded");
    assert!(prusik(folder.path(), &["resume", "last", "--raise", "turns=9"]).status.success());
    for arguments in [&["note", "last", "Too late."][..], &["compact", "last"]] {
        let output = prusik(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("the run has ended"), "{}", said(&output));
    }
    // A key that is missing keeps nobody from looking.
    let yaml = "models: { default: { provider: anthropic, model: claude-sonnet-4-5, api_key: env:NO_SUCH } }\n";
    write_files(folder.path(), &[("prusik.yaml", yaml), ("agents/main.md", "---\n---\nDo.\n")]);
    let wire = prusik(folder.path(), &["context", "last", "--wire"]);
    assert!(wire.status.success(), "{}", said(&wire));
    assert_eq!(serde_json::from_slice::<Value>(&wire.stdout).unwrap()["stream"], true);
}

#[test]
fn entries_of_the_definition_can_be_recalled_and_a_miss_fails_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let recall =
        |arguments: &str| format!("  - call: [{{ tool: recall, arguments: {arguments} }}]\n");
    let asked = ["{ handle: L1 }", "{ query: delete }", "{ handle: '9.9' }"].map(recall);
    scripted(folder.path(), &format!("turns:\n{}  - say: Done.\n", asked.concat()), "");
    let run = prusik(folder.path(), &["run", "Do it"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let events = events(folder.path());
    let told = of_kind(&events, "call_completed");
    let told: Vec<String> = told.iter().map(|(_, event)| event.to_string()).collect();
    assert!(told[0].contains("Never delete a note."), "{told:?}");
    assert!(told[1].contains("L1"), "{told:?}");
    assert!(told[2].contains("not_found"), "{told:?}");
}
