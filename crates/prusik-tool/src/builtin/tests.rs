//! What the built-in tools do, and what they say when they do not.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prusik_core::contract::EffectClass;
use prusik_core::message::Content;
use prusik_core::outcome::{Failure, Refusal};
use prusik_core::schema;
use serde_json::json;

use super::problem::Kind;
use super::*;

struct Fixture {
    _folder: tempfile::TempDir,
    root: PathBuf,
    tools: Vec<Arc<dyn Tool>>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("work");
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("src/main.rs"), "fn main() {\n    // TODO: Work\n}\n").unwrap();
    fs::write(root.join("notes.md"), "alpha\nbeta\ntodo gamma\n").unwrap();
    fs::write(root.join(".gitignore"), "ignored\n").unwrap();
    fs::write(root.join("ignored"), "todo").unwrap();
    fs::write(root.join("binary"), b"todo\0\x01").unwrap();
    fs::write(root.join("prusik.yaml"), "").unwrap();
    let builtins = Builtins {
        children: None,
        hidden: vec!["keys".into()],
        workspace: root.clone(),
        protected: vec!["prusik.yaml".into()],
        state: folder.path().join("state"),
        shell: ShellPolicy::Unconfined,
    };
    Fixture { root, tools: builtins.tools().unwrap(), _folder: folder }
}

impl Fixture {
    async fn call_with(
        &self,
        name: &str,
        arguments: Value,
        key: Option<&str>,
        cancel: CancellationToken,
    ) -> Reply {
        let tool = self.tools.iter().find(|tool| tool.info().name == name).unwrap();
        let meta_key = key.map(|key| (EDIT_KEY, key));
        let attempt = CallAttempt { arguments: &arguments, meta_key, cancel, progress: &|_| {} };
        tool.call(attempt).await
    }

    async fn call(&self, name: &str, arguments: Value) -> Reply {
        self.call_with(name, arguments, None, CancellationToken::new()).await
    }

    async fn text(&self, name: &str, arguments: Value) -> String {
        match self.call(name, arguments).await {
            Reply::Returned(result) => result.plain_text(),
            other => panic!("{other:?}"),
        }
    }

    async fn kind(&self, name: &str, arguments: Value) -> String {
        match self.call(name, arguments).await {
            Reply::Refused(Refusal { kind: Some(kind), message, .. }) => {
                assert!(!message.is_empty());
                kind
            }
            other => panic!("{other:?}"),
        }
    }

    fn file(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }
}

#[test]
fn every_tool_has_a_schema_and_a_contract_that_says_what_to_do() {
    let fixture = fixture();
    assert_eq!(fixture.tools.len(), 7);
    for tool in &fixture.tools {
        let info = tool.info();
        schema::check_schema(&info.input_schema).unwrap();
        for (name, parameter) in info.input_schema["properties"].as_object().unwrap() {
            assert!(parameter["description"].is_string(), "{} {name}", info.name);
        }
        let contract = builtin_contract(&info.name).unwrap();
        let expected = match info.name.as_str() {
            "write" | "edit" => EffectClass::Idempotent,
            "shell" => EffectClass::Write,
            _ => EffectClass::Read,
        };
        assert_eq!(contract.effect, expected, "{}", info.name);
        assert_eq!(contract.key.is_some(), expected == EffectClass::Idempotent);
        assert!(contract.failures.values().all(|term| term.tell.is_some()));
    }
    assert_eq!(builtin_contract("bank__pay"), None);
    let declared = |kind: &Kind| {
        ["read", "write", "edit", "grep", "shell"]
            .iter()
            .any(|name| builtin_contract(name).unwrap().failures.contains_key(kind.as_str()))
    };
    assert!(Kind::ALL.iter().all(declared), "every kind is declared somewhere");
}

#[tokio::test]
async fn read_numbers_lines_and_goes_on() {
    let fixture = fixture();
    let whole = fixture.text("read", json!({"path": "notes.md"})).await;
    assert_eq!(whole, "     1\talpha\n     2\tbeta\n     3\ttodo gamma\n");
    let part = fixture.text("read", json!({"path": "notes.md", "offset": 2, "limit": 1})).await;
    assert_eq!(part, "     2\tbeta\n[Lines 2 to 2 of 3. Go on with offset 3.]");
    let beyond = fixture.text("read", json!({"path": "notes.md", "offset": 9})).await;
    assert!(beyond.contains("no line 9"), "{beyond}");
    let huge = json!({"path": "notes.md", "offset": u64::MAX, "limit": u64::MAX});
    assert!(fixture.text("read", huge).await.contains("no line"));
    fs::write(fixture.root.join("long"), "ä".repeat(5_000)).unwrap();
    let long = fixture.text("read", json!({"path": "long"})).await;
    assert!(long.contains("line cut") && long.len() < 2_100, "{}", long.len());
    fs::write(fixture.root.join("empty"), "").unwrap();
    assert_eq!(fixture.text("read", json!({"path": "empty"})).await, "empty is empty.");
}

#[tokio::test]
async fn read_shows_images_and_describes_the_rest() {
    let fixture = fixture();
    let png = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 1, 2];
    fs::write(fixture.root.join("image.txt"), png).unwrap();
    let Reply::Returned(result) = fixture.call("read", json!({"path": "image.txt"})).await else {
        panic!()
    };
    assert!(matches!(&result.content[..], [Content::Image(i)] if i.media_type == "image/png"));
    let binary = fixture.text("read", json!({"path": "binary"})).await;
    assert_eq!(binary, "binary is not text: 6 bytes, not shown.");
    fs::write(fixture.root.join("latin1"), b"caf\xe9").unwrap();
    assert!(fixture.text("read", json!({"path": "latin1"})).await.contains("not text"));
    let sparse = fs::File::create(fixture.root.join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    assert_eq!(fixture.kind("read", json!({"path": "sparse"})).await, "too_large");
    assert_eq!(fixture.kind("read", json!({"path": "none"})).await, "not_found");
    assert_eq!(fixture.kind("read", json!({"path": "src"})).await, "not_a_file");
    assert_eq!(fixture.kind("read", json!({"path": "/etc/passwd"})).await, "outside_workspace");
    assert_eq!(fixture.kind("read", json!({"path": 7})).await, "invalid_arguments");
}

#[tokio::test]
async fn write_says_the_same_when_it_is_repeated() {
    let fixture = fixture();
    let arguments = json!({"path": "new/deep/a.txt", "content": "hällo"});
    let first = fixture.call("write", arguments.clone()).await;
    assert_eq!(fixture.file("new/deep/a.txt"), "hällo");
    assert_eq!(fixture.call("write", arguments).await, first);
    let kind = fixture.kind("write", json!({"path": "prusik.yaml", "content": ""})).await;
    assert_eq!(kind, "protected");
}

fn edit(old: &str, new: &str, all: bool) -> Value {
    json!({"path": "notes.md", "old_text": old, "new_text": new, "replace_all": all})
}

#[tokio::test]
async fn edit_replaces_exactly_one_place_or_all() {
    let fixture = fixture();
    assert_eq!(fixture.kind("edit", edit("a", "b", false)).await, "not_unique");
    assert_eq!(fixture.kind("edit", edit("zeta", "b", false)).await, "no_match");
    assert_eq!(fixture.kind("edit", edit("beta", "beta", false)).await, "no_change");
    assert_eq!(
        fixture.text("edit", edit("beta", "$0 beta", false)).await,
        "Replaced 1 place in notes.md."
    );
    assert_eq!(
        fixture.text("edit", edit("a\n", "A\n", true)).await,
        "Replaced 3 places in notes.md."
    );
    assert_eq!(fixture.file("notes.md"), "alphA\n$0 betA\ntodo gammA\n");
    let latin1 = json!({"path": "binary2", "old_text": "a", "new_text": "b"});
    fs::write(fixture.root.join("binary2"), b"a\xff").unwrap();
    assert_eq!(fixture.kind("edit", latin1).await, "not_text");
}

#[tokio::test]
async fn an_edit_repeated_with_its_key_lands_once() {
    let fixture = fixture();
    // The new text holds the old one: nothing in the file tells whether this landed.
    let arguments = json!({"path": "notes.md", "old_text": "beta", "new_text": "beta beta2"});
    let again = |key: &'static str| {
        fixture.call_with("edit", arguments.clone(), Some(key), CancellationToken::new())
    };
    let expected = "alpha\nbeta beta2\ntodo gamma\n";
    let first = again("k1").await;
    assert_eq!(again("k1").await, first);
    assert_eq!(fixture.file("notes.md"), expected);
    // As if it had crashed after the note and before the rename: it is made now.
    fs::write(fixture.root.join("notes.md"), "alpha\nbeta\ntodo gamma\n").unwrap();
    assert_eq!(again("k1").await, first);
    assert_eq!(fixture.file("notes.md"), expected);
    // Somebody else changed the file: nobody can tell, and nothing is touched.
    fs::write(fixture.root.join("notes.md"), "beta, by somebody else").unwrap();
    let reply = again("k1").await;
    assert!(matches!(&reply, Reply::Lost { reason } if reason.contains("somebody else")));
    assert_eq!(fixture.file("notes.md"), "beta, by somebody else");
    // Another key is another edit.
    assert!(matches!(again("k2").await, Reply::Returned(_)));
    assert_eq!(fixture.file("notes.md"), "beta beta2, by somebody else");
}

#[tokio::test]
async fn edits_at_once_do_not_undo_each_other() {
    let fixture = fixture();
    let words: Vec<String> = (0..20).map(|n| format!("<{n}>")).collect();
    fs::write(fixture.root.join("many"), words.concat()).unwrap();
    let calls = (0..20).map(|n| {
        let arguments =
            json!({"path": "many", "old_text": format!("<{n}>"), "new_text": format!("[{n}]")});
        fixture.call("edit", arguments)
    });
    for reply in futures_util::future::join_all(calls).await {
        assert!(matches!(reply, Reply::Returned(_)), "{reply:?}");
    }
    assert!(!fixture.file("many").contains('<'), "{}", fixture.file("many"));
}

#[tokio::test]
async fn list_glob_and_grep_find_what_is_there() {
    let fixture = fixture();
    std::os::unix::fs::symlink("/etc", fixture.root.join("etc")).unwrap();
    let list = fixture.text("list", json!({})).await;
    assert!(list.contains("src/\n") && list.contains("notes.md  22 bytes\n"), "{list}");
    assert!(list.contains("etc  link\n"), "{list}");
    assert_eq!(fixture.kind("list", json!({"path": "etc"})).await, "outside_workspace");
    assert_eq!(fixture.kind("list", json!({"path": "notes.md"})).await, "not_a_folder");

    assert_eq!(fixture.text("glob", json!({"pattern": "*.rs"})).await, "src/main.rs");
    assert_eq!(fixture.text("glob", json!({"pattern": "*", "path": "src"})).await, "src/main.rs");
    assert_eq!(fixture.text("glob", json!({"pattern": "passwd"})).await, "No file matches passwd.");
    let some = fixture.text("glob", json!({"pattern": "**", "limit": 1})).await;
    assert_eq!(some, "binary\n[The first 1. There are more.]");
    assert_eq!(fixture.kind("glob", json!({"pattern": "["})).await, "invalid_pattern");

    let found = fixture.text("grep", json!({"pattern": "todo"})).await;
    assert_eq!(found, "notes.md:3:todo gamma");
    let all = json!({"pattern": "TODO", "ignore_case": true, "mode": "files"});
    assert_eq!(fixture.text("grep", all).await, "notes.md\nsrc/main.rs");
    let count = json!({"pattern": "a", "mode": "count", "glob": "*.md"});
    assert_eq!(fixture.text("grep", count).await, "notes.md: 3");
    let context = json!({"pattern": "beta", "path": "notes.md", "context": 1});
    let context = fixture.text("grep", context).await;
    assert_eq!(context, "notes.md-1-alpha\nnotes.md:2:beta\nnotes.md-3-todo gamma");
    let literal = json!({"pattern": "main()", "literal": true});
    assert_eq!(fixture.text("grep", literal).await, "src/main.rs:1:fn main() {");
    let first = fixture.text("grep", json!({"pattern": "a", "limit": 1})).await;
    assert!(first.starts_with("notes.md:1:alpha\n[The first 1."), "{first}");
    assert_eq!(fixture.text("grep", json!({"pattern": "zzz"})).await, "Nothing matches zzz.");
    assert_eq!(fixture.kind("grep", json!({"pattern": "("})).await, "invalid_pattern");
    let hungry = json!({"pattern": "(?:x{1000}){1000}"});
    assert_eq!(fixture.kind("grep", hungry).await, "invalid_pattern");
}

#[tokio::test]
async fn what_is_cancelled_before_it_starts_was_not_sent() {
    let fixture = fixture();
    let cancel = CancellationToken::new();
    cancel.cancel();
    for (name, arguments) in
        [("write", json!({"path": "x", "content": ""})), ("shell", json!({"command": "touch x"}))]
    {
        let reply = fixture.call_with(name, arguments, None, cancel.clone()).await;
        assert!(matches!(reply, Reply::NotSent { .. }), "{reply:?}");
    }
    assert!(!fixture.root.join("x").exists());
}

#[tokio::test]
async fn shell_reports_code_and_output() {
    let fixture = fixture();
    let out = fixture.text("shell", json!({"command": "echo out; echo err >&2; exit 3"})).await;
    assert_eq!(out, "exit code 3\n--- stdout\nout\n\n--- stderr\nerr\n");
    let pwd = fixture.text("shell", json!({"command": "pwd; cat"})).await;
    assert!(pwd.contains(fixture.root.canonicalize().unwrap().to_str().unwrap()), "{pwd}");
    let env = fixture.text("shell", json!({"command": "env"})).await;
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !env.contains("CARGO_"), "{env}");
    let killed = fixture.text("shell", json!({"command": "kill -9 $$"})).await;
    assert_eq!(killed, "ended by signal 9");
    let much = "head -c 3000000 /dev/zero | tr '\\0' x; echo end";
    let much = fixture.text("shell", json!({"command": much})).await;
    assert!(much.len() < 300_000 && much.ends_with("xend\n"), "{}", much.len());
    assert!(much.contains("bytes left out"));
}

#[tokio::test]
async fn a_shell_command_that_does_not_end_is_ended_with_all_it_started() {
    let fixture = fixture();
    let command = "sleep 3600 & echo $! > pid; wait";
    let late = fixture.text("shell", json!({"command": command, "timeout_ms": 300})).await;
    assert!(late.starts_with("timed out after 300 ms and was killed"), "{late}");
    let pid = fixture.file("pid");
    wait_for_death(pid.trim()).await;
    // What a command leaves behind goes with it, and does not hold up the answer.
    let left = fixture.text("shell", json!({"command": "sleep 3600 & echo $! > pid"})).await;
    assert_eq!(left, "exit code 0");
    wait_for_death(fixture.file("pid").trim()).await;

    let cancel = CancellationToken::new();
    let command = json!({"command": "touch started; sleep 3600"});
    let running = fixture.call_with("shell", command, None, cancel.clone());
    let started = async {
        while !fixture.root.join("started").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (reply, ()) = tokio::join!(running, started);
    assert!(matches!(&reply, Reply::Lost { reason } if reason.contains("cancelled")), "{reply:?}");
}

async fn wait_for_death(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    let alive = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..2_000 {
        if !alive() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{pid} lives on");
}

#[tokio::test]
async fn a_refusal_takes_its_advice_from_the_contract() {
    let fixture = fixture();
    let Reply::Refused(refusal) = fixture.call("read", json!({"path": "none"})).await else {
        panic!()
    };
    let failure = Failure::from_refusal(&builtin_contract("read").unwrap(), refusal);
    assert_eq!(failure.kind, "not_found");
    assert!(failure.advice.unwrap().contains("`glob`"));
}
