//! Each rule of the page, with figures worked out by hand.

use serde_json::{Value, json};

use super::*;

const MODEL: &str = "claude-opus-4-8";

/// A text of so many tokens; `tag`, one character, makes it differ from others.
fn text(tokens: usize, tag: char) -> Value {
    json!({"type": "text", "text": tag.to_string().repeat(tokens * 4)})
}

fn marked(mut block: Value) -> Value {
    block["cache_control"] = json!({"type": "ephemeral"});
    block
}

fn marked_for_an_hour(mut block: Value) -> Value {
    block["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"});
    block
}

/// A tool of so many tokens. Its JSON has 62 bytes without the description.
fn tool(tokens: usize) -> Value {
    let description = "d".repeat(tokens * 4 - 62);
    json!({"name": "a", "description": description, "input_schema": {"type": "object"}})
}

fn user(blocks: &[Value]) -> Value {
    json!({"role": "user", "content": blocks})
}

fn body(system: &[Value], messages: &[Value]) -> Value {
    json!({"model": MODEL, "max_tokens": 9, "system": system, "messages": messages})
}

/// A message of so many blocks of 100 tokens each, of which the given ones are marked (counted
/// from 1).
fn blocks(count: usize, breakpoints: &[usize]) -> Value {
    let block = |n: usize| {
        let plain = json!({"type": "text", "text": format!("{n:0400}")});
        if breakpoints.contains(&n) { marked(plain) } else { plain }
    };
    body(&[], &[user(&(1..=count).map(block).collect::<Vec<_>>())])
}

fn counts(read: u64, written: u64, fresh: u64) -> Counts {
    Counts { read, written, fresh, written_for_an_hour: 0 }
}

#[test]
fn tokens_of_blocks_are_a_quarter_of_their_bytes() {
    assert_eq!(block_tokens(&text(25, 'a')), 25);
    assert_eq!(block_tokens(&json!({"type": "text", "text": "1234567"})), 1);
    assert_eq!(block_tokens(&json!({"type": "text", "text": "a"})), 1);
    // Of 51 and of 56 bytes.
    let call = json!({"type": "tool_use", "id": "c0", "name": "a", "input": {}});
    assert_eq!(block_tokens(&call), 12);
    let result = json!({"type": "tool_result", "tool_use_id": "c0", "content": "ok"});
    assert_eq!(block_tokens(&result), 14);
    assert_eq!(block_tokens(&marked(result)), 14, "a marker is not part of it");
    let mut whole = body(&[text(700, 's')], &[user(&[text(50, 'u')])]);
    whole["tools"] = json!([tool(400)]);
    assert_eq!(count_tokens(&whole).unwrap(), 1_150);
}

#[test]
fn a_breakpoint_covers_tools_system_and_messages_in_this_order() {
    let ask = |message: char| {
        let mut body = body(&[marked(text(700, 's'))], &[user(&[text(50, message)])]);
        body["tools"] = json!([tool(400)]);
        body
    };
    let (one, two) = (ask('a'), ask('b'));
    let seen = replay([(0, &one), (1, &two)]).unwrap();
    assert_eq!(seen, [counts(0, 1_100, 50), counts(1_100, 0, 50)]);
}

/// The page's own example: 10 blocks, then 15, then 35.
#[test]
fn the_lookback_is_20_blocks_from_each_breakpoint() {
    let (ten, fifteen) = (blocks(10, &[10]), blocks(15, &[15]));
    let far = blocks(35, &[35]);
    let mut cache = PromptCache::default();
    // The 10 blocks alone would be below the least length.
    assert_eq!(cache.ask(&ten, 0).unwrap(), counts(0, 0, 1_000));
    let mut cache = PromptCache::default();
    let eleven = blocks(11, &[11]);
    assert_eq!(cache.ask(&eleven, 0).unwrap(), counts(0, 1_100, 0));
    assert_eq!(cache.ask(&fifteen, 1).unwrap(), counts(1_100, 400, 0));
    // Blocks 35 to 16 are looked at; the entry at 15 is one position outside.
    let mut without = PromptCache { entries: cache.entries.clone() };
    assert_eq!(without.ask(&far, 2).unwrap(), counts(0, 3_500, 0));
    // A second breakpoint opens a second window.
    let twice = blocks(35, &[15, 35]);
    assert_eq!(cache.ask(&twice, 2).unwrap(), counts(1_500, 2_000, 0));
    // And 34 blocks back to 15 are just 20 positions.
    let mut cache = PromptCache::default();
    cache.ask(&fifteen, 0).unwrap();
    assert_eq!(cache.ask(&blocks(34, &[34]), 1).unwrap(), counts(1_500, 1_900, 0));
}

#[test]
fn a_row_of_calls_or_of_results_is_one_position() {
    let call =
        |n: usize| json!({"type": "tool_use", "id": format!("c{n}"), "name": "a", "input": {}});
    let result =
        |n: usize| json!({"type": "tool_result", "tool_use_id": format!("c{n}"), "content": "ok"});
    let first = user(&[marked(text(2_000, 'u'))]);
    let calls: Vec<Value> = (0..40).map(call).collect();
    let mut results: Vec<Value> = (0..40).map(result).collect();
    let last = results.pop().unwrap();
    results.push(marked(last));
    let answer = json!({"role": "assistant", "content": calls});
    let one = body(&[], std::slice::from_ref(&first));
    let unmarked = user(&[text(2_000, 'u')]);
    let two = body(&[], &[unmarked.clone(), answer.clone(), user(&results)]);
    let seen = replay([(0, &one), (1, &two)]).unwrap();
    assert_eq!(seen[0], counts(0, 2_000, 0));
    // 51 bytes a call and 56 a result, one more for each from the tenth on.
    assert_eq!(seen[1], counts(2_000, 10 * 12 + 30 * 13 + 40 * 14, 0));

    // Texts between the calls make a position of each.
    let mut mixed = Vec::new();
    for n in 0..11 {
        mixed.extend([call(n), text(1, 't')]);
    }
    let answer = json!({"role": "assistant", "content": mixed});
    let results: Vec<Value> = (0..10).map(result).chain([marked(result(10))]).collect();
    let three = body(&[], &[unmarked, answer, user(&results)]);
    assert_eq!(replay([(0, &one), (1, &three)]).unwrap()[1].read, 0);
}

#[test]
fn what_is_shorter_than_the_least_length_of_the_model_is_not_cached() {
    for (model, least) in [
        ("claude-opus-5-5", 512),
        ("claude-opus-4-8", 1_024),
        ("claude-sonnet-4-5-20250929", 1_024),
        ("claude-opus-4-7", 2_048),
        ("claude-haiku-4-5", 4_096),
        ("made-up", 1_024),
    ] {
        for (tokens, is_cached) in [(least - 1, false), (least, true)] {
            let mut asked = body(&[marked(text(tokens, 's'))], &[user(&[text(5, 'u')])]);
            asked["model"] = json!(model);
            let seen = replay([(0, &asked), (1, &asked)]).unwrap();
            let tokens = tokens as u64;
            let expected = if is_cached {
                [counts(0, tokens, 5), counts(tokens, 0, 5)]
            } else {
                [counts(0, 0, tokens + 5), counts(0, 0, tokens + 5)]
            };
            assert_eq!(seen, expected, "{model} with {tokens}");
        }
    }
}

#[test]
fn an_entry_lives_five_minutes_from_the_start_of_its_last_use() {
    let asked = body(&[marked(text(2_000, 's'))], &[user(&[text(5, 'u')])]);
    let minute = 60 * 1_000;
    let times = [0, 4 * minute, 8 * minute, 13 * minute - 1, 18 * minute - 1];
    let seen = replay(times.map(|at| (at, &asked))).unwrap();
    let (hit, miss) = (counts(2_000, 0, 5), counts(0, 2_000, 5));
    assert_eq!(seen, [miss, hit, hit, hit, miss]);
}

#[test]
fn an_entry_for_an_hour_lives_an_hour() {
    let asked = body(&[marked_for_an_hour(text(2_000, 's'))], &[user(&[text(5, 'u')])]);
    let minute = 60 * 1_000;
    let times = [0, 59 * minute, 118 * minute, 178 * minute];
    let seen = replay(times.map(|at| (at, &asked))).unwrap();
    let written = Counts { written_for_an_hour: 2_000, ..counts(0, 2_000, 5) };
    assert_eq!(seen, [written, counts(2_000, 0, 5), counts(2_000, 0, 5), written]);
}

/// The section on mixed lives: A is the hit, B the last breakpoint for an hour, C the last at all.
#[test]
fn lives_may_be_mixed_the_longer_first() {
    let asked = |more: &[Value]| {
        let system = [marked_for_an_hour(text(1_500, 's'))];
        body(&system, &[user(&[&[marked(text(300, 'a'))], more].concat())])
    };
    let first = asked(&[]);
    let then = asked(&[marked(text(200, 'b')), text(10, 'c')]);
    let seen = replay([(0, &first), (1, &then)]).unwrap();
    assert_eq!(seen[0], Counts { written_for_an_hour: 1_500, ..counts(0, 1_800, 0) });
    assert_eq!(seen[1], counts(1_800, 200, 10));
    // After ten minutes only the hour's entry is left.
    let late = replay([(0, &first), (10 * 60 * 1_000, &first)]).unwrap();
    assert_eq!(late[1], counts(1_500, 300, 0));
    let wrong = body(&[marked(text(9, 's'))], &[user(&[marked_for_an_hour(text(9, 'u'))])]);
    assert!(replay([(0, &wrong)]).unwrap_err().0.contains("must not come after"));
}

#[test]
fn four_breakpoints_are_taken_and_five_are_not() {
    let with = |count: usize| blocks(20, &(1..=count).collect::<Vec<_>>());
    assert!(replay([(0, &with(4))]).is_ok());
    let refused = replay([(0, &with(5))]).unwrap_err();
    assert_eq!(refused.0, "A maximum of 4 blocks with cache_control may be provided. Found 5.");
    // Nothing of it is cached.
    let mut cache = PromptCache::default();
    cache.ask(&with(5), 0).unwrap_err();
    assert!(cache.entries.is_empty());
}

#[test]
fn a_marker_at_the_top_marks_the_last_block_and_takes_one_of_the_four() {
    let mut asked = blocks(15, &[12]);
    asked["cache_control"] = json!({"type": "ephemeral"});
    let seen = replay([(0, &asked), (1, &asked)]).unwrap();
    assert_eq!(seen, [counts(0, 1_500, 0), counts(1_500, 0, 0)]);
    let mut full = blocks(15, &[1, 2, 3, 4]);
    full["cache_control"] = json!({"type": "ephemeral"});
    assert!(replay([(0, &full)]).unwrap_err().0.contains("Found 5"));
    let mut same = blocks(15, &[1, 2, 3, 15]);
    same["cache_control"] = json!({"type": "ephemeral"});
    assert_eq!(replay([(0, &same)]).unwrap(), [counts(0, 1_500, 0)]);
    same["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"});
    assert!(replay([(0, &same)]).unwrap_err().0.contains("another ttl"));
    // A thought at the end cannot be marked: the block before it is.
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let said = json!({"role": "assistant", "content": [text(2_000, 'a'), thought]});
    let mut ends = body(&[], &[said]);
    ends["cache_control"] = json!({"type": "ephemeral"});
    assert_eq!(replay([(0, &ends)]).unwrap(), [counts(0, 2_000, block_tokens(&thought))]);
}

#[test]
fn thoughts_empty_texts_and_unknown_markers_are_refused() {
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let odd = json!({"type": "text", "text": "x", "cache_control": {"type": "eternal"}});
    let long =
        json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1d"}});
    for block in [marked(thought), marked(json!({"type": "text", "text": ""})), odd, long] {
        let refused = body(&[], &[user(std::slice::from_ref(&block))]);
        assert!(replay([(0, &refused)]).is_err(), "{block}");
    }
}

/// The page's "common mistake": what was never the end of a marked prefix is not found, however
/// stable it is.
#[test]
fn only_what_was_written_is_found() {
    let asked = |time: char| body(&[text(2_000, 's')], &[user(&[marked(text(10, time))])]);
    let (one, two) = (asked('1'), asked('2'));
    let seen = replay([(0, &one), (1, &two)]).unwrap();
    assert_eq!(seen, [counts(0, 2_010, 0), counts(0, 2_010, 0)]);
}

/// What is marked before the hit is in use, too, or is put back, and is not charged for.
#[test]
fn breakpoints_before_the_hit_are_kept_alive() {
    let minute = 60 * 1_000;
    let asked = |marks: &[usize]| blocks(30, marks);
    let (both, late, early) = (asked(&[11, 30]), asked(&[30]), blocks(11, &[11]));
    let mut cache = PromptCache::default();
    assert_eq!(cache.ask(&both, 0).unwrap(), counts(0, 3_000, 0));
    assert_eq!(cache.ask(&both, 4 * minute).unwrap(), counts(3_000, 0, 0));
    assert_eq!(cache.ask(&early, 8 * minute).unwrap(), counts(1_100, 0, 0));
    // Without its marker it dies, and the next request that marks it puts it back.
    let mut cache = PromptCache::default();
    cache.ask(&both, 0).unwrap();
    cache.ask(&late, 4 * minute).unwrap();
    let mut cold = PromptCache { entries: cache.entries.clone() };
    assert_eq!(cold.ask(&early, 8 * minute).unwrap(), counts(0, 1_100, 0));
    assert_eq!(cache.ask(&both, 8 * minute).unwrap(), counts(3_000, 0, 0));
    assert_eq!(cache.ask(&early, 9 * minute).unwrap(), counts(1_100, 0, 0));
}

/// A prompt with a breakpoint for each level: tools 2,000, system 1,000, message 500 tokens.
fn layered() -> Value {
    let mut asked = body(&[marked(text(1_000, 's'))], &[user(&[marked(text(500, 'u'))])]);
    asked["tools"] = json!([marked(tool(2_000))]);
    asked
}

#[test]
fn what_changes_invalidates_its_level_and_what_is_built_on_it() {
    let (all, tools, system) = (3_500, 2_000, 3_000);
    let cases: [(&str, &str, Value, u64); 14] = [
        ("nothing", "/max_tokens", json!(10), all),
        ("the temperature", "/temperature", json!(0.5), all),
        ("the model", "/model", json!("claude-opus-4-1"), 0),
        ("a tool", "/tools/0/description", json!("d".repeat(7_939)), 0),
        ("the system prompt", "/system/0/text", json!("t".repeat(4_000)), tools),
        ("the speed", "/speed", json!("fast"), tools),
        ("the choice of tools", "/tool_choice", json!({"type": "any"}), system),
        ("thinking", "/thinking", json!({"type": "enabled", "budget_tokens": 2_000}), system),
        ("the effort", "/output_config", json!({"effort": "low"}), system),
        ("a message", "/messages/0/content/0/text", json!("v".repeat(2_000)), system),
        ("who says it", "/messages/0/role", json!("assistant"), system),
        ("a marker's place", "/system/0/cache_control", Value::Null, all),
        ("whether it streams", "/stream", json!(true), all),
        ("who asks", "/metadata", json!({"user_id": "u"}), all),
    ];
    for (what, at, value, read) in cases {
        let before = layered();
        let mut after = layered();
        let (parent, key) = at.rsplit_once('/').unwrap();
        after.pointer_mut(parent).unwrap()[key] = value;
        let seen = replay([(0, &before), (1, &after)]).unwrap();
        assert_eq!(seen[0], counts(0, 3_500, 0));
        assert_eq!(seen[1].read, read, "{what}");
        assert_eq!(seen[1].total(), 3_500, "{what}");
    }
}

#[test]
fn images_searches_and_citations_invalidate_what_the_page_says() {
    let before = layered();
    let image = json!({"type": "image", "source":
        {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let mut seen_image = layered();
    seen_image["messages"][0]["content"].as_array_mut().unwrap().push(image);
    assert_eq!(replay([(0, &before), (1, &seen_image)]).unwrap()[1].read, 3_000);
    let mut searching = layered();
    let search = json!({"type": "web_search_20250305", "name": "web_search"});
    searching["tools"].as_array_mut().unwrap().push(search);
    assert_eq!(replay([(0, &before), (1, &searching)]).unwrap()[1].read, 2_000);
    let document = json!({"type": "document", "citations": {"enabled": true}, "source": {}});
    let mut citing = layered();
    citing["messages"][0]["content"].as_array_mut().unwrap().push(document);
    assert_eq!(replay([(0, &before), (1, &citing)]).unwrap()[1].read, 2_000);
}

#[test]
fn content_is_compared_to_the_byte() {
    let asked = |input: &str| {
        let input: Value = serde_json::from_str(input).unwrap();
        let call = json!({"type": "tool_use", "id": "c", "name": "a", "input": input});
        let answer = json!({"role": "assistant", "content": [call]});
        let result = json!({"type": "tool_result", "tool_use_id": "c", "content": "ok"});
        body(&[], &[user(&[text(2_000, 'u')]), answer, user(&[marked(result)])])
    };
    let one = asked(r#"{"a": 1, "b": 2, "cache_control": 3}"#);
    assert!(replay([(0, &one), (1, &one)]).unwrap()[1].read > 2_000);
    for other in [
        r#"{"b": 2, "a": 1, "cache_control": 3}"#,
        r#"{"a": 1, "b": 2, "cache_control": 4}"#,
        r#"{"a": 1.0, "b": 2, "cache_control": 3}"#,
    ] {
        assert_eq!(replay([(0, &one), (1, &asked(other))]).unwrap()[1].read, 0, "{other}");
    }
}

#[test]
fn a_string_is_the_same_as_one_text() {
    let blocks = body(&[marked(text(2_000, 's'))], &[user(&[text(5, 'u')])]);
    let mut strings = blocks.clone();
    strings["messages"][0]["content"] = json!("u".repeat(20));
    strings["system"] = json!("s".repeat(8_000));
    strings["cache_control"] = json!({"type": "ephemeral"});
    let seen = replay([(0, &blocks), (1, &strings)]).unwrap();
    assert_eq!(seen[1], counts(2_000, 5, 0));
}

/// Older models forget their thoughts when the user says anything but a result; then all that
/// follows the first thought is another prompt.
#[test]
fn thoughts_that_are_stripped_take_what_follows_them_out_of_the_cache() {
    let thought = json!({"type": "thinking", "thinking": "t".repeat(400), "signature": "s"});
    let call = json!({"type": "tool_use", "id": "c", "name": "a", "input": {}});
    let answer = json!({"role": "assistant", "content": [thought, call]});
    let result = json!({"type": "tool_result", "tool_use_id": "c", "content": "ok"});
    let asks = [user(&[marked(text(2_000, 'u'))])];
    let goes_on = [user(&[text(2_000, 'u')]), answer.clone(), user(&[marked(result.clone())])];
    let says = json!({"role": "assistant", "content": [text(10, 'a')]});
    let more = [
        user(&[text(2_000, 'u')]),
        answer,
        user(&[marked(result)]),
        says,
        user(&[marked(text(7, 'v'))]),
    ];
    let read = |model: &str| {
        let bodies = [&asks[..], &goes_on, &more].map(|messages| {
            let mut body = body(&[], messages);
            body["model"] = json!(model);
            body["thinking"] = json!({"type": "enabled", "budget_tokens": 1_024});
            body
        });
        let times = bodies.iter().zip(0..).map(|(body, at)| (at, body));
        replay(times).unwrap().iter().map(|counts| counts.read).collect::<Vec<_>>()
    };
    // The thought has 449 bytes of JSON, the call 50, and the result 55.
    assert_eq!(read("claude-opus-4-8"), [0, 2_000, 2_000 + 112 + 12 + 13]);
    assert_eq!(read("claude-sonnet-4-5"), [0, 2_000, 2_000]);
}

proptest::proptest! {
    /// Whatever comes in, the counts add up, and asking again at once reads what was written.
    #[test]
    fn counts_add_up(
        sizes in proptest::collection::vec(1usize..400, 1..40),
        marks in proptest::collection::vec(0usize..40, 0..5),
    ) {
        let blocks: Vec<Value> = sizes
            .iter()
            .enumerate()
            .map(|(i, size)| {
                let block = json!({"type": "text", "text": format!("{i}{}", "x".repeat(*size * 4))});
                if marks.contains(&i) { marked(block) } else { block }
            })
            .collect();
        let asked = body(&[], &[user(&blocks)]);
        let total = count_tokens(&asked);
        match replay([(0, &asked), (1, &asked)]) {
            Ok(seen) => {
                proptest::prop_assert_eq!(seen[0].total(), total.unwrap());
                proptest::prop_assert_eq!(seen[1].total(), seen[0].total());
                proptest::prop_assert_eq!(seen[0].read, 0);
                proptest::prop_assert_eq!(seen[1].read, seen[0].written);
            }
            Err(_) => proptest::prop_assert!(asked.to_string().matches("ephemeral").count() > 4),
        }
    }
}
