//! The demo: the whole promise in a minute, on a real project, with a real bank, a real kill.

pub mod bank;
mod child;
mod files;
mod ledger;
mod story;

use std::path::{Path, PathBuf};

pub use bank::BankError;
pub use ledger::LedgerError;

/// The folder that the demo makes its project in when nobody names one.
pub const DEFAULT_DIR: &str = "prusik-demo";

/// Why the demo did not come to its good end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(
        "{} is there already; the demo writes over nothing. Name a folder that is not there: \
         prusik demo DIR",
        folder.display()
    )]
    FolderExists { folder: PathBuf },
    #[error("{} could not be {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A child process did not do what the story needs.
    #[error("{problem}. The demo's project is in {}, with its logs in .prusik/logs", folder.display())]
    Broken { problem: String, folder: PathBuf },
    /// What the whole demo is about did not hold.
    #[error("the promise is broken: {}", problems.join("; "))]
    NotOnce { problems: Vec<String> },
}

impl DemoError {
    /// Returns whether nothing was begun, because the command line or the place is wrong.
    pub fn is_misuse(&self) -> bool {
        match self {
            Self::FolderExists { .. } | Self::Io { .. } => true,
            Self::Ledger(_) | Self::Broken { .. } | Self::NotOnce { .. } => false,
        }
    }
}

/// Tells the story: makes the project in `dir`, runs it, kills it in the middle of a payment,
/// resumes it, and counts in the bank's ledger. It is an error if any invoice is not paid exactly
/// once.
///
/// `dir` must be missing or empty, save the default, which gives way to `prusik-demo-2` and so on.
pub async fn run(dir: &Path) -> Result<(), DemoError> {
    let dir = files::free_folder(dir)?;
    files::write(&dir)?;
    story::tell(&dir).await
}

/// Serves the demo's bank on standard input and output until the input ends.
pub async fn bank(ledger: &Path) -> Result<(), BankError> {
    bank::serve(ledger).await
}
