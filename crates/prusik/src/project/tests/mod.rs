//! Tests of loading: a good project, many bad ones, and what becomes of mutated ones.

mod bad;
mod definition;
mod good;
mod mutated;

use std::path::Path;

use tempfile::TempDir;

use super::Project;

/// A project that uses every key.
const PROJECT: &str = r#"# A project that uses every key.
models:
  default:
    provider: anthropic
    model: claude-sonnet-4-5
    api_key: env:BANK_KEY
    max_tokens: 4096
    temperature: 0.2
    thinking_tokens: 2000
    window_tokens: 64000
    price: { input: 3.0, output: 15.0, cache_read: 0.3, cache_write: 3.75 }
  local: { provider: openai, model: "qwen3:8b", base_url: "http://localhost:11434/v1" }
  demo: { provider: scripted, script: scripts/demo.yaml }
  replay: { provider: recorded, cassette: cassettes/x.jsonl, mode: record, of: default }
servers:
  bank:
    command: python3
    args: [bank.py, --ledger, "${LEDGER:-ledger.jsonl}"]
    env: { LEDGER: ledger.jsonl, TOKEN: "env:BANK_TOKEN" }
    cwd: .
    start_timeout_ms: 30000
  docs: { url: "https://example.com/mcp", headers: { Authorization: "env:DOCS_TOKEN" } }
tools:
  bank__find_payment: { effect: read, timeout_ms: 5000 }
  bank__refund: { effect: idempotent, key: { argument: idempotency_key } }
  bank__pay:
    effect: write
    probe:
      tool: bank__find_payment
      arguments: { reference: "=args.reference" }
      landed: result.found
      result: result.payment
      wait_ms: 100
    undo: { tool: bank__refund, arguments: { id: "=result.id" } }
    failures:
      insufficient_funds: { retry: false, tell: "Ask for money.", matches: "not enough" }
    timeout_ms: 20000
    retry: { attempts_max: 5, backoff_ms: 100, backoff_ms_max: 1000 }
    result_bytes_max: 1024
    parallel: true
    records:
      - { kind: fact, text: "'paid as ' + result.id", when: "has(result.id)" }
budget: { turns: 50, tokens: 500000, usd: 2.50, wall: 30m, tool_calls: 200 }
workspace: workspace
shell: unconfined
store: .prusik/prusik.db
"#;

const MAIN: &str = "---
name: main
description: Pays what is due.
tools: Read, Grep, bank__p*
budget: { usd: 1 }
max_turns: 20
limits: { repeats_max: 5 }
input:
  type: object
output: schemas/answer.json
context:
  window_tokens: 48000
  reserve_tokens: 8000
  compact_at_percent: 70
  target_percent: 40
  keep_percent: 20
  ledger_bytes_max: 4000
  summary_bytes_max: 3000
  summary_model: local
  record: false
ledger:
  - constraint: Never pay an invoice twice.
  - decision: Pay by transfer.
    reason: Cards cost more.
    rejected: [cards]
    source: the treasurer
---
You pay invoices.

Pay each once.
";

const HELPER: &str = "---
model: local
budget: { usd: 0 }
tools:
  - read
  - mcp__docs__search
---
You look things up.
";

fn write(root: &Path, file: &str, text: impl AsRef<[u8]>) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Makes a project that holds no mistake.
fn project_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        "prusik.yaml",
        PROJECT.replace(":11434/v1\" }", ":11434/v1\", price: { input: 0, output: 0 } }"),
    );
    write(root, "agents/main.md", MAIN);
    write(root, "agents/helper.md", HELPER);
    write(root, "scripts/demo.yaml", "turns: [{ say: hi }]\n");
    write(root, "schemas/answer.json", r#"{"type": "object", "required": ["paid"]}"#);
    write(
        root,
        ".mcp.json",
        r#"{"mcpServers": {"old": {"type": "sse", "url": "https://x.dev/sse"},
            "bank": {"command": "other"}, "my files": {"command": "npx", "args": ["-y"], "x": 1}}}"#,
    );
    write(root, "AGENTS.md", "Amounts are in euros.\n");
    folder
}

fn load(folder: &TempDir) -> Project {
    Project::load(folder.path()).unwrap_or_else(|errors| panic!("{errors}"))
}
