//! What is known of models by their names: how much they can take in, and from how many tokens on
//! their provider caches a prompt.
//!
//! A name may be a snapshot's (`gpt-4o-2024-08-06`), a gateway's (`anthropic/claude-opus-4.5`,
//! `us.anthropic.claude-opus-4-5-20251101-v1:0`), or a local server's (`qwen3:8b`). A version that
//! is not in the table is not taken for its predecessor: it is unknown.

#[cfg(test)]
mod tests;

/// How much a model can take in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Most tokens of prompt and answer together. A server may be set to less: local ones mostly
    /// are.
    pub tokens: u64,
    /// Most tokens of one answer, where it is known.
    pub answer_tokens_max: Option<u64>,
}

/// A line of the table: what a name begins with, what it must hold besides (mostly nothing), and
/// what such a model can take in.
type Row = (&'static str, &'static str, u64, Option<u64>);

/// Anthropic's models.
///
/// Source: the models overview, <https://platform.claude.com/docs/en/models/overview>, and the
/// page of each model beneath it; for Fable and Mythos 5.2 their page at Vercel's AI Gateway,
/// <https://vercel.com/ai-gateway/models/claude-fable-5.2>. A window of 1M is 1,000,000 by the
/// Models API (`max_input_tokens`).
const ANTHROPIC: &[Row] = &[
    ("claude-fable-5-2", "", 1_000_000, Some(128_000)),
    ("claude-mythos-5-2", "", 1_000_000, Some(128_000)),
    ("claude-fable-5-1", "", 1_000_000, Some(128_000)),
    ("claude-mythos-5-1", "", 1_000_000, Some(128_000)),
    ("claude-fable-5", "", 1_000_000, Some(128_000)),
    ("claude-mythos-5", "", 1_000_000, Some(128_000)),
    ("claude-mythos-preview", "", 1_000_000, None),
    ("claude-opus-5-5", "", 1_000_000, Some(128_000)),
    ("claude-opus-5", "", 1_000_000, Some(128_000)),
    ("claude-opus-4-8", "", 1_000_000, Some(128_000)),
    ("claude-opus-4-7", "", 1_000_000, Some(128_000)),
    ("claude-opus-4-6", "", 1_000_000, Some(128_000)),
    ("claude-opus-4-5", "", 200_000, Some(64_000)),
    ("claude-opus-4-1", "", 200_000, Some(32_000)),
    ("claude-opus-4-0", "", 200_000, Some(32_000)),
    ("claude-opus-4", "", 200_000, Some(32_000)),
    ("claude-sonnet-5-5", "", 1_000_000, Some(128_000)),
    ("claude-sonnet-5", "", 1_000_000, Some(128_000)),
    ("claude-sonnet-4-6", "", 1_000_000, Some(128_000)),
    ("claude-sonnet-4-5", "", 200_000, Some(64_000)),
    ("claude-sonnet-4-0", "", 200_000, Some(64_000)),
    ("claude-sonnet-4", "", 200_000, Some(64_000)),
    ("claude-haiku-5-5", "", 1_000_000, Some(128_000)),
    ("claude-haiku-4-5", "", 200_000, Some(64_000)),
    ("claude-3-7-sonnet", "", 200_000, Some(64_000)),
    ("claude-3-5-sonnet", "", 200_000, Some(8_192)),
    ("claude-3-5-haiku", "", 200_000, Some(8_192)),
    ("claude-3-opus", "", 200_000, Some(4_096)),
    ("claude-3-sonnet", "", 200_000, Some(4_096)),
    ("claude-3-haiku", "", 200_000, Some(4_096)),
];

/// OpenAI's models.
///
/// Source: <https://developers.openai.com/api/docs/models/compare> and the page of each model
/// beneath <https://developers.openai.com/api/docs/models>. Of the newest, prompt and answer share
/// the window: 1,050,000 are 922,000 in and 128,000 out. Of the 5.3 chat model sources differ in
/// the longest answer.
const OPENAI: &[Row] = &[
    ("gpt-6.2", "", 1_050_000, Some(128_000)),
    ("gpt-6.1", "", 1_050_000, Some(128_000)),
    ("gpt-6", "", 1_050_000, Some(128_000)),
    ("gpt-5.6", "", 1_050_000, Some(128_000)),
    ("gpt-5.5", "", 1_050_000, Some(128_000)),
    ("gpt-5.4-mini", "", 400_000, Some(128_000)),
    ("gpt-5.4-nano", "", 400_000, Some(128_000)),
    ("gpt-5.4", "", 1_050_000, Some(128_000)),
    ("gpt-5.3-codex-spark", "", 128_000, None),
    ("gpt-5.3-codex", "", 400_000, Some(128_000)),
    ("gpt-5.3-chat", "", 128_000, None),
    ("gpt-5.2-chat", "", 128_000, Some(16_384)),
    ("gpt-5.2", "", 400_000, Some(128_000)),
    ("gpt-5.1-chat", "", 128_000, Some(16_384)),
    ("gpt-5.1", "", 400_000, Some(128_000)),
    ("gpt-5-chat", "", 128_000, Some(16_384)),
    ("gpt-5", "", 400_000, Some(128_000)),
    ("gpt-4.1", "", 1_047_576, Some(32_768)),
    ("gpt-4o-2024-05-13", "", 128_000, Some(4_096)),
    ("gpt-4o", "", 128_000, Some(16_384)),
    ("chatgpt-4o", "", 128_000, Some(16_384)),
    ("gpt-4-turbo", "", 128_000, Some(4_096)),
    ("gpt-4-32k", "", 32_768, None),
    ("gpt-4-1106", "", 128_000, Some(4_096)),
    ("gpt-4-0125", "", 128_000, Some(4_096)),
    ("gpt-4", "", 8_192, Some(8_192)),
    ("gpt-3.5-turbo", "", 16_385, Some(4_096)),
    ("gpt-oss", "", 131_072, Some(131_072)),
    ("codex-mini", "", 200_000, Some(100_000)),
    ("o4-mini", "", 200_000, Some(100_000)),
    ("o3", "", 200_000, Some(100_000)),
    ("o1-mini", "", 128_000, Some(65_536)),
    ("o1-preview", "", 128_000, Some(32_768)),
    ("o1", "", 200_000, Some(100_000)),
];

/// Google's models, which speak OpenAI's protocol, too. Their windows hold the prompt; what an
/// answer takes is counted apart.
///
/// Source: the pages of the models beneath <https://ai.google.dev/gemini-api/docs/models>; of
/// Gemma the model cards at <https://huggingface.co/google>.
const GOOGLE: &[Row] = &[
    ("gemini-3.8", "", 1_048_576, Some(65_536)),
    ("gemini-3.7", "", 1_048_576, Some(65_536)),
    ("gemini-3.5", "", 1_048_576, Some(65_536)),
    ("gemini-3.1", "", 1_048_576, Some(65_536)),
    ("gemini-3", "", 1_048_576, Some(65_536)),
    ("gemini-2.5", "", 1_048_576, Some(65_536)),
    ("gemini-2.0", "", 1_048_576, Some(8_192)),
    ("gemini-1.5-pro", "", 2_097_152, Some(8_192)),
    ("gemini-1.5", "", 1_048_576, Some(8_192)),
    ("gemma-3", "1b", 32_768, None),
    ("gemma3", "1b", 32_768, None),
    ("gemma-3", "", 131_072, None),
    ("gemma3", "", 131_072, None),
];

/// Open models, whoever serves them. Where a model card has a native window and a stretched one,
/// the native one stands here: servers stretch it on demand only.
///
/// Sources: the model cards at <https://huggingface.co> under `meta-llama`, `Qwen`, `mistralai` and
/// `deepseek-ai`; for the names of their makers' own services
/// <https://www.alibabacloud.com/help/en/model-studio/models>,
/// <https://docs.mistral.ai/getting-started/models> and
/// <https://api-docs.deepseek.com/quick_start/pricing>; Qwen 3.6 and 3.7 by
/// <https://vercel.com/ai-gateway/models>. Compared with <https://models.dev>: where it has a
/// larger window for the same weights, the smaller one stands here.
const OPEN: &[Row] = &[
    ("llama-4-maverick", "", 1_000_000, None),
    ("llama4", "maverick", 1_000_000, None),
    ("llama-4-scout", "", 10_000_000, None),
    ("llama4", "scout", 10_000_000, None),
    ("llama-3.3", "", 131_072, None),
    ("llama-3.2", "", 131_072, None),
    ("llama-3.1", "", 131_072, None),
    ("llama3.3", "", 131_072, None),
    ("llama3.2", "", 131_072, None),
    ("llama3.1", "", 131_072, None),
    // As Bedrock writes them.
    ("llama3-3", "", 131_072, None),
    ("llama3-2", "", 131_072, None),
    ("llama3-1", "", 131_072, None),
    ("llama-3", "", 8_192, None),
    ("llama3", "", 8_192, None),
    ("qwen3.7-max", "", 991_000, None),
    ("qwen3.6-plus", "", 1_000_000, None),
    ("qwen3.5", "", 262_144, None),
    ("qwen3-coder-plus", "", 1_000_000, Some(65_536)),
    ("qwen3-coder-flash", "", 1_000_000, Some(65_536)),
    ("qwen3-coder", "", 262_144, Some(65_536)),
    ("qwen3-max", "", 262_144, Some(65_536)),
    ("qwen3-next", "", 262_144, None),
    ("qwen3-vl", "", 262_144, None),
    ("qwen3", "2507", 262_144, None),
    ("qwen3", "", 32_768, None),
    ("qwen2.5", "", 32_768, None),
    ("qwen-2.5", "", 32_768, None),
    ("qwen-plus", "", 1_000_000, Some(32_768)),
    ("qwen-flash", "", 1_000_000, Some(32_768)),
    ("qwen-turbo", "", 1_000_000, Some(16_384)),
    ("qwen-max", "", 32_768, Some(8_192)),
    ("mistral-large-2512", "", 262_144, None),
    ("mistral-large-latest", "", 262_144, None),
    ("mistral-large", "2402", 32_768, None),
    ("mistral-large", "", 131_072, None),
    ("mistral-medium-2604", "", 262_144, None),
    ("mistral-medium-3.5", "", 262_144, None),
    ("mistral-medium-3-5", "", 262_144, None),
    ("mistral-medium-latest", "", 262_144, None),
    ("mistral-medium-3.1", "", 131_072, None),
    ("mistral-medium-3", "", 131_072, None),
    ("mistral-medium", "", 131_072, None),
    ("mistral-small-2603", "", 256_000, None),
    ("mistral-small-latest", "", 256_000, None),
    ("mistral-small-2506", "", 131_072, None),
    ("mistral-small-3.2", "", 131_072, None),
    ("mistral-small-2503", "", 131_072, None),
    ("mistral-small-3.1", "", 131_072, None),
    ("mistral-small", "", 32_768, None),
    ("mistral-nemo", "", 131_072, None),
    ("open-mistral-nemo", "", 131_072, None),
    ("mistral-7b", "", 32_768, None),
    ("mistral:7b", "", 32_768, None),
    ("mixtral-8x7b", "", 32_768, None),
    ("mixtral:8x7b", "", 32_768, None),
    ("mixtral-8x22b", "", 65_536, None),
    ("mixtral:8x22b", "", 65_536, None),
    ("ministral-3", "2512", 256_000, None),
    ("ministral", "2512", 256_000, None),
    ("ministral", "latest", 256_000, None),
    ("ministral-3b", "2410", 131_072, None),
    ("ministral-8b", "2410", 131_072, None),
    ("magistral", "", 128_000, None),
    ("codestral-22b", "", 32_768, None),
    ("codestral-2501", "", 256_000, None),
    ("codestral-2508", "", 256_000, None),
    ("codestral-latest", "", 256_000, None),
    ("devstral-2512", "", 262_144, None),
    ("devstral-medium-latest", "", 262_144, None),
    ("devstral", "2512", 262_144, None),
    ("devstral", "2507", 131_072, None),
    ("devstral", "2505", 131_072, None),
    ("pixtral", "", 131_072, None),
    ("deepseek-v4", "", 1_000_000, Some(384_000)),
    ("deepseek-v3.2", "", 131_072, None),
    ("deepseek-v3.1", "", 131_072, None),
    ("deepseek-v3", "", 131_072, None),
    ("deepseek-r1", "", 131_072, None),
    ("deepseek-chat", "", 131_072, Some(8_192)),
    ("deepseek-reasoner", "", 131_072, None),
];

/// Words in the names of models that share a family's name and not its window: they make or read
/// sound and pictures, or make no text at all.
const OTHER_KINDS: [&str; 10] = [
    "audio",
    "embed",
    "embedding",
    "image",
    "live",
    "moderation",
    "ocr",
    "realtime",
    "transcribe",
    "tts",
];

/// Returns what the model of this name can take in, if it is known. `model` is the provider's name
/// for it.
pub fn window_of(model: &str) -> Option<Window> {
    let name = Name::of(model);
    if name.0.split(['-', ':', '.', '@']).any(|word| OTHER_KINDS.contains(&word)) {
        return None;
    }
    let rows = [ANTHROPIC, OPENAI, GOOGLE, OPEN].into_iter().flatten();
    let fitting = rows.filter(|(start, word, ..)| name.is_of(start) && name.0.contains(word));
    // What a row asks for besides makes it the nearer one of two that begin alike.
    let (_, _, tokens, answer_tokens_max) =
        fitting.max_by_key(|(start, word, ..)| (start.len(), word.len()))?;
    Some(Window { tokens: *tokens, answer_tokens_max: *answer_tokens_max })
}

/// A model's name as the table writes it: lower case, without what gateways put before it.
struct Name(String);

impl Name {
    fn of(model: &str) -> Self {
        let lower = model.trim().to_lowercase();
        // `vendor/model`, `accounts/x/models/model`; OpenAI calls a tuned model `ft:model:…`.
        let last = lower.rsplit('/').next().unwrap_or_default();
        let last = last.strip_prefix("ft:").unwrap_or(last);
        // Bedrock: `us.anthropic.claude-…`, `meta.llama3-3-…`.
        let vendors = ["anthropic.", "openai.", "meta.", "mistral.", "deepseek.", "qwen."];
        let bare = vendors
            .iter()
            .find_map(|vendor| last.find(vendor).map(|at| &last[at + vendor.len()..]))
            .unwrap_or(last);
        let bare = bare.strip_prefix("meta-").unwrap_or(bare);
        // Gateways write the version of a Claude with a point.
        let dotted = bare.starts_with("claude-");
        Self(if dotted { bare.replace('.', "-") } else { bare.to_owned() })
    }

    /// Returns whether the model is of the family that begins with `start`. What follows may be a
    /// date, a size or a variant, but no further number of a version: that is another model.
    fn is_of(&self, start: &str) -> bool {
        let Some(rest) = self.0.strip_prefix(start) else { return false };
        let Some(first) = rest.chars().next() else { return true };
        if first.is_alphanumeric() {
            return false;
        }
        let word = rest[first.len_utf8()..].split(['-', '.', ':', '@', '[']).next();
        !word.is_some_and(|word| {
            matches!(word.len(), 1..=2) && word.bytes().all(|byte| byte.is_ascii_digit())
        })
    }
}
