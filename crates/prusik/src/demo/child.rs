//! This very program as a child process, whose output is followed line by line.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, sleep_until};

/// The longest that a command of the demo may take.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is looked at whether to stop.
const LOOK: Duration = Duration::from_millis(5);

/// A child process. It is killed when this is dropped.
pub struct Child {
    process: tokio::process::Child,
    out: Option<Lines<BufReader<ChildStdout>>>,
    err: Option<Lines<BufReader<ChildStderr>>>,
    command: String,
    give_up: Instant,
}

/// Why following a child came to an end.
#[derive(Debug)]
pub enum Ended {
    Exited(ExitStatus),
    /// The condition came true; the process goes on.
    Stopped,
}

impl Child {
    /// Starts `prusik -C FOLDER ARGUMENTS…`. Errors are sentences about the problem.
    pub fn start(folder: &Path, arguments: &[&str]) -> Result<Self, String> {
        let command = format!("`prusik {}`", arguments.join(" "));
        let cannot = |error: std::io::Error| format!("{command} could not be started: {error}");
        let mut process = Command::new(std::env::current_exe().map_err(cannot)?)
            .arg("-C")
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        let out = process.stdout.take().map(|out| BufReader::new(out).lines());
        let err = process.stderr.take().map(|err| BufReader::new(err).lines());
        Ok(Self { process, out, err, command, give_up: Instant::now() + COMMAND_TIMEOUT })
    }

    /// Hands each line to `each` until the process ends or `stop` holds.
    pub async fn follow(
        &mut self,
        mut stop: impl FnMut() -> bool,
        mut each: impl AsyncFnMut(&str),
    ) -> Result<Ended, String> {
        let mut looks = tokio::time::interval(LOOK);
        while self.out.is_some() || self.err.is_some() {
            let line = tokio::select! {
                line = next(&mut self.out) => line,
                line = next(&mut self.err) => line,
                _ = looks.tick() => {
                    if stop() {
                        return Ok(Ended::Stopped);
                    }
                    continue;
                }
                () = sleep_until(self.give_up) => return Err(self.too_slow()),
            };
            if let Some(line) = line.map_err(|error| self.unreadable(&error))? {
                each(&line).await;
            }
        }
        self.wait().await.map(Ended::Exited)
    }

    /// Ends the process with SIGKILL, hands over what it still said, and returns how it ended.
    pub async fn kill(&mut self, each: impl AsyncFnMut(&str)) -> Result<ExitStatus, String> {
        let killed = self.process.start_kill();
        killed.map_err(|error| format!("{} could not be killed: {error}", self.command))?;
        match self.follow(|| false, each).await? {
            Ended::Exited(status) if !status.success() => Ok(status),
            Ended::Exited(_) | Ended::Stopped => {
                Err(format!("{} came to its end before it was killed", self.command))
            }
        }
    }

    async fn wait(&mut self) -> Result<ExitStatus, String> {
        match tokio::time::timeout_at(self.give_up, self.process.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(format!("{} was lost: {error}", self.command)),
            Err(_) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> String {
        let seconds = COMMAND_TIMEOUT.as_secs();
        format!("{} did not come to its end within {seconds} seconds", self.command)
    }

    fn unreadable(&self, error: &std::io::Error) -> String {
        format!("the output of {} could not be read: {error}", self.command)
    }
}

/// Returns the next line of a stream that is still open; at its end the stream is dropped.
async fn next<R: tokio::io::AsyncRead + Unpin>(
    stream: &mut Option<Lines<BufReader<R>>>,
) -> std::io::Result<Option<String>> {
    let Some(lines) = stream else { return std::future::pending().await };
    let line = lines.next_line().await;
    if !matches!(line, Ok(Some(_))) {
        *stream = None;
    }
    line
}
