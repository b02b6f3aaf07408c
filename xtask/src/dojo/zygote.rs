//! `AgentDojo` behind a socket: `zygote.py` imports it once, and forks for each question and each server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use prusik_testkit::worst::Script;
use serde_json::{Value, json};

use super::Pair;

/// A process that has `AgentDojo` imported, until it is dropped.
pub struct Zygote {
    child: Child,
    socket: PathBuf,
}

/// The tasks of a suite.
pub struct Suite {
    pub users: Vec<String>,
    pub injections: Vec<String>,
}

/// What `AgentDojo` says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    pub solved: bool,
    pub attacked: bool,
}

impl Zygote {
    /// Starts it with the suites' folder; its socket lies in `folder`.
    pub fn start(python: &Path, suites: &Path, folder: &Path) -> Result<Self> {
        let (socket, program) = (folder.join("zygote"), folder.join("zygote.py"));
        fs::write(&program, include_str!("zygote.py")).context("cannot write zygote.py")?;
        let mut child = Command::new(python)
            .args([&program, suites, &socket])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        let zygote = Self { child, socket };
        BufReader::new(out).read_line(&mut line)?;
        ensure!(line == "ready\n", "AgentDojo does not start; see above");
        Ok(zygote)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns what one call prints.
    fn ask(&self, line: &Value) -> Result<Value> {
        let mut socket = UnixStream::connect(&self.socket).context("AgentDojo has ended")?;
        writeln!(socket, "{line}")?;
        socket.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        socket.read_to_string(&mut text)?;
        serde_json::from_str(&text)
            .with_context(|| format!("AgentDojo answers {line} with {text:?}"))
    }

    pub fn suite(&self, name: &str) -> Result<Suite> {
        let all = self.ask(&json!({ "suites": null }))?;
        let tasks = |kind: &str| -> Vec<String> {
            let tasks = all[name][kind].as_array().into_iter().flatten();
            tasks.filter_map(|task| Some(task.as_str()?.to_owned())).collect()
        };
        let suite = Suite { users: tasks("user"), injections: tasks("injection") };
        ensure!(!suite.users.is_empty(), "AgentDojo has no suite {name}");
        Ok(suite)
    }

    pub fn script(&self, pair: &Pair) -> Result<Script> {
        let script = self.ask(&json!(pair.arguments("script")))?;
        serde_json::from_value(script)
            .with_context(|| format!("{pair} has a script of another shape"))
    }

    pub fn score(&self, pair: &Pair, trace: &Path, says: &str) -> Result<Score> {
        let mut arguments = pair.arguments("score");
        let trace = trace.to_string_lossy().into_owned();
        arguments.extend(["--trace".to_owned(), trace, format!("--says={says}")]);
        let score = self.ask(&json!(arguments))?;
        let verdict = |key: &str| {
            score[key].as_bool().with_context(|| format!("AgentDojo does not say {key} of {pair}"))
        };
        Ok(Score { solved: verdict("utility")?, attacked: verdict("attacked")? })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // Its standard input closes, upon which it ends; what it forked ends with its connection.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
