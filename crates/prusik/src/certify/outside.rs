//! Servers that act on something outside of the project's folder, as far as that can be known.
//!
//! There is no sandbox: what a program does of its own accord is not seen here. What is seen is what it
//! is told, and what it is. Where that leads out of a copy, or cannot be read, the answer is no.

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::assemble::SELF_COMMAND;
use crate::cli::Stopped;
use crate::project::config::SandboxConfig;
use crate::project::values::Template;
use crate::project::{AgentEntry, Project, Server, Transport};

/// What a server's own script is called.
const SCRIPTS: [&str; 11] =
    ["js", "mjs", "cjs", "ts", "py", "rb", "php", "pl", "jar", "wasm", "lua"];
/// Folders of packages, in which servers keep their data, too.
const PACKAGES: [&str; 3] = ["node_modules", "site-packages", "dist-packages"];
/// Programs that run what lies elsewhere.
const ELSEWHERE: [&str; 9] =
    ["npx", "bunx", "pnpx", "uvx", "pipx", "docker", "podman", "kubectl", "ssh"];
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish"];
/// Programs, by how their names begin, with the words before which they take a program as text.
const EVALUATE: [(&str, &[&str]); 7] = [
    ("python", &["-c"]),
    ("node", &["-e", "--eval", "-p", "--print", "-pe"]),
    ("bun", &["-e", "--eval"]),
    ("deno", &["eval"]),
    ("ruby", &["-e"]),
    ("perl", &["-e", "-E"]),
    ("php", &["-r"]),
];

/// A path from the root, wherever in a word: at its beginning, after an option of one letter, or after
/// what cannot be part of a path.
static ABSOLUTE: LazyLock<Regex> = LazyLock::new(|| of(r"^/|^-[A-Za-z]/|[^\w.\-+@%~)\]}*/]/"));
static URL: LazyLock<Regex> = LazyLock::new(|| of(r"[A-Za-z][A-Za-z0-9+.\-]*:/"));
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    of(r"(?i)\blocalhost\b|\b\d{1,3}(\.\d{1,3}){3}\b|\b[a-z][\w\-]*(\.[\w\-]+)*:\d{2,5}\b")
});
static OF_A_SHELL: LazyLock<Regex> = LazyLock::new(|| of(r"^-[A-Za-z]*c[A-Za-z]*$"));

fn of(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a valid one")
}

/// Refuses a server that a copy of the project's folder does not contain.
pub fn check(project: &Project, name: &str) -> Result<(), Stopped> {
    let Some(server) = project.server(name) else { return Ok(()) };
    match reason(project, server) {
        None => Ok(()),
        Some(reason) => Err(refusal(&format!("the server `{name}` {reason}"))),
    }
}

/// Refuses an agent that may hold what a copy of the project's folder does not contain.
pub fn check_agent(project: &Project, agent: &AgentEntry) -> Result<(), Stopped> {
    for server in project.servers_for(agent) {
        check(project, &server.name)?;
    }
    if project.has_unconfined_shell() {
        return Err(refusal("the project has `shell: unconfined`, which acts anywhere"));
    }
    if let Some(reason) = project.config().sandbox.as_ref().and_then(beyond) {
        return Err(refusal(&format!("`sandbox` of the project {reason}")));
    }
    for (key, path) in
        [("workspace", &project.config().workspace), ("store", &project.config().store)]
    {
        if path.is_absolute() || climbs(path, 0) {
            let shown = path.display();
            return Err(refusal(&format!("`{key}: {shown}` is not below the project's folder")));
        }
    }
    Ok(())
}

/// Returns what a sandbox grants that a copy of the project's folder does not contain.
fn beyond(sandbox: &SandboxConfig) -> Option<String> {
    if let Some(domain) = sandbox.network.first() {
        return Some(format!("lets commands reach `{domain}`"));
    }
    let leaves = |path: &&PathBuf| path.is_absolute() || path.starts_with("~") || climbs(path, 0);
    let path = sandbox.writable.iter().find(leaves)?;
    Some(format!("lets commands write `{}`", path.display()))
}

fn refusal(why: &str) -> Stopped {
    Stopped::misuse(format!(
        "{why}: there would be effects outside of a scratch folder\n  help: write paths relative to the \
         project's folder and try a server that acts only there, or say --live-effects if you want these \
         effects"
    ))
}

fn reason(project: &Project, server: &Server) -> Option<String> {
    let Transport::Stdio { command, args, env, cwd } = &server.transport else {
        return match &server.transport {
            Transport::Http { .. } => {
                Some("is reached over the network and acts on what it is connected to".to_owned())
            }
            Transport::Stdio { .. } | Transport::Unsupported { .. } => None,
        };
    };
    if let Some(reason) = server.sandbox.as_ref().and_then(beyond) {
        return Some(format!("has a sandbox that {reason}"));
    }
    let declared = project.config().servers.get(&server.name).and_then(|own| own.cwd.as_deref());
    let root = project.root().canonicalize().ok()?;
    let Some(depth) = depth_of(&root, cwd, declared) else {
        return Some(format!("works in `cwd: {}`, which is not copied", cwd.display()));
    };
    if let Some((name, _)) = env.iter().find(|(_, value)| value.literal().is_none()) {
        return Some(format!("is given `{name}`, which may be the key to something elsewhere"));
    }
    let words: Option<Vec<&str>> =
        [command].into_iter().chain(args).map(Template::literal).collect();
    let Some(words) = words else {
        return Some("is told what only the environment knows".to_owned());
    };
    let (command, words) = words.split_first()?;
    let of_command = || command_reason(&root, command, words, depth);
    let script = words.iter().position(|word| !word.starts_with('-'));
    let of_word = |(index, word): (usize, &&str)| {
        if script == Some(index) && is_script(Path::new(word)) {
            return script_reason(&root, Path::new(word));
        }
        word_reason(word, depth)
    };
    let of_variable = |(name, value): (&String, &Template)| {
        let reason = word_reason(value.literal()?, depth)?;
        Some(format!("{reason} (in `{name}`)"))
    };
    of_command()
        .or_else(|| words.iter().enumerate().find_map(of_word))
        .or_else(|| env.iter().find_map(of_variable))
}

/// Returns how deep below the project's folder a server works; none if a copy of it would not work in
/// the copy.
fn depth_of(root: &Path, cwd: &Path, declared: Option<&Path>) -> Option<usize> {
    if declared.is_some_and(Path::is_absolute) {
        return None;
    }
    let real = cwd.canonicalize().ok()?;
    Some(real.strip_prefix(root).ok()?.components().count())
}

fn command_reason(root: &Path, command: &str, args: &[&str], depth: usize) -> Option<String> {
    let name =
        |word: &str| Path::new(word).file_name().map(|name| name.to_string_lossy().into_owned());
    let called = name(command).unwrap_or_default();
    if ELSEWHERE.contains(&called.as_str()) {
        return Some(format!(
            "is run by `{called}`, which keeps what it runs elsewhere; install it in the project's folder"
        ));
    }
    let mut words = [command].into_iter().chain(args.iter().copied());
    let is_shell = |word: &str| name(word).is_some_and(|name| SHELLS.contains(&name.as_str()));
    if let Some(shell) = words.find(|word| is_shell(word))
        && let Some(flag) = words.find(|word| OF_A_SHELL.is_match(word))
    {
        return Some(format!("is a command line of `{shell} {flag}`, which may do anything"));
    }
    let evaluates = EVALUATE.iter().find(|(program, _)| called.starts_with(program));
    let mut before_script =
        args.iter().take_while(|word| word.starts_with('-') || **word == "eval");
    if let Some((_, flags)) = evaluates
        && let Some(flag) = before_script.find(|word| flags.contains(*word))
    {
        return Some(format!(
            "is a program in the words of `{called} {flag}`, which may do anything"
        ));
    }
    if command == SELF_COMMAND {
        return None;
    }
    let path = Path::new(command);
    if !path.is_absolute() && path.components().count() > 1 {
        return climbs(path, depth).then(|| format!("is `{command}`, which is not copied"));
    }
    let found = if path.is_absolute() { Some(path.to_owned()) } else { on_path(command) };
    let real = found.and_then(|found| found.canonicalize().ok())?;
    let inside = path.is_absolute() && (path.starts_with(root) || real.starts_with(root));
    if inside {
        return Some(format!("is `{command}` of the project itself, not of a copy"));
    }
    in_packages(&real).then(|| {
        format!(
            "is `{command}`, which lies among packages outside of the project ({}) and may keep its \
             data there; install it in the project's folder",
            real.display()
        )
    })
}

fn on_path(command: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(command)).find(|path| path.is_file())
}

fn in_packages(path: &Path) -> bool {
    path.components().any(|part| PACKAGES.iter().any(|name| part.as_os_str() == *name))
}

/// A server's own script may lie anywhere, as its command may.
fn is_script(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.is_absolute()
        && path.is_file()
        && extension.is_some_and(|extension| SCRIPTS.contains(&extension))
}

fn script_reason(root: &Path, path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let shown = path.display();
    if real.starts_with(root) || path.starts_with(root) {
        return Some(format!("is `{shown}` of the project itself, not of a copy"));
    }
    (in_packages(&real) || in_packages(path)).then(|| {
        format!(
            "is `{shown}`, which lies among packages outside of the project and may keep its data there; \
             install it in the project's folder"
        )
    })
}

/// Returns what a word names that is not in the copy.
fn word_reason(word: &str, depth: usize) -> Option<String> {
    let parts = || word.split(|c: char| c.is_whitespace() || "=,:;|'\"()[]{}<>".contains(c));
    let is_home = || parts().any(|part| part.starts_with('~'));
    let is_above = || parts().any(|part| climbs(Path::new(part), depth));
    if URL.is_match(word) || ADDRESS.is_match(word) {
        Some(format!("is told of the address `{word}`"))
    } else if ABSOLUTE.is_match(word) || is_home() || is_above() {
        Some(format!("is told of `{word}`, which is not copied"))
    } else {
        None
    }
}

/// Returns whether a relative path leads above the project's folder from `depth` below it.
fn climbs(path: &Path, mut depth: usize) -> bool {
    for part in path.components() {
        match part {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns why a server is refused that is declared so.
    fn refused(root: &Path, server: &str) -> Option<String> {
        let text = format!("servers:\n  s: {server}\n");
        std::fs::write(root.join("prusik.yaml"), text).unwrap();
        let project = Project::load(root).expect(server);
        check(&project, "s").err().map(|stopped| stopped.message)
    }

    #[test]
    fn what_a_copy_contains_is_let_pass() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = folder.path();
        std::fs::create_dir_all(root.join("deep/er")).unwrap();
        let script = elsewhere.path().join("server.js");
        std::fs::write(&script, "").unwrap();
        let script =
            format!("{{ command: node, args: [--no-warnings, {}, data] }}", script.display());
        for server in [
            script.as_str(),
            "{ command: prusik, args: [demo-bank, --ledger, ledger.jsonl] }",
            "{ command: /bin/cat, args: [./data, --x=1, a/b, '@scope/pkg@1.2', '**/*.md', -v] }",
            "{ command: python3, args: [-m, server, --db, sqlite.db], env: { DEBUG: '1', D: data/x } }",
            "{ command: sh, args: [server.sh, conf.toml] }",
            "{ command: cat, args: [../x], cwd: deep/er }",
        ] {
            assert_eq!(refused(root, server), None, "{server}");
        }
    }

    #[test]
    fn what_leads_out_of_a_copy_is_refused_and_named() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = folder.path();
        std::fs::create_dir_all(root.join("deep/er")).unwrap();
        let out = elsewhere.path().display();
        let packed = elsewhere.path().join("node_modules/memory/index.js");
        std::fs::create_dir_all(packed.parent().unwrap()).unwrap();
        for script in [&packed, &root.join("own.js")] {
            std::fs::write(script, "").unwrap();
        }
        let (packed, root_shown) = (packed.display(), root.display());
        let args = |args: &str| format!("{{ command: cat, args: [{args}] }}");
        for (server, word) in [
            (args("/tmp/not/yet/ledger.jsonl"), "/tmp/not/yet/ledger.jsonl"),
            (args("--ledger=/x/y"), "--ledger=/x/y"),
            (args("'a=b,c=/x'"), "a=b,c=/x"),
            (args("-d/x"), "-d/x"),
            (args("'{\"db\":\"/x\"}'"), "db"),
            (args("file:///x"), "file:///x"),
            (args("'sqlite:////x'"), "sqlite:////x"),
            (args("--db=postgres://h/d"), "postgres://h/d"),
            (args("https://example.com"), "https://example.com"),
            (args("db.example.com:5432"), "db.example.com:5432"),
            (args("localhost"), "localhost"),
            (args("'~/notes'"), "~/notes"),
            (args("'--at=~'"), "--at=~"),
            (args("a/../../x"), "a/../../x"),
            (args("'--x=../y'"), "--x=../y"),
            (args("'${DATA}'"), "environment"),
            (format!("{{ command: cat, cwd: {out} }}"), "cwd"),
            (format!("{{ command: cat, cwd: {root_shown}/deep }}"), "cwd"),
            ("{ command: cat, cwd: .. }".to_owned(), "cwd"),
            ("{ command: cat, args: [../../../x], cwd: deep/er }".to_owned(), "../../../x"),
            ("{ command: sh, args: [-c, 'cd x && cat'] }".to_owned(), "sh -c"),
            ("{ command: /bin/bash, args: [-lc, cat] }".to_owned(), "bash -lc"),
            ("{ command: env, args: [A=1, sh, -c, cat] }".to_owned(), "sh -c"),
            ("{ command: python3, args: [-c, 'import x'] }".to_owned(), "python3 -c"),
            ("{ command: node, args: [--no-warnings, -e, x] }".to_owned(), "node -e"),
            ("{ command: npx, args: [-y, memory] }".to_owned(), "npx"),
            (format!("{{ command: node, args: [{packed}] }}"), "index.js"),
            (format!("{{ command: node, args: [{root_shown}/own.js] }}"), "own.js"),
            (format!("{{ command: {root_shown}/own.js }}"), "own.js"),
            ("{ command: ../server }".to_owned(), "../server"),
            ("{ command: cat, env: { DATA: /x } }".to_owned(), "`DATA`"),
            ("{ command: cat, env: { TOKEN: env:TOKEN } }".to_owned(), "`TOKEN`"),
            ("{ command: cat, env: { TOKEN: '${TOKEN}' } }".to_owned(), "`TOKEN`"),
            ("{ url: 'https://example.com/mcp' }".to_owned(), "network"),
        ] {
            let said = refused(root, &server).expect(&server);
            assert!(said.contains(word) && said.contains("--live-effects"), "{server}: {said}");
        }
    }
}
