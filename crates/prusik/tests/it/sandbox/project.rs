//! The sandbox of a project: what is said of it, what can be granted, and what a kill leaves.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::cage::{cages, nothing_runs};
use crate::prusik::{json_lines, prusik, prusik_command, prusik_with, said, wait_for, write_files};

const AGENT: &str = "---\nname: main\ndescription: d\ntools: [shell, read]\n---\nDo it.\n";
const MODELS: &str = "models:\n  default: { provider: scripted, script: script.yaml }\n";

fn project(folder: &Path, command: &str, more: &str) {
    let command = command.replace('\'', "''");
    let script = format!(
        "turns:\n  - call: [{{ tool: shell, arguments: {{ command: '{command}' }} }}]\n  - say: Done.\n"
    );
    let yaml = format!("{MODELS}{more}");
    let files = [
        ("prusik.yaml", yaml.as_str()),
        ("agents/main.md", AGENT),
        ("script.yaml", script.as_str()),
        ("secret.txt", "a secret"),
    ];
    write_files(folder, &files);
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// What the cages of this machine are called, and the environment that leads to them.
fn ways() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let env = |name| if name == "floor" { vec![("PRUSIK_BWRAP", "/nonexistent")] } else { vec![] };
    cages().into_iter().map(|(name, _)| (name, env(name))).collect()
}

fn result_of(folder: &Path, env: &[(&str, &str)]) -> String {
    let events = prusik_with(folder, &["events", "last", "--json"], env);
    String::from_utf8_lossy(&events.stdout).into_owned()
}

#[test]
fn a_shell_that_is_named_is_confined_and_says_by_what() {
    for (name, env) in ways() {
        let folder = place();
        project(folder.path(), "echo built > built.txt; cat ../secret.txt ../prusik.yaml", "");
        let run = prusik_with(folder.path(), &["run", "Do it"], &env);
        let text = said(&run);
        assert!(run.status.success(), "{name}: {text}");
        let words = match name {
            "floor" => "shell: confined by Landlock and seccomp alone, without namespaces",
            _ => "shell: confined by namespaces (bubblewrap), Landlock and seccomp",
        };
        assert!(text.contains(words), "{name}: {text}");
        assert_eq!(std::fs::read(folder.path().join("workspace/built.txt")).unwrap(), b"built\n");
        let events = result_of(folder.path(), &env);
        assert!(!events.contains("a secret") && events.contains("exit code 1"), "{name}: {events}");

        let check = prusik_with(folder.path(), &["check"], &env);
        assert!(said(&check).contains(words), "{name}: {}", said(&check));
        let check = prusik_with(folder.path(), &["check", "--json"], &env);
        let told = json_lines(&check.stdout);
        let line = told.iter().find(|line| line["sandbox"] == "shell").unwrap();
        assert_eq!(line["protection"], name);
    }
}

#[test]
fn without_protection_a_run_is_not_begun_unless_told_otherwise_in_so_many_words() {
    let nothing = [("PRUSIK_BWRAP", "/nonexistent"), ("PRUSIK_HELPER", "/bin/true")];
    let folder = place();
    project(folder.path(), "touch made", "");
    let refused = prusik_with(folder.path(), &["run", "Do it"], &nothing);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    for word in ["cannot be confined on this machine", "`shell: unconfined` in prusik.yaml"] {
        assert!(said(&refused).contains(word), "{}", said(&refused));
    }
    assert!(!folder.path().join("workspace/made").exists());
    project(folder.path(), "touch made", "shell: unconfined\n");
    let run = prusik_with(folder.path(), &["run", "Do it"], &nothing);
    assert!(
        run.status.success() && said(&run).contains("shell: nothing confines it"),
        "{}",
        said(&run)
    );
    assert!(folder.path().join("workspace/made").exists());
}

#[test]
fn what_is_granted_is_there_and_no_more() {
    for (name, env) in ways() {
        let folder = place();
        std::fs::create_dir_all(folder.path().join("cache")).unwrap();
        std::fs::create_dir_all(folder.path().join("books")).unwrap();
        std::fs::write(folder.path().join("books/one"), "a book").unwrap();
        let grants = "sandbox: { writable: [cache], readable: [books], processes: 50 }\n";
        let command =
            "cat ../books/one && echo x > ../cache/y && ! echo x > ../books/two && ! ls ../agents";
        project(folder.path(), command, grants);
        let run = prusik_with(folder.path(), &["run", "Do it"], &env);
        assert!(run.status.success(), "{name}: {}", said(&run));
        let events = result_of(folder.path(), &env);
        assert!(events.contains("exit code 0") && events.contains("a book"), "{name}: {events}");
        assert!(
            folder.path().join("cache/y").exists() && !folder.path().join("books/two").exists()
        );
    }
}

#[test]
fn a_workspace_that_is_the_project_does_not_let_it_be_changed() {
    for (name, env) in ways() {
        let folder = place();
        let command = "for f in prusik.yaml agents/main.md script.yaml .prusik/x .git/config agents/evil.md; do \
                       echo x >> $f; done; cat .prusik/prusik.db; mkdir -p sub; true";
        project(folder.path(), command, "workspace: .\n");
        write_files(folder.path(), &[(".git/config", "[core]\n"), ("sub/x", "y")]);
        let before = std::fs::read(folder.path().join("prusik.yaml")).unwrap();
        let run = prusik_with(folder.path(), &["run", "Do it"], &env);
        assert!(run.status.success(), "{name}: {}", said(&run));
        assert_eq!(std::fs::read(folder.path().join("prusik.yaml")).unwrap(), before, "{name}");
        assert_eq!(std::fs::read_to_string(folder.path().join("agents/main.md")).unwrap(), AGENT);
        assert_eq!(std::fs::read(folder.path().join(".git/config")).unwrap(), b"[core]\n");
        assert!(!folder.path().join("agents/evil.md").exists());
        let events = result_of(folder.path(), &env);
        assert!(
            events.contains("exit code 0") && !events.contains("SQLite format"),
            "{name}: {events}"
        );
    }
}

#[test]
fn what_cannot_be_granted_is_a_mistake_of_the_file() {
    for (grant, word) in [
        ("sandbox: { network: [localhost] }", "no domain that can be granted"),
        ("sandbox: { network: ['169.254.169.254'] }", "no domain that can be granted"),
        ("sandbox: { writable: [/] }", "keep apart"),
        ("sandbox: { readable: ['~/'] }", "keep apart"),
        ("sandbox: { writable: [nowhere] }", "there is no"),
        ("sandbox: { memory_mb: 1 }", "16 MiB"),
        ("sandbox: { processes: 0 }", "leaves nothing"),
        ("sandbox: { memory: 5 }", "memory_mb"),
        ("shell: unconfined\nsandbox: {}", "has no sandbox"),
        (
            "servers: { s: { url: 'https://example.com/mcp', sandbox: {} } }",
            "for a server with `command`",
        ),
    ] {
        let folder = place();
        project(folder.path(), "true", &format!("{grant}\n"));
        let refused = prusik(folder.path(), &["run", "Do it"]);
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{grant}: {text}");
        assert!(text.contains(word), "{grant}: {text}");
    }
}

#[test]
fn a_network_cannot_be_granted_on_the_floor() {
    let folder = place();
    project(folder.path(), "true", "sandbox: { network: [example.com] }\n");
    let refused =
        prusik_with(folder.path(), &["run", "Do it"], &[("PRUSIK_BWRAP", "/nonexistent")]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("install bubblewrap"), "{}", said(&refused));
}

/// Through the relay in the namespace and the proxy on the host. The answer is the proxy's own: a
/// refusal, or that there is no network here.
#[test]
fn in_namespaces_programs_find_the_proxy_and_it_refuses_what_is_not_granted() {
    for (_, env) in ways().into_iter().filter(|(name, _)| *name == "namespaces") {
        let folder = place();
        let ask = "import os, urllib.request, urllib.error\n\
                   for url in ('http://other.example.org/', 'http://169.254.169.254/'):\n\
                   \x20   try: print(urllib.request.urlopen(url, timeout=30).status)\n\
                   \x20   except urllib.error.HTTPError as error: print(error.code, error.read().decode())\n\
                   import socket\n\
                   try: socket.create_connection(('1.1.1.1', 80), 2); print('DIRECT')\n\
                   except OSError: print('no way around')\n";
        project(folder.path(), "/usr/bin/python3 ask.py", "sandbox: { network: [example.com] }\n");
        write_files(folder.path(), &[("workspace/ask.py", ask)]);
        let run = prusik_with(folder.path(), &["run", "Do it"], &env);
        assert!(run.status.success(), "{}", said(&run));
        let events = result_of(folder.path(), &env);
        for word in [
            "`other.example.org:80` is not granted; granted are example.com",
            "it is an address",
            "no way around",
        ] {
            assert!(events.contains(word), "{word}: {events}");
        }
        assert!(!events.contains("DIRECT"), "{events}");
    }
}

/// Returns how a run that was killed with its command at work goes on.
fn killed(env: &[(&str, &str)], word: &str) -> (Output, tempfile::TempDir) {
    let folder = place();
    project(folder.path(), &format!("touch begun; setsid sleep {word} & sleep {word}"), "");
    let mut command: Command = prusik_command(folder.path(), &["run", "Do it"]);
    let mut child = command
        .envs(env.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&folder.path().join("workspace/begun"));
    child.kill().unwrap();
    child.wait().unwrap();
    (prusik_with(folder.path(), &["resume", "last"], env), folder)
}

#[tokio::test]
async fn a_killed_runtime_takes_what_is_in_the_cage_with_it() {
    for (index, (name, env)) in ways().into_iter().enumerate() {
        let word = format!("86395.{index}");
        let (resumed, _folder) = killed(&env, &word);
        // By then nothing of it may run: the call is in doubt, and a person looks at what it did.
        nothing_runs(&word).await;
        assert_eq!(resumed.status.code(), Some(3), "{name}: {}", said(&resumed));
    }
}
