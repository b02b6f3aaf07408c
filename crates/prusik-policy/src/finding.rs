//! What is wrong with a policy: where it stands, what it is, and the way out.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is not what its author means: no run begins under it.
    Error,
    /// The policy holds, and may not do what its author means.
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake in a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub file: String,
    /// Counted from 1, as the column is, in characters.
    pub line: u32,
    pub column: u32,
    /// The policy that it stands in, if that far could be read.
    pub policy: Option<String>,
    /// The words that are meant; nothing where something is missing.
    pub text: String,
    pub message: String,
    /// The way out, where there is one to name.
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Returns a name as it is shown: a letter that only looks like another one must not.
pub(crate) fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    name.chars()
        .map(|c| if plain(c) { c.to_string() } else { c.escape_unicode().to_string() })
        .collect()
}

/// Returns the candidate that `word` was most likely meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
