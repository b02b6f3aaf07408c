//! How much a model can take in, where nobody says it.

use prusik_model::window_of;

/// What is taken for the window of a model of which nothing is known, in tokens.
const UNKNOWN_TOKENS: u64 = 128_000;
/// The least that models of Anthropic take, in tokens.
const ANTHROPIC_TOKENS: u64 = 200_000;

/// Returns what the model of this name can take in, prompt and answer together, in tokens.
pub(crate) fn window_tokens(model: &str) -> u64 {
    let unknown = if model.contains("claude") { ANTHROPIC_TOKENS } else { UNKNOWN_TOKENS };
    window_of(model).map_or(unknown, |window| window.tokens)
}
