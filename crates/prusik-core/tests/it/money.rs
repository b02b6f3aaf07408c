//! What a run's tokens were made of, and what the caches have saved.

use prusik_core::budget::{Budget, Spent};
use prusik_core::model::{Price, Usage};
use serde_json::json;

use crate::agents;
use crate::story::{Story, asks, returned, says};

/// $3 for a million tokens, a tenth to read them from the cache, a quarter more to write them.
const PRICE: Price = Price {
    input: 3_000_000_000,
    output: 15_000_000_000,
    cache_read: 300_000_000,
    cache_write: 3_750_000_000,
};

#[test]
fn reading_a_cache_saves_and_writing_it_costs() {
    let usage = |cache_read, cache_write| Usage { input: 7, output: 9, cache_read, cache_write };
    for (read, written, saved) in [
        (0, 0, 0),
        // 2.7 dollars less a million.
        (1_000_000, 0, 2_700_000_000),
        (1, 0, 2_700),
        // 0.75 dollars more a million.
        (0, 1_000_000, -750_000_000),
        (0, 1, -750),
        // The second use has paid for the first.
        (1_000, 1_000, 1_950_000),
        (u64::MAX, 0, i64::MAX),
        (0, u64::MAX, i64::MIN),
    ] {
        assert_eq!(PRICE.saved_nano_usd(&usage(read, written)), saved, "{read} {written}");
    }
    let cheap = Price { input: 0, output: 0, cache_read: 1, cache_write: 0 };
    assert_eq!(cheap.saved_nano_usd(&usage(1, 0)), -1, "part of a nano-dollar is rounded down");
}

#[test]
fn a_run_knows_what_its_tokens_were_made_of() {
    let mut first = asks([("look", json!({}))]);
    first.usage = Usage { input: 10, output: 20, cache_read: 0, cache_write: 2_000 };
    let mut second = says("Done.");
    second.usage = Usage { input: 50, output: 5, cache_read: 2_000, cache_write: 40 };
    let mut story = Story::of(agents::agent(), Budget::default());
    story.answers(first).replies("1.1", returned(json!("seen"))).answers(second);
    let spent = story.state().spent;
    assert_eq!(spent.tokens, 4_125);
    assert_eq!((spent.input_fresh, spent.output), (60, 25));
    assert_eq!((spent.cache_read, spent.cache_write), (2_000, 2_040));
    assert_eq!(spent.input_total() + spent.output, spent.tokens);
    assert_eq!(spent.cache_read_percent(), Some(48));
    // 2,000 × 0.9 dollars less and 2,040 × 0.25 dollars more, for a million.
    assert_eq!(spent.saved_nano_usd, 1_800_000 - 510_000);
}

/// States and rows that were written before these counts existed are read.
#[test]
fn what_was_spent_before_it_was_told_apart_is_read() {
    let old = json!({"turns": 1, "tokens": 2, "nano_usd": 3, "wall_ms": 4, "tool_calls": 5});
    let spent: Spent = serde_json::from_value(old).unwrap();
    assert_eq!((spent.tokens, spent.input_total(), spent.saved_nano_usd), (2, 0, 0));
    assert_eq!(spent.cache_read_percent(), None);
}
