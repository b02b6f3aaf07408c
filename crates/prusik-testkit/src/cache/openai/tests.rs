//! The published rules, with figures worked out by hand.

use serde_json::{Value, json};

use super::*;

/// A body whose prompt has so many tokens. The JSON of its message has 28 bytes besides the text.
fn body(tokens: usize, tail: &str) -> Value {
    let text = format!("{}{tail}", "x".repeat(tokens * 4 - 28 - tail.len()));
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]})
}

fn ask(requests: &[(u64, &Value)]) -> Vec<(u64, u64)> {
    let mut cache = PrefixCache::default();
    let counts = requests.iter().map(|(at_ms, body)| cache.ask(body, *at_ms));
    counts.map(|counts| (counts.read, counts.fresh)).collect()
}

#[test]
fn prompts_are_read_in_steps_of_128_from_1_024_on() {
    assert_eq!(prompt_tokens(&body(1_500, "")), 1_500);
    for (tokens, read) in [(1_000, 0), (1_023, 0), (1_024, 1_024), (1_151, 1_024), (1_152, 1_152)] {
        let asked = body(tokens, "");
        let tokens = tokens as u64;
        assert_eq!(ask(&[(0, &asked), (1, &asked)]), [(0, tokens), (read, tokens - read)]);
    }
}

#[test]
fn what_begins_alike_is_read_as_far_as_it_does() {
    // The ends differ within the last 100 tokens: 1,500 − 100 is between 1,408 − 128 and 1,408.
    let (one, two) = (body(1_500, &"a".repeat(400)), body(1_500, &"b".repeat(400)));
    assert_eq!(ask(&[(0, &one), (1, &two)])[1], (1_280, 220));
    let longer = body(3_000, "");
    assert_eq!(ask(&[(0, &body(2_000, "")), (1, &longer)])[1], (1_920, 1_080));
    let mut other = one.clone();
    other["model"] = json!("gpt-4.1");
    assert_eq!(ask(&[(0, &one), (1, &other)])[1].0, 0);
    let mut tooled = one.clone();
    tooled["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
    assert_eq!(ask(&[(0, &one), (1, &tooled)])[1].0, 0, "tools come first");
}

#[test]
fn a_prefix_is_kept_for_five_minutes_without_use() {
    let asked = body(1_024, "");
    let minute = 60 * 1_000;
    let seen =
        ask(&[(0, &asked), (4 * minute, &asked), (9 * minute - 1, &asked), (14 * minute, &asked)]);
    assert_eq!(seen.iter().map(|(read, _)| *read).collect::<Vec<_>>(), [0, 1_024, 1_024, 0]);
}
