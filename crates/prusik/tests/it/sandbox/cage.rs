//! A cage to try to get out of, and what it says of itself.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use prusik_core::outcome::Reply;
use prusik_tool::sandbox::{
    Confinement, Grounds, Protection, Sandbox, SandboxLimits, SandboxPolicy,
};
use prusik_tool::{Builtins, CallAttempt, ShellPolicy, Toolbox};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// The binary that confines.
pub fn helper() -> PathBuf {
    env!("CARGO_BIN_EXE_prusik").into()
}

fn bwrap() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("bwrap")).find(|file| file.is_file())
}

/// Returns the cages that this machine has, by name: always the floor, and namespaces where they can be made.
pub fn cages() -> Vec<(&'static str, Confinement)> {
    static FOUND: OnceLock<Vec<(&'static str, Confinement)>> = OnceLock::new();
    let find = || {
        let floor = Confinement::with(Some(helper()), None);
        assert!(matches!(floor.protection(), Protection::Floor { .. }), "{floor:?}");
        let mut cages = vec![("floor", floor)];
        let namespaces = Confinement::with(Some(helper()), bwrap());
        if *namespaces.protection() == Protection::Namespaces {
            cages.push(("namespaces", namespaces));
        } else {
            eprintln!("without namespaces: {:?}", namespaces.protection());
        }
        cages
    };
    FOUND.get_or_init(find).clone()
}

/// A workspace beside what nobody in it may see.
pub struct World {
    folder: tempfile::TempDir,
    pub name: &'static str,
    tools: Toolbox,
}

impl World {
    /// Makes one world for each cage.
    pub fn all() -> Vec<Self> {
        Self::all_with(SandboxLimits::default())
    }

    pub fn all_with(limits: SandboxLimits) -> Vec<Self> {
        let made = |(name, confinement)| Self::made(name, confinement, limits, &[]);
        cages().into_iter().map(made).collect()
    }

    /// Makes worlds whose workspace holds these files before the shell is made.
    pub fn all_of(files: &[(&str, &str)]) -> Vec<Self> {
        let made =
            |(name, confinement)| Self::made(name, confinement, SandboxLimits::default(), files);
        cages().into_iter().map(made).collect()
    }

    fn made(
        name: &'static str,
        confinement: Confinement,
        limits: SandboxLimits,
        files: &[(&str, &str)],
    ) -> Self {
        // Not in `/tmp`: namespaces have one of their own, in which much may be written.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let work = root.join("work");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(root.join("secret"), "a secret").unwrap();
        crate::prusik::write_files(&work, files);
        let hidden = vec![work.join("key.txt")];
        let protected = vec![work.join("policy")];
        let grounds = Grounds {
            folder: work.clone(),
            writable: vec![work.clone()],
            readable: vec![],
            protected: protected.clone(),
            hidden: hidden.clone(),
        };
        let policy = SandboxPolicy { limits, network: vec![] };
        let sandbox = Sandbox::new(confinement, grounds, policy);
        let builtins = Builtins {
            workspace: work,
            protected,
            hidden,
            state: root.join("state"),
            shell: ShellPolicy::Confined(sandbox),
            children: None,
        };
        let tools = Toolbox::builder().builtins(builtins).build().unwrap();
        Self { folder, name, tools }
    }

    pub fn outside(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub fn work(&self) -> PathBuf {
        self.outside().join("work")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    pub async fn reply(&self, tool: &str, arguments: serde_json::Value) -> Reply {
        self.reply_or(tool, arguments, CancellationToken::new()).await
    }

    pub async fn reply_or(
        &self,
        tool: &str,
        arguments: serde_json::Value,
        cancel: CancellationToken,
    ) -> Reply {
        let tool = self.tools.get(tool).unwrap();
        let attempt =
            CallAttempt { arguments: &arguments, meta_key: None, cancel, progress: &|_| {} };
        tool.call(attempt).await
    }

    /// Runs a command and returns what the model is told.
    pub async fn sh(&self, command: &str) -> String {
        self.sh_within(command, 60_000).await
    }

    pub async fn sh_within(&self, command: &str, timeout_ms: u64) -> String {
        let arguments = json!({"command": command, "timeout_ms": timeout_ms});
        match self.reply("shell", arguments).await {
            Reply::Returned(result) => result.plain_text(),
            other => panic!("{}: {command}: {other:?}", self.name),
        }
    }

    /// Runs a Python program in the cage.
    pub async fn python(&self, program: &str) -> String {
        std::fs::write(self.path("attempt.py"), program).unwrap();
        self.sh("/usr/bin/python3 attempt.py").await
    }
}

/// Waits until nothing on this machine has `word` among its arguments.
pub async fn nothing_runs(word: &str) {
    let runs = || {
        let listed = std::fs::read_dir("/proc").unwrap().flatten();
        let of = |pid: &Path| std::fs::read(pid.join("cmdline")).unwrap_or_default();
        let word = word.as_bytes();
        listed
            .map(|entry| entry.path())
            .any(|pid| of(&pid).split(|byte| *byte == 0).any(|argument| argument == word))
    };
    for _ in 0..100 {
        if !runs() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("`{word}` still runs");
}

#[test]
fn what_is_missing_is_said_and_nothing_is_run_without_it() {
    let nobody = Confinement::with(None, bwrap());
    let Protection::None { why } = nobody.protection() else { panic!("{nobody:?}") };
    assert!(why.contains("PRUSIK_HELPER"), "{why}");
    // A program that is not the helper confines nothing.
    let wrong = Confinement::with(Some("/bin/true".into()), None);
    assert!(matches!(wrong.protection(), Protection::None { .. }), "{wrong:?}");
    // Bubblewrap that does not work leaves the floor, and says why.
    let broken = Confinement::with(Some(helper()), Some("/bin/false".into()));
    let Protection::Floor { why } = broken.protection() else { panic!("{broken:?}") };
    assert!(why.contains("does not work here"), "{why}");
    let missing = Confinement::with(Some(helper()), None);
    let Protection::Floor { why } = missing.protection() else { panic!("{missing:?}") };
    assert!(why.contains("not installed"), "{why}");
}

#[test]
fn a_bubblewrap_that_confines_nothing_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let liar = folder.path().join("bwrap");
    // It starts the command behind `--`, and that is all that it does.
    let script = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n";
    std::fs::write(&liar, script).unwrap();
    std::fs::set_permissions(&liar, std::fs::Permissions::from_mode(0o755)).unwrap();
    let lied_to = Confinement::with(Some(helper()), Some(liar));
    let Protection::Floor { why } = lied_to.protection() else { panic!("{lied_to:?}") };
    assert!(why.contains("no namespace around it"), "{why}");
}

#[tokio::test]
async fn without_protection_no_command_is_run_and_the_way_out_is_named() {
    let nothing = Confinement::with(None, None);
    let world = World::made("none", nothing, SandboxLimits::default(), &[]);
    let reply = world.reply("shell", json!({"command": "touch made"})).await;
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    assert_eq!(refusal.kind.as_deref(), Some("no_sandbox"));
    assert!(refusal.message.contains("in so many words"), "{}", refusal.message);
    assert!(!world.path("made").exists());
}

#[tokio::test]
async fn bubblewrap_that_dies_before_the_command_begins_has_not_begun_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some((_, real)) = cages().into_iter().find(|(name, _)| *name == "namespaces") else {
        return;
    };
    drop(real);
    // It works when it is tried, and never again.
    let folder = tempfile::tempdir().unwrap();
    let fickle = folder.path().join("bwrap");
    let used = folder.path().join("used");
    let script = format!(
        "#!/bin/sh\nif [ -e {used} ]; then echo 'bwrap: no more' >&2; exit 1; fi\n\
         touch {used}; exec {bwrap} \"$@\"\n",
        used = used.display(),
        bwrap = bwrap().unwrap().display()
    );
    std::fs::write(&fickle, script).unwrap();
    std::fs::set_permissions(&fickle, std::fs::Permissions::from_mode(0o755)).unwrap();
    let confinement = Confinement::with(Some(helper()), Some(fickle));
    assert_eq!(*confinement.protection(), Protection::Namespaces);
    let world = World::made("fickle", confinement, SandboxLimits::default(), &[]);
    let reply = world.reply("shell", json!({"command": "touch made"})).await;
    let Reply::NotSent { reason, .. } = reply else { panic!("{reply:?}") };
    assert!(reason.contains("did not come up") && reason.contains("no more"), "{reason}");
    assert!(!world.path("made").exists());
}

#[tokio::test]
async fn a_command_that_means_well_works() {
    for world in World::all() {
        let told = world.sh("echo out; echo err >&2; exit 3").await;
        assert_eq!(told, "exit code 3\n--- stdout\nout\n\n--- stderr\nerr\n", "{}", world.name);
        let told = world.sh("mkdir a && echo x > a/b && mv a/b c && cat c && pwd && rm -r a").await;
        let work = world.work();
        assert!(told.starts_with("exit code 0"), "{}: {told}", world.name);
        assert!(told.contains(&work.display().to_string()), "{}: {told}", world.name);
        let told = world.sh("echo $HOME $TMPDIR; touch $HOME/x $TMPDIR/y && ls -A $HOME").await;
        assert!(told.starts_with("exit code 0") && told.contains('x'), "{}: {told}", world.name);
        let told = world.sh("ls -A $HOME; kill -9 $$").await;
        assert!(told.starts_with("ended by signal 9"), "{}: {told}", world.name);
        assert!(!told.contains('x'), "its home does not last: {}: {told}", world.name);
        let told = world
            .python(
                "import subprocess, asyncio, tempfile\n\
            print(subprocess.check_output(['sh', '-c', 'echo $0 | cat']))\n\
            print(asyncio.run(asyncio.sleep(0.01, 'slept')), tempfile.mkdtemp())\n",
            )
            .await;
        assert!(told.contains("slept"), "{}: {told}", world.name);
    }
}
