//! The examples of the book and the README, loaded and run.
//!
//! The words after a fence's language say what a block is:
//!
//! - a path (`yaml prusik.yaml`, `markdown agents/x.md`, `yaml scripts/x.yaml`): the block is that
//!   file of the page's project, in the folder where the page's commands stand;
//! - `console run`: each line `$ …` is run by a shell, with the built binary on its path. It must
//!   succeed, or end as its comment `# exit code N` says; each other line must occur in what the
//!   command before it printed, `…` standing for anything;
//! - a path of the repository (`rust crates/prusik/examples/x.rs`): the block stands in that file, word
//!   for word, and the file is compiled and run elsewhere;
//! - `rust compile`: the block compiles with the library;
//! - nothing: the block is shown only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use prusik::project::Project;
use prusik_model::Script;
use serde_json::Value;

use crate::compile_fail::{compile, library};
use crate::prusik::{json_lines, prusik, said, write_files};

pub struct Block {
    line: usize,
    pub language: String,
    what: String,
    pub text: String,
}

/// Returns the fenced blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let (language, what) = info.split_once(' ').unwrap_or((info, ""));
                open = Some(Block {
                    line: number,
                    language: language.to_owned(),
                    what: what.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// The project of one page, as far as the page has come.
struct Reader {
    root: tempfile::TempDir,
    folder: PathBuf,
    /// Whether files were written since the project was loaded.
    is_changed: bool,
    problems: Vec<String>,
    run: usize,
}

impl Reader {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().to_owned();
        Self { root, folder, is_changed: false, problems: Vec::new(), run: 0 }
    }

    fn read(&mut self, block: &Block) {
        match block.what.as_str() {
            "" => {}
            "run" if block.language == "console" => {
                self.load(block.line);
                self.commands(block);
            }
            "compile" if block.language == "rust" => self.compile(block),
            path if block.language == "rust" => {
                let found = std::fs::read_to_string(root().join(path)).unwrap_or_default();
                if !found.contains(&block.text) {
                    self.problems.push(format!("line {}: not in {path}", block.line));
                }
            }
            path => {
                if path == "prusik.yaml" {
                    self.load(block.line);
                }
                write_files(&self.folder, &[(path, &block.text)]);
                self.is_changed = true;
                if path.starts_with("scripts/")
                    && let Err(error) = Script::parse(&block.text, path)
                {
                    self.problems.push(format!("line {}: {error}", block.line));
                }
            }
        }
    }

    fn compile(&mut self, block: &Block) {
        let file = self.root.path().join("block.rs");
        std::fs::write(&file, &block.text).unwrap();
        let (compiles, said) = compile(&file, &library());
        if !compiles {
            self.problems.push(format!("line {}: does not compile\n{said}", block.line));
        }
    }

    /// Loads the project, if there is a new one.
    fn load(&mut self, line: usize) {
        if !self.is_changed || !self.folder.join("prusik.yaml").exists() {
            return;
        }
        self.is_changed = false;
        if let Err(errors) = Project::load(&self.folder) {
            self.problems.push(format!("before line {line}: {errors}"));
        }
    }

    fn commands(&mut self, block: &Block) {
        let mut printed = String::new();
        for line in block.text.lines() {
            let Some(command) = line.strip_prefix("$ ") else {
                if !printed.lines().any(|printed| fits(line, printed)) {
                    self.problems.push(format!("not printed: {line}\nbut:\n{printed}"));
                }
                continue;
            };
            let (command, expected) = match command.split_once("# exit code ") {
                Some((command, code)) => (command, code.trim().parse().unwrap()),
                None => (command, 0),
            };
            if let Some(folder) = command.strip_prefix("cd ") {
                self.folder = self.folder.join(folder.trim());
                assert!(self.folder.starts_with(self.root.path()) && self.folder.is_dir());
                continue;
            }
            let code;
            (code, printed) = shell(&self.folder, command);
            self.run += 1;
            if code != expected {
                self.problems.push(format!("{command}: exit code {code}\n{printed}"));
            }
        }
    }
}

/// Runs a command as a person would and returns its exit code and what it printed.
fn shell(folder: &Path, command: &str) -> (i32, String) {
    let binary = Path::new(env!("CARGO_BIN_EXE_prusik")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        // A shell that waits for its command reports a signal as 128 and its number.
        .args(["-c", &format!("{command}\nexit $?")])
        .current_dir(folder)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap_or(-1), said(&output))
}

/// Returns whether the parts of `line` around each `…` occur in `printed`, in order.
fn fits(line: &str, printed: &str) -> bool {
    let mut rest = printed;
    line.split('…').map(str::trim).all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

#[test]
fn every_example_of_the_book_works() {
    let mut problems = Vec::new();
    let mut run = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut reader = Reader::new();
        for block in blocks(&text) {
            reader.read(&block);
        }
        reader.load(text.lines().count());
        run += reader.run;
        problems
            .extend(reader.problems.iter().map(|problem| format!("{}: {problem}", page.display())));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(run > 20, "only {run} commands were found");
}

#[test]
fn an_example_that_does_not_work_is_found() {
    let page = "\
```yaml prusik.yaml
modles: {}
```
```yaml scripts/a.yaml
turns: []
```
```console run
$ echo one two
one … two
three
$ exit 4
$ exit 3   # exit code 3
```
```rust compile
pub fn f() -> u32 { true }
```
```rust crates/prusik/examples/first.rs
fn nobody_wrote_this() {}
```
```console
$ exit 5
```
";
    let mut reader = Reader::new();
    for block in blocks(page) {
        reader.read(&block);
    }
    let problems = reader.problems.join("\n");
    assert_eq!(reader.problems.len(), 6, "{problems}");
    for part in [
        "scripts/a.yaml",
        "unknown key `modles`",
        "not printed: three",
        "exit 4: exit code 4",
        "does not compile",
        "not in crates/prusik/examples/first.rs",
    ] {
        assert!(problems.contains(part), "{part}: {problems}");
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.starts_with("http") || file.contains(char::is_whitespace) {
                continue;
            }
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = std::fs::read_to_string(&to);
            let has_anchor = anchor.is_empty()
                || found.as_ref().is_ok_and(|text| {
                    text.lines()
                        .filter(|line| line.starts_with('#'))
                        .any(|line| slug(line) == anchor)
                });
            if !(to.exists() && has_anchor) {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

/// Returns the anchor that mdBook gives a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

#[test]
fn what_is_printed_as_json_is_what_the_reference_says() {
    let page = std::fs::read_to_string(root().join("docs/src/reference/json-output.md")).unwrap();
    let told: Vec<BTreeSet<String>> = blocks(&page)
        .iter()
        .filter(|block| block.language == "json")
        .map(|block| keys(&serde_json::from_str(&block.text).unwrap()))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let made = prusik(folder.path(), &["new", "."]);
    assert!(made.status.success(), "{}", said(&made));
    let mut seen = BTreeSet::new();
    for arguments in [
        &["run", "Which tasks are open?"][..],
        &["runs"],
        &["show", "last"],
        &["context", "last"],
        &["context", "last", "--diff", "2"],
        &["context", "last", "--svg", "c.svg"],
        &["events", "last"],
        &["events", "last", "--verify"],
        &["fork", "last", "--at", "4"],
        &["note", "last", "Amounts are in euros."],
        &["compact", "last"],
        &["cancel", "last"],
        &["runs", "prune", "--older-than", "0s"],
        &["lint", "--explain", "probe-missing"],
        &["lock"],
        &["check"],
        &["chaos", "Which tasks are open?", "--schedules", "1"],
    ] {
        let output = prusik(folder.path(), &[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        let lines = json_lines(&output.stdout);
        assert!(!lines.is_empty(), "{arguments:?} printed nothing");
        for line in &lines {
            assert!(told.contains(&keys(line)), "{arguments:?}: no page has {line}");
            seen.insert(keys(line));
        }
    }
    let bank = "servers:\n  bank: { command: prusik, args: [demo-bank, --ledger, ledger.jsonl] }\n\
                tools:\n  bank__pay: { failures: { full: {} } }\n";
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), &[("prusik.yaml", bank)]);
    let output = prusik(folder.path(), &["certify", "bank__pay", "bank__balance", "--json"]);
    for line in json_lines(&output.stdout) {
        assert!(told.contains(&keys(&line)), "no page has {line}");
        seen.insert(keys(&line));
    }
    assert!(seen.len() >= 12, "{seen:?}");
}
