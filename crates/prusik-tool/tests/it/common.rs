//! What the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prusik_core::outcome::Reply;
use prusik_tool::{CallAttempt, ServerConfig, Tool, Toolbox, Transport};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Longest that anything in these tests may take.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Returns a file that `cargo xtask setup` installs.
pub fn installed(path: &str) -> PathBuf {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.setup")).join(path);
    assert!(path.exists(), "{} is missing: run cargo xtask setup", path.display());
    path
}

pub fn stdio(name: &str, command: &str, args: &[&str]) -> ServerConfig {
    let transport = Transport::Stdio {
        command: command.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: None,
    };
    ServerConfig::new(name, transport)
}

/// Returns our own server, which does what its flags and tools say.
pub fn fixture(flags: &[&str]) -> ServerConfig {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/server.py");
    let mut config = stdio("fix", "python3", &[&[script], flags].concat());
    config.limits.stop_grace_ms = 300;
    config
}

pub async fn connected(config: ServerConfig) -> Toolbox {
    let toolbox = Toolbox::builder().server(config).build().unwrap();
    let left_out = toolbox.connect_all(&CancellationToken::new(), &|_| {}).await.unwrap();
    assert_eq!(left_out, []);
    toolbox
}

/// A call with all that can be given to it.
pub struct Call {
    tool: Arc<dyn Tool>,
    arguments: Value,
    pub key: Option<(&'static str, &'static str)>,
    pub cancel: CancellationToken,
    pub progress: Arc<Mutex<Vec<String>>>,
}

impl Call {
    pub fn of(toolbox: &Toolbox, name: &str, arguments: Value) -> Self {
        let tool = toolbox.get(name).unwrap_or_else(|| panic!("no tool {name}"));
        let (cancel, progress) = (CancellationToken::new(), Arc::default());
        Self { tool, arguments, key: None, cancel, progress }
    }

    /// Cancels the call as soon as it tells of progress.
    pub async fn run_until_progress(self) -> Reply {
        let cancel = self.cancel.clone();
        self.run_with(move |_| cancel.cancel()).await
    }

    pub async fn run(self) -> Reply {
        let progress = Arc::clone(&self.progress);
        self.run_with(move |notice| progress.lock().unwrap().push(notice)).await
    }

    async fn run_with(self, progress: impl Fn(String) + Send + Sync) -> Reply {
        let attempt = CallAttempt {
            arguments: &self.arguments,
            meta_key: self.key,
            cancel: self.cancel,
            progress: &progress,
        };
        let answer = tokio::time::timeout(PATIENCE, self.tool.call(attempt)).await;
        answer.unwrap_or_else(|_| {
            panic!("no answer in time: {} {}", self.tool.info().name, self.arguments)
        })
    }
}

pub async fn call(toolbox: &Toolbox, name: &str, arguments: Value) -> Reply {
    Call::of(toolbox, name, arguments).run().await
}

/// Returns the text of a result.
pub fn text(reply: &Reply) -> String {
    match reply {
        Reply::Returned(result) => result.plain_text(),
        other => panic!("not returned: {other:?}"),
    }
}

pub fn lost(reply: &Reply) -> &str {
    match reply {
        Reply::Lost { reason } => reason,
        other => panic!("not lost: {other:?}"),
    }
}

pub fn not_sent(reply: &Reply) -> &str {
    match reply {
        Reply::NotSent { reason, .. } => reason,
        other => panic!("was sent: {other:?}"),
    }
}

/// Waits until `holds` does.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns whether a process runs; one that is dead and not yet reaped does not.
pub fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// Returns whether a process is in the table, be it as a zombie.
pub fn is_in_table(pid: &str) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
