//! What is wrong with a project: where it stands, what it is, and the way out.

use std::fmt;
use std::path::PathBuf;

pub(crate) use prusik_policy::nearest;

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

/// One mistake in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectError {
    /// Relative to the project's folder where the file lies in it.
    pub file: PathBuf,
    /// None where the file as a whole is meant: it is missing, or cannot be read.
    pub place: Option<Place>,
    pub message: String,
    /// The way out, where there is one to name.
    pub help: Option<String>,
}

impl ProjectError {
    /// Returns an error about a file as a whole.
    pub fn of_file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { file: file.into(), place: None, message: message.into(), help: None }
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ProjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that was found wrong with a project; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectErrors(Vec<ProjectError>);

/// Most errors that are reported at once.
const ERRORS_MAX: usize = 50;

impl ProjectErrors {
    /// Returns the errors by file and place, or `Ok` when there are none.
    pub fn check(mut errors: Vec<ProjectError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
        errors.dedup();
        errors.truncate(ERRORS_MAX);
        Err(Self(errors))
    }

    pub fn iter(&self) -> impl Iterator<Item = &ProjectError> {
        self.0.iter()
    }

    pub fn into_vec(self) -> Vec<ProjectError> {
        self.0
    }
}

impl From<ProjectError> for ProjectErrors {
    fn from(error: ProjectError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ProjectErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ProjectErrors {}

/// Returns "did you mean …?" where something is near, and what there is to choose from elsewhere.
pub(crate) fn suggestion<'a>(
    word: &str,
    what: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(near) = nearest(word, candidates.clone()) {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
    match all.len() {
        0 => format!("there are no {what}"),
        1..=24 => format!("the {what} are {}", all.join(", ")),
        n => format!("the {what} are {} and {} more", all[..24].join(", "), n - 24),
    }
}
