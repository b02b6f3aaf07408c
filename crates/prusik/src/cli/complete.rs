//! Completion of run ids from the store of the current project, and of rules.

use clap_complete::engine::CompletionCandidate;
use prusik_check::Rule;
use prusik_store::{Filter, SqliteStore, Store};

use super::text::one_line;
use crate::project::Project;

/// Runs that are offered at most.
const RUNS_MAX: u32 = 50;

/// Returns the newest runs with what they are about; none where there is no project.
pub fn runs() -> Vec<CompletionCandidate> {
    let Some(rows) = rows() else { return Vec::new() };
    rows.into_iter()
        .map(|row| {
            let help = format!("{} · {}", row.status, one_line(&row.task, 60));
            CompletionCandidate::new(row.run.as_str()).help(Some(help.into()))
        })
        .collect()
}

/// Returns the rules of a review with their titles.
pub fn rules() -> Vec<CompletionCandidate> {
    Rule::all()
        .map(|rule| CompletionCandidate::new(rule.id()).help(Some(rule.title().into())))
        .collect()
}

fn rows() -> Option<Vec<prusik_store::RunRow>> {
    let root = Project::find(&std::env::current_dir().ok()?).ok()?;
    let path = Project::load(&root).ok()?.store_path();
    if !path.exists() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let filter = Filter { limit: Some(RUNS_MAX), ..Filter::default() };
    runtime.block_on(async { SqliteStore::open(&path).ok()?.list(&filter).await.ok() })
}
