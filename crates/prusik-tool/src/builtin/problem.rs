//! The kinds of failure that the built-in tools report, and what the model is told of each.

use std::collections::BTreeMap;

use prusik_core::contract::FailureTerm;
use prusik_core::outcome::{Refusal, Reply};
use rustix::io::Errno;

/// What went wrong, as a built-in tool names it in [`Refusal::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    OutsideWorkspace,
    Protected,
    InvalidPath,
    NotAFile,
    NotAFolder,
    NotText,
    TooLarge,
    NotUnique,
    NoMatch,
    NoChange,
    InvalidPattern,
    Forbidden,
    DiskFull,
    NoSandbox,
    Io,
}

impl Kind {
    pub const ALL: [Self; 16] = [
        Self::NotFound,
        Self::OutsideWorkspace,
        Self::Protected,
        Self::InvalidPath,
        Self::NotAFile,
        Self::NotAFolder,
        Self::NotText,
        Self::TooLarge,
        Self::NotUnique,
        Self::NoMatch,
        Self::NoChange,
        Self::InvalidPattern,
        Self::Forbidden,
        Self::DiskFull,
        Self::NoSandbox,
        Self::Io,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::OutsideWorkspace => "outside_workspace",
            Self::Protected => "protected",
            Self::InvalidPath => "invalid_path",
            Self::NotAFile => "not_a_file",
            Self::NotAFolder => "not_a_folder",
            Self::NotText => "not_text",
            Self::TooLarge => "too_large",
            Self::NotUnique => "not_unique",
            Self::NoMatch => "no_match",
            Self::NoChange => "no_change",
            Self::InvalidPattern => "invalid_pattern",
            Self::Forbidden => "forbidden",
            Self::DiskFull => "disk_full",
            Self::NoSandbox => "no_sandbox",
            Self::Io => "io_error",
        }
    }

    fn tell(self) -> &'static str {
        match self {
            Self::NotFound => "Look with `list` or `glob` for the right path.",
            Self::OutsideWorkspace => {
                "Use a path inside the workspace. Nothing else can be reached."
            }
            Self::Protected => "This file steers the project and is never written by an agent.",
            Self::InvalidPath => "Use a shorter, relative path without special characters.",
            Self::NotAFile => {
                "Only ordinary files can be read and written; use `list` on a folder."
            }
            Self::NotAFolder => "A part of the path is a file. Look with `list`.",
            Self::NotText => "Only UTF-8 text can be edited.",
            Self::TooLarge => "Use `grep` to find the part that matters, or split the work.",
            Self::NotUnique => "Give more of the text around the place, or set `replace_all`.",
            Self::NoMatch => {
                "Read the file again: the text must match exactly, white space included."
            }
            Self::NoChange => "The new text equals the old one; there is nothing to do.",
            Self::InvalidPattern => "Correct the pattern; set `literal` to search for plain text.",
            Self::Forbidden => "The file system forbids it; say so in your answer.",
            Self::DiskFull => "The disk is full; say so in your answer.",
            Self::NoSandbox => {
                "Commands cannot be confined here, so none is run. Use the other tools, and say so in \
                 your answer."
            }
            Self::Io => "The file system failed; say so in your answer.",
        }
    }

    /// Returns these kinds as the terms of a contract. None of them had an effect.
    pub fn terms(kinds: &[Self]) -> BTreeMap<String, FailureTerm> {
        let term = |kind: &Self| {
            let tell = Some(kind.tell().to_owned());
            (kind.as_str().to_owned(), FailureTerm { tell, ..FailureTerm::default() })
        };
        kinds.iter().map(term).collect()
    }
}

/// Why a built-in tool did nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    pub message: String,
}

impl Problem {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Returns what the operating system's error means for `path`.
    pub fn of_errno(errno: Errno, path: &str) -> Self {
        let kind = match errno {
            Errno::NOENT => Kind::NotFound,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Kind::Forbidden,
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => Kind::InvalidPath,
            Errno::NOTDIR => Kind::NotAFolder,
            Errno::ISDIR | Errno::LOOP | Errno::NXIO => Kind::NotAFile,
            Errno::NOSPC | Errno::DQUOT => Kind::DiskFull,
            Errno::FBIG => Kind::TooLarge,
            // Errno is a number of the system's, not an enum of ours.
            _ => Kind::Io,
        };
        Self::new(kind, format!("{path}: {errno}"))
    }

    pub fn of_io(error: &std::io::Error, path: &str) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::of_errno(errno, path),
            None => Self::new(Kind::Io, format!("{path}: {error}")),
        }
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self::Refused(Refusal::of_kind(problem.kind.as_str(), problem.message))
    }
}
