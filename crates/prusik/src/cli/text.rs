//! Text for a terminal: colours, amounts, and nothing that could steer the terminal itself.

use std::borrow::Cow;
use std::io::IsTerminal;

use prusik_core::budget::Spent;
use prusik_core::ids::Timestamp;

/// Colours, where the output is a terminal that wants them.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Decides by the terminal and by `NO_COLOR` (<https://no-color.org>).
    pub fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: std::io::stdout().is_terminal() && !refused }
    }

    pub fn off() -> Self {
        Self { on: false }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

/// Returns a number with what is counted: `1 call`, `2 calls`.
pub fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Returns text that came from a model, a tool or a file as it may be shown: control characters
/// and those that reorder or hide text are made visible.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if steers(char) {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

/// Returns text that came from outside as it may be shown within a line of ours: a line feed in it
/// is made visible too, so that it begins no line that could be taken for ours.
pub fn within_line(text: &str) -> Cow<'_, str> {
    match printable(text) {
        shown if shown.contains('\n') => Cow::Owned(shown.replace('\n', "\\n")),
        shown => shown,
    }
}

/// Returns text of several lines as it may be shown below the line that it begins in: no later one
/// stands where a line of ours would.
pub fn below(text: &str) -> String {
    printable(text).replace('\n', "\n  ")
}

/// Control characters but line feed and tab, and what is not seen or reorders what is.
pub(crate) fn steers(char: char) -> bool {
    !matches!(char, '\n' | '\t') && prusik_check::hides(char)
}

/// Returns `text` on one line, cut to `chars_max` characters.
pub fn one_line(text: &str, chars_max: usize) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = printable(&flat);
    if shown.chars().count() <= chars_max {
        return shown.into_owned();
    }
    let mut cut: String = shown.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Returns an amount of money: `$0.0042`.
pub fn usd(nano_usd: u64) -> String {
    let cents_hundredth = nano_usd.div_ceil(100_000);
    let (whole, rest) = (cents_hundredth / 10_000, cents_hundredth % 10_000);
    if rest % 100 == 0 {
        format!("${whole}.{:02}", rest / 100)
    } else {
        format!("${whole}.{rest:04}")
    }
}

/// Returns what a run's tokens were made of, as providers counted them; none if none did.
pub fn made_of(spent: &Spent) -> Option<String> {
    let percent = spent.cache_read_percent()?;
    let saved = match spent.saved_nano_usd {
        0 => String::new(),
        saved @ 1.. => format!(" · {} saved", usd(saved.unsigned_abs())),
        lost => format!(" · {} more than without a cache", usd(lost.unsigned_abs())),
    };
    Some(format!(
        "in: {} from the cache ({percent}%), {} written to it, {} fresh · out: {}{saved}",
        count(spent.cache_read),
        count(spent.cache_write),
        count(spent.input_fresh),
        count(spent.output),
    ))
}

/// Returns a length of time: `42 ms`, `3.1 s`, `2 min 5 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Returns a number with its thousands apart.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns an instant in the local time zone: `2026-11-23 14:05:09`.
pub fn instant(at: Timestamp) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map_or_else(
        |_| at.0.to_string(),
        |at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_at_a_glance() {
        assert_eq!(usd(0), "$0.00");
        assert_eq!(usd(1_500_000_000), "$1.50");
        assert_eq!(usd(4_200_000), "$0.0042");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(duration(3_140), "3.1 s");
        assert_eq!(duration(125_000), "2 min 5 s");
    }

    #[test]
    fn tokens_are_told_apart() {
        assert_eq!(made_of(&Spent::default()), None);
        let spent = Spent {
            input_fresh: 1_000,
            cache_read: 8_000,
            cache_write: 1_000,
            output: 70,
            ..Spent::default()
        };
        let plain = "in: 8,000 from the cache (80%), 1,000 written to it, 1,000 fresh · out: 70";
        assert_eq!(made_of(&spent).unwrap(), plain);
        let saving = Spent { saved_nano_usd: 4_200_000, ..spent };
        assert_eq!(made_of(&saving).unwrap(), format!("{plain} · $0.0042 saved"));
        let losing = Spent { saved_nano_usd: -4_200_000, ..spent };
        let dearer = format!("{plain} · $0.0042 more than without a cache");
        assert_eq!(made_of(&losing).unwrap(), dearer);
    }

    #[test]
    fn what_steers_a_terminal_is_shown_instead() {
        assert_eq!(printable("a\x1b[31mb"), "a\\u{1b}[31mb");
        assert_eq!(printable("pay \u{202e}001"), "pay \\u{202e}001");
        assert_eq!(one_line("a\n  b\u{200b}", 80), "a b\\u{200b}");
        assert_eq!(below("a\nb\x1b"), "a\n  b\\u{1b}");
        assert_eq!(within_line("a\n0 errors\r\u{202e}"), "a\\n0 errors\\u{d}\\u{202e}");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
