//! What can go wrong with a summary.

use std::str::FromStr;

use prusik_core::model::ModelErrorKind;

/// How a summarizer fails. Each is something that models and providers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It says nothing.
    Empty,
    /// It says more than anybody wants, without regard to the cap.
    TooLong,
    /// It is cut at the token limit, in the middle of the document.
    Truncated,
    /// It chats instead of writing the document.
    Prose,
    /// It names a result that there never was.
    InventsHandles,
    /// It goes on working instead of summing up.
    CallsTool,
    /// It hands on what a hostile result told it to do.
    CopiesInstruction,
    /// It leaves out what it knows from an earlier summary alone.
    Forgets,
    /// It refuses.
    Refuses,
    /// The call fails.
    Fails(ModelErrorKind),
}

/// Whether a faulty summarizer does better when it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Correction {
    #[default]
    Never,
    WhenAskedAgain,
}

/// Says that a word names no fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseFaultError {
    word: String,
}

impl std::fmt::Display for ParseFaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        write!(f, "{:?} is not one of {}", self.word, words.join(", "))
    }
}

impl std::error::Error for ParseFaultError {}

/// Every fault, by the word that names it on a command line.
pub(super) const WORDS: [(&str, Fault); 11] = [
    ("empty", Fault::Empty),
    ("too-long", Fault::TooLong),
    ("truncated", Fault::Truncated),
    ("prose", Fault::Prose),
    ("invents-handles", Fault::InventsHandles),
    ("calls-tool", Fault::CallsTool),
    ("copies-instruction", Fault::CopiesInstruction),
    ("forgets", Fault::Forgets),
    ("refuses", Fault::Refuses),
    ("overloaded", Fault::Fails(ModelErrorKind::Overloaded)),
    ("invalid-request", Fault::Fails(ModelErrorKind::InvalidRequest)),
];

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = WORDS.iter().find(|(known, _)| *known == word);
        found.map(|(_, fault)| *fault).ok_or_else(|| ParseFaultError { word: word.to_owned() })
    }
}
