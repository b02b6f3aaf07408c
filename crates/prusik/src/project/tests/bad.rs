//! Projects with a mistake each: what people are told.

use std::fmt::Write as _;

use super::*;

/// A mistake: what is replaced by what in which file. An empty text to replace stands for all.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

const YAML: &str = "prusik.yaml";
const AGENT: &str = "agents/main.md";

const MISTAKES: &[Mistake] = &[
    ("unknown key", YAML, "workspace: workspace", "workspce: workspace"),
    ("unknown key, nothing near", YAML, "shell: unconfined", "zebra: 1"),
    (
        "unknown keys far down",
        YAML,
        "retry: { attempts_max: 5,",
        "rety: 1\n    retry: { atempts_max: 5,",
    ),
    ("wrong type", YAML, "max_tokens: 4096", "max_tokens: many"),
    ("negative number", YAML, "turns: 50", "turns: -5"),
    ("number too large", YAML, "turns: 50", "turns: 99999999999999999999999"),
    ("unknown choice", YAML, "provider: anthropic", "provider: antropic"),
    (
        "several mistakes at once",
        YAML,
        "provider: anthropic\n    model: claude",
        "proivder: x\n    max_tokns: 1\n    temperature: warm\n    model: claude",
    ),
    ("duplicate key", YAML, "budget: {", "workspace: other\nbudget: {"),
    ("broken YAML", YAML, "budget: { turns: 50,", "budget: { turns: 50"),
    ("a tab", YAML, "  default:\n", "\tdefault:\n"),
    ("a list for a mapping", YAML, "models:\n", "models: [1]\nmodles:\n"),
    ("an empty file", YAML, "", ""),
    ("a text file", YAML, "", "hello"),
    ("a key in the file", YAML, "api_key: env:BANK_KEY", "api_key: sk-ant-SECRET"),
    ("a number for a key", YAML, "api_key: env:BANK_KEY", "api_key: 271828182845"),
    ("a secret in a header", YAML, "\"env:DOCS_TOKEN\"", "Bearer SECRET"),
    ("a missing script", YAML, "scripts/demo.yaml", "scripts/deom.yaml"),
    ("a missing recording", YAML, "mode: record, of: default", "mode: replay"),
    ("recorded of nobody", YAML, "of: default", "of: defualt"),
    (
        "keys of another provider",
        YAML,
        "script: scripts/demo.yaml",
        "script: scripts/demo.yaml, base_url: \"http://x\"",
    ),
    ("no model name", YAML, "    model: claude-sonnet-4-5\n", ""),
    ("too much thinking", YAML, "thinking_tokens: 2000", "thinking_tokens: 5000"),
    ("command and url", YAML, "command: python3", "command: python3\n    url: \"https://x.dev\""),
    ("neither command nor url", YAML, "    command: python3\n", ""),
    ("a name that servers cannot have", YAML, "  docs: {", "  my__docs: {"),
    ("no such folder", YAML, "cwd: .", "cwd: nowhere"),
    (
        "a contract for an unknown server",
        YAML,
        "  bank__find_payment: {",
        "  bnak__x: { effect: read }\n  bank__find_payment: {",
    ),
    (
        "a contract for an unknown built-in tool",
        YAML,
        "  bank__find_payment: {",
        "  raed: { effect: read }\n  bank__find_payment: {",
    ),
    ("a key for a write", YAML, "effect: write", "effect: write\n    key: call"),
    ("a probe that is no read", YAML, "{ effect: read, timeout_ms: 5000 }", "{ timeout_ms: 5000 }"),
    ("a probe without a condition", YAML, "      landed: result.found\n", ""),
    ("bad CEL", YAML, "landed: result.found", "landed: result."),
    ("bad CEL in an argument", YAML, "=result.id", "=result.id +"),
    ("a key that is two", YAML, "{ argument: idempotency_key }", "{ argument: a, meta: b }"),
    ("a key without its name", YAML, "{ argument: idempotency_key }", "argument"),
    ("no tries at all", YAML, "attempts_max: 5", "attempts_max: 0"),
    ("a time without a unit", YAML, "wall: 30m", "wall: 30 minutes"),
    ("a time as a number", YAML, "wall: 30m", "wall: 30"),
    ("a budget in USD for a model without a price", YAML, ", price: { input: 0, output: 0 }", ""),
    ("a shell that is not said in so many words", YAML, "shell: unconfined", "shell: true"),
    ("an alias of nothing", YAML, "workspace: workspace", "workspace: *ws"),
    ("not UTF-8", YAML, "", "\u{1}latin"),
    ("an agent's unknown key", AGENT, "max_turns: 20", "maxTurns: 20"),
    ("an agent's unknown model", AGENT, "name: main", "name: main\nmodel: lokal"),
    ("an agent without a prompt", AGENT, "You pay invoices.\n\nPay each once.\n", "\n"),
    ("an agent without front matter", AGENT, "---\nname", "name"),
    ("front matter without an end", AGENT, "---\nYou pay", "--\nYou pay"),
    ("an agent with a bad schema", AGENT, "type: object", "type: objekt"),
    ("an agent with a missing schema", AGENT, "schemas/answer.json", "answer.json"),
    ("two budgets of turns", AGENT, "budget: { usd: 1 }", "budget: { usd: 1, turns: 3 }"),
    ("a name twice", "agents/helper.md", "model: local", "model: local\nname: main"),
    ("restricted arguments", AGENT, "Read, Grep", "Read, Bash(git:*)"),
    ("a tiny window", YAML, "window_tokens: 64000", "window_tokens: 100"),
    ("a tiny window of an agent", AGENT, "window_tokens: 48000", "window_tokens: 100"),
    ("shares out of order", AGENT, "target_percent: 40", "target_percent: 80"),
    ("the newest turns keep too much", AGENT, "keep_percent: 20", "keep_percent: 40"),
    ("a share that is none", AGENT, "compact_at_percent: 70", "compact_at_percent: 170"),
    ("a reserve that leaves nothing", AGENT, "reserve_tokens: 8000", "reserve_tokens: 40000"),
    ("a ledger beyond the window", AGENT, "ledger_bytes_max: 4000", "ledger_bytes_max: 400000"),
    ("a summary of nothing", AGENT, "summary_bytes_max: 3000", "summary_bytes_max: 0"),
    ("an unknown model for summaries", AGENT, "summary_model: local", "summary_model: lokal"),
    (
        "a model for summaries that takes too little",
        YAML,
        "model: \"qwen3:8b\",",
        "model: \"qwen3:8b\", window_tokens: 32000,",
    ),
    ("a full ledger", AGENT, "ledger_bytes_max: 4000", "ledger_bytes_max: 100"),
    ("an entry of no kind", AGENT, "  - constraint: Never", "  - constrain: Never"),
    ("an entry of two kinds", AGENT, "    reason: Cards", "    fact: Cards"),
    ("an empty entry", AGENT, "Never pay an invoice twice.", "' '"),
    ("an entry that is text", AGENT, "  - constraint: Never", "  - Never"),
    ("a record of no kind", YAML, "kind: fact", "kind: facts"),
    ("a record that is no CEL", YAML, "'paid as ' + result.id", "paid as result.id"),
    (
        "a contract of what every agent has",
        YAML,
        "  bank__find_payment: {",
        "  record: {}\n  bank__find_payment: {",
    ),
    ("a broken schema file", "schemas/answer.json", "[\"paid\"]", "[\"paid\""),
    ("a broken .mcp.json", ".mcp.json", "\"command\": \"other\"}", "\"command\": \"other\"},,"),
    ("a wrong type in .mcp.json", ".mcp.json", "\"args\": [\"-y\"]", "\"args\": \"-y\""),
];

#[test]
fn mistakes_are_told_with_place_and_way_out() {
    let mut report = String::new();
    for (name, file, from, to) in MISTAKES {
        let folder = project_folder();
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name}: {from}");
        let text = if from.is_empty() { (*to).to_owned() } else { text.replacen(from, to, 1) };
        // The source of this test is UTF-8: what is not is made here.
        let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
        std::fs::write(&path, bytes).unwrap();
        let told = match Project::load(folder.path()) {
            Ok(_) => "nothing wrong".to_owned(),
            Err(errors) => errors.to_string(),
        };
        assert!(!told.contains("SECRET") && !told.contains("271828"), "{name}: {told}");
        write!(report, "## {name}\n{told}\n\n").unwrap();
    }
    insta::assert_snapshot!(report);
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let told = Project::load(folder.path()).unwrap_err().to_string();
    assert!(told.starts_with("prusik.yaml: cannot be read"), "{told}");
    assert!(told.contains("prusik new DIR"), "{told}");
    std::fs::create_dir(folder.path().join("prusik.yaml")).unwrap();
    let told = Project::load(folder.path()).unwrap_err().to_string();
    assert!(told.contains("it is not a file"), "{told}");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let folder = project_folder();
    let size = usize::try_from(crate::project::FILE_BYTES_MAX).unwrap() + 1;
    write(folder.path(), "AGENTS.md", vec![b'x'; size]);
    let told = Project::load(folder.path()).unwrap_err().to_string();
    assert!(told.starts_with("AGENTS.md: is larger than"), "{told}");
}
