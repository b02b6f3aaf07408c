//! `shell`: a command line, run in a sandbox, or with all that the user may do where the project wants that.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prusik_core::outcome::{Refusal, Reply, ToolResult, kind};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use super::problem::{Kind, Problem};
use super::spec;
use super::spec::{SHELL_TIMEOUT_MS, SHELL_TIMEOUT_MS_MAX};
use crate::process::{Cage, Group, base_environment, caged_environment};
use crate::sandbox::{End, Heard, Report, Sandbox, overhear};
use crate::{CallAttempt, Children, Tool, ToolInfo};

/// Whether agents of the project may have a shell.
#[derive(Debug, Clone, Default)]
pub enum ShellPolicy {
    /// There is no such tool.
    #[default]
    Absent,
    /// Commands run in this sandbox, or not at all.
    Confined(Sandbox),
    /// The project said that a shell which nothing confines is wanted.
    Unconfined,
}

/// What the outer shell does: it waits for a line, and becomes the command's own shell.
const WAIT_AND_BEGIN: &str = r#"read -r _ && exec sh -c "$1" </dev/null"#;
/// Most output that is kept of each stream: this much of its head and as much of its tail.
const OUTPUT_BYTES_EACH_END: usize = 128 * 1024;
/// How long output may still come after the command ended and its group was killed.
const DRAIN: Duration = Duration::from_millis(500);
/// How long a cage may take to end what is in it, once it has been asked to.
const CAGE_GRACE: Duration = Duration::from_secs(6);

pub(super) struct Shell {
    info: ToolInfo,
    folder: PathBuf,
    children: Option<Children>,
    /// None if nothing confines it.
    sandbox: Option<Sandbox>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShellArguments {
    command: String,
    timeout_ms: Option<u64>,
}

impl Shell {
    pub(super) fn unconfined(folder: PathBuf, children: Option<Children>) -> Self {
        let info = spec::info(spec::UNCONFINED_SHELL);
        Self { info, folder, children, sandbox: None }
    }

    pub(super) fn confined(folder: PathBuf, children: Option<Children>, sandbox: Sandbox) -> Self {
        Self { info: spec::info("shell"), folder, children, sandbox: Some(sandbox) }
    }
}

#[async_trait]
impl Tool for Shell {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        if attempt.cancel.is_cancelled() {
            return Reply::not_sent("cancelled before it started".to_owned());
        }
        let arguments: ShellArguments = match serde_json::from_value(attempt.arguments.clone()) {
            Ok(arguments) => arguments,
            Err(error) => {
                let refusal = Refusal::of_kind(kind::INVALID_ARGUMENTS, error.to_string());
                return Reply::Refused(refusal);
            }
        };
        let timeout_ms =
            arguments.timeout_ms.unwrap_or(SHELL_TIMEOUT_MS).clamp(1, SHELL_TIMEOUT_MS_MAX);
        let Started { mut child, group, input, password } =
            match self.start(&arguments.command).await {
                Ok(started) => started,
                Err(reply) => return reply,
            };
        let output_bytes_max = self.sandbox.as_ref().map_or(u64::MAX, |sandbox| {
            sandbox.policy().limits.output_mb.saturating_mul(1024 * 1024)
        });
        let printed = Printed::at_most(output_bytes_max);
        let (mut out_kept, mut err_kept) = (Ends::default(), Ends::default());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let outcome = {
            let pumps = async {
                tokio::join!(pump(out, &mut out_kept, &printed), pump(err, &mut err_kept, &printed))
            };
            tokio::pin!(pumps);
            let mut is_drained = false;
            let outcome = {
                let end = async {
                    tokio::select! {
                        biased;
                        status = child.wait() => Ended::Exited(status),
                        () = attempt.cancel.cancelled() => Ended::Cancelled,
                        () = printed.too_much.cancelled() => Ended::TooMuch,
                        () = tokio::time::sleep(Duration::from_millis(timeout_ms)) => Ended::TimedOut,
                    }
                };
                tokio::pin!(end);
                loop {
                    tokio::select! {
                        biased;
                        outcome = &mut end => break outcome,
                        _ = &mut pumps, if !is_drained => is_drained = true,
                    }
                }
            };
            // A cage whose host is gone ends what is in it, and tells how.
            drop(input);
            if password.is_some() && !matches!(outcome, Ended::Exited(_)) {
                let both = async {
                    if is_drained {
                        let _ = child.wait().await;
                    } else {
                        let _ = tokio::join!(child.wait(), &mut pumps);
                        is_drained = true;
                    }
                };
                let _ = tokio::time::timeout(CAGE_GRACE, both).await;
            }
            // On every way out: this ends whatever the command left running.
            drop(group);
            if !is_drained {
                // Bounded: someone who left the group may hold the pipes open for ever.
                let _ = tokio::time::timeout(DRAIN, pumps).await;
            }
            outcome
        };
        let heard = password.map(|password| err_kept.overhear(&password));
        let report = Told { outcome, heard, timeout_ms, sandbox: self.sandbox.as_ref() };
        report.reply(&self.folder, &out_kept, &err_kept)
    }
}

/// A command that has begun, or is about to.
struct Started {
    child: Child,
    group: Group,
    /// A cage goes on while this is open.
    input: Option<ChildStdin>,
    /// The word by which a cage's own lines are known.
    password: Option<String>,
}

impl Shell {
    /// Starts a shell, and lets it begin once it is written down. If we die before, it ends.
    async fn start(&self, line: &str) -> Result<Started, Reply> {
        let (mut command, password, cage) = match &self.sandbox {
            None => {
                let mut command = Command::new("sh");
                command.args(["-c", WAIT_AND_BEGIN, "sh", line]).current_dir(&self.folder);
                command.env_clear().envs(base_environment());
                (command, None, Cage::None)
            }
            Some(sandbox) => {
                let caged = sandbox.shell(line).map_err(|error| {
                    Reply::from(Problem::new(Kind::NoSandbox, error.to_string()))
                })?;
                let mut command = caged.command;
                command.env_clear().envs(caged_environment());
                (command, Some(caged.password), Cage::Supervised(caged.brake))
            }
        };
        let begun = async {
            let mut child = command
                .env("TERM", "dumb")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .kill_on_drop(password.is_none())
                .spawn()?;
            let group = Group::of(&child, cage)?;
            group.note(self.children.as_ref())?;
            let mut input = child.stdin.take();
            if let Some(input) = &mut input {
                let word = format!("{}\n", password.as_deref().unwrap_or_default());
                // It takes the command's input from nowhere, so that this is all it reads. That it died
                // before, its exit status tells.
                let _ = input.write_all(word.as_bytes()).await;
            }
            Ok((child, group, input))
        };
        match begun.await {
            Ok((child, group, input)) => Ok(Started { child, group, input, password }),
            Err(error) => {
                let problem = Problem::of_io(&error, "sh");
                Err(Reply::not_sent(format!("no shell: {}", problem.message)))
            }
        }
    }
}

enum Ended {
    Exited(std::io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
    /// It printed more than it may.
    TooMuch,
}

/// All that is known of a command that has ended.
struct Told<'a> {
    outcome: Ended,
    /// What the cage said, if there was one.
    heard: Option<Heard>,
    timeout_ms: u64,
    sandbox: Option<&'a Sandbox>,
}

impl Told<'_> {
    fn reply(self, folder: &Path, out: &Ends, err: &Ends) -> Reply {
        use std::os::unix::process::ExitStatusExt;
        let lost = |reason: String| Reply::Lost { reason };
        let timeout_ms = self.timeout_ms;
        let mut head = match (self.outcome, &self.heard) {
            (Ended::Cancelled, _) => return lost("cancelled; the command was killed".to_owned()),
            (Ended::Exited(_), Some(Heard::Nothing)) => {
                let said = err.text();
                let last = said.lines().rfind(|line| !line.trim().is_empty());
                let last = last.unwrap_or("it said nothing");
                return Reply::not_sent(format!("the sandbox did not come up: {last}"));
            }
            (Ended::Exited(_), Some(Heard::Begun)) => {
                return lost("the sandbox was killed while the command ran in it".to_owned());
            }
            (Ended::Exited(_), Some(Heard::Ended(report))) => match report.end {
                End::Exited(code) => format!("exit code {code}"),
                End::Signalled(signal) => format!("ended by signal {signal}"),
            },
            (Ended::Exited(Ok(status)), None) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("ended by signal {signal}"),
                (None, None) => format!("ended: {status}"),
            },
            (Ended::Exited(Err(error)), None) => {
                return lost(format!("cannot tell how the command ended: {error}"));
            }
            (Ended::TimedOut, _) => format!(
                "timed out after {timeout_ms} ms and was killed; what it did until then stays done"
            ),
            (Ended::TooMuch, _) => {
                let most = self.sandbox.map_or(0, |sandbox| sandbox.policy().limits.output_mb);
                format!("it was killed because it printed more than {most} MiB")
            }
        };
        if let (Some(Heard::Ended(report)), Some(sandbox)) = (&self.heard, self.sandbox) {
            head.push_str(&told_by_the_cage(report, sandbox, folder));
        }
        for (name, ends) in [("stdout", out), ("stderr", err)] {
            if ends.total > 0 {
                let _ = write!(head, "\n--- {name}\n{}", ends.text());
            }
        }
        Reply::Returned(ToolResult::text(head))
    }
}

fn told_by_the_cage(report: &Report, sandbox: &Sandbox, folder: &Path) -> String {
    let mut told = String::new();
    if let Some(limit) = report.limit {
        let _ = write!(told, ": {}", limit.words(&sandbox.policy().limits));
    }
    let short = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    for (from, to) in &report.set_aside {
        let _ = write!(told, "\n[{} is protected: ", short(from));
        let _ = if to.as_os_str().is_empty() {
            write!(told, "what the command made there was removed]")
        } else {
            write!(told, "what the command made there is now {}]", short(to))
        };
    }
    told
}

/// How much both streams have held so far.
struct Printed {
    bytes: AtomicU64,
    most: u64,
    too_much: CancellationToken,
}

impl Printed {
    fn at_most(most: u64) -> Self {
        Self { bytes: AtomicU64::new(0), most, too_much: CancellationToken::new() }
    }

    fn add(&self, count: usize) {
        let before = self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        if before.saturating_add(count as u64) > self.most {
            self.too_much.cancel();
        }
    }
}

/// Keeps the ends of what a stream holds, until it ends itself.
async fn pump(stream: Option<impl AsyncRead + Unpin>, kept: &mut Ends, printed: &Printed) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 * 1024];
    // An error on a pipe means the same as its end: there is no more to come.
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.push(&buffer[..count]);
        printed.add(count);
    }
}

/// The head and the tail of a stream of any length.
#[derive(Default)]
struct Ends {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: usize,
}

impl Ends {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len();
        let room = OUTPUT_BYTES_EACH_END - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(OUTPUT_BYTES_EACH_END);
        self.tail.drain(..over);
    }

    /// Takes the cage's own lines out, and returns what they say.
    fn overhear(&mut self, password: &str) -> Heard {
        if self.total == self.head.len() + self.tail.len() {
            self.head.extend(self.tail.drain(..));
            let heard = overhear(&mut self.head, password);
            self.total = self.head.len();
            return heard;
        }
        let first = overhear(&mut self.head, password);
        let mut tail: Vec<u8> = self.tail.drain(..).collect();
        let last = overhear(&mut tail, password);
        self.tail = tail.into();
        match last {
            Heard::Ended(_) => last,
            Heard::Begun | Heard::Nothing => first,
        }
    }

    fn text(&self) -> String {
        let left_out = self.total - self.head.len() - self.tail.len();
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if left_out == 0 {
            let whole = [&self.head[..], &tail].concat();
            return String::from_utf8_lossy(&whole).into_owned();
        }
        let head = String::from_utf8_lossy(&self.head);
        let tail = String::from_utf8_lossy(&tail);
        format!("{head}\n[… {left_out} bytes left out …]\n{tail}")
    }
}
