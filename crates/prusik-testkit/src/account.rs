//! What a log of requests comes to: tokens, and money at a published price.

use std::io;

use prusik_core::model::{Price, Usage};
use serde::Serialize;
use serde_json::Value;

use crate::cache::anthropic::PromptCache;
use crate::cache::openai::PrefixCache;
use crate::server::log::Entry;

/// The price of Claude Sonnet 4.5, with the cache that lives for five minutes. Source: the table
/// "Model pricing" at <https://platform.claude.com/docs/en/about-claude/pricing>.
pub const SONNET_4_5: Price = Price {
    input: 3_000_000_000,
    output: 15_000_000_000,
    cache_read: 300_000_000,
    cache_write: 3_750_000_000,
};

/// What all requests of a log come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Account {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were refused or failed; they cost nothing.
    pub refused: u64,
    /// The bytes of all bodies.
    pub body_bytes: u64,
    /// All tokens that went in, cached or not.
    pub sent_tokens: u64,
    /// The tokens of the longest request.
    pub longest_tokens: u64,
    pub output_tokens: u64,
    /// Of what was sent: what no cache held, what was written to it, and what it held.
    pub fresh_tokens: u64,
    pub written_tokens: u64,
    pub read_tokens: u64,
    /// In nano-dollars, at the price that was asked for.
    pub cost_nano_usd: u64,
}

/// Adds up a log. `cached` is told of each answered request in its order, with the usage as it was
/// answered, and says what of it a cache would have held.
pub fn analyse(
    entries: impl IntoIterator<Item = io::Result<Entry>>,
    price: &Price,
    cached: &mut dyn FnMut(&Entry, Usage) -> Usage,
) -> io::Result<Account> {
    let mut account = Account::default();
    for entry in entries {
        let entry = entry?;
        account.body_bytes += entry.body.len() as u64;
        if entry.status != 200 {
            account.refused += 1;
            continue;
        }
        let usage = cached(&entry, usage(&entry.answer));
        account.requests += 1;
        account.sent_tokens += usage.input_total();
        account.longest_tokens = account.longest_tokens.max(usage.input_total());
        account.output_tokens += usage.output;
        account.fresh_tokens += usage.input;
        account.written_tokens += usage.cache_write;
        account.read_tokens += usage.cache_read;
        account.cost_nano_usd += price.cost_nano_usd(&usage);
    }
    Ok(account)
}

/// Returns what the providers' published rules make of each request of a log, as if one began every
/// `pace_ms`: how long the requests really took says more of the machine than of the work.
pub fn by_cache_rules(pace_ms: u64) -> impl FnMut(&Entry, Usage) -> Usage {
    let (mut prompts, mut prefixes) = (PromptCache::default(), PrefixCache::default());
    let mut now_ms = 0;
    move |entry, usage| {
        now_ms += pace_ms;
        let Ok(body) = serde_json::from_str::<Value>(&entry.body) else { return usage };
        let counts = if entry.path == "/v1/messages" {
            prompts.ask(&body, now_ms).ok()
        } else {
            Some(prefixes.ask(&body, now_ms))
        };
        counts.map_or(usage, |counts| Usage {
            input: counts.fresh,
            output: usage.output,
            cache_read: counts.read,
            cache_write: counts.written,
        })
    }
}

/// Returns the usage of an answer in either wire format.
fn usage(answer: &Value) -> Usage {
    let usage = &answer["usage"];
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    if usage.get("prompt_tokens").is_some() {
        let cached = count(&usage["prompt_tokens_details"]["cached_tokens"]);
        return Usage {
            input: count(&usage["prompt_tokens"]).saturating_sub(cached),
            output: count(&usage["completion_tokens"]),
            cache_read: cached,
            cache_write: 0,
        };
    }
    Usage {
        input: count(&usage["input_tokens"]),
        output: count(&usage["output_tokens"]),
        cache_read: count(&usage["cache_read_input_tokens"]),
        cache_write: count(&usage["cache_creation_input_tokens"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(status: u16, usage: &Value) -> Entry {
        Entry {
            n: 1,
            path: "/v1/messages".to_owned(),
            attempt: 1,
            body: "{}".to_owned(),
            status,
            answer: json!({"usage": usage}),
            fault: None,
        }
    }

    #[test]
    fn both_wire_formats_add_up_and_what_was_refused_costs_nothing() {
        let log = || {
            let entries = [
                entry(
                    200,
                    &json!({
                        "input_tokens": 1_000_000, "output_tokens": 10_000,
                        "cache_read_input_tokens": 2_000_000, "cache_creation_input_tokens": 100_000,
                    }),
                ),
                entry(
                    200,
                    &json!({
                        "prompt_tokens": 3_000_000, "completion_tokens": 0,
                        "prompt_tokens_details": {"cached_tokens": 1_000_000},
                    }),
                ),
                entry(400, &json!(null)),
            ];
            entries.into_iter().map(Ok)
        };
        let account = analyse(log(), &SONNET_4_5, &mut |_, usage| usage).unwrap();
        assert_eq!((account.requests, account.refused, account.body_bytes), (2, 1, 6));
        assert_eq!((account.sent_tokens, account.longest_tokens), (6_100_000, 3_100_000));
        assert_eq!(
            (account.fresh_tokens, account.written_tokens, account.read_tokens),
            (3_000_000, 100_000, 3_000_000)
        );
        // 9 for what is fresh, 0.375 written, 0.9 read, 0.15 said.
        assert_eq!(account.cost_nano_usd, 10_425_000_000);
        let none =
            &mut |_: &Entry, usage: Usage| Usage { output: usage.output, ..Usage::default() };
        assert_eq!(analyse(log(), &SONNET_4_5, none).unwrap().cost_nano_usd, 150_000_000);
    }

    #[test]
    fn caches_are_replayed_from_the_bodies() {
        let ask = |n: u64, more: &str| {
            let long = "word ".repeat(2_000);
            let body = json!({
                "model": "claude-sonnet-4-5", "max_tokens": 10,
                "cache_control": {"type": "ephemeral"},
                "messages": [{"role": "user", "content": format!("{long}{more}")}],
            });
            let usage = json!({"input_tokens": 2_500, "output_tokens": 1});
            Entry { n, body: body.to_string(), ..entry(200, &usage) }
        };
        let log = || [ask(1, ""), ask(2, ""), ask(3, "other")].map(Ok);
        let account = analyse(log(), &SONNET_4_5, &mut by_cache_rules(1_000)).unwrap();
        assert!(account.read_tokens >= 2_500, "the second is the first: {account:?}");
        assert!(account.written_tokens >= 5_000, "the third is another: {account:?}");
        let late = analyse(log(), &SONNET_4_5, &mut by_cache_rules(300_000)).unwrap();
        assert_eq!((late.read_tokens, late.requests), (0, 3), "five minutes later all is gone");
        assert_eq!(late.sent_tokens, account.sent_tokens);
    }

    #[test]
    fn a_log_that_breaks_off_is_an_error() {
        let broken = io::Error::from(io::ErrorKind::InvalidData);
        assert!(analyse([Err(broken)], &SONNET_4_5, &mut |_, usage| usage).is_err());
    }
}
