//! The neighbours: the same turns in LangGraph and DBOS, each durable after every step.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use prusik_engine::Engine;
use prusik_store::SqliteStore;
use serde_json::Value;

use super::{throughput, workload};

/// What one system made of the work.
pub struct Peer {
    pub name: &'static str,
    pub turns_per_second: f64,
    /// Bytes of its database, closed and checkpointed.
    pub stored_bytes: u64,
    pub turns: u32,
}

impl Peer {
    pub fn stored_over_payload(&self) -> f64 {
        self.stored_bytes as f64 / (f64::from(self.turns) * workload::TURN_BYTES as f64)
    }
}

const SCRIPTS: [(&str, &str); 2] = [("langgraph", "langgraph_bench.py"), ("dbos", "dbos_bench.py")];

/// Measures ours and theirs, one after the other, one run alone with so many turns.
pub fn measure(runtime: &tokio::runtime::Runtime, folder: &Path, turns: u32) -> Result<Vec<Peer>> {
    let root = crate::root();
    let python = root.join(".setup/peers/bin/python");
    if !python.exists() {
        bail!("the peers are not installed; `cargo xtask setup --peers` does that");
    }
    let ours = folder.join("peer-prusik.db");
    eprintln!("bench: {turns} turns in prusik");
    let path = ours.clone();
    let turns_per_second = super::spawned(runtime, async move {
        let engine = Engine::new(std::sync::Arc::new(SqliteStore::open(path)?));
        throughput::at_once(&engine, 1, turns, 0).await
    })?;
    let stored_bytes = std::fs::metadata(&ours)?.len();
    let mut peers = vec![Peer { name: "prusik", turns_per_second, stored_bytes, turns }];
    for (name, script) in SCRIPTS {
        eprintln!("bench: {turns} turns in {name}");
        let output = Command::new(&python)
            .arg(root.join("xtask/src/bench/peers").join(script))
            .arg(folder.join(format!("peer-{name}.db")))
            .args(
                [turns, workload::ANSWER_BYTES as u32, workload::RESULT_BYTES as u32]
                    .map(|n| n.to_string()),
            )
            .current_dir(folder)
            .output()
            .with_context(|| format!("cannot start {}", python.display()))?;
        ensure!(
            output.status.success(),
            "{script} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let printed = String::from_utf8_lossy(&output.stdout);
        let last = printed.lines().last().unwrap_or_default();
        let said: Value = serde_json::from_str(last)
            .with_context(|| format!("{script} printed {last:?} and no JSON"))?;
        let number = |key: &str| {
            said[key].as_f64().with_context(|| format!("{script} does not say `{key}`: {said}"))
        };
        peers.push(Peer {
            name,
            turns_per_second: number("turns_per_second")?,
            stored_bytes: number("stored_bytes")? as u64,
            turns,
        });
    }
    Ok(peers)
}
