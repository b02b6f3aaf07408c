//! One connection to an MCP server, from the handshake to its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prusik_core::outcome::{Refusal, Reply, ToolResult};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig,
    ClientRequest, Implementation, PaginatedRequestParams, ProgressNotificationParam,
    ProgressToken, ProtocolVersion, RequestMetaObject, ServerResult, SubscriptionFilter,
    Tool as McpToolSpec,
};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, NotificationContext,
    PeerRequestOptions, RequestHandle, RoleClient, RunningService, ServiceError,
    serve_client_with_lifecycle,
};
use rmcp::{ClientHandler, transport::DynamicTransportError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::config::{ServerConfig, Transport};
use super::content;
use super::error::ConnectError;
use super::http::{self, HttpError};
use super::process::Process;
use super::stdio::{SendError, StdioTransport, UNUSABLE_ANSWER};
use crate::CallAttempt;

/// Most tools and pages of tools that one server may list.
const TOOLS_MAX: usize = 5_000;
const PAGES_MAX: usize = 200;
/// Notices of progress that wait to be shown; more are dropped.
const PROGRESS_WAITING_MAX: usize = 16;
/// Longest notice of progress, in characters.
const PROGRESS_CHARS_MAX: usize = 200;
/// How long the notice that a call is cancelled may take to be written.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(500);
/// Time to end a connection beyond the graces of its process.
const CLOSE_EXTRA: Duration = Duration::from_secs(3);

/// A connection that the handshake made.
pub(super) struct Connection {
    service: tokio::sync::Mutex<RunningService<RoleClient, Client>>,
    peer: rmcp::service::Peer<RoleClient>,
    signals: Arc<Signals>,
    process: Option<Process>,
    /// The names of its tools, once they were listed.
    tools: Mutex<Option<BTreeSet<String>>>,
    server: String,
    /// Set when the server no longer knows us, although it can be reached.
    broken: AtomicBool,
    listener: Option<JoinHandle<()>>,
}

/// What a server tells us unasked.
#[derive(Debug, Default)]
struct Signals {
    list_changed: AtomicBool,
    progress: Mutex<HashMap<ProgressToken, mpsc::Sender<String>>>,
}

/// Our side of the protocol. It offers the server nothing beyond calls.
struct Client {
    signals: Arc<Signals>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let ours = Implementation::new("prusik", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), ours)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_progress(
        &self,
        notice: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let waiting = self.signals.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.get(&notice.progress_token) {
            // A server that tells more than can be shown is not waited for.
            let _ = sender.try_send(progress_text(&notice));
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.signals.list_changed.store(true, Ordering::Release);
    }
}

fn progress_text(notice: &ProgressNotificationParam) -> String {
    let amount = match notice.total {
        Some(total) => format!("{} of {total}", notice.progress),
        None => notice.progress.to_string(),
    };
    let text = match &notice.message {
        Some(message) => format!("{message} ({amount})"),
        None => amount,
    };
    text.chars().filter(|c| !c.is_control()).take(PROGRESS_CHARS_MAX).collect()
}

impl Connection {
    /// Starts or reaches the server and agrees with it on a version of the protocol.
    ///
    /// The newest is tried first, as it says itself: `server/discover`, and when the server does not know
    /// that, `initialize`. Some older servers end or fall silent at an unknown first message, and
    /// some newer ones are so slow to start that the probe is given up; so there is a second try
    /// that leads with the other one.
    pub(super) async fn open(config: &ServerConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + Duration::from_millis(config.limits.start_timeout_ms);
        let auto = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        };
        match Self::try_open(config, auto, deadline).await {
            Ok(connection) => Ok(connection),
            Err((error, None)) => Err(error),
            Err((_, Some(second))) => {
                Self::try_open(config, second, deadline).await.map_err(|(error, _)| error)
            }
        }
    }

    /// Tries once; a failure says with what to try again, if there is a point in it.
    async fn try_open(
        config: &ServerConfig,
        mode: ClientLifecycleMode,
        deadline: Instant,
    ) -> Result<Self, (ConnectError, Option<ClientLifecycleMode>)> {
        let signals = Arc::new(Signals::default());
        let client = Client { signals: Arc::clone(&signals) };
        let (served, process) = match &config.transport {
            Transport::Stdio { .. } => {
                let (process, pipes) = Process::start(config).map_err(|error| (error, None))?;
                let max = config.limits.message_bytes_max;
                let (transport, ready) =
                    StdioTransport::new(pipes, max, process.stopper(), process.stderr());
                let serving = serve_client_with_lifecycle(client, transport, mode);
                let served = tokio::time::timeout_at(deadline, serving).await;
                ready.set();
                (served, Some(process))
            }
            Transport::Http { url, headers } => {
                let transport =
                    http::transport(config, url, headers).map_err(|error| (error, None))?;
                let serving = serve_client_with_lifecycle(client, transport, mode);
                (tokio::time::timeout_at(deadline, serving).await, None)
            }
        };
        let service = match served {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => {
                return Err((describe(config, process.as_ref(), &error).await, second(&error)));
            }
            Err(_) => return Err((timed_out(config, process.as_ref()), None)),
        };
        let peer = service.peer().clone();
        // A list that is asked for again must be the server's, not a memory of it.
        peer.set_response_cache_config(ClientCacheConfig::disabled()).await;
        let mut connection = Self {
            service: tokio::sync::Mutex::new(service),
            peer,
            signals,
            process,
            tools: Mutex::default(),
            server: config.name.clone(),
            broken: AtomicBool::new(false),
            listener: None,
        };
        connection.listen(deadline).await;
        Ok(connection)
    }

    /// Since 2026-07-28 changes are told only to those who ask.
    async fn listen(&mut self, deadline: Instant) {
        let Some(info) = self.peer.peer_info() else { return };
        let tells_changes = info.capabilities.tools.as_ref().and_then(|tools| tools.list_changed);
        if info.protocol_version.has_initialize() || tells_changes != Some(true) {
            return;
        }
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        // A server that does not let us listen can be used all the same.
        let Ok(Ok(mut subscription)) =
            tokio::time::timeout_at(deadline, self.peer.listen(filter)).await
        else {
            return;
        };
        let signals = Arc::clone(&self.signals);
        self.listener = Some(tokio::spawn(async move {
            while let Ok(Some(_)) = subscription.next().await {
                signals.list_changed.store(true, Ordering::Release);
            }
        }));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed()
            || self.broken.load(Ordering::Acquire)
            || self.process.as_ref().is_some_and(Process::has_ended)
    }

    /// Returns the tools as the server lists them now.
    pub(super) async fn list(
        &self,
        config: &ServerConfig,
    ) -> Result<Vec<McpToolSpec>, ConnectError> {
        // What changes while we ask is noticed afterwards.
        self.signals.list_changed.store(false, Ordering::Release);
        let timeout = Duration::from_millis(config.limits.start_timeout_ms);
        let listed = match tokio::time::timeout(timeout, self.list_pages()).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(problem)) => {
                let process = self.process.as_ref();
                return Err(
                    handshake_failed(config, process, format!("tools/list: {problem}")).await
                );
            }
            Err(_) => return Err(timed_out(config, self.process.as_ref())),
        };
        let names = listed.iter().map(|tool| tool.name.to_string()).collect();
        *self.tools.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
        Ok(listed)
    }

    async fn list_pages(&self) -> Result<Vec<McpToolSpec>, String> {
        let has_tools = self.peer.peer_info().is_some_and(|info| info.capabilities.tools.is_some());
        if !has_tools {
            return Ok(Vec::new());
        }
        let mut listed = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let params = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page =
                self.peer.list_tools(Some(params)).await.map_err(|error| error.to_string())?;
            listed.extend(page.tools);
            if listed.len() > TOOLS_MAX {
                return Err(format!("more than {TOOLS_MAX} tools"));
            }
            match page.next_cursor {
                None => return Ok(listed),
                next => cursor = next,
            }
        }
        Err(format!("more than {PAGES_MAX} pages"))
    }

    pub(super) fn list_has_changed(&self) -> bool {
        self.signals.list_changed.load(Ordering::Acquire)
    }

    pub(super) fn is_listed(&self) -> bool {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn offers(&self, tool: &str) -> bool {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools.as_ref().is_some_and(|tools| tools.contains(tool))
    }

    /// Makes one call.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        output_schema: Option<&Value>,
        attempt: &CallAttempt<'_>,
    ) -> Reply {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let mut options = PeerRequestOptions::no_options();
        if let Some((field, key)) = attempt.meta_key {
            let mut meta = RequestMetaObject::new();
            meta.insert(field.to_owned(), Value::String(key.to_owned()));
            options = options.with_meta(meta);
        }
        let sending = self.peer.send_request_with_option(request, options);
        let handle = tokio::select! {
            biased;
            () = attempt.cancel.cancelled() => {
                return Reply::not_sent("cancelled before it was sent".to_owned());
            }
            sent = sending => match sent {
                Ok(handle) => handle,
                // The queue to the connection is gone, and the request never entered it.
                Err(error) => return Reply::not_sent(error.to_string()),
            },
        };
        match self.answer(handle, attempt).await {
            Answer::Cancelled => Reply::Lost {
                reason: "cancelled; the server was told, but may have acted before".to_owned(),
            },
            Answer::Came(answer) => match *answer {
                Ok(result) => result_of(result, output_schema),
                Err(error) => self.failure_of(error).await,
            },
        }
    }

    async fn answer(
        &self,
        mut handle: RequestHandle<RoleClient>,
        attempt: &CallAttempt<'_>,
    ) -> Answer {
        let (sender, mut notices) = mpsc::channel(PROGRESS_WAITING_MAX);
        let _listening = Listening::to(&self.signals, handle.progress_token.clone(), sender);
        loop {
            tokio::select! {
                biased;
                answer = &mut handle.rx => {
                    let answer = answer.unwrap_or(Err(ServiceError::TransportClosed));
                    while let Ok(notice) = notices.try_recv() {
                        (attempt.progress)(notice);
                    }
                    return Answer::Came(Box::new(answer));
                }
                Some(notice) = notices.recv() => (attempt.progress)(notice),
                () = attempt.cancel.cancelled() => {
                    let told = handle.cancel(Some("cancelled by the caller".to_owned()));
                    let _ = tokio::time::timeout(CANCEL_TIMEOUT, told).await;
                    return Answer::Cancelled;
                }
            }
        }
    }

    async fn failure_of(&self, error: ServiceError) -> Reply {
        match error {
            ServiceError::McpError(error) if error.code == UNUSABLE_ANSWER => {
                Reply::Lost { reason: format!("MCP server `{}`: {}", self.server, error.message) }
            }
            ServiceError::McpError(error) if error.code == http::TURNED_AWAY => {
                self.broken.store(true, Ordering::Release);
                let server = &self.server;
                let said = error.message;
                Reply::not_sent(format!("MCP server `{server}` turned us away: {said}"))
            }
            ServiceError::McpError(error) => {
                let code = Some(i64::from(error.code.0));
                let message = match &error.data {
                    Some(data) => format!("{} ({data})", error.message),
                    None => error.message.clone().into_owned(),
                };
                Reply::Refused(Refusal { code, value: error.data, ..Refusal::new(message) })
            }
            ServiceError::TransportSend(error) => self.send_failure_of(&error).await,
            ServiceError::TransportClosed => Reply::Lost { reason: self.obituary().await },
            other => {
                let reason = format!("MCP server `{}`: no usable answer: {other}", self.server);
                Reply::Lost { reason }
            }
        }
    }

    async fn send_failure_of(&self, error: &DynamicTransportError) -> Reply {
        if let Some(error) = error.error.downcast_ref::<HttpError>() {
            if matches!(error, HttpError::SessionExpired) {
                self.broken.store(true, Ordering::Release);
            }
            return http::reply_of(error);
        }
        let reason = self.obituary().await;
        match error.error.downcast_ref::<SendError>() {
            Some(SendError { may_have_arrived: false, .. }) => Reply::not_sent(reason),
            Some(_) | None => Reply::Lost { reason },
        }
    }

    /// Returns what is known of a connection that ended.
    async fn obituary(&self) -> String {
        let server = &self.server;
        match &self.process {
            None => format!("the connection to MCP server `{server}` was lost"),
            Some(process) => match process.how_it_ended().await {
                Some(status) => {
                    format!("MCP server `{server}` ended ({status}).{}", process.last_words())
                }
                None => format!("MCP server `{server}` closed its output"),
            },
        }
    }

    /// Ends the connection and its process. Bounded.
    pub(super) async fn close(&self, config: &ServerConfig) {
        let graces = Duration::from_millis(config.limits.stop_grace_ms.saturating_mul(2));
        let mut service = self.service.lock().await;
        let _ = service.close_with_timeout(graces + CLOSE_EXTRA).await;
        if let Some(process) = &self.process {
            // The transport may have been stuck; the process is ended by its own watcher.
            let _ = tokio::time::timeout(graces + CLOSE_EXTRA, process.stopper().stop()).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

enum Answer {
    Came(Box<Result<ServerResult, ServiceError>>),
    Cancelled,
}

/// A call that wants to hear of its progress.
struct Listening<'a> {
    signals: &'a Signals,
    token: ProgressToken,
}

impl<'a> Listening<'a> {
    fn to(signals: &'a Signals, token: ProgressToken, sender: mpsc::Sender<String>) -> Self {
        let mut waiting = signals.progress.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(token.clone(), sender);
        Self { signals, token }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let mut waiting = self.signals.progress.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&self.token);
    }
}

fn result_of(result: ServerResult, output_schema: Option<&Value>) -> Reply {
    match result {
        ServerResult::CallToolResult(result) => content::reply_of(result, output_schema),
        // An empty object, with or without a type: a result that has nothing to say.
        ServerResult::EmptyResult(_) | ServerResult::TaskAckResult(_) => {
            content::reply_of(CallToolResult::default(), output_schema)
        }
        ServerResult::InputRequiredResult(_) => Reply::Refused(Refusal::new(
            "the tool wants to ask the user something, which is not possible here",
        )),
        ServerResult::CreateTaskResult(_) => Reply::Lost {
            reason: "the server made a task of the call, which nobody asked for".to_owned(),
        },
        // The SDK's enum is open, and its variants are told apart by shape: an answer that is no
        // tool result may look like anything. The call was made, so it is shown as it came.
        other => {
            let shown = serde_json::to_value(&other).unwrap_or_default();
            let mut result = ToolResult::json(shown);
            result.content.push(prusik_core::message::Content::Text(
                "[The call was made, but the server's answer is not a tool result.]".to_owned(),
            ));
            Reply::Returned(result)
        }
    }
}

/// Returns with what a failed handshake is tried again.
fn second(error: &ClientInitializeError) -> Option<ClientLifecycleMode> {
    match error {
        ClientInitializeError::ConnectionClosed(_)
        | ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ExpectedInitResult(_)
        | ClientInitializeError::ConflictInitResponseId(..)
        | ClientInitializeError::UncorrelatedErrorResponse { .. }
        | ClientInitializeError::LegacyFallbackFailed { .. } => {
            Some(ClientLifecycleMode::Initialize)
        }
        ClientInitializeError::TransportError { error, .. } => {
            let over_http = error.error.downcast_ref::<HttpError>();
            over_http.is_none().then_some(ClientLifecycleMode::Initialize)
        }
        // It refused `initialize`, after the probe was given up.
        ClientInitializeError::JsonRpcError(_) => Some(ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        }),
        // No shared version, or an error that the SDK added since.
        _ => None,
    }
}

async fn describe(
    config: &ServerConfig,
    process: Option<&Process>,
    error: &ClientInitializeError,
) -> ConnectError {
    let innermost = match error {
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => fallback,
        other => other,
    };
    let server = config.name.clone();
    if innermost.auth_challenge().is_some() {
        return ConnectError::Unauthorized { server, url: config.transport.describe() };
    }
    if let ClientInitializeError::TransportError { error, .. } = innermost
        && let Some(error) = error.error.downcast_ref::<HttpError>()
    {
        return match error {
            HttpError::Client(cause) => http::unreachable_server(config, cause),
            other => ConnectError::Unreachable {
                server,
                url: config.transport.describe(),
                problem: other.to_string(),
            },
        };
    }
    handshake_failed(config, process, innermost.to_string()).await
}

/// Returns why a server cannot be used: because it ended, if it did.
async fn handshake_failed(
    config: &ServerConfig,
    process: Option<&Process>,
    problem: String,
) -> ConnectError {
    let server = config.name.clone();
    let command = config.transport.describe();
    let Some(process) = process else {
        return ConnectError::Handshake { server, command, problem, stderr: String::new() };
    };
    match process.how_it_ended().await {
        Some(status) => {
            let status = status.to_string();
            ConnectError::Died { server, command, status, stderr: process.last_words() }
        }
        None => ConnectError::Handshake { server, command, problem, stderr: process.last_words() },
    }
}

fn timed_out(config: &ServerConfig, process: Option<&Process>) -> ConnectError {
    ConnectError::TimedOut {
        server: config.name.clone(),
        command: config.transport.describe(),
        timeout_ms: config.limits.start_timeout_ms,
        stderr: process.map(Process::last_words).unwrap_or_default(),
    }
}
