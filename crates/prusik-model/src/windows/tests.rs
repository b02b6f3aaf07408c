//! Names as people, gateways and local servers write them.

use super::*;

fn tokens(model: &str) -> Option<u64> {
    window_of(model).map(|window| window.tokens)
}

#[test]
fn names_of_a_provider_and_of_its_gateways_mean_the_same_model() {
    let opus = Some(Window { tokens: 200_000, answer_tokens_max: Some(64_000) });
    for name in [
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "claude-opus-4-5@20251101",
        "anthropic/claude-opus-4.5",
        "anthropic/claude-opus-4.5:thinking",
        "anthropic.claude-opus-4-5-20251101-v1:0",
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0",
        " Claude-Opus-4-5 ",
    ] {
        assert_eq!(window_of(name), opus, "{name}");
    }
}

#[test]
fn models_are_told_apart_to_their_version() {
    for (name, expected) in [
        ("claude-opus-4-20250514", Some(200_000)),
        ("claude-opus-4-6", Some(1_000_000)),
        ("claude-opus-5-5", Some(1_000_000)),
        ("claude-sonnet-4-5-20250929", Some(200_000)),
        ("claude-sonnet-4-6", Some(1_000_000)),
        ("claude-haiku-4-5-20251001", Some(200_000)),
        ("claude-3-5-haiku-20241022", Some(200_000)),
        ("gpt-4", Some(8_192)),
        ("gpt-4-0613", Some(8_192)),
        ("gpt-4-turbo-2024-04-09", Some(128_000)),
        ("gpt-4o-mini-2024-07-18", Some(128_000)),
        ("ft:gpt-4o-2024-08-06:org::id", Some(128_000)),
        ("gpt-4.1-nano", Some(1_047_576)),
        ("gpt-5-mini-2025-08-07", Some(400_000)),
        ("gpt-5-chat-latest", Some(128_000)),
        ("openai/gpt-5.4-mini", Some(400_000)),
        ("gpt-5.4", Some(1_050_000)),
        ("gpt-6.2-sol", Some(1_050_000)),
        ("openai.gpt-oss-120b-1:0", Some(131_072)),
        ("o3-mini", Some(200_000)),
        ("o1-mini-2024-09-12", Some(128_000)),
        ("google/gemini-2.5-flash", Some(1_048_576)),
        ("gemini-1.5-pro-002", Some(2_097_152)),
        ("gemma3:1b", Some(32_768)),
        ("gemma3:27b", Some(131_072)),
        ("meta-llama/Llama-3.3-70B-Instruct", Some(131_072)),
        ("meta.llama3-3-70b-instruct-v1:0", Some(131_072)),
        ("llama3.1:8b", Some(131_072)),
        ("llama3:8b", Some(8_192)),
        ("llama4:scout", Some(10_000_000)),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", Some(262_144)),
        ("qwen3:8b", Some(32_768)),
        ("qwen3-coder:30b", Some(262_144)),
        ("qwen3-coder-plus", Some(1_000_000)),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", Some(131_072)),
        ("mistral-small-24b-instruct-2501", Some(32_768)),
        ("mistral-large-latest", Some(262_144)),
        ("mistral-large-2411", Some(131_072)),
        ("devstral-small-2507", Some(131_072)),
        ("deepseek-v4-pro", Some(1_000_000)),
        ("deepseek/deepseek-r1:free", Some(131_072)),
    ] {
        assert_eq!(tokens(name), expected, "{name}");
    }
}

/// A later version may take in less, and a namesake may not be a chat model at all.
#[test]
fn what_is_not_in_the_table_is_unknown() {
    for name in [
        "",
        "/",
        "scripted",
        "our-own-model",
        "claude",
        "claude-opus-6",
        "claude-opus-4-9",
        "claude-opus-45",
        "gpt-5.9",
        "gpt-50",
        "gpt-5-audio-preview",
        "gpt-4o-realtime-preview",
        "gemini-2.5-flash-image",
        "gemini-4-argon",
        "o30",
        "qwen3.9-max",
        "deepseek-v4.1-flash",
        "not-gpt-4o",
    ] {
        assert_eq!(window_of(name), None, "{name}");
    }
}

#[test]
fn no_row_hides_another_and_answers_fit_into_windows() {
    let rows: Vec<&Row> = [ANTHROPIC, OPENAI, GOOGLE, OPEN].into_iter().flatten().collect();
    for (i, (start, word, tokens, answer)) in rows.iter().enumerate() {
        assert!(answer.is_none_or(|answer| answer <= *tokens), "{start}");
        let twin = rows[..i].iter().any(|(other, theirs, ..)| other == start && theirs == word);
        assert!(!twin, "{start} {word} is there twice");
        // A row is found by a name made of it.
        let name = if word.is_empty() { (*start).to_owned() } else { format!("{start}-x-{word}") };
        let found = window_of(&name).map(|window| window.tokens);
        assert_eq!(found, Some(*tokens), "{name}");
    }
}
