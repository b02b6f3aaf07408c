//! OpenAI's prompt cache, which needs no markers.
//!
//! Source: <https://github.com/openai/openai-cookbook/blob/main/examples/Prompt_Caching_201.ipynb>,
//! which holds for models before GPT-5.6: a prompt of 1,024 tokens or more is read from the cache as far as it
//! begins like an earlier one, in steps of 128 tokens. A prefix is kept for 5 to 10 minutes without
//! use; here it is 5. Tools and messages are the prompt, in this order. What is written costs what
//! fresh tokens cost, so it is counted as fresh.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::Counts;

/// Bytes that make a token.
const TOKEN_BYTES: usize = 4;
/// Shorter prompts are not cached.
const LEAST_TOKENS: usize = 1_024;
const STEP_TOKENS: usize = 128;
const LIFE_MS: u64 = 5 * 60 * 1_000;

/// The cache of one organization, as if one machine served it.
#[derive(Debug, Default)]
pub struct PrefixCache {
    /// When each prefix was used last, by the hash of its model and its bytes.
    used_ms: HashMap<u64, u64>,
}

impl PrefixCache {
    /// Takes in the next request, which starts at `now_ms`, and returns what the service would
    /// count.
    pub fn ask(&mut self, body: &Value, now_ms: u64) -> Counts {
        let prompt = prompt_bytes(body);
        let total = tokens(&prompt);
        let mut hasher = DefaultHasher::new();
        body["model"].as_str().hash(&mut hasher);
        let mut read = 0;
        let mut is_known = true;
        let steps = prompt.chunks_exact(STEP_TOKENS * TOKEN_BYTES).zip(1..);
        for (step, number) in steps {
            hasher.write(step);
            let tokens = number * STEP_TOKENS;
            if tokens < LEAST_TOKENS {
                continue;
            }
            let used = self.used_ms.insert(hasher.finish(), now_ms);
            is_known = is_known && used.is_some_and(|used| now_ms.saturating_sub(used) < LIFE_MS);
            if is_known {
                read = tokens as u64;
            }
        }
        Counts { read, fresh: total - read, ..Counts::default() }
    }
}

/// Returns how many tokens a prompt has: a quarter of the bytes of the JSON of its tools and of its
/// messages, one after the other, rounded down, and at least one.
pub fn prompt_tokens(body: &Value) -> u64 {
    tokens(&prompt_bytes(body))
}

fn tokens(prompt: &[u8]) -> u64 {
    (prompt.len() / TOKEN_BYTES).max(1) as u64
}

fn prompt_bytes(body: &Value) -> Vec<u8> {
    let list = |key: &str| body[key].as_array().map_or(&[][..], Vec::as_slice);
    list("tools").iter().chain(list("messages")).flat_map(|v| v.to_string().into_bytes()).collect()
}
