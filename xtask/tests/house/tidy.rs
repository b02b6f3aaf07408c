//! What every file of the repository looks like.

use std::fs;

use crate::{output, root};

const LINES_MAX: usize = 800;
/// rustfmt holds code to 100; what it cannot break, such as a long string, has a little more.
const LINE_CHARS_MAX: usize = 120;

/// Places on somebody's machine; they are put together here so that this file holds none of them.
const MACHINE_PATHS: [&str; 5] = [
    concat!("/", "root/"),
    concat!("/", "work/main"),
    concat!("/", "work/shared"),
    concat!("/", "tmp/wt"),
    concat!("/", "Users/"),
];

/// Returns what is wrong with a file.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(found) = MACHINE_PATHS.iter().find(|place| line.contains(*place)) {
            complaints.push(format!("{path}:{number}: names a place on one machine: {found}"));
        }
        // A server's event stands as it came over the wire.
        let is_code = is_rust(path) && !line.contains("data: {");
        if is_code && line.chars().count() > LINE_CHARS_MAX {
            complaints.push(format!("{path}:{number}: has more than {LINE_CHARS_MAX} characters"));
        }
    }
    if is_rust(path) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            complaints
                .push(format!("{path}: {lines} lines; split it at {LINES_MAX} at the latest"));
        }
        if !text.starts_with("//! ") {
            complaints.push(format!("{path}:1: must say with `//!` what the file is for"));
        }
    }
    complaints
}

fn is_rust(path: &str) -> bool {
    std::path::Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

#[test]
fn every_file_is_tidy() {
    let listed = output("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    assert!(paths.iter().filter(|path| is_rust(path)).count() > 20, "git told too little");
    let mut all = Vec::new();
    for path in paths {
        // What is deleted and not yet committed is listed, too; what is not text has no lines.
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        all.extend(complaints(path, &text));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn untidy_files_are_found() {
    let long = "x".repeat(LINE_CHARS_MAX + 1);
    let many = "//! A file.\n".repeat(LINES_MAX + 1);
    let place = format!("see {}notes", MACHINE_PATHS[0]);
    for (path, text, word) in [
        ("a.rs", "fn main() {}", "a.rs:1"),
        ("a.rs", &format!("//! A file.\n{long}"), "a.rs:2"),
        ("a.rs", &many, "801 lines"),
        ("a.md", &place, "a.md:1"),
    ] {
        let found = complaints(path, text);
        assert!(found.len() == 1 && found[0].contains(word), "{path} {text}: {found:?}");
    }
    assert!(complaints("a.rs", "//! A file.\n").is_empty());
    assert!(complaints("a.md", &long).is_empty());
}
