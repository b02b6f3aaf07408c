//! `glob` and `grep`, on ripgrep's crates.
//!
//! Folders are walked without following links, `.gitignore` and `.ignore` files of the workspace
//! apply, and every file that `grep` looks into is opened by the workspace's own rules.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch,
};
use ignore::WalkBuilder;
use prusik_core::outcome::{Reply, ToolResult};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::files::{FILE_BYTES_MAX, cut};
use super::problem::{Kind, Problem};
use super::workspace::{Intent, Place, Workspace};

/// Most entries that one search walks over.
const ENTRIES_SEEN_MAX: usize = 500_000;
/// Most results, and the number when none is asked for.
const RESULTS_MAX: usize = 10_000;
const RESULTS_DEFAULT: usize = 200;
/// Longest line of a result, in bytes.
const LINE_BYTES_MAX: usize = 500;
/// Most memory for one line and for one compiled pattern, in bytes.
const HEAP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4_096;
const CONTEXT_LINES_MAX: u64 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobArguments {
    pattern: String,
    path: Option<String>,
    #[serde(default)]
    hidden: bool,
    limit: Option<u64>,
}

/// Returns the files whose path below `path` matches a pattern, sorted.
pub fn glob(
    workspace: &Workspace,
    arguments: &GlobArguments,
    cancel: &CancellationToken,
) -> Result<Reply, Problem> {
    let matcher = compile_glob(&arguments.pattern)?;
    let start = Start::find(workspace, arguments.path.as_deref(), arguments.hidden)?;
    let limit = limit_of(arguments.limit);
    let mut found = Vec::new();
    let end = start.each_file(cancel, |below, rel| {
        if matcher.is_match(below) {
            found.push(rel.to_string_lossy().into_owned());
        }
        found.len() <= limit
    });
    Ok(match end {
        WalkEnd::Cancelled => Reply::Lost { reason: "cancelled".to_owned() },
        WalkEnd::Whole | WalkEnd::Stopped => {
            let more = found.len() > limit;
            found.truncate(limit);
            let mut out = found.join("\n");
            if found.is_empty() {
                out = format!("No file matches {}.", arguments.pattern);
            } else if more {
                let _ = write!(out, "\n[The first {limit}. There are more.]");
            }
            Reply::Returned(ToolResult::text(out))
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// The matching lines with their numbers.
    #[default]
    Content,
    /// Only the paths of files that match.
    Files,
    /// The number of matching lines of each file.
    Count,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrepArguments {
    pattern: String,
    path: Option<String>,
    glob: Option<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    literal: bool,
    #[serde(default)]
    hidden: bool,
    context: Option<u64>,
    limit: Option<u64>,
}

/// Returns what matches a regular expression in the files below `path`.
pub fn grep(
    workspace: &Workspace,
    arguments: &GrepArguments,
    cancel: &CancellationToken,
) -> Result<Reply, Problem> {
    let matcher = compile_regex(arguments)?;
    let filter = arguments.glob.as_deref().map(compile_glob).transpose()?;
    let context = arguments.context.unwrap_or(0).min(CONTEXT_LINES_MAX);
    let context = usize::try_from(context).unwrap_or(usize::MAX);
    let mut searcher = SearcherBuilder::new()
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(HEAP_BYTES_MAX))
        .before_context(context)
        .after_context(context)
        .line_number(true)
        .build();
    let limit = limit_of(arguments.limit);
    let mut found = Found { mode: arguments.mode, limit, ..Found::default() };
    let start = Start::find(workspace, arguments.path.as_deref(), arguments.hidden)?;
    let end = start.each_file(cancel, |below, rel| {
        if filter.as_ref().is_none_or(|filter| filter.is_match(below)) {
            let shown = rel.to_string_lossy();
            // What cannot be opened (gone, special, too large for a look) is counted, not fatal.
            match workspace.open_file(&shown) {
                Ok((file, stat)) if u64::try_from(stat.st_size).unwrap_or(0) <= FILE_BYTES_MAX => {
                    found.search(&mut searcher, &matcher, &file, &shown, cancel);
                }
                Ok(_) | Err(_) => found.skipped += 1,
            }
        }
        !found.is_full()
    });
    Ok(match end {
        _ if cancel.is_cancelled() => Reply::Lost { reason: "cancelled".to_owned() },
        WalkEnd::Cancelled => Reply::Lost { reason: "cancelled".to_owned() },
        WalkEnd::Whole | WalkEnd::Stopped => {
            Reply::Returned(ToolResult::text(found.report(&arguments.pattern)))
        }
    })
}

fn limit_of(limit: Option<u64>) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.unwrap_or(RESULTS_DEFAULT).clamp(1, RESULTS_MAX)
}

fn check_pattern(pattern: &str) -> Result<(), Problem> {
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        let message = format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes");
        return Err(Problem::new(Kind::InvalidPattern, message));
    }
    Ok(())
}

fn compile_glob(pattern: &str) -> Result<GlobMatcher, Problem> {
    check_pattern(pattern)?;
    // As in shells and .gitignore: a pattern without a slash is about the name, wherever it is.
    let anywhere = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
    let pattern = anywhere.trim_start_matches("./").trim_start_matches('/');
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| Problem::new(Kind::InvalidPattern, error.to_string()))
}

fn compile_regex(arguments: &GrepArguments) -> Result<RegexMatcher, Problem> {
    check_pattern(&arguments.pattern)?;
    RegexMatcherBuilder::new()
        .case_insensitive(arguments.ignore_case)
        .fixed_strings(arguments.literal)
        .line_terminator(Some(b'\n'))
        .size_limit(HEAP_BYTES_MAX)
        .dfa_size_limit(HEAP_BYTES_MAX)
        .build(&arguments.pattern)
        .map_err(|error| Problem::new(Kind::InvalidPattern, error.to_string()))
}

enum WalkEnd {
    Whole,
    Stopped,
    Cancelled,
}

/// Where a search starts.
struct Start<'a> {
    workspace: &'a Workspace,
    /// Links resolved, relative to the workspace.
    rel: PathBuf,
    is_folder: bool,
    hidden: bool,
}

impl<'a> Start<'a> {
    fn find(workspace: &'a Workspace, path: Option<&str>, hidden: bool) -> Result<Self, Problem> {
        let path = path.unwrap_or(".");
        let place = workspace.find(path, Intent::Read)?;
        let is_folder = match &place {
            Place::Folder { .. } => true,
            Place::Entry { stat: Some(_), .. } => false,
            Place::Entry { stat: None, .. } => {
                return Err(Problem::new(Kind::NotFound, format!("{path} does not exist")));
            }
        };
        Ok(Self { workspace, rel: place.rel().to_owned(), is_folder, hidden })
    }

    /// Calls `visit` with the path below the start and the path in the workspace of each file, in
    /// order, until it says no.
    fn each_file(
        &self,
        cancel: &CancellationToken,
        mut visit: impl FnMut(&Path, &Path) -> bool,
    ) -> WalkEnd {
        if !self.is_folder {
            let name = self.rel.file_name().unwrap_or_default();
            visit(Path::new(name), &self.rel);
            return WalkEnd::Whole;
        }
        let from = self.workspace.root().join(&self.rel);
        let walk = WalkBuilder::new(&from)
            .follow_links(false)
            .hidden(!self.hidden)
            // Nothing outside the workspace decides what is found in it.
            .parents(false)
            .git_global(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .sort_by_file_name(std::ffi::OsStr::cmp)
            .build();
        for (seen, entry) in walk.enumerate() {
            if cancel.is_cancelled() {
                return WalkEnd::Cancelled;
            }
            if seen >= ENTRIES_SEEN_MAX {
                return WalkEnd::Stopped;
            }
            // A folder that cannot be read hides its files, no more.
            let Ok(entry) = entry else { continue };
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let Ok(below) = entry.path().strip_prefix(&from) else { continue };
            if !visit(below, &self.rel.join(below)) {
                return WalkEnd::Stopped;
            }
        }
        WalkEnd::Whole
    }
}

/// What a search has found so far.
#[derive(Default)]
struct Found {
    mode: Mode,
    limit: usize,
    out: String,
    /// Matching lines, or matching files, by the mode.
    results: usize,
    skipped: usize,
    cut_off: bool,
}

impl Found {
    fn is_full(&self) -> bool {
        self.cut_off || (self.mode != Mode::Content && self.results >= self.limit)
    }

    fn search(
        &mut self,
        searcher: &mut Searcher,
        matcher: &RegexMatcher,
        file: &std::fs::File,
        path: &str,
        cancel: &CancellationToken,
    ) {
        let mut sink = FileSink { found: self, path, cancel, matches: 0 };
        let searched = searcher.search_file(matcher, file, &mut sink);
        let matches = sink.matches;
        if searched.is_err() {
            self.skipped += 1;
        }
        if matches > 0 && self.mode != Mode::Content {
            self.results += 1;
            let _ = match self.mode {
                Mode::Count => writeln!(self.out, "{path}: {matches}"),
                Mode::Files | Mode::Content => writeln!(self.out, "{path}"),
            };
        }
    }

    fn report(mut self, pattern: &str) -> String {
        if self.results == 0 {
            self.out = format!("Nothing matches {pattern}.\n");
        } else if self.is_full() {
            let _ = writeln!(self.out, "[The first {}. There may be more.]", self.limit);
        }
        if self.skipped > 0 {
            let _ = writeln!(self.out, "[{} files could not be searched.]", self.skipped);
        }
        self.out.truncate(self.out.trim_end().len());
        self.out
    }
}

/// Takes the matches of one file.
struct FileSink<'a> {
    found: &'a mut Found,
    path: &'a str,
    cancel: &'a CancellationToken,
    matches: u64,
}

impl FileSink<'_> {
    fn line(&mut self, number: Option<u64>, mark: char, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let (shown, more) = cut(text.trim_end_matches(['\n', '\r']), LINE_BYTES_MAX);
        let number = number.unwrap_or(0);
        let _ = writeln!(self.found.out, "{}{mark}{number}{mark}{shown}{more}", self.path);
    }
}

impl Sink for FileSink<'_> {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> std::io::Result<bool> {
        self.matches += 1;
        match self.found.mode {
            Mode::Files => return Ok(false),
            Mode::Count => {}
            Mode::Content => {
                if self.found.results >= self.found.limit {
                    self.found.cut_off = true;
                    return Ok(false);
                }
                self.found.results += 1;
                self.line(found.line_number(), ':', found.bytes());
            }
        }
        Ok(!self.cancel.is_cancelled())
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> std::io::Result<bool> {
        if self.found.mode == Mode::Content {
            let after_the_last = *context.kind() == SinkContextKind::Before
                && self.found.results >= self.found.limit;
            if !after_the_last {
                self.line(context.line_number(), '-', context.bytes());
            }
        }
        Ok(!self.cancel.is_cancelled())
    }

    fn context_break(&mut self, _: &Searcher) -> std::io::Result<bool> {
        if self.found.mode == Mode::Content && self.found.results < self.found.limit {
            self.found.out.push_str("--\n");
        }
        Ok(true)
    }
}
