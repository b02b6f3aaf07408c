//! A relay between the client and a tool server, that loses what it is told to lose.
//!
//! It is a process of its own: the real client starts it in the server's place, and it starts the
//! server. Before a call, a fault for it may be laid into the relay's folder; what has become of the
//! fault is told by files there, too.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// Largest piece of a message that is looked at; a longer message is passed on in pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long a server may take to end when its input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long a server may go on after our client has gone. The client itself ends us sooner, unless it
/// was killed.
const ORPHAN_GRACE: Duration = Duration::from_secs(6);
/// Messages to the server that wait to be written.
const WAITING_MAX: usize = 64;

/// What befalls one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The answer is lost.
    Drop,
    /// The connection ends in the middle of the answer.
    Cut,
    /// The call reaches the server together with the next one, and its answer is lost.
    Hold,
    /// Another name or other arguments reach the server.
    Rewrite { name: Option<String>, arguments: Option<Value> },
    /// This line reaches the server before the call.
    Before { line: String },
}

/// What the relay tells of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The server has answered, and the answer is lost.
    Lost,
    /// The call is held.
    Held,
    /// The held call was answered.
    Late,
    /// The held call was answered with a failure.
    LateFailed,
}

impl Mark {
    fn file(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Held => "held",
            Self::Late => "late",
            Self::LateFailed => "late-failed",
        }
    }
}

/// The folder of a relay.
#[derive(Debug, Clone)]
pub struct Control(PathBuf);

impl Control {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Lays a fault for the next call.
    pub fn arm(&self, fault: &Fault) -> std::io::Result<()> {
        for mark in [Mark::Lost, Mark::Held, Mark::Late, Mark::LateFailed] {
            let _ = std::fs::remove_file(self.0.join(mark.file()));
        }
        // Whole or not at all.
        let new = self.0.join("next.new");
        std::fs::write(&new, serde_json::to_vec(fault).expect("a fault serializes"))?;
        std::fs::rename(new, self.0.join("next"))
    }

    /// Returns whether the relay has told `mark` since the last fault was laid.
    pub fn has(&self, mark: Mark) -> bool {
        self.0.join(mark.file()).exists()
    }

    /// Returns how often the server was started.
    pub fn starts(&self) -> usize {
        std::fs::read(self.0.join("starts")).map_or(0, |bytes| bytes.len())
    }

    pub fn take(&self) -> Option<Fault> {
        let path = self.0.join("next");
        let bytes = std::fs::read(&path).ok()?;
        std::fs::remove_file(&path).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn mark(&self, mark: Mark) {
        // Whoever waits for the mark gives up after a while and says so.
        let _ = std::fs::write(self.0.join(mark.file()), "");
    }

    fn started(&self) {
        let file =
            std::fs::OpenOptions::new().create(true).append(true).open(self.0.join("starts"));
        let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, b"."));
    }
}

/// Which messages are under a fault. Pure: what to do with each line is returned.
#[derive(Debug, Default)]
pub struct Switch {
    dropped: Option<Value>,
    cut: Option<Value>,
    held: Option<(Value, Vec<u8>)>,
    late: Option<Value>,
}

/// What becomes of a line of the client.
#[derive(Debug, PartialEq)]
pub struct Onward {
    pub lines: Vec<u8>,
    pub mark: Option<Mark>,
}

/// What becomes of a line of the server.
#[derive(Debug, PartialEq)]
pub enum Back {
    Pass,
    Drop(Mark),
    /// Only the beginning is passed on, and then the connection ends.
    Cut(usize),
}

impl Switch {
    /// Takes a line of the client. `next` is asked only when a call comes.
    pub fn request(&mut self, line: &[u8], next: impl FnOnce() -> Option<Fault>) -> Onward {
        let pass = |lines: Vec<u8>| Onward { lines, mark: None };
        let Ok(message) = serde_json::from_slice::<Value>(line) else { return pass(line.to_vec()) };
        if self.is_of_given_up(&message) {
            return pass(Vec::new());
        }
        if message["method"] != "tools/call" || message["id"].is_null() {
            return pass(line.to_vec());
        }
        let id = message["id"].clone();
        if let Some((held, mut lines)) = self.held.take() {
            self.late = Some(held);
            lines.extend_from_slice(line);
            return pass(lines);
        }
        match next() {
            None => pass(line.to_vec()),
            Some(Fault::Drop) => {
                self.dropped = Some(id);
                pass(line.to_vec())
            }
            Some(Fault::Cut) => {
                self.cut = Some(id);
                pass(line.to_vec())
            }
            Some(Fault::Hold) => {
                self.held = Some((id, line.to_vec()));
                Onward { lines: Vec::new(), mark: Some(Mark::Held) }
            }
            Some(Fault::Rewrite { name, arguments }) => {
                let mut message = message;
                if let Some(name) = name {
                    message["params"]["name"] = json!(name);
                }
                if let Some(arguments) = arguments {
                    message["params"]["arguments"] = arguments;
                }
                pass(format!("{message}\n").into_bytes())
            }
            Some(Fault::Before { line: before }) => pass([before.as_bytes(), b"\n", line].concat()),
        }
    }

    /// The notice that a held call was given up does not reach the server: the call runs on.
    fn is_of_given_up(&self, message: &Value) -> bool {
        let held = self.held.as_ref().map(|(id, _)| id).or(self.late.as_ref());
        message["method"] == "notifications/cancelled"
            && held.is_some_and(|id| message["params"]["requestId"] == *id)
    }

    /// Takes a line of the server.
    pub fn reply(&mut self, line: &[u8]) -> Back {
        if self.dropped.is_none() && self.cut.is_none() && self.late.is_none() {
            return Back::Pass;
        }
        let Ok(message) = serde_json::from_slice::<Value>(line) else { return Back::Pass };
        if !message["method"].is_null() {
            return Back::Pass;
        }
        let id = Some(message["id"].clone());
        if id == self.dropped {
            self.dropped = None;
            return Back::Drop(Mark::Lost);
        }
        if id == self.late {
            self.late = None;
            let failed = !message["error"].is_null() || message["result"]["isError"] == true;
            return Back::Drop(if failed { Mark::LateFailed } else { Mark::Late });
        }
        if id == self.cut {
            self.cut = None;
            return Back::Cut(line.len() / 2);
        }
        Back::Pass
    }
}

/// Starts `command` and relays between it and our own input and output until one of them ends.
/// Returns the code to end with.
pub async fn relay(folder: &Path, command: &[String]) -> std::io::Result<i32> {
    let control = Control::new(folder);
    control.started();
    let (program, arguments) = command.split_first().expect("the command line asks for a command");
    // In our own group, which our client ends as a whole.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = Some(writer(child.stdin.take().expect("stdin was set to a pipe")));
    let mut requests = BufReader::new(tokio::io::stdin());
    let mut replies = BufReader::new(child.stdout.take().expect("stdout was set to a pipe"));
    let mut output = tokio::io::stdout();
    let mut switch = Switch::default();
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    let mut alone_until = None;
    loop {
        tokio::select! {
            () = until(alone_until), if alone_until.is_some() => {
                return Ok(code_of(end_all(child).await?));
            }
            read = read_line(&mut requests, &mut from_client), if input.is_some() => {
                read?;
                if from_client.is_empty() {
                    input = None;
                    alone_until = Some(tokio::time::Instant::now() + ORPHAN_GRACE);
                    continue;
                }
                let Onward { lines, mark } = switch.request(&from_client, || control.take());
                from_client.clear();
                if let Some(mark) = mark {
                    control.mark(mark);
                }
                if let Some(input) = &input {
                    // A server that takes no more is told of by its output.
                    let _ = input.send(lines).await;
                }
            }
            read = read_line(&mut replies, &mut from_server) => {
                read?;
                if from_server.is_empty() {
                    return Ok(code_of(end(child, input).await?));
                }
                match switch.reply(&from_server) {
                    Back::Pass => output.write_all(&from_server).await?,
                    Back::Drop(mark) => control.mark(mark),
                    Back::Cut(bytes) => {
                        output.write_all(&from_server[..bytes]).await?;
                        output.flush().await?;
                        // The server sees its client go, and may end in order.
                        end(child, input).await?;
                        control.mark(Mark::Lost);
                        return Ok(0);
                    }
                }
                output.flush().await?;
                from_server.clear();
            }
        }
    }
}

/// Appends up to the end of a line. Cancel-safe: what was read is in `line`.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<()> {
    let left = LINE_BYTES_MAX.saturating_sub(line.len() as u64);
    reader.take(left).read_until(b'\n', line).await.map(|_| ())
}

/// Writes to the server from a task of its own, so that a server that answers before it has read all
/// is read in the meantime. Its input ends when the sender is dropped.
fn writer(mut input: ChildStdin) -> mpsc::Sender<Vec<u8>> {
    let (sender, mut queue) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
    tokio::spawn(async move {
        while let Some(lines) = queue.recv().await {
            if input.write_all(&lines).await.is_err() || input.flush().await.is_err() {
                return;
            }
        }
    });
    sender
}

async fn end(
    mut child: Child,
    input: Option<mpsc::Sender<Vec<u8>>>,
) -> std::io::Result<ExitStatus> {
    drop(input);
    if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
        return status;
    }
    child.kill().await?;
    child.wait().await
}

async fn until(end: Option<tokio::time::Instant>) {
    if let Some(end) = end {
        tokio::time::sleep_until(end).await;
    }
}

/// Ends the server with all that it has started, and ourselves with them if we lead the group that they
/// are in; otherwise others are in it, too.
async fn end_all(mut child: Child) -> std::io::Result<ExitStatus> {
    use rustix::process::{Signal, getpgrp, getpid, kill_process_group};
    if getpgrp() == getpid() {
        kill_process_group(getpgrp(), Signal::KILL)?;
    }
    child.kill().await?;
    child.wait().await
}

/// Returns what a shell would: a signal is 128 and its number.
fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: &Value) -> Vec<u8> {
        format!("{value}\n").into_bytes()
    }

    fn call(id: u64) -> Vec<u8> {
        line(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "pay", "arguments": {"amount": 1}}}))
    }

    fn answer(id: u64) -> Vec<u8> {
        line(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}))
    }

    #[test]
    fn only_the_answer_that_is_meant_is_lost() {
        for (fault, expected) in
            [(Fault::Drop, Back::Drop(Mark::Lost)), (Fault::Cut, Back::Cut(answer(2).len() / 2))]
        {
            let mut switch = Switch::default();
            let list = line(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}));
            let unasked = || -> Option<Fault> { panic!("only a call takes a fault") };
            assert_eq!(switch.request(&list, unasked).lines, list);
            assert_eq!(switch.request(&call(2), || Some(fault)).lines, call(2));
            assert_eq!(switch.reply(&answer(1)), Back::Pass);
            assert_eq!(switch.reply(&answer(2)), expected);
            assert_eq!(switch.reply(&answer(2)), Back::Pass);
            assert_eq!(switch.request(&call(3), || None).lines, call(3));
        }
    }

    #[test]
    fn a_held_call_arrives_with_the_next_one_although_it_was_given_up() {
        let mut switch = Switch::default();
        let held = switch.request(&call(2), || Some(Fault::Hold));
        assert_eq!(held, Onward { lines: Vec::new(), mark: Some(Mark::Held) });
        let given_up = line(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 2}}));
        assert_eq!(switch.request(&given_up, || None).lines, b"");
        let both = switch.request(&call(3), || panic!("one fault at a time"));
        assert_eq!(both.lines, [call(2), call(3)].concat());
        assert_eq!(switch.reply(&answer(3)), Back::Pass);
        assert_eq!(switch.reply(&answer(2)), Back::Drop(Mark::Late));
    }

    #[test]
    fn a_held_call_that_fails_says_so() {
        let failures = [
            json!({"error": {"code": -32000, "message": "known"}}),
            json!({"result": {"content": [], "isError": true}}),
        ];
        for mut failure in failures {
            let mut switch = Switch::default();
            switch.request(&call(2), || Some(Fault::Hold));
            switch.request(&call(3), || panic!("one fault at a time"));
            failure["id"] = json!(2);
            assert_eq!(switch.reply(&line(&failure)), Back::Drop(Mark::LateFailed));
        }
    }

    #[test]
    fn a_request_can_be_spoiled_on_its_way() {
        let mut switch = Switch::default();
        let rewrite = Fault::Rewrite { name: Some("x".into()), arguments: Some(json!([1])) };
        let spoiled = switch.request(&call(2), || Some(rewrite)).lines;
        let spoiled: Value = serde_json::from_slice(&spoiled).unwrap();
        assert_eq!(spoiled["params"], json!({"name": "x", "arguments": [1]}));
        assert_eq!(spoiled["id"], 2);
        let before = Fault::Before { line: "{".into() };
        let both = switch.request(&call(3), || Some(before)).lines;
        assert_eq!(both, [b"{\n", &call(3)[..]].concat());
        assert_eq!(switch.reply(&answer(2)), Back::Pass);
    }
}
