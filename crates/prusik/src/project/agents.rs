//! The agents of a project: `agents/*.md`, each with YAML front matter above its system prompt.

use std::path::{Path, PathBuf};

use prusik_core::schema::check_schema;
use serde_json::Value;

use super::config::AgentFile;
use super::error::{Place, ProjectError};
use super::source::{Source, read_text};
use super::typed;
use super::values::SchemaText;

/// Most agents that a project may have.
const AGENTS_MAX: usize = 500;

/// An agent as its file declares it.
#[derive(Debug, Clone)]
pub struct AgentEntry {
    pub name: String,
    pub description: Option<String>,
    /// Relative to the project's folder.
    pub file: PathBuf,
    /// What the agent may hold, by the names that this project's tools have.
    pub tools: Vec<String>,
    /// JSON Schema of the task's input.
    pub input: Option<Value>,
    /// JSON Schema of the final answer.
    pub output: Option<Value>,
    pub(crate) config: AgentFile,
    pub(crate) source: Source,
    pub(crate) prompt: String,
}

impl AgentEntry {
    /// Returns the alias of the model that writes summaries, if it is another than the agent's own.
    pub fn summary_model(&self) -> Option<&str> {
        self.config.context.summary_model.as_deref()
    }
}

/// Reads every agent of the folder; what cannot be read is reported and left out.
pub(crate) fn load(root: &Path, errors: &mut Vec<ProjectError>) -> Vec<AgentEntry> {
    let folder = root.join("agents");
    let mut files = Vec::new();
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            for entry in entries {
                match entry {
                    Ok(entry) => files.push(entry.file_name()),
                    Err(error) => errors.push(unreadable("agents", &error)),
                }
            }
        }
        // A project that has no agents yet: choosing one says so.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => errors.push(unreadable("agents", &error)),
    }
    files.retain(|name| {
        let path = Path::new(name);
        path.extension().is_some_and(|extension| extension == "md")
            && !name.to_string_lossy().starts_with('.')
    });
    // The order of a folder is the file system's; that of the names is everybody's.
    files.sort();
    if files.len() > AGENTS_MAX {
        let message = format!("holds more than the {AGENTS_MAX} agents that are read");
        errors.push(ProjectError::of_file("agents", message));
        files.truncate(AGENTS_MAX);
    }
    let mut agents: Vec<AgentEntry> = Vec::new();
    for name in files {
        let file = Path::new("agents").join(name);
        match load_one(root, &file, errors) {
            Some(agent) => match agents.iter().find(|other| other.name == agent.name) {
                Some(other) => {
                    let message = format!(
                        "the agent `{}` is already declared in {}",
                        agent.name,
                        other.file.display()
                    );
                    errors.push(
                        agent.source.error(&["name"], message).with_help("give one another name"),
                    );
                }
                None => agents.push(agent),
            },
            None => debug_assert!(!errors.is_empty(), "what cannot be read is reported"),
        }
    }
    agents
}

fn unreadable(file: &str, error: &std::io::Error) -> ProjectError {
    ProjectError::of_file(file, format!("cannot be read: {error}"))
}

fn load_one(root: &Path, file: &Path, errors: &mut Vec<ProjectError>) -> Option<AgentEntry> {
    let text = match read_text(&root.join(file), file) {
        Ok(text) => text,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let (front, prompt, prompt_line) = match split(&text) {
        Ok(parts) => parts,
        Err(message) => {
            errors.push(
                ProjectError {
                    place: Some(Place { line: 1, column: 1 }),
                    ..ProjectError::of_file(file, message)
                }
                .with_help(
                    "begin the file with `---`, the agent's keys, `---`, and then its prompt",
                ),
            );
            return None;
        }
    };
    let before = errors.len();
    let source = Source::yaml(file.to_owned(), front, 2, errors)?;
    let config: AgentFile = typed::read(&source, errors)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = config.name.clone().unwrap_or(stem);
    if !is_name(&name) {
        let message = format!("`{name}` cannot be the name of an agent");
        errors.push(
            source
                .error(&["name"], message)
                .with_help("use up to 64 letters, digits, `-`, `_` and `.`"),
        );
    }
    if prompt.trim().is_empty() {
        errors.push(
            ProjectError {
                place: Some(Place { line: prompt_line, column: 1 }),
                ..ProjectError::of_file(file, "the agent has no system prompt")
            }
            .with_help("write below the second `---` what the agent is to do"),
        );
    }
    if config.max_turns.is_some() && config.budget.turns.is_some() {
        let message = "`max_turns` and `budget.turns` say the same: keep one";
        errors.push(source.error(&["max_turns"], message));
    }
    let tools = config.tools.0.iter().map(|name| own_name(name)).collect();
    let input = schema(root, &source, "input", config.input.as_ref(), errors);
    let output = schema(root, &source, "output", config.output.as_ref(), errors);
    for pattern in &config.tools.0 {
        if let Err(message) = check_pattern(pattern) {
            errors.push(source.error(&["tools"], message));
        }
    }
    (errors.len() == before).then(|| AgentEntry {
        name,
        description: config.description.clone(),
        file: file.to_owned(),
        tools,
        input,
        output,
        prompt: prompt.trim().to_owned(),
        config,
        source,
    })
}

/// Splits a file into its front matter, which begins on line 2, and its prompt with its line.
fn split(text: &str) -> Result<(&str, &str, u32), &'static str> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != "---" {
        return Err("the agent has no front matter");
    }
    let start = first.len();
    let mut at = start;
    for (index, line) in lines.enumerate() {
        if line.trim_end() == "---" {
            let prompt_line = u32::try_from(index + 3).unwrap_or(u32::MAX);
            return Ok((&text[start..at], &text[at + line.len()..], prompt_line));
        }
        at += line.len();
    }
    Err("the front matter has no end")
}

pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Returns what this project calls a tool that is named as in Claude Code's files.
fn own_name(name: &str) -> String {
    match name {
        "Read" => "read".to_owned(),
        "Write" => "write".to_owned(),
        "Edit" | "MultiEdit" => "edit".to_owned(),
        "LS" => "list".to_owned(),
        "Glob" => "glob".to_owned(),
        "Grep" => "grep".to_owned(),
        "Bash" => "shell".to_owned(),
        _ => match name.strip_prefix("mcp__") {
            Some(rest) if rest.contains("__") => rest.to_owned(),
            Some(server) => format!("{server}__*"),
            None => name.to_owned(),
        },
    }
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.contains('(') {
        return Err(format!(
            "`{pattern}`: a tool is held whole, its arguments cannot be restricted here"
        ));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '*' | '?');
    if pattern.is_empty() || pattern.len() > 200 || !pattern.chars().all(fits) {
        return Err(format!("`{pattern}` is not a tool's name or a pattern with `*` and `?`"));
    }
    Ok(())
}

fn schema(
    root: &Path,
    source: &Source,
    key: &str,
    text: Option<&SchemaText>,
    errors: &mut Vec<ProjectError>,
) -> Option<Value> {
    let schema = match text? {
        SchemaText::Inline(schema) => schema.clone(),
        SchemaText::File(path) => {
            let text = match read_text(&root.join(path), path) {
                Ok(text) => text,
                Err(error) => {
                    let message = format!("the schema {}", error.message_about(path));
                    errors.push(
                        source
                            .error(&[key], message)
                            .with_help("paths are relative to the project's folder"),
                    );
                    return None;
                }
            };
            Source::json(path.clone(), &text, errors)?.root.to_value()
        }
    };
    match check_schema(&schema) {
        Ok(()) => Some(schema),
        Err(problem) => {
            let message = format!("`{key}` is not a JSON Schema: {problem}");
            errors.push(source.error(&[key], message));
            None
        }
    }
}

impl ProjectError {
    fn message_about(&self, path: &Path) -> String {
        format!("{} {}", path.display(), self.message)
    }
}
