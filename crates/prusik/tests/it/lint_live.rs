//! The servers that the makers of MCP publish, reviewed: what is found is what the book says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::lint::{code, findings};
use crate::prusik::{prusik, said, write_files};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Returns what `cargo xtask setup` installed.
fn installed(path: &str) -> String {
    let path = root().join(".setup").join(path);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_found_of_the_official_servers_is_what_the_book_says() {
    let folder = tempfile::tempdir().unwrap();
    let node = |name: &str| {
        installed(&format!("node/node_modules/@modelcontextprotocol/server-{name}/dist/index.js"))
    };
    let yaml = format!(
        "models:\n  default: {{ provider: scripted, script: s.yaml }}\nservers:\n  \
         everything: {{ command: node, args: [{}] }}\n  \
         filesystem: {{ command: node, args: [{}, sandbox] }}\n  \
         memory: {{ command: node, args: [{}] }}\n  \
         git: {{ command: {}, args: [--repository, repo] }}\n",
        node("everything"),
        node("filesystem"),
        node("memory"),
        installed("python/bin/mcp-server-git"),
    );
    write_files(
        folder.path(),
        &[("prusik.yaml", &yaml), ("s.yaml", "turns: [{say: x}]"), ("sandbox/x", "")],
    );
    let made = std::process::Command::new("git")
        .args(["init", "--quiet", "repo"])
        .current_dir(folder.path())
        .status();
    assert!(made.unwrap().success());
    let output = prusik(folder.path(), &["--json", "lint"]);
    assert_eq!(code(&output), 1, "{}", said(&output));

    let mut found = findings(&output);
    found.retain(|(_, tool)| tool.contains("__"));
    found.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    let mut text = String::new();
    for (rule, tool) in &found {
        let _ = writeln!(text, "{tool} {rule}");
    }
    insta::assert_snapshot!("official_servers", text);

    // The page's table has the same counts.
    let page = root().join("docs/src/lints/official-servers.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (rule, tool) in &found {
        let server = tool.split_once("__").unwrap().0;
        *counts.entry(rule).or_default().entry(server).or_default() += 1;
    }
    for (rule, of) in &counts {
        let cells: Vec<String> = ["everything", "filesystem", "memory", "git"]
            .iter()
            .map(|server| of.get(server).copied().unwrap_or(0).to_string())
            .collect();
        let row = format!("| [`{rule}`]({rule}.md) | {} |", cells.join(" | "));
        assert!(page.contains(&row), "official-servers.md lacks: {row}");
    }
    let rows = page.matches("\n| [`").count();
    assert_eq!(rows, counts.len(), "official-servers.md has rules that find nothing");
}
