//! The scripted server: a script, or the model of long work, behind the wire formats of the real
//! services.

mod brain;
pub mod log;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use futures_util::{StreamExt, stream};
use prusik_core::ids::{Attempt, Digest};
use prusik_core::model::{Answer, ModelError, ModelErrorKind, StopReason, Usage};
use prusik_model::UsageSource;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::brain::{Brain, LongWork};
use self::log::Entry;
use crate::cache::anthropic::PromptCache;
use crate::cache::openai::PrefixCache;
use crate::cache::{Counts, anthropic as anthropic_rules};
use crate::fault::{Fault, FaultPlan};
use crate::wire::{Frame, Protocol, Refusal, Shape, anthropic as anthropic_wire, openai};

/// Largest request, in bytes: what Anthropic takes.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How many requests are remembered; the oldest go first.
const REQUESTS_MAX: usize = 1_000;
/// How many bytes of bodies are remembered at most, apart from the newest; parsed they take several
/// times as much memory.
const REQUESTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a server behaves apart from its script.
#[derive(Debug, Default)]
pub struct Options {
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The one key that is taken. Without it every key is, but there must be one.
    pub key: Option<String>,
    /// Before each event of a stream.
    pub event_delay: Duration,
    pub faults: FaultPlan,
    pub usage: UsageBy,
    /// A file to which each request is written with its answer before that is sent, a JSON object to
    /// the line. [`log::read`] reads it.
    pub log: Option<PathBuf>,
}

/// What the server says of the tokens that went in, where the script does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageBy {
    /// What the script or the model of long work counts.
    #[default]
    Estimate,
    /// What the service would count by the published rules of its cache ([`crate::cache`]).
    CacheRules,
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Received {
    pub path: String,
    /// How often this body has come, counted from 1.
    pub attempt: u32,
    /// The body; a string where it was not JSON.
    pub body: Arc<Value>,
    /// The body, byte for byte; what was not UTF-8 is replaced.
    pub raw: Arc<str>,
}

/// A server that answers from a script, or as the model of long work, until it is dropped.
#[derive(Debug)]
pub struct ScriptedServer {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    brain: Brain,
    key: Option<String>,
    event_delay: Duration,
    usage: UsageBy,
    /// When the server was started; the caches' time runs from there.
    started: Instant,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    requests: VecDeque<Received>,
    /// The bytes of all their bodies.
    bytes: usize,
    count: u64,
    attempts: HashMap<Digest, u32>,
    faults: FaultPlan,
    prompts: PromptCache,
    prefixes: PrefixCache,
    log: Option<File>,
}

impl ScriptedServer {
    /// Starts a server on the loopback address.
    pub async fn start(brain: impl Into<Brain>, options: Options) -> io::Result<Self> {
        let listener =
            TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let log = options.log.map(|path| File::options().create(true).append(true).open(path));
        let seen = Seen {
            requests: VecDeque::new(),
            bytes: 0,
            count: 0,
            attempts: HashMap::new(),
            faults: options.faults,
            prompts: PromptCache::default(),
            prefixes: PrefixCache::default(),
            log: log.transpose()?,
        };
        let shared = Arc::new(Shared {
            brain: brain.into(),
            key: options.key,
            event_delay: options.event_delay,
            usage: options.usage,
            started: Instant::now(),
            seen: Mutex::new(seen),
        });
        let app = router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Serving ends only when the task is aborted.
            drop(axum::serve(listener.tap_io(at_once), app).await);
        });
        Ok(Self { url, shared, task })
    }

    /// Returns the address without a slash at its end, for example `http://127.0.0.1:4711`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the last requests, at most 1,000 and no more than fit, the oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.seen().requests.iter().cloned().collect()
    }

    /// Serves until the process ends.
    pub async fn serve_forever(mut self) {
        // The task neither panics nor is aborted before the server is dropped.
        drop((&mut self.task).await);
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What a panicking test leaves behind is whole: each change is a single push.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Remembers a request; returns its number and its attempt.
    fn record(&mut self, path: &str, came: &Came) -> (u64, Attempt) {
        let (raw, body) = (Arc::clone(&came.raw), came.received());
        self.count += 1;
        let digest = Digest::of_parts(&[path.as_bytes(), raw.as_bytes()]);
        let attempt = self.attempts.entry(digest).or_default();
        *attempt += 1;
        let attempt = *attempt;
        self.bytes += raw.len();
        self.requests.push_back(Received { path: path.to_owned(), attempt, body, raw });
        while self.requests.len() > REQUESTS_MAX
            || (self.bytes > REQUESTS_BYTES_MAX && self.requests.len() > 1)
        {
            let oldest = self.requests.pop_front().map_or(0, |oldest| oldest.raw.len());
            self.bytes -= oldest;
        }
        (self.count, Attempt(attempt))
    }
}

/// A body as it came.
struct Came {
    raw: Arc<str>,
    parsed: serde_json::Result<Arc<Value>>,
}

impl Came {
    fn read(body: BytesOrNot) -> Result<Self, Refusal> {
        let bytes = body.map_err(|rejection| {
            let status = Some(rejection.status().as_u16());
            let message = format!("cannot read the request: {rejection}");
            Refusal { kind: ModelErrorKind::InvalidRequest, message, status }
        })?;
        let raw = String::from_utf8_lossy(&bytes).into();
        Ok(Self { raw, parsed: serde_json::from_slice(&bytes).map(Arc::new) })
    }

    /// Returns the body, a string where it is not JSON.
    fn received(&self) -> Arc<Value> {
        match &self.parsed {
            Ok(body) => Arc::clone(body),
            Err(_) => Arc::new(Value::String(self.raw.to_string())),
        }
    }

    /// Returns the body of a request whose headers are in order.
    fn body(
        &self,
        protocol: Protocol,
        headers: &HeaderMap,
        key: Option<&str>,
    ) -> Result<&Value, Refusal> {
        protocol.check_headers(headers, key)?;
        match &self.parsed {
            Ok(body) => Ok(body),
            Err(error) => Err(Refusal::invalid(format!("the body is not JSON: {error}"))),
        }
    }
}

/// Has the kernel send each event as soon as it is written: waiting for more costs every turn some 40 ms.
fn at_once(connection: &mut TcpStream) {
    // A connection that cannot be told so is slow, and that is all.
    drop(connection.set_nodelay(true));
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/messages", post(anthropic))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/chat/completions", post(openai_chat))
        .route("/v1/models", get(models))
        .route("/long/scenario", get(long_scenario))
        .route("/long/work", get(long_work))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(shared)
}

type BytesOrNot = Result<Bytes, BytesRejection>;

async fn anthropic(shared: State<Arc<Shared>>, headers: HeaderMap, body: BytesOrNot) -> Response {
    respond(Protocol::Anthropic, "/v1/messages", &shared, &headers, body)
}

async fn openai_chat(shared: State<Arc<Shared>>, headers: HeaderMap, body: BytesOrNot) -> Response {
    respond(Protocol::OpenAi, "/v1/chat/completions", &shared, &headers, body)
}

async fn models(shared: State<Arc<Shared>>, headers: HeaderMap) -> Response {
    match openai::check_headers(&headers, shared.key.as_deref()) {
        Ok(()) => json_response(200, &openai::models(), None),
        Err(refusal) => refuse(Protocol::OpenAi, refusal),
    }
}

async fn not_found(method: Method, uri: Uri) -> Response {
    let message = format!("Invalid URL ({method} {})", uri.path());
    let protocol =
        if uri.path().starts_with("/v1/messages") { Protocol::Anthropic } else { Protocol::OpenAi };
    refuse(protocol, Refusal { kind: ModelErrorKind::NotFound, message, status: None })
}

/// Counts by the rule of [`crate::cache`]. Faults are for requests that ask for an answer.
async fn count_tokens(
    shared: State<Arc<Shared>>,
    headers: HeaderMap,
    body: BytesOrNot,
) -> Response {
    let protocol = Protocol::Anthropic;
    let counted = Came::read(body).and_then(|came| {
        shared.seen().record("/v1/messages/count_tokens", &came);
        let body = came.body(protocol, &headers, shared.key.as_deref())?;
        anthropic_wire::decode::check_count(body)?;
        anthropic_rules::count_tokens(body).map_err(|bad| Refusal::invalid(bad.0))
    });
    match counted {
        Ok(tokens) => json_response(200, &json!({ "input_tokens": tokens }), None),
        Err(refusal) => refuse(protocol, refusal),
    }
}

/// Describes the scenario, for programs that build an agent for it.
async fn long_scenario(shared: State<Arc<Shared>>, method: Method, uri: Uri) -> Response {
    let Some(scenario) = shared.brain.scenario() else { return not_found(method, uri).await };
    let described = json!({
        "system": scenario.system(),
        "task": scenario.task(),
        "tool": scenario.tool(),
        "steps": scenario.steps(),
        "expected": scenario.expected(),
    });
    json_response(200, &described, None)
}

/// Performs the step of `?step=`, for programs whose tools are not ours: the bytes are those of the
/// tool.
async fn long_work(shared: State<Arc<Shared>>, method: Method, uri: Uri) -> Response {
    let step = uri.query().and_then(|query| query.strip_prefix("step=")?.parse().ok());
    let result = step.and_then(|step| shared.brain.scenario()?.result(step));
    match result {
        Some(outcome) => {
            let pieces = vec![Piece::Bytes(outcome.into_text())];
            body_response("text/plain; charset=utf-8", pieces, Duration::ZERO)
        }
        None => not_found(method, uri).await,
    }
}

/// What becomes of a request, before anything goes wrong on its way back.
enum Verdict {
    Answered(Answer, Shape),
    Refused(Refusal),
    /// The brain fails it.
    Failed(ModelError),
}

fn respond(
    protocol: Protocol,
    path: &str,
    shared: &Shared,
    headers: &HeaderMap,
    body: BytesOrNot,
) -> Response {
    let came = match Came::read(body) {
        Ok(came) => came,
        Err(refusal) => return refuse(protocol, refusal),
    };
    let (n, attempt) = shared.seen().record(path, &came);
    let fault = shared.seen().faults.next();
    let verdict = shared.judge(protocol, headers, attempt, &came, fault.error().is_none());
    let (status, document) = verdict.document(protocol, n);
    let logged = match &mut shared.seen().log {
        Some(log) => {
            let (path, body, answer) = (path.to_owned(), came.raw.to_string(), document.clone());
            let fault = (fault != Fault::None).then(|| format!("{fault:?}"));
            let attempt = attempt.0;
            log::append(log, &Entry { n, path, attempt, body, status, answer, fault })
        }
        None => Ok(()),
    };
    if let Err(error) = logged {
        let message = format!("cannot write the log of requests: {error}");
        return fail(protocol, &ModelError::new(ModelErrorKind::Server, message));
    }
    if let Some(error) = fault.error() {
        return fail(protocol, &error);
    }
    match verdict {
        Verdict::Answered(answer, shape) if shape.stream => {
            let frames = protocol.encode_stream(&answer, shape, n);
            stream_response(&frames, fault, protocol, shared.event_delay)
        }
        Verdict::Answered(..) => whole_response(&document.to_string(), fault),
        Verdict::Refused(refusal) => refuse(protocol, refusal),
        Verdict::Failed(error) => fail_as_scripted(protocol, &error),
    }
}

impl Shared {
    /// `is_served` says whether the request gets past the service's door: what is turned away there
    /// is in no cache.
    fn judge(
        &self,
        protocol: Protocol,
        headers: &HeaderMap,
        attempt: Attempt,
        came: &Came,
        is_served: bool,
    ) -> Verdict {
        let decoded = came
            .body(protocol, headers, self.key.as_deref())
            .and_then(|body| Ok((protocol.decode(body)?, body)));
        let (mut decoded, body) = match decoded {
            Ok(decoded) => decoded,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        decoded.request.attempt = attempt;
        let played = match self.brain.play(&decoded.request) {
            Ok(played) => played,
            Err(error) => return Verdict::Failed(error),
        };
        let mut answer = played.answer;
        if self.usage == UsageBy::CacheRules && is_served {
            // The cache works whatever the script says of it.
            let counts = match self.counts(protocol, body) {
                Ok(counts) => counts,
                Err(refusal) => return Verdict::Refused(refusal),
            };
            if played.usage == UsageSource::Estimate {
                let (input, output) = (counts.fresh, answer.usage.output);
                let (cache_read, cache_write) = (counts.read, counts.written);
                answer.usage = Usage { input, output, cache_read, cache_write };
            }
        }
        if protocol == Protocol::OpenAi && answer.stop == StopReason::ContextFull {
            let message = "This model's maximum context length is exceeded.";
            return Verdict::Failed(ModelError::new(ModelErrorKind::ContextFull, message));
        }
        Verdict::Answered(answer, decoded.shape)
    }

    /// Returns what the service would count of `body`, and remembers what it would cache.
    fn counts(&self, protocol: Protocol, body: &Value) -> Result<Counts, Refusal> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seen = self.seen();
        match protocol {
            Protocol::Anthropic => {
                seen.prompts.ask(body, now_ms).map_err(|bad| Refusal::invalid(bad.0))
            }
            Protocol::OpenAi => Ok(seen.prefixes.ask(body, now_ms)),
        }
    }
}

impl Verdict {
    /// Returns the status and the body that say it, not streamed.
    fn document(&self, protocol: Protocol, n: u64) -> (u16, Value) {
        let error = match self {
            Self::Answered(answer, _) => return (200, protocol.encode(answer, n)),
            Self::Refused(refusal) => ModelError::from(refusal.clone()),
            Self::Failed(error) => error.clone(),
        };
        let wire = protocol.encode_error(&error);
        let status = match self {
            Self::Refused(refusal) => refusal.status,
            Self::Answered(..) | Self::Failed(_) => None,
        };
        (status.unwrap_or(wire.status), wire.body)
    }
}

/// Fails the way the script says. What a service cannot say about itself happens on the wire: a
/// stream that is cut, an answer that is none, an answer that never comes.
fn fail_as_scripted(protocol: Protocol, error: &ModelError) -> Response {
    let fault = match error.kind {
        ModelErrorKind::Unreachable | ModelErrorKind::StreamCut => Fault::Cut { after_events: 0 },
        ModelErrorKind::BadResponse => Fault::Garbage,
        ModelErrorKind::Timeout => Fault::Stall { after_events: 0 },
        ModelErrorKind::RateLimited
        | ModelErrorKind::Overloaded
        | ModelErrorKind::Server
        | ModelErrorKind::Authentication
        | ModelErrorKind::NotFound
        | ModelErrorKind::InvalidRequest
        | ModelErrorKind::ContextFull
        | ModelErrorKind::Billing
        | ModelErrorKind::Drift => return fail(protocol, error),
    };
    stream_response(&[], fault, protocol, Duration::ZERO)
}

fn refuse(protocol: Protocol, refusal: Refusal) -> Response {
    let status = refusal.status;
    let wire = protocol.encode_error(&refusal.into());
    json_response(status.unwrap_or(wire.status), &wire.body, None)
}

fn fail(protocol: Protocol, error: &ModelError) -> Response {
    let wire = protocol.encode_error(error);
    json_response(wire.status, &wire.body, wire.retry_after_ms)
}

fn json_response(status: u16, body: &Value, retry_after_ms: Option<u64>) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("request-id", "req_scripted")
        .header("x-request-id", "req_scripted");
    if let Some(ms) = retry_after_ms {
        // Whole seconds for everyone, milliseconds for the clients that read them.
        response = response.header("retry-after", ms.div_ceil(1_000)).header("retry-after-ms", ms);
    }
    response.body(Body::from(body.to_string())).unwrap_or_else(|_| broken())
}

/// Returns the answer to a status that HTTP does not have.
fn broken() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// A piece of a body: bytes, a cut, or nothing ever again.
enum Piece {
    Bytes(String),
    Cut,
    Stall,
}

fn stream_response(
    frames: &[Frame],
    fault: Fault,
    protocol: Protocol,
    event_delay: Duration,
) -> Response {
    let mut pieces: Vec<Piece> = frames.iter().map(|frame| Piece::Bytes(frame.encode())).collect();
    let mut end_after = |after_events: usize, last: Piece| {
        pieces.truncate(after_events);
        pieces.push(last);
    };
    match fault {
        Fault::Cut { after_events } => end_after(after_events, Piece::Cut),
        Fault::Stall { after_events } => end_after(after_events, Piece::Stall),
        Fault::ErrorEvent { after_events } => {
            let error = ModelError::new(ModelErrorKind::Overloaded, "Overloaded");
            end_after(after_events, Piece::Bytes(protocol.error_frame(&error).encode()));
        }
        Fault::Garbage => {
            end_after(1, Piece::Bytes("data: {\"type\": \"conte\n\n<html>".to_owned()));
        }
        Fault::None | Fault::Error(_) | Fault::RateLimited { .. } => {}
    }
    body_response("text/event-stream; charset=utf-8", pieces, event_delay)
}

fn whole_response(whole: &str, fault: Fault) -> Response {
    let half = || Piece::Bytes(whole[..whole.floor_char_boundary(whole.len() / 2)].to_owned());
    let pieces = match fault {
        Fault::Cut { .. } | Fault::ErrorEvent { .. } => vec![half(), Piece::Cut],
        Fault::Stall { .. } => vec![half(), Piece::Stall],
        Fault::Garbage => vec![Piece::Bytes("<html><h1>502 Bad Gateway</h1>".to_owned())],
        Fault::None | Fault::Error(_) | Fault::RateLimited { .. } => {
            vec![Piece::Bytes(whole.to_owned())]
        }
    };
    body_response("application/json", pieces, Duration::ZERO)
}

fn body_response(content_type: &str, pieces: Vec<Piece>, event_delay: Duration) -> Response {
    let body = stream::iter(pieces).then(move |piece| async move {
        if !event_delay.is_zero() {
            tokio::time::sleep(event_delay).await;
        }
        match piece {
            Piece::Bytes(text) => {
                // Lets the event go out before the next one is made, as a real service would.
                tokio::task::yield_now().await;
                Ok(Bytes::from(text))
            }
            Piece::Cut => {
                tokio::task::yield_now().await;
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose"))
            }
            Piece::Stall => {
                std::future::pending::<Infallible>().await;
                Ok(Bytes::new())
            }
        }
    });
    Response::builder()
        .header("content-type", content_type)
        .header("request-id", "req_scripted")
        .header("x-request-id", "req_scripted")
        .header("cache-control", "no-cache")
        .body(Body::from_stream(body))
        .unwrap_or_else(|_| broken())
}
