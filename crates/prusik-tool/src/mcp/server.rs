//! An MCP server of the project: started when it is needed, again when it died, and its tools.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prusik_core::outcome::{Refusal, Reply, kind};
use prusik_core::schema;
use rmcp::model::Tool as McpToolSpec;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::breaker::{Breaker, TurnedAway};
use super::config::ServerConfig;
use super::connection::Connection;
use super::error::ConnectError;
use crate::{CallAttempt, Children, Tool, ToolInfo};

/// Wait before the second start in a window; it doubles with each further one.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often somebody who waits for a server is told so.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// What a model may call a tool.
const NAME_BYTES_MAX: usize = 128;

/// Told what is being waited for, in words.
pub(crate) type Waiting<'a> = &'a (dyn Fn(String) + Send + Sync);

/// A tool of a server that cannot be offered.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    pub server: String,
    pub tool: String,
    pub reason: String,
    /// What it says of itself.
    pub info: ToolInfo,
}

/// A server, whether it runs or not.
pub(crate) struct Server {
    config: ServerConfig,
    breaker: Breaker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    /// When it was started, within the window.
    starts: VecDeque<Instant>,
    last_failure: Option<String>,
    is_shut_down: bool,
}

/// Returns why a tool cannot be offered to a model, if it cannot.
fn obstacle(info: &ToolInfo, own_name: &str) -> Option<String> {
    let name = &info.name;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) || own_name.is_empty() {
        return Some(format!(
            "`{name}` is not a name that models can call: letters, digits, `_` and `-`, at most \
             {NAME_BYTES_MAX}"
        ));
    }
    if let Err(problem) = schema::check_schema(&info.input_schema) {
        return Some(format!("its input schema is not valid: {problem}"));
    }
    let output = info.output_schema.as_ref().map(schema::check_schema);
    output.and_then(Result::err).map(|problem| format!("its output schema is not valid: {problem}"))
}

impl Server {
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self { breaker: Breaker::new(config.breaker), config, state: Mutex::default() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(crate) fn children(&self) -> Option<Children> {
        self.config.children.clone()
    }

    /// Connects if that was not done yet, and returns the server's tools.
    pub(crate) async fn tools(
        self: &Arc<Self>,
        cancel: &CancellationToken,
        waiting: Waiting<'_>,
    ) -> Result<(Vec<McpTool>, Vec<LeftOut>), ConnectError> {
        let connection = self.connection(cancel, waiting).await?;
        let listed = connection.list(&self.config).await?;
        let mut tools = Vec::new();
        let mut left_out = Vec::new();
        for spec in listed {
            match self.tool(spec) {
                Ok(tool) => tools.push(tool),
                Err(tool) => left_out.push(*tool),
            }
        }
        Ok((tools, left_out))
    }

    fn tool(self: &Arc<Self>, spec: McpToolSpec) -> Result<McpTool, Box<LeftOut>> {
        let hints = spec.annotations.and_then(|hints| serde_json::to_value(hints).ok());
        let description = spec.description.or(spec.title.map(Into::into)).unwrap_or_default();
        let info = ToolInfo {
            name: format!("{}__{}", self.name(), spec.name),
            description: description.into_owned(),
            input_schema: Value::Object(spec.input_schema.as_ref().clone()),
            output_schema: spec.output_schema.map(|schema| Value::Object(schema.as_ref().clone())),
            hints,
        };
        let tool = spec.name.into_owned();
        match obstacle(&info, &tool) {
            Some(reason) => {
                let server = self.name().to_owned();
                Err(Box::new(LeftOut { server, tool, reason, info }))
            }
            None => Ok(McpTool { info, tool, server: Arc::clone(self) }),
        }
    }

    /// Returns a tool that is known from before, without connecting.
    pub(crate) fn known_tool(self: &Arc<Self>, info: ToolInfo, tool: &str) -> McpTool {
        McpTool { info, tool: tool.to_owned(), server: Arc::clone(self) }
    }

    /// Returns the connection, made anew if there is none or if it was lost.
    async fn connection(
        &self,
        cancel: &CancellationToken,
        waiting: Waiting<'_>,
    ) -> Result<Arc<Connection>, ConnectError> {
        let cancelled = || ConnectError::Cancelled { server: self.name().to_owned() };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled()),
            connection = self.connect(waiting) => connection,
        }
    }

    async fn connect(&self, waiting: Waiting<'_>) -> Result<Arc<Connection>, ConnectError> {
        let mut state = self.state.lock().await;
        if state.is_shut_down {
            return Err(ConnectError::ShutDown { server: self.name().to_owned() });
        }
        if let Some(connection) = &state.connection {
            if !connection.is_closed() {
                return Ok(Arc::clone(connection));
            }
            connection.close(&self.config).await;
            state.connection = None;
        }
        self.wait_for_turn(&mut state, waiting).await?;
        state.starts.push_back(Instant::now());
        let connection = match self.open(waiting).await {
            Ok(connection) => Arc::new(connection),
            Err(error) => {
                state.last_failure = Some(error.to_string());
                return Err(error);
            }
        };
        state.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Bounds how often a server that keeps dying is started.
    async fn wait_for_turn(
        &self,
        state: &mut State,
        waiting: Waiting<'_>,
    ) -> Result<(), ConnectError> {
        let limits = &self.config.limits;
        let window = Duration::from_millis(limits.start_window_ms);
        while state.starts.front().is_some_and(|start| start.elapsed() > window) {
            state.starts.pop_front();
        }
        let starts = state.starts.len();
        if starts >= limits.starts_max {
            return Err(ConnectError::TooManyStarts {
                server: self.name().to_owned(),
                starts,
                window_ms: limits.start_window_ms,
                last: state.last_failure.clone().unwrap_or_else(|| "it ended.".to_owned()),
            });
        }
        if starts > 0 {
            waiting(format!("starting MCP server `{}` again", self.name()));
            let doublings = u32::try_from(starts - 1).unwrap_or(u32::MAX).min(10);
            tokio::time::sleep((BACKOFF * 2_u32.pow(doublings)).min(BACKOFF_MAX)).await;
        }
        Ok(())
    }

    async fn open(&self, waiting: Waiting<'_>) -> Result<Connection, ConnectError> {
        let began = Instant::now();
        let limit_s = self.config.limits.start_timeout_ms.div_ceil(1_000);
        let opening = Connection::open(&self.config);
        tokio::pin!(opening);
        let mut tell = tokio::time::interval_at(began + TELL_EVERY, TELL_EVERY);
        loop {
            tokio::select! {
                biased;
                opened = &mut opening => return opened,
                _ = tell.tick() => waiting(format!(
                    "waiting for MCP server `{}` to start ({} s of at most {limit_s} s)",
                    self.name(),
                    began.elapsed().as_secs(),
                )),
            }
        }
    }

    /// Ends the server. No call starts it again.
    pub(crate) async fn shut_down(&self) {
        let mut state = self.state.lock().await;
        state.is_shut_down = true;
        if let Some(connection) = &state.connection {
            connection.close(&self.config).await;
        }
        // Not before: whoever is cut off in the middle has to find it again.
        state.connection = None;
    }
}

/// A tool of an MCP server.
pub(crate) struct McpTool {
    info: ToolInfo,
    /// Its name on the server.
    tool: String,
    server: Arc<Server>,
}

#[async_trait]
impl Tool for McpTool {
    fn info(&self) -> &ToolInfo {
        &self.info
    }

    async fn call(&self, attempt: CallAttempt<'_>) -> Reply {
        let arguments = match attempt.arguments {
            Value::Object(arguments) => arguments.clone(),
            Value::Null => serde_json::Map::new(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                let message = "arguments are a JSON object";
                return Reply::Refused(Refusal::of_kind(kind::INVALID_ARGUMENTS, message));
            }
        };
        let permit = match self.server.breaker.admit(&attempt.cancel).await {
            Ok(permit) => permit,
            Err(TurnedAway::Cancelled) => return Reply::not_sent("cancelled before it was sent"),
            Err(TurnedAway::Open { problem, wait }) => {
                let reason = format!("MCP server `{}`: {problem}", self.server.name());
                // Who comes after that must not come a moment too soon.
                let retry_after_ms =
                    u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
                return Reply::NotSent { reason, retry_after_ms };
            }
        };
        match self.send(arguments, &attempt).await {
            Ok(reply) => {
                permit.note(&reply);
                reply
            }
            Err(reason) => {
                permit.answered();
                Reply::not_sent(reason)
            }
        }
    }
}

impl McpTool {
    /// Sends the call; an error if the server lives and does not offer the tool any more.
    async fn send(
        &self,
        arguments: serde_json::Map<String, Value>,
        attempt: &CallAttempt<'_>,
    ) -> Result<Reply, String> {
        let ready = self.ready(&attempt.cancel, attempt.progress);
        let connection = match ready.await {
            Ok(connection) => connection,
            Err(error) => return Ok(Reply::not_sent(error.to_string())),
        };
        if !connection.offers(&self.tool) {
            let reason = format!(
                "MCP server `{}` no longer offers the tool `{}`",
                self.server.name(),
                self.tool
            );
            return Err(reason);
        }
        let schema = self.info.output_schema.as_ref();
        Ok(connection.call(&self.tool, arguments, schema, attempt).await)
    }

    /// Returns a connection that knows which tools there are now.
    async fn ready(
        &self,
        cancel: &CancellationToken,
        waiting: Waiting<'_>,
    ) -> Result<Arc<Connection>, ConnectError> {
        let server = &self.server;
        let connection = server.connection(cancel, waiting).await?;
        if !connection.is_listed() || connection.list_has_changed() {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(ConnectError::Cancelled { server: server.name().to_owned() });
                }
                listed = connection.list(&server.config) => listed?,
            };
        }
        Ok(connection)
    }
}
