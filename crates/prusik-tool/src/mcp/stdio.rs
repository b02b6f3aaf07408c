//! JSON-RPC over the pipes of a child process, for the SDK to run on.
//!
//! The SDK has a transport of its own for this. Ours differs in what it does with a bad server: a
//! message that is too long or cannot be understood fails the call it answers instead of leaving
//! it to its time-out, a late answer does not spoil the handshake, a flood of notifications or
//! requests does not pile up, and how much of a message was sent is known when sending fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::model::{ErrorCode, ErrorData, JsonRpcMessage, RequestId, ServerNotification};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};

use super::lines::{Line, LineReader};
use super::process::{Pipes, Stderr, Stopper};

/// Stands for an answer that came and could not be taken. Not one of JSON-RPC's codes.
pub(super) const UNUSABLE_ANSWER: ErrorCode = ErrorCode(-31_999);

/// Requests of the server that may be unanswered at a time; more are not looked at.
const SERVER_REQUESTS_MAX: usize = 64;

/// Failed to send a message.
#[derive(Debug, thiserror::Error)]
#[error("cannot send to the server: {source}")]
pub(super) struct SendError {
    /// Whether any byte of it may have reached the server.
    pub(super) may_have_arrived: bool,
    source: std::io::Error,
}

/// The client's end of a child's pipes.
pub(super) struct StdioTransport {
    lines: LineReader<ChildStdout>,
    input: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    stopper: Stopper,
    garbage: Arc<Stderr>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Set once the handshake is over.
    ready: AtomicBool,
    last_request: Mutex<Option<RequestId>>,
    server_requests: AtomicUsize,
}

/// Tells the transport that the handshake is over.
#[derive(Debug, Clone)]
pub(super) struct Ready(Arc<Shared>);

impl Ready {
    pub(super) fn set(&self) {
        self.0.ready.store(true, Ordering::Release);
    }
}

impl StdioTransport {
    pub(super) fn new(
        pipes: Pipes,
        bytes_max: usize,
        stopper: Stopper,
        garbage: Arc<Stderr>,
    ) -> (Self, Ready) {
        let shared = Arc::new(Shared::default());
        let transport = Self {
            lines: LineReader::new(pipes.output, bytes_max),
            input: Arc::new(tokio::sync::Mutex::new(Some(pipes.input))),
            stopper,
            garbage,
            shared: Arc::clone(&shared),
        };
        (transport, Ready(shared))
    }

    /// Returns the message of a line, or nothing if it is to be ignored.
    fn understand(&self, line: &[u8]) -> Option<RxJsonRpcMessage<RoleClient>> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let message = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(error) => {
                let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(line) else {
                    // Some servers print to standard output. It is not for us, but may explain.
                    self.garbage.push(line);
                    return None;
                };
                let id = object.get("id").cloned().filter(|_| !object.contains_key("method"))?;
                let id = serde_json::from_value(id).ok()?;
                return Some(unusable(id, format!("the answer cannot be understood: {error}")));
            }
        };
        self.accept(message)
    }

    fn accept(
        &self,
        message: RxJsonRpcMessage<RoleClient>,
    ) -> Option<RxJsonRpcMessage<RoleClient>> {
        let wanted = match &message {
            JsonRpcMessage::Notification(notification) => match &notification.notification {
                ServerNotification::ProgressNotification(_)
                | ServerNotification::ToolListChangedNotification(_)
                | ServerNotification::CancelledNotification(_)
                | ServerNotification::SubscriptionsAcknowledgedNotification(_) => true,
                // The SDK's enum is open; nothing else is of use to us.
                _ => false,
            },
            JsonRpcMessage::Request(_) => self
                .shared
                .server_requests
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                    (count < SERVER_REQUESTS_MAX).then_some(count + 1)
                })
                .is_ok(),
            JsonRpcMessage::Response(response) => self.is_awaited(Some(&response.id)),
            JsonRpcMessage::Error(error) => self.is_awaited(error.id.as_ref()),
        };
        wanted.then_some(message)
    }

    /// During the handshake only the last request is waited for: a server that started slowly may
    /// still answer the one before, on which the handshake has given up.
    fn is_awaited(&self, id: Option<&RequestId>) -> bool {
        if self.shared.ready.load(Ordering::Acquire) {
            return true;
        }
        let last = self.shared.last_request.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, id) {
            (Some(last), Some(id)) => last == id || last.to_string() == id.to_string(),
            (None, _) | (_, None) => true,
        }
    }
}

fn unusable(id: RequestId, problem: String) -> RxJsonRpcMessage<RoleClient> {
    JsonRpcMessage::error(ErrorData::new(UNUSABLE_ANSWER, problem, None), Some(id))
}

impl Transport<RoleClient> for StdioTransport {
    type Error = SendError;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), SendError>> + Send + 'static {
        let input = Arc::clone(&self.input);
        let shared = Arc::clone(&self.shared);
        if let JsonRpcMessage::Request(request) = &item {
            let mut last = shared.last_request.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(request.id.clone());
        }
        async move {
            let is_answer = matches!(item, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_));
            let sent = write_line(&input, &item).await;
            if is_answer {
                // Saturating: an error without a request is an answer that nobody counted.
                let _ = shared.server_requests.fetch_update(
                    Ordering::AcqRel,
                    Ordering::Acquire,
                    |count| count.checked_sub(1),
                );
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            match self.lines.next().await {
                Line::End => return None,
                Line::Whole(line) => {
                    if let Some(message) = self.understand(&line) {
                        return Some(message);
                    }
                }
                Line::TooLong { bytes, id } => {
                    let problem = format!("the answer has {bytes} bytes, above the limit");
                    self.garbage.push(format!("[{problem}]").as_bytes());
                    let id = id.and_then(|id| serde_json::from_slice(&id).ok());
                    if let Some(id) = id {
                        return Some(unusable(id, problem));
                    }
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), SendError> {
        // A writer that is stuck in a full pipe holds the lock; the process is ended all the same.
        if let Ok(mut input) = self.input.try_lock() {
            *input = None;
        }
        self.stopper.stop().await;
        Ok(())
    }
}

async fn write_line(
    input: &tokio::sync::Mutex<Option<ChildStdin>>,
    item: &TxJsonRpcMessage<RoleClient>,
) -> Result<(), SendError> {
    let failed = |source, may_have_arrived| SendError { may_have_arrived, source };
    let mut line = serde_json::to_vec(item).map_err(|error| failed(error.into(), false))?;
    line.push(b'\n');
    let mut input = input.lock().await;
    let Some(pipe) = input.as_mut() else {
        return Err(failed(std::io::ErrorKind::NotConnected.into(), false));
    };
    let mut written = 0;
    while written < line.len() {
        match pipe.write(&line[written..]).await {
            Ok(0) => return Err(failed(std::io::ErrorKind::WriteZero.into(), written > 0)),
            Ok(count) => written += count,
            Err(error) => return Err(failed(error, written > 0)),
        }
    }
    pipe.flush().await.map_err(|error| failed(error, true))
}

#[cfg(test)]
mod tests {
    use rmcp::model::{ClientRequest, PingRequest};

    use super::*;
    use crate::mcp::process::Process;
    use crate::mcp::{ServerConfig, Transport as Reached};

    fn ping(id: i64) -> TxJsonRpcMessage<RoleClient> {
        let id = RequestId::Number(id);
        JsonRpcMessage::request(ClientRequest::PingRequest(PingRequest::default()), id)
    }

    fn transport(script: &str) -> (Process, StdioTransport, Ready) {
        let reached = Reached::Stdio {
            command: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: std::collections::BTreeMap::default(),
            cwd: None,
        };
        let (process, pipes) = Process::start(&ServerConfig::new("x", reached)).unwrap();
        let (transport, ready) =
            StdioTransport::new(pipes, 1_000, process.stopper(), process.stderr());
        (process, transport, ready)
    }

    /// Answers both requests once the second has come, as a server that started slowly does.
    const LATE: &str = r#"read a; read b;
        echo '{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"no such method"}}'
        echo '{"jsonrpc":"2.0","id":1,"result":{}}'; cat"#;

    #[tokio::test]
    async fn a_late_answer_to_the_probe_does_not_spoil_the_handshake() {
        let (_process, mut transport, _) = transport(LATE);
        transport.send(ping(0)).await.unwrap();
        transport.send(ping(1)).await.unwrap();
        let Some(JsonRpcMessage::Response(response)) = transport.receive().await else { panic!() };
        assert_eq!(response.id, RequestId::Number(1));
    }

    #[tokio::test]
    async fn after_the_handshake_every_answer_counts() {
        let (_process, mut transport, ready) = transport(LATE);
        ready.set();
        transport.send(ping(0)).await.unwrap();
        transport.send(ping(1)).await.unwrap();
        assert!(matches!(transport.receive().await, Some(JsonRpcMessage::Error(_))));
        assert!(matches!(transport.receive().await, Some(JsonRpcMessage::Response(_))));
        transport.close().await.unwrap();
        let error = transport.send(ping(2)).await.unwrap_err();
        assert!(!error.may_have_arrived);
    }

    #[tokio::test]
    async fn what_did_not_fit_into_the_pipe_may_have_arrived() {
        let (process, mut transport, _) = transport("sleep 0.2");
        let long = serde_json::json!({"x": "x".repeat(1_000_000)});
        let request = rmcp::model::CustomRequest::new("x", Some(long));
        let request = ClientRequest::CustomRequest(request);
        let message = JsonRpcMessage::request(request, RequestId::Number(0));
        let error = transport.send(message).await.unwrap_err();
        assert!(error.may_have_arrived, "a part of it went into the pipe");
        assert!(process.how_it_ended().await.is_some());
        let error = transport.send(ping(1)).await.unwrap_err();
        assert!(!error.may_have_arrived, "nobody was there");
    }
}
