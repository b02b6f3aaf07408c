//! Adopting agents that were written for Claude Code.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use super::{Maker, ScaffoldError};

/// Keys that mean the same in both.
const KEPT_KEYS: [&str; 3] = ["name", "description", "tools"];
/// Claude Code's own tools that have no counterpart here.
const FOREIGN_TOOLS: [&str; 12] = [
    "Agent",
    "AskUserQuestion",
    "BashOutput",
    "ExitPlanMode",
    "KillShell",
    "NotebookEdit",
    "NotebookRead",
    "Skill",
    "Task",
    "TodoWrite",
    "WebFetch",
    "WebSearch",
];
/// Largest agent that is adopted, in bytes.
const AGENT_BYTES_MAX: u64 = 1024 * 1024;

/// Copies the agents of `.claude/agents`, or writes a first one where the folder has none.
pub(super) fn agents(maker: &mut Maker<'_>) -> Result<(), ScaffoldError> {
    let folder = maker.root.join(".claude/agents");
    let mut names = Vec::new();
    if let Ok(entries) = fs::read_dir(&folder) {
        for entry in entries.flatten() {
            let name = entry.file_name();
            match name.to_str() {
                Some(text) if is_markdown(&name) && !text.starts_with('.') => {
                    names.push(text.to_owned());
                }
                Some(_) | None => {}
            }
        }
    }
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let shown = format!(".claude/agents/{name}");
        let small = fs::metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= AGENT_BYTES_MAX);
        match fs::read_to_string(&path).ok().filter(|_| small).and_then(|text| convert(&text)) {
            Some(text) => {
                maker.create(&format!("agents/{name}"), &text)?;
                maker.made.notes.push(format!(
                    "agents/{name} is made from {shown}; lines that mean nothing here are \
                     commented out"
                ));
            }
            None => maker.made.notes.push(format!("{shown} has no front matter: left out")),
        }
    }
    let has_agents = fs::read_dir(maker.root.join("agents"))
        .is_ok_and(|entries| entries.flatten().any(|entry| is_markdown(&entry.file_name())));
    if has_agents {
        return Ok(());
    }
    maker.create("agents/main.md", include_str!("templates/adopted.md"))
}

fn is_markdown(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "md")
}

/// Rewrites the front matter of an agent; None if it has none.
fn convert(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let mut out = vec!["---".to_owned()];
    let mut has_tools = false;
    let mut commented = false;
    for line in lines.by_ref() {
        if line.trim_end() == "---" {
            if !has_tools {
                out.push(
                    "# Claude Code gives every tool to an agent without this line; here it has \
                     those it names:"
                        .to_owned(),
                );
                out.push("# tools: [read, list, glob, grep]".to_owned());
            }
            out.push("---".to_owned());
            out.extend(lines.map(str::to_owned));
            return Some(out.join("\n") + "\n");
        }
        let key = line.split_once(':').filter(|_| !line.starts_with([' ', '\t', '-', '#']));
        match key {
            Some((key, value)) if KEPT_KEYS.contains(&key.trim_end()) => {
                commented = false;
                has_tools |= key == "tools";
                out.push(kept(key, value.trim()));
            }
            Some(_) => {
                commented = true;
                out.push(format!("# {line}"));
            }
            // What follows a key belongs to it.
            None if commented && !line.is_empty() => out.push(format!("# {line}")),
            None => match line.trim_start().strip_prefix("- ") {
                Some(tool) if is_foreign(tool) => out.push(format!("# {line}")),
                _ => out.push(line.to_owned()),
            },
        }
    }
    None
}

fn kept(key: &str, value: &str) -> String {
    match key {
        // Claude Code takes any text up to the line's end; YAML does not.
        "description" if !value.starts_with(['"', '\'', '|', '>']) && !value.is_empty() => {
            let text = serde_json::to_string(value).expect("text is plain data");
            format!("description: {text}")
        }
        "tools" if !value.is_empty() => {
            let names =
                value.trim_start_matches('[').trim_end_matches(']').split(',').map(str::trim);
            let (foreign, own): (Vec<&str>, Vec<&str>) =
                names.filter(|name| !name.is_empty()).partition(|name| is_foreign(name));
            let note = match foreign.as_slice() {
                [] => String::new(),
                names => format!("  # not here: {}", names.join(", ")),
            };
            format!("tools: [{}]{note}", own.join(", "))
        }
        _ => format!("{key}: {value}"),
    }
}

fn is_foreign(tool: &str) -> bool {
    let name = tool.split('(').next().unwrap_or(tool).trim().trim_matches(['"', '\'']);
    // A tool that is held only for some arguments would be held for all of them here.
    FOREIGN_TOOLS.contains(&name) || tool.contains('(')
}
