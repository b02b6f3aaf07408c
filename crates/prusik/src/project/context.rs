//! How an agent's context is kept: what its file says, and what follows from its model.

use prusik_core::agent::ContextPolicy;
use prusik_core::contract::RecordTerm;
use prusik_core::ledger::{EntryKind, Note};

use super::config::{ContextConfig, EntryConfig, KindConfig, ModelConfig, RecordConfig};
use super::error::{ProjectError, suggestion};
use super::{AgentEntry, Project};
use crate::terms::{Mistake, mistaken_ledger, mistaken_policy};
use crate::window::window_tokens;

impl Project {
    /// Returns how the context of an agent is kept; none if there is no such model as it names.
    pub fn context_policy(&self, agent: &AgentEntry) -> Option<ContextPolicy> {
        let ContextConfig {
            window_tokens,
            reserve_tokens,
            compact_at_percent,
            target_percent,
            keep_percent,
            ledger_bytes_max,
            summary_bytes_max,
            summary_model,
            record,
        } = &agent.config.context;
        let alias = self.model_alias(agent);
        let window = window_tokens.or_else(|| self.window_tokens(alias))?;
        let base = ContextPolicy::of_window(window, self.model_spec(alias)?.max_tokens);
        Some(ContextPolicy {
            window_tokens: window,
            reserve_tokens: reserve_tokens.unwrap_or(base.reserve_tokens),
            compact_at_percent: compact_at_percent.unwrap_or(base.compact_at_percent),
            target_percent: target_percent.unwrap_or(base.target_percent),
            keep_percent: keep_percent.unwrap_or(base.keep_percent),
            ledger_bytes_max: ledger_bytes_max.unwrap_or(base.ledger_bytes_max),
            summary_bytes_max: summary_bytes_max.unwrap_or(base.summary_bytes_max),
            record: record.unwrap_or(base.record),
            summary_model: match summary_model {
                Some(alias) => Some(self.model_spec(alias)?),
                None => None,
            },
        })
    }

    /// Returns how much the model of this alias can take in, in tokens.
    fn window_tokens(&self, alias: &str) -> Option<u64> {
        let config = self.model(alias)?;
        let recorded = config.of.as_deref().and_then(|of| self.model(of));
        let said = |config: &ModelConfig| config.window_tokens;
        let known = || self.model_spec(alias).map(|spec| window_tokens(&spec.model));
        said(config).or_else(|| recorded.and_then(said)).or_else(known)
    }

    /// Returns what the ledger of an agent begins with.
    pub(super) fn ledger(agent: &AgentEntry) -> Vec<Note> {
        agent.config.ledger.iter().filter_map(|entry| note(entry).ok()).collect()
    }
}

/// Checks what an agent says of its context and its ledger.
pub(super) fn check(project: &Project, agent: &AgentEntry, errors: &mut Vec<ProjectError>) {
    let config = &agent.config.context;
    if let Some(alias) = &config.summary_model
        && project.model(alias).is_none()
    {
        let aliases = project.config.models.keys().map(String::as_str);
        let help = suggestion(alias, "models", aliases);
        let message = format!("there is no model `{alias}`");
        let path = ["context", "summary_model"];
        errors.push(agent.source.error(&path, message).with_help(help));
    }
    let mut is_whole = true;
    for (index, entry) in config_entries(agent) {
        if let Err((key, message)) = note(entry) {
            let path: Vec<&str> = ["ledger", &index].into_iter().chain(key).collect();
            let help = "an entry is one of goal, constraint, decision, fact, question and artefact, \
                        such as `- constraint: Never pay an invoice twice.`";
            errors.push(agent.source.error(&path, message).with_help(help));
            is_whole = false;
        }
    }
    // A model that is not there is told of elsewhere.
    let Some(policy) = project.context_policy(agent) else { return };
    for Mistake { path, message, help } in mistaken_policy(&policy) {
        let path: Vec<&str> =
            ["context"].into_iter().chain(path.iter().map(String::as_str)).collect();
        errors.push(agent.source.error(&path, message).with_help(help));
    }
    if is_whole {
        for (index, message, help) in
            mistaken_ledger(&Project::ledger(agent), policy.ledger_bytes_max)
        {
            let path = ["ledger", &index.to_string()];
            errors.push(agent.source.error(&path, message).with_help(help));
        }
    }
    if let Some(alias) = &config.summary_model
        && let Some(theirs) = project.window_tokens(alias)
        && theirs < policy.window_tokens
    {
        let message = format!(
            "the model `{alias}` takes {theirs} tokens, and what it is to summarize may have {}",
            policy.window_tokens
        );
        let help = format!(
            "choose a model that takes as much, set `context: {{ window_tokens: {theirs} }}`, or say \
             under `models` what `{alias}` takes: `window_tokens:`"
        );
        let path = ["context", "summary_model"];
        errors.push(agent.source.error(&path, message).with_help(help));
    }
}

fn config_entries(agent: &AgentEntry) -> impl Iterator<Item = (String, &EntryConfig)> {
    agent.config.ledger.iter().enumerate().map(|(index, entry)| (index.to_string(), entry))
}

/// Returns an entry as it is kept, or what is wrong with it, and at which of its keys.
fn note(config: &EntryConfig) -> Result<Note, (Option<&'static str>, String)> {
    let EntryConfig {
        goal,
        constraint,
        decision,
        fact,
        question,
        artefact,
        reason,
        rejected,
        source,
    } = config;
    let kinds = [
        (EntryKind::Goal, goal),
        (EntryKind::Constraint, constraint),
        (EntryKind::Decision, decision),
        (EntryKind::Fact, fact),
        (EntryKind::Question, question),
        (EntryKind::Artefact, artefact),
    ];
    let mut said = kinds.iter().filter_map(|(kind, text)| Some((*kind, text.as_ref()?)));
    let Some((kind, text)) = said.next() else {
        return Err((None, "the entry does not say what it is".to_owned()));
    };
    if let Some((other, _)) = said.next() {
        let message = format!("the entry is a {kind} and a {other} at once");
        return Err((Some(other.as_str()), message));
    }
    Ok(Note {
        kind,
        text: text.clone(),
        reason: reason.clone(),
        rejected: rejected.clone(),
        source: source.clone(),
    })
}

/// Returns what of a result goes into the ledger, as a contract has it.
pub(super) fn record_term(config: &RecordConfig) -> RecordTerm {
    let kind = match config.kind {
        KindConfig::Goal => EntryKind::Goal,
        KindConfig::Constraint => EntryKind::Constraint,
        KindConfig::Decision => EntryKind::Decision,
        KindConfig::Fact => EntryKind::Fact,
        KindConfig::Question => EntryKind::Question,
        KindConfig::Artefact => EntryKind::Artefact,
    };
    let when = config.when.as_ref().map(|when| when.0.clone());
    RecordTerm { kind, text: config.text.0.clone(), when }
}
