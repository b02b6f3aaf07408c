//! The child process of a stdio server: started, watched, its standard error kept, ended.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use secrecy::ExposeSecret;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::{ServerConfig, Transport};
use super::error::ConnectError;
use super::lines::{Line, LineReader};
use crate::process::{Cage, Group, base_environment, caged_environment};

/// Last lines of standard error that are kept for messages, and how much of each.
const TAIL_LINES: usize = 12;
const TAIL_LINE_BYTES_MAX: usize = 400;
/// Longest line of standard error that is logged.
const LOG_LINE_BYTES_MAX: usize = 64 * 1024;
/// Most that one start of a server adds to its log.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long the last words of an ended process may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A running child process. When this is dropped the process is asked to end, and then made to.
#[derive(Debug)]
pub(super) struct Process {
    stop: CancellationToken,
    ended: watch::Receiver<Option<End>>,
    stderr: Arc<Stderr>,
    _stop_when_dropped: DropGuard,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    ByItself(ExitStatus),
    /// It had to be signalled.
    Forced,
}

/// The ends of the pipes to a child.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) input: ChildStdin,
    pub(super) output: ChildStdout,
}

impl Process {
    /// Starts the command of `config` in a process group of its own.
    pub(super) fn start(config: &ServerConfig) -> Result<(Self, Pipes), ConnectError> {
        let Transport::Stdio { command, args, env, cwd } = &config.transport else {
            unreachable!("only stdio servers have a process");
        };
        let server = config.name.clone();
        let cannot_start = |problem: String| ConnectError::CannotStart {
            server: server.clone(),
            command: command.clone(),
            problem,
        };
        let (mut line, password, cage) = match &config.sandbox {
            None => {
                let mut line = Command::new(command);
                line.args(args).env_clear().envs(base_environment());
                (line, None, Cage::None)
            }
            Some(sandbox) => {
                let words: Vec<&OsStr> =
                    [command].into_iter().chain(args).map(OsStr::new).collect();
                let caged =
                    sandbox.server(&words).map_err(|error| cannot_start(error.to_string()))?;
                let mut line = caged.command;
                line.env_clear().envs(caged_environment());
                (line, Some(caged.password), Cage::Supervised(caged.brake))
            }
        };
        line.envs(env.iter().map(|(name, value)| (name, value.expose_secret())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(password.is_none());
        if let Some(cwd) = cwd {
            line.current_dir(cwd);
        }
        let mut child = line.spawn().map_err(|error| {
            let command = command.clone();
            let folder_is_there = cwd.as_deref().is_none_or(Path::is_dir);
            if error.kind() == std::io::ErrorKind::NotFound && folder_is_there {
                ConnectError::CommandNotFound { server: server.clone(), command }
            } else {
                let problem = match cwd {
                    Some(cwd) if !folder_is_there => format!("no folder {}", cwd.display()),
                    Some(_) | None => error.to_string(),
                };
                ConnectError::CannotStart { server: server.clone(), command, problem }
            }
        })?;
        let held = Group::of(&child, cage);
        let noted = held.and_then(|group| group.note(config.children.as_ref()).map(|()| group));
        let group = noted.map_err(|error| {
            cannot_start(format!("it cannot be written down as a child of ours: {error}"))
        })?;
        let input = child.stdin.take().expect("stdin was set to a pipe");
        if let Some(password) = password {
            // A pipe that nobody has written to has room for a line. That the cage died, its end tells.
            let _ = rustix::io::write(&input, format!("{password}\n").as_bytes());
        }
        let output = child.stdout.take().expect("stdout was set to a pipe");
        let errors = child.stderr.take().expect("stderr was set to a pipe");
        let stderr = Arc::new(Stderr::default());
        tokio::spawn(keep_stderr(errors, Arc::clone(&stderr), config.stderr_log.clone()));
        let stop = CancellationToken::new();
        let (sender, ended) = watch::channel(None);
        let grace = Duration::from_millis(config.limits.stop_grace_ms);
        tokio::spawn(watch_over(child, group, stop.clone(), grace, sender));
        let guard = stop.clone().drop_guard();
        Ok((Self { stop, ended, stderr, _stop_when_dropped: guard }, Pipes { input, output }))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Returns what makes the process end, for the transport to hold.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper { stop: self.stop.clone(), ended: self.ended.clone() }
    }

    /// Returns how the process ended, if it does within a moment and by itself.
    pub(super) async fn how_it_ended(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        let waited = tokio::time::timeout(LAST_WORDS, ended.wait_for(Option::is_some)).await;
        let end = waited.ok()?.ok().and_then(|end| *end);
        // The tail is whole once the pump has seen the end.
        let _ = tokio::time::timeout(LAST_WORDS, self.stderr.finished.cancelled()).await;
        match end? {
            End::ByItself(status) => Some(status),
            End::Forced => None,
        }
    }

    /// Returns the last lines of standard error as a clause for messages, or nothing.
    pub(super) fn last_words(&self) -> String {
        self.stderr.clause()
    }

    /// Returns where lines that explain a failure are kept.
    pub(super) fn stderr(&self) -> Arc<Stderr> {
        Arc::clone(&self.stderr)
    }
}

/// Ends the process and waits until it has.
#[derive(Debug, Clone)]
pub(super) struct Stopper {
    stop: CancellationToken,
    ended: watch::Receiver<Option<End>>,
}

impl Stopper {
    /// Bounded by the graces that the watcher grants.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        // The sender goes away only together with the process.
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }
}

/// Owns the child from start to end: so that it is always reaped, and its group with it.
async fn watch_over(
    mut child: Child,
    group: Group,
    stop: CancellationToken,
    grace: Duration,
    ended: watch::Sender<Option<End>>,
) {
    let mut status = tokio::select! {
        biased;
        status = child.wait() => status.ok(),
        () = stop.cancelled() => None,
    };
    // Its input is closed by now. Then, as the protocol says: wait, SIGTERM, wait, SIGKILL.
    if status.is_none() {
        status = within(grace, &mut child).await;
    }
    let end = if let Some(status) = status {
        End::ByItself(status)
    } else {
        group.signal(Signal::TERM);
        if within(grace, &mut child).await.is_none() {
            group.signal(Signal::KILL);
            // SIGKILL cannot be refused. An error means that there is nobody to wait for.
            let _ = child.wait().await;
        }
        End::Forced
    };
    // Whatever it started goes with it.
    drop(group);
    ended.send_replace(Some(end));
}

async fn within(grace: Duration, child: &mut Child) -> Option<ExitStatus> {
    tokio::time::timeout(grace, child.wait()).await.ok()?.ok()
}

/// What a child says on standard error.
#[derive(Debug, Default)]
pub(super) struct Stderr {
    tail: Mutex<VecDeque<String>>,
    finished: CancellationToken,
}

impl Stderr {
    /// Keeps a line, cut to what a message can hold.
    pub(super) fn push(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(TAIL_LINE_BYTES_MAX)]);
        // Nothing that a server says may steer the terminal.
        let line: String =
            line.chars().filter(|c| !c.is_control() || *c == '\t').collect::<String>();
        if line.trim().is_empty() {
            return;
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }

    fn clause(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.is_empty() {
            return " It said nothing on standard error.".to_owned();
        }
        let lines: Vec<String> = tail.iter().map(|line| format!("\n  | {line}")).collect();
        format!(" Its last words:{}\n", lines.concat())
    }
}

async fn keep_stderr(stream: ChildStderr, kept: Arc<Stderr>, log: Option<std::path::PathBuf>) {
    let _finished = kept.finished.clone().drop_guard();
    let mut log = match log {
        Some(path) => open_log(&path).await,
        None => None,
    };
    let mut logged: u64 = 0;
    let mut lines = LineReader::new(stream, LOG_LINE_BYTES_MAX);
    loop {
        let mut line = match lines.next().await {
            Line::Whole(line) => line,
            Line::TooLong { bytes, .. } => format!("[a line of {bytes} bytes left out]").into(),
            Line::End => return,
        };
        kept.push(&line);
        line.push(b'\n');
        logged += line.len() as u64;
        if logged > LOG_BYTES_MAX {
            if let Some(mut file) = log.take() {
                let _ = file.write_all(b"[the log is full; the rest is left out]\n").await;
                let _ = file.flush().await;
            }
        } else if let Some(file) = &mut log {
            // A log that cannot be written must not stop the server from being read.
            if file.write_all(&line).await.is_err() || file.flush().await.is_err() {
                log = None;
            }
        }
    }
}

async fn open_log(path: &Path) -> Option<tokio::fs::File> {
    if let Some(folder) = path.parent() {
        let _ = tokio::fs::create_dir_all(folder).await;
    }
    match tokio::fs::OpenOptions::new().create(true).append(true).open(path).await {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a server's log cannot be written");
            None
        }
    }
}
