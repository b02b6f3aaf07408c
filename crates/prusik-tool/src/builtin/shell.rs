//! `shell`: a command line, run with all that the user may do.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use prusik_core::outcome::{Refusal, Reply, ToolResult, kind};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::spec::{SHELL_TIMEOUT_MS, SHELL_TIMEOUT_MS_MAX};
use super::{problem, spec};
use crate::process::{Group, base_environment};
use crate::{CallAttempt, Children, Tool, ToolInfo};

/// Whether agents of the project may have a shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShellPolicy {
    /// There is no such tool.
    #[default]
    Absent,
    /// The project said that a shell which nothing confines is wanted.
    Unconfined,
}

/// What the outer shell does: it waits for a line, and becomes the command's own shell.
const WAIT_AND_BEGIN: &str = r#"read -r _ && exec sh -c "$1" </dev/null"#;
/// Most output that is kept of each stream: this much of its head and as much of its tail.
const OUTPUT_BYTES_EACH_END: usize = 128 * 1024;
/// How long output may still come after the command ended and its group was killed.
const DRAIN: Duration = Duration::from_millis(500);

pub(super) struct Shell {
    info: ToolInfo,
    folder: PathBuf,
    children: Option<Children>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShellArguments {
    command: String,
    timeout_ms: Option<u64>,
}

impl Shell {
    pub(super) fn new(folder: PathBuf, children: Option<Children>) -> Self {
        Self { info: spec::info("shell"), folder, children }
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
        // The group is dropped on every way out, which ends whatever the command left running.
        let (mut child, group) = match self.start(&arguments.command).await {
            Ok(started) => started,
            Err(error) => {
                let problem = problem::Problem::of_io(&error, "sh");
                return Reply::not_sent(format!("no shell: {}", problem.message));
            }
        };
        let (mut out_kept, mut err_kept) = (Ends::default(), Ends::default());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let outcome = {
            let pumps = async { tokio::join!(pump(out, &mut out_kept), pump(err, &mut err_kept)) };
            let end = async {
                tokio::select! {
                    biased;
                    status = child.wait() => Ended::Exited(status),
                    () = attempt.cancel.cancelled() => Ended::Cancelled,
                    () = tokio::time::sleep(Duration::from_millis(timeout_ms)) => Ended::TimedOut,
                }
            };
            tokio::pin!(pumps, end);
            let mut is_drained = false;
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut end => break outcome,
                    _ = &mut pumps, if !is_drained => is_drained = true,
                }
            };
            drop(group);
            if !is_drained {
                // Bounded: someone who left the group may hold the pipes open for ever.
                let _ = tokio::time::timeout(DRAIN, pumps).await;
            }
            outcome
        };
        report(outcome, timeout_ms, &out_kept, &err_kept)
    }
}

impl Shell {
    /// Starts a shell, and lets it begin once it is written down. If we die before, it ends.
    async fn start(&self, command: &str) -> std::io::Result<(Child, Group)> {
        let mut child = Command::new("sh")
            .args(["-c", WAIT_AND_BEGIN, "sh", command])
            .current_dir(&self.folder)
            .env_clear()
            .envs(base_environment())
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = Group::of(&child);
        group.note(self.children.as_ref())?;
        if let Some(mut input) = child.stdin.take() {
            // It takes the command's input from nowhere, so that this is all it reads. That it died
            // before, its exit status tells.
            let _ = input.write_all(b"\n").await;
        }
        Ok((child, group))
    }
}

enum Ended {
    Exited(std::io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
}

fn report(ended: Ended, timeout_ms: u64, out: &Ends, err: &Ends) -> Reply {
    use std::os::unix::process::ExitStatusExt;
    let head = match ended {
        Ended::Exited(Ok(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => format!("ended: {status}"),
        },
        Ended::Exited(Err(error)) => {
            return Reply::Lost { reason: format!("cannot tell how the command ended: {error}") };
        }
        Ended::TimedOut => format!(
            "timed out after {timeout_ms} ms and was killed; what it did until then stays done"
        ),
        Ended::Cancelled => {
            return Reply::Lost { reason: "cancelled; the command was killed".to_owned() };
        }
    };
    let mut text = head;
    for (name, ends) in [("stdout", out), ("stderr", err)] {
        if ends.total > 0 {
            let _ = write!(text, "\n--- {name}\n{}", ends.text());
        }
    }
    Reply::Returned(ToolResult::text(text))
}

async fn pump(stream: Option<impl AsyncRead + Unpin>, kept: &mut Ends) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 * 1024];
    // An error on a pipe means the same as its end: there is no more to come.
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        kept.push(&buffer[..count]);
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
