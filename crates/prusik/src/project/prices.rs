//! What models cost by their providers' public lists. `price:` in `prusik.yaml` overrides it.
//!
//! Sources, as of November 2026:
//! - Anthropic: <https://platform.claude.com/docs/en/about-claude/pricing>; cache writes are those
//!   of five minutes. Where a price grows with the prompt the higher one stands here, so that a
//!   ceiling binds.
//! - OpenAI: <https://developers.openai.com/api/docs/pricing>, standard tier, short context. It
//!   charges more for very long prompts of some models; whoever sends those sets `price:`. Where
//!   the list names no price for cache writes, that of input stands here.

use prusik_core::model::Price;

/// USD for a million tokens, as the lists give it: input, output, cache read, cache write.
type Row = (&'static str, f64, f64, f64, f64);

const ANTHROPIC: &[Row] = &[
    ("claude-fable-5-1", 10.0, 50.0, 0.25, 12.5),
    ("claude-fable-5", 10.0, 50.0, 1.0, 12.5),
    ("claude-opus-5-5", 4.0, 20.0, 0.2, 5.0),
    ("claude-opus-5", 5.0, 25.0, 0.5, 6.25),
    ("claude-opus-4-8", 5.0, 25.0, 0.5, 6.25),
    ("claude-opus-4-7", 5.0, 25.0, 0.5, 6.25),
    ("claude-opus-4-6", 5.0, 25.0, 0.5, 6.25),
    ("claude-opus-4-5", 5.0, 25.0, 0.5, 6.25),
    ("claude-opus-4-1", 15.0, 75.0, 1.5, 18.75),
    ("claude-opus-4", 15.0, 75.0, 1.5, 18.75),
    ("claude-sonnet-5-5", 2.0, 10.0, 0.1, 2.5),
    ("claude-sonnet-5", 2.0, 10.0, 0.2, 2.5),
    ("claude-sonnet-4-6", 3.0, 15.0, 0.3, 3.75),
    ("claude-sonnet-4-5", 3.0, 15.0, 0.3, 3.75),
    ("claude-sonnet-4", 3.0, 15.0, 0.3, 3.75),
    ("claude-3-7-sonnet", 3.0, 15.0, 0.3, 3.75),
    ("claude-haiku-5-5", 0.5, 2.5, 0.05, 0.625),
    ("claude-haiku-4-5", 1.0, 5.0, 0.1, 1.25),
    ("claude-3-5-haiku", 0.8, 4.0, 0.08, 1.0),
];

const OPENAI: &[Row] = &[
    ("gpt-6-astra", 10.0, 50.0, 1.0, 12.5),
    ("gpt-6.1-sol", 2.0, 10.0, 0.1, 2.5),
    ("gpt-6-sol", 2.0, 10.0, 0.2, 2.5),
    ("gpt-6-luna", 0.1, 0.5, 0.01, 0.125),
    ("gpt-5.6-sol", 4.0, 20.0, 0.4, 4.0),
    ("gpt-5.6-terra", 2.0, 12.0, 0.2, 2.0),
    ("gpt-5.6-luna", 0.2, 1.2, 0.02, 0.2),
    ("gpt-5.5", 5.0, 30.0, 0.5, 5.0),
    ("gpt-5.4", 2.5, 15.0, 0.25, 2.5),
    ("gpt-5.4-mini", 0.75, 4.5, 0.075, 0.75),
    ("gpt-5.2", 1.75, 14.0, 0.175, 1.75),
    ("gpt-5.1", 1.25, 10.0, 0.125, 1.25),
    ("gpt-5", 1.25, 10.0, 0.125, 1.25),
    ("gpt-5-mini", 0.25, 2.0, 0.025, 0.25),
    ("gpt-5-nano", 0.05, 0.4, 0.005, 0.05),
    ("gpt-4.1", 2.0, 8.0, 0.5, 2.0),
    ("gpt-4.1-mini", 0.4, 1.6, 0.1, 0.4),
    ("gpt-4.1-nano", 0.1, 0.4, 0.025, 0.1),
    ("gpt-4o", 2.5, 10.0, 1.25, 2.5),
    ("gpt-4o-mini", 0.15, 0.6, 0.075, 0.15),
    ("o4-mini", 1.1, 4.4, 0.275, 1.1),
];

/// Returns what Anthropic charges for `model`, whatever its snapshot.
pub fn anthropic(model: &str) -> Option<Price> {
    find(ANTHROPIC, model)
}

/// Returns what OpenAI charges for `model`, whatever its snapshot.
pub fn openai(model: &str) -> Option<Price> {
    find(OPENAI, model)
}

fn find(table: &[Row], model: &str) -> Option<Price> {
    let name = without_snapshot(model);
    let row = table.iter().find(|row| row.0 == name)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the table holds small positive numbers"
    )]
    let nano = |usd: f64| (usd * 1e9).round() as u64;
    Some(Price {
        input: nano(row.1),
        output: nano(row.2),
        cache_read: nano(row.3),
        cache_write: nano(row.4),
    })
}

/// Drops `-latest`, `-20250929` or `-2025-08-07` from the end of a model's name.
fn without_snapshot(model: &str) -> &str {
    if let Some(name) = model.strip_suffix("-latest").or_else(|| model.strip_suffix("-0")) {
        return name;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = model.rsplitn(4, '-').collect();
    match parts.as_slice() {
        [date, ..] if date.len() == 8 && digits(date) => &model[..model.len() - 9],
        [day, month, year, _]
            if day.len() == 2
                && month.len() == 2
                && year.len() == 4
                && [day, month, year].iter().all(|part| digits(part)) =>
        {
            &model[..model.len() - 11]
        }
        _ => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_costs_what_its_model_costs() {
        let price = anthropic("claude-sonnet-4-5").unwrap();
        assert_eq!((price.input, price.output), (3_000_000_000, 15_000_000_000));
        assert_eq!((price.cache_read, price.cache_write), (300_000_000, 3_750_000_000));
        assert_eq!(anthropic("claude-sonnet-4-5-20250929"), Some(price));
        assert_eq!(anthropic("claude-sonnet-4-0"), anthropic("claude-sonnet-4-20250514"));
        assert_eq!(openai("gpt-4o-2024-08-06"), openai("gpt-4o"));
        assert_ne!(openai("gpt-4o-mini"), openai("gpt-4o"));
        assert_eq!(openai("gpt-4o-audio"), None);
        assert_eq!(openai("-20250929"), None);
        assert_eq!(openai("é-2024-08-06"), None);
    }

    #[test]
    fn the_tables_are_plausible() {
        for (name, input, output, read, write) in ANTHROPIC.iter().chain(OPENAI) {
            assert!(read < input && input <= write && write < output, "{name}");
        }
    }
}
