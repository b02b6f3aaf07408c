//! Anthropic's prompt cache.
//!
//! Source: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>, as of November
//! 2026. What it leaves open is decided here, and said where it is.

mod prompt;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::Counts;
use prompt::{Kind, Prompt};

pub use prompt::block_tokens;

/// How many breakpoints a request may have.
pub const BREAKPOINTS_MAX: usize = 4;
/// How many positions are looked at from a breakpoint backwards, itself included.
const LOOKBACK_POSITIONS: usize = 20;
const FIVE_MINUTES_MS: u64 = 5 * 60 * 1_000;
const ONE_HOUR_MS: u64 = 60 * 60 * 1_000;

/// The least tokens that are cached, by the beginning of the model's name; the longest beginning
/// counts.
const LEAST_TOKENS: [(&str, u64); 20] = [
    ("claude-fable-5", 512),
    ("claude-mythos-5", 512),
    ("claude-mythos-preview", 2_048),
    ("claude-opus-5", 512),
    ("claude-opus-4-8", 1_024),
    ("claude-opus-4-7", 2_048),
    ("claude-opus-4-6", 4_096),
    ("claude-opus-4-5", 4_096),
    ("claude-opus-4-1", 1_024),
    ("claude-opus-4", 1_024),
    ("claude-sonnet-5-5", 512),
    ("claude-sonnet-5", 1_024),
    ("claude-sonnet-4", 1_024),
    ("claude-haiku-4-5", 4_096),
    ("claude-3-5-haiku", 2_048),
    ("claude-3-haiku", 2_048),
    ("claude-3-7-sonnet", 1_024),
    ("claude-3-5-sonnet", 1_024),
    ("claude-3-opus", 1_024),
    ("claude-3-sonnet", 1_024),
];
/// The least tokens of a model that the page does not name, and of one that tests make up: what
/// most have.
const LEAST_TOKENS_OF_OTHERS: u64 = 1_024;

/// How long an entry is kept without being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ttl {
    FiveMinutes,
    OneHour,
}

impl Ttl {
    fn ms(self) -> u64 {
        match self {
            Self::FiveMinutes => FIVE_MINUTES_MS,
            Self::OneHour => ONE_HOUR_MS,
        }
    }
}

/// Why a request is refused with status 400. The words are the service's where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest(pub String);

/// The cache of one workspace.
#[derive(Debug, Default)]
pub struct PromptCache {
    /// By the hash of the prefix, which begins with the model.
    entries: HashMap<u64, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    ttl: Ttl,
    used_ms: u64,
}

impl Entry {
    /// An entry used at 0 with a life of 5 minutes is there at 299,999 ms, and gone at 300,000.
    fn is_alive(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.used_ms) < self.ttl.ms()
    }
}

impl PromptCache {
    /// Takes in the next request, which starts at `now_ms`, and returns what the service would
    /// count. A request that is refused leaves no trace.
    pub fn ask(&mut self, body: &Value, now_ms: u64) -> Result<Counts, BadRequest> {
        let prompt = Prompt::of(body)?;
        let least = least_tokens(body["model"].as_str().unwrap_or_default());
        let prefixes = Prefix::all(&prompt);
        let total = prefixes.last().map_or(0, |prefix| prefix.tokens);
        let marked: Vec<(usize, Ttl)> = prompt
            .blocks
            .iter()
            .enumerate()
            .filter_map(|(i, block)| Some((i, block.breakpoint?)))
            .collect();
        // The hit from the last breakpoint backwards is the longest that there is: an earlier
        // breakpoint only opens a window of its own where the later one's has ended.
        let hit =
            marked.iter().rev().find_map(|(i, _)| self.look_back(&prompt, &prefixes, *i, now_ms));
        if let Some(entry) = hit.and_then(|i| self.entries.get_mut(&prefixes[i].hash)) {
            entry.used_ms = now_ms;
        }
        // Every breakpoint that is long enough has an entry afterwards, also one before the hit:
        // it is used, or it is put back, and neither is charged for.
        let kept = marked.iter().filter(|(i, _)| prefixes[*i].tokens >= least);
        let kept: Vec<(u64, Ttl)> = kept
            .map(|(i, ttl)| {
                let entry = Entry { ttl: *ttl, used_ms: now_ms };
                self.entries.insert(prefixes[*i].hash, entry);
                (prefixes[*i].tokens, *ttl)
            })
            .collect();
        // The three places of the page's section on mixed lives.
        let a = hit.map_or(0, |i| prefixes[i].tokens);
        let hours = kept.iter().filter(|(_, ttl)| *ttl == Ttl::OneHour).map(|(tokens, _)| *tokens);
        let b = hours.max().unwrap_or(0).max(a);
        let c = kept.iter().map(|(tokens, _)| *tokens).max().unwrap_or(0).max(b);
        Ok(Counts { read: a, written: c - a, fresh: total - c, written_for_an_hour: b - a })
    }

    /// Returns the block at which the longest living entry within the window ends.
    fn look_back(
        &self,
        prompt: &Prompt,
        prefixes: &[Prefix],
        from: usize,
        now_ms: u64,
    ) -> Option<usize> {
        let mut positions = 0;
        let mut behind: Option<Kind> = None;
        for i in (0..=from).rev() {
            let kind = prompt.blocks[i].kind;
            // A row of calls is one position, and so is a row of results.
            let same_row = kind != Kind::Other && behind == Some(kind);
            positions += usize::from(!same_row);
            behind = Some(kind);
            if positions > LOOKBACK_POSITIONS {
                return None;
            }
            let entry = self.entries.get(&prefixes[i].hash);
            if entry.is_some_and(|entry| entry.is_alive(now_ms)) {
                return Some(i);
            }
        }
        None
    }
}

/// Returns what the service would count of each of `requests`, which start at the given times.
pub fn replay<'a>(
    requests: impl IntoIterator<Item = (u64, &'a Value)>,
) -> Result<Vec<Counts>, BadRequest> {
    let mut cache = PromptCache::default();
    requests.into_iter().map(|(at_ms, body)| cache.ask(body, at_ms)).collect()
}

/// Returns how many tokens a body has, whatever is cached.
pub fn count_tokens(body: &Value) -> Result<u64, BadRequest> {
    Ok(Prompt::of(body)?.blocks.iter().map(|block| block.tokens).sum())
}

fn least_tokens(model: &str) -> u64 {
    let fitting = LEAST_TOKENS.iter().filter(|(start, _)| model.starts_with(start));
    fitting.max_by_key(|(start, _)| start.len()).map_or(LEAST_TOKENS_OF_OTHERS, |(_, least)| *least)
}

/// What comes before the end of a block, that block included.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    hash: u64,
    tokens: u64,
}

impl Prefix {
    fn all(prompt: &Prompt) -> Vec<Self> {
        let mut hasher = DefaultHasher::new();
        prompt.model.hash(&mut hasher);
        let mut level = None;
        let mut tokens = 0;
        let mut prefixes = Vec::new();
        for block in &prompt.blocks {
            // What is set for a level stands before its first block.
            if level != Some(block.level) {
                prompt.settings_of(block.level).hash(&mut hasher);
                level = Some(block.level);
            }
            block.text.hash(&mut hasher);
            tokens += block.tokens;
            prefixes.push(Self { hash: hasher.finish(), tokens });
        }
        prefixes
    }
}
