//! Child processes that end with the test, and the way to what `cargo xtask setup` installed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Returns the path of something in `.setup`, for example `node/node_modules/.bin/llmock`.
///
/// # Panics
///
/// If it is not there, with the command that installs it: a test that needs it must fail, not
/// pass without having tested anything.
pub fn setup_path(relative: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(".setup").join(relative);
    assert!(path.exists(), "{} is not installed: run `cargo xtask setup`", path.display());
    path
}

/// A child process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts `command`; its standard output and error are read line by line.
    pub fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
            child.stderr.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            // Reads on even when nobody listens any more, so that the child never blocks.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    let Ok(line) = line else { break };
                    drop(sender.send(line));
                }
            });
        }
        Ok(Self { child, lines })
    }

    /// Waits for a line that `find` makes something of.
    ///
    /// # Panics
    ///
    /// If none comes within `timeout`, with all lines that came.
    pub fn wait_for_line<T>(&self, timeout: Duration, find: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + timeout;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return found;
                    }
                    seen.push(line);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("the child did not say what it should; it said:\n{}", seen.join("\n"))
                }
            }
        }
    }

    /// Waits for the child's end and returns whether it succeeded, with all that it said.
    ///
    /// # Panics
    ///
    /// If it has not ended after `timeout`, with all that it said.
    pub fn wait(mut self, timeout: Duration) -> (bool, String) {
        let end = Instant::now() + timeout;
        let mut said = String::new();
        // Both pipes close when the child ends; a line is waited for, never a clock.
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    said.push_str(&line);
                    said.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the child has not ended after {timeout:?}; it said:\n{said}")
                }
            }
        }
        let status = self.child.wait().expect("the child was started and not yet waited for");
        (status.success(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
