//! Making projects: `prusik new` starts one that works at once, `prusik init` adopts a folder.

mod adopt;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::project::{PROJECT_FILE, SchemaOf, schema};

/// What answers in a new project. The others stand beside it, commented out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum StartModel {
    /// A script: no key, no network.
    #[default]
    Scripted,
    /// Anthropic's API.
    Anthropic,
    /// OpenAI's API.
    Openai,
    /// A model on this machine, behind an OpenAI-compatible API.
    Ollama,
}

impl StartModel {
    const ALL: [Self; 4] = [Self::Scripted, Self::Anthropic, Self::Openai, Self::Ollama];

    /// Returns its line in `prusik.yaml` and what it takes to use it.
    fn line(self) -> (&'static str, &'static str) {
        match self {
            Self::Scripted => {
                ("default: { provider: scripted, script: scripts/demo.yaml }", "no key, no network")
            }
            Self::Anthropic => (
                "default: { provider: anthropic, model: claude-sonnet-4-5 }",
                "export ANTHROPIC_API_KEY=…",
            ),
            Self::Openai => {
                ("default: { provider: openai, model: gpt-5-mini }", "export OPENAI_API_KEY=…")
            }
            Self::Ollama => (
                r#"default: { provider: openai, model: "qwen3:8b", base_url: "http://localhost:11434/v1" }"#,
                "Ollama, vLLM, llama.cpp: no key",
            ),
        }
    }

    /// Returns the lines for `models:`, of which one counts.
    fn lines(self) -> String {
        let lines = Self::ALL.map(|model| {
            let (line, needs) = model.line();
            let mark = if model == self { "" } else { "# " };
            format!("  {mark}{line}  # {needs}")
        });
        lines.join("\n")
    }
}

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Relative to the project's folder.
    pub created: Vec<PathBuf>,
    /// What was there and is used as it is.
    pub kept: Vec<PathBuf>,
    /// What a person should know of, in sentences.
    pub notes: Vec<String>,
}

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    #[error(
        "{} is not empty: choose another folder, or adopt this one with `prusik init`",
        folder.display()
    )]
    NotEmpty { folder: PathBuf },
    #[error("{} is a project already: it has a {PROJECT_FILE}", folder.display())]
    AlreadyProject { folder: PathBuf },
    #[error("there is no folder {}: `prusik new` makes one", folder.display())]
    NoFolder { folder: PathBuf },
    #[error("{} could not be {action}: {source}", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
}

/// Makes a project in `folder`, which must be empty or missing.
pub fn new(folder: &Path, model: StartModel) -> Result<Made, ScaffoldError> {
    let io = |action| move |source| ScaffoldError::Io { path: folder.to_owned(), action, source };
    fs::create_dir_all(folder).map_err(io("made"))?;
    // A fresh clone with nothing but its history counts as empty.
    let mut entries = fs::read_dir(folder).map_err(io("read"))?;
    if entries.any(|entry| !entry.is_ok_and(|entry| entry.file_name() == ".git")) {
        return Err(ScaffoldError::NotEmpty { folder: folder.to_owned() });
    }
    let mut maker = Maker { root: folder, made: Made::default() };
    maker.create(PROJECT_FILE, &project_file(model, "workspace"))?;
    maker.create("agents/main.md", include_str!("templates/main.md"))?;
    maker.create("scripts/demo.yaml", include_str!("templates/demo.yaml"))?;
    maker.create("workspace/notes.txt", include_str!("templates/notes.txt"))?;
    maker.common()?;
    Ok(maker.made)
}

/// Makes a project of `folder` as it is. Nothing that is there is overwritten; `.mcp.json` and
/// `AGENTS.md` are read where they are, and the agents of `.claude/agents` are copied.
pub fn init(folder: &Path, model: StartModel) -> Result<Made, ScaffoldError> {
    if !folder.is_dir() {
        return Err(ScaffoldError::NoFolder { folder: folder.to_owned() });
    }
    if folder.join(PROJECT_FILE).exists() {
        return Err(ScaffoldError::AlreadyProject { folder: folder.to_owned() });
    }
    let mut maker = Maker { root: folder, made: Made::default() };
    maker.create(PROJECT_FILE, &project_file(model, "."))?;
    if model == StartModel::Scripted {
        maker.create("scripts/demo.yaml", include_str!("templates/demo.yaml"))?;
        let note = "scripts/demo.yaml is written for the notes of a new project: adapt it, or \
                    choose a live model in prusik.yaml";
        maker.made.notes.push(note.to_owned());
    }
    adopt::agents(&mut maker)?;
    for file in [".mcp.json", "AGENTS.md"] {
        if folder.join(file).is_file() {
            maker.made.kept.push(file.into());
        }
    }
    if folder.join(".mcp.json").is_file() {
        let note = "the servers of .mcp.json are used; name their tools under `tools` of an agent \
                    (`server__*`) and say under `tools` of prusik.yaml what they do";
        maker.made.notes.push(note.to_owned());
    }
    maker.common()?;
    Ok(maker.made)
}

fn project_file(model: StartModel, workspace: &str) -> String {
    include_str!("templates/prusik.yaml")
        .replace("{{models}}", &model.lines())
        .replace("{{workspace}}", workspace)
}

/// Writes files that are not there yet.
struct Maker<'a> {
    root: &'a Path,
    made: Made,
}

impl Maker<'_> {
    /// Creates a file; one that is there is kept.
    fn create(&mut self, file: &str, text: &str) -> Result<(), ScaffoldError> {
        let path = self.root.join(file);
        let fail = |action| {
            let path = path.clone();
            move |source| ScaffoldError::Io { path, action, source }
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail("made"))?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut created) => {
                created.write_all(text.as_bytes()).map_err(fail("written"))?;
                self.made.created.push(file.into());
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.made.kept.push(file.into());
            }
            Err(error) => return Err(fail("created")(error)),
        }
        Ok(())
    }

    /// Writes what every project has: the schema for editors, and the folder that git leaves out.
    fn common(&mut self) -> Result<(), ScaffoldError> {
        let text = serde_json::to_string_pretty(&schema(SchemaOf::Project))
            .expect("a schema is plain data");
        self.create(".prusik/prusik.schema.json", &(text + "\n"))?;
        let path = self.root.join(".gitignore");
        let fail = |action| {
            let path = path.clone();
            move |source| ScaffoldError::Io { path, action, source }
        };
        let before = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.create(".gitignore", ".prusik/\n");
            }
            Err(error) => return Err(fail("read")(error)),
        };
        let ignored = [".prusik/", ".prusik", "/.prusik/", "/.prusik"];
        if !before.lines().any(|line| ignored.contains(&line.trim())) {
            let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .and_then(|mut file| file.write_all(format!("{gap}.prusik/\n").as_bytes()))
                .map_err(fail("written"))?;
            self.made.notes.push("`.prusik/` was added to .gitignore".to_owned());
        }
        Ok(())
    }
}
