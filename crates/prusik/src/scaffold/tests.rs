//! Tests of `new` and `init`: what they make must load, and nothing may be lost.

use std::path::Path;

use super::*;
use crate::project::Project;

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_new_project_loads_whatever_answers() {
    for model in StartModel::ALL {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("deep/project");
        let made = new(&root, model).unwrap();
        assert!(made.created.contains(&PathBuf::from("prusik.yaml")));
        let project = Project::load(&root).unwrap_or_else(|errors| panic!("{model:?}: {errors}"));
        assert_eq!(project.agents().len(), 1);
        assert!(
            project.model_spec("default").unwrap().price.is_some() || model == StartModel::Ollama
        );
        assert!(project.workspace().join("notes.txt").is_file());
        let ignore = fs::read_to_string(root.join(".gitignore")).unwrap();
        assert_eq!(ignore, ".prusik/\n");
        assert!(root.join(".prusik/prusik.schema.json").is_file());
    }
}

#[test]
fn the_script_of_a_new_project_is_one() {
    let text = include_str!("templates/demo.yaml");
    prusik_model::Script::parse(text, "scripts/demo.yaml").unwrap();
    let held = ["read", "list", "glob", "grep", "write", "edit", "plan"];
    let called = text.split("tool: ").skip(1).map(|rest| rest.split([' ', '}', ',', '\n']).next());
    for tool in called {
        assert!(held.contains(&tool.unwrap()), "main does not hold {tool:?}");
    }
}

#[test]
fn the_commented_lines_of_a_new_project_are_right_too() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("p");
    new(&root, StartModel::Scripted).unwrap();
    let text = fs::read_to_string(root.join("prusik.yaml")).unwrap();
    let start = text.find("# servers:").unwrap();
    let uncommented: String = text[start..]
        .lines()
        .filter_map(|line| line.strip_prefix("# ").or_else(|| line.is_empty().then_some("")))
        // Prose begins with a capital letter or goes on in the middle of a sentence.
        .filter(|line| line.starts_with([' ']) || line.ends_with(':') || line.starts_with("shell:"))
        .collect::<Vec<_>>()
        .join("\n");
    let text = format!("{}{uncommented}", &text[..start])
        .replace("\n  files:", "\n  bank: { command: bank }\n  files:");
    fs::write(root.join("prusik.yaml"), &text).unwrap();
    let project = Project::load(&root).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert!(project.has_unconfined_shell());
    assert_eq!(project.servers().count(), 3);
}

#[test]
fn new_refuses_a_folder_with_something_in_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    write(folder.path(), "thesis.txt", "ten years of work");
    let error = new(folder.path(), StartModel::Scripted).unwrap_err();
    assert!(error.to_string().contains("prusik init"), "{error}");
    assert!(!folder.path().join("prusik.yaml").exists());
    fs::remove_file(folder.path().join("thesis.txt")).unwrap();
    new(folder.path(), StartModel::Scripted).unwrap();
}

#[test]
fn new_says_which_path_it_could_not_make() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file", "");
    let error = new(&folder.path().join("file/below"), StartModel::Scripted).unwrap_err();
    assert!(error.to_string().contains("file/below"), "{error}");
}

#[test]
fn init_adopts_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(
        root,
        ".mcp.json",
        r#"{"mcpServers": {"docs": {"type": "http", "url": "https://x.dev/mcp"}}}"#,
    );
    write(root, "AGENTS.md", "Speak plainly.");
    write(root, ".gitignore", "target");
    write(
        root,
        ".claude/agents/reviewer.md",
        "---\nname: reviewer\ndescription: Reviews: code, \"quoted\"\ntools: Read, Grep, WebFetch, \
         Bash(git *), mcp__docs__find\nmodel: opus\nhooks:\n  Stop:\n    - x: 1\ncolor: red\n---\n\
         Review.\n",
    );
    write(root, ".claude/agents/all.md", "---\nname: all\ndescription: x\n---\nDo it.\n");
    write(root, ".claude/agents/plain.md", "No front matter.\n");
    let made = init(root, StartModel::Anthropic).unwrap();
    assert!(made.notes.iter().any(|note| note.contains("plain.md")), "{made:?}");
    let project = Project::load(root).unwrap_or_else(|errors| panic!("{errors}"));
    let reviewer = project.agent(Some("reviewer")).unwrap();
    assert_eq!(reviewer.tools, ["read", "grep", "docs__find"]);
    assert_eq!(reviewer.description.as_deref(), Some("Reviews: code, \"quoted\""));
    assert!(project.agent(Some("all")).unwrap().tools.is_empty());
    assert!(project.server("docs").is_some());
    assert_eq!(fs::read_to_string(root.join(".gitignore")).unwrap(), "target\n.prusik/\n");
    assert!(matches!(init(root, StartModel::Anthropic), Err(ScaffoldError::AlreadyProject { .. })));
}

#[test]
fn init_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "agents/main.md", "---\n---\nMine.");
    write(root, "scripts/demo.yaml", "turns: [{say: mine}]");
    write(root, ".prusik/prusik.schema.json", "{}");
    write(root, ".gitignore", "/.prusik\n");
    let made = init(root, StartModel::Scripted).unwrap();
    assert_eq!(made.created, [PathBuf::from("prusik.yaml")]);
    assert_eq!(fs::read_to_string(root.join("agents/main.md")).unwrap(), "---\n---\nMine.");
    assert_eq!(fs::read_to_string(root.join(".gitignore")).unwrap(), "/.prusik\n");
    assert!(Project::load(root).is_ok());
}

#[test]
fn init_makes_an_agent_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), StartModel::Ollama).unwrap();
    let project = Project::load(folder.path()).unwrap();
    assert_eq!(project.agent(None).unwrap().name, "main");
    let missing = folder.path().join("nowhere");
    assert!(matches!(init(&missing, StartModel::Ollama), Err(ScaffoldError::NoFolder { .. })));
}
