//! Streamable HTTP: the client it runs on, and what its failures say about a call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use prusik_core::outcome::{Refusal, Reply, kind};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, JsonRpcMessage, RequestId};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse, StreamableHttpResponseLimits,
};
use secrecy::{ExposeSecret, SecretString};

use sse_stream::{Error as SseError, Sse};

use super::config::ServerConfig;
use super::error::ConnectError;

/// How long a connection may take before it counts as refused.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed, all within one origin.
const REDIRECTS_MAX: usize = 3;

/// Stands for an error that names no request: the server did not get as far as reading which one
/// it was. Not one of JSON-RPC's codes.
pub(super) const TURNED_AWAY: ErrorCode = ErrorCode(-31_998);

type SseEvents = BoxStream<'static, Result<Sse, SseError>>;
pub(super) type HttpError = StreamableHttpError<reqwest::Error>;

/// Returns the transport to `url`. Nothing is sent yet.
pub(super) fn transport(
    config: &ServerConfig,
    url: &str,
    headers: &BTreeMap<String, SecretString>,
) -> Result<StreamableHttpClientTransport<HttpClient>, ConnectError> {
    // The TLS provider is chosen once per process; whoever was first made the same choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(within_origin())
        // A pooled connection that the server closed meanwhile makes a call fail half-way.
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| unreachable_server(config, &error))?;
    let max = config.limits.message_bytes_max;
    let mut settings = StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(header_map(config, headers)?)
        .max_sse_event_size(max)
        .max_json_response_size(max)
        // An expired session is reported, and the next call connects anew: one call, one attempt.
        .reinit_on_expired_session(false);
    settings.allow_stateless = true;
    Ok(StreamableHttpClientTransport::with_client(HttpClient(client), settings))
}

/// The SDK's client, but for errors without an id. The SDK drops those and waits on. But what
/// answers a POST answers the request in it: a server that forgot our session says so in this way.
#[derive(Debug, Clone)]
pub(super) struct HttpClient(reqwest::Client);

impl StreamableHttpClient for HttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(
            uri,
            message,
            session_id,
            auth_header,
            headers,
            limits,
        )
        .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let called = match &message {
            JsonRpcMessage::Request(request) if session_id.is_some() => Some(request.id.clone()),
            JsonRpcMessage::Request(_)
            | JsonRpcMessage::Response(_)
            | JsonRpcMessage::Notification(_)
            | JsonRpcMessage::Error(_) => None,
        };
        let client = &self.0;
        let answer = client
            .post_message_with_response_limits(
                uri,
                message,
                session_id,
                auth_header,
                headers,
                limits,
            )
            .await?;
        Ok(match called {
            Some(id) => with_id(answer, id),
            None => answer,
        })
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), HttpError> {
        self.0.delete_session(uri, session_id, auth_header, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<SseEvents, HttpError> {
        self.0.get_stream(uri, session_id, last_event_id, auth_header, headers).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
        bytes_max: usize,
    ) -> Result<SseEvents, HttpError> {
        let client = &self.0;
        client
            .get_stream_with_max_sse_event_size(
                uri,
                session_id,
                last_event_id,
                auth_header,
                headers,
                bytes_max,
            )
            .await
    }
}

fn with_id(answer: StreamableHttpPostResponse, id: RequestId) -> StreamableHttpPostResponse {
    match answer {
        StreamableHttpPostResponse::Json(JsonRpcMessage::Error(mut error), session)
            if error.id.is_none() =>
        {
            error.id = Some(id);
            error.error.code = TURNED_AWAY;
            StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), session)
        }
        other => other,
    }
}

/// Secrets in headers go to the origin that they were given for, and to nobody else.
fn within_origin() -> Policy {
    Policy::custom(|attempt| {
        let is_same = attempt
            .previous()
            .first()
            .is_some_and(|first| first.origin() == attempt.url().origin());
        if is_same && attempt.previous().len() <= REDIRECTS_MAX {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

fn header_map(
    config: &ServerConfig,
    headers: &BTreeMap<String, SecretString>,
) -> Result<HashMap<HeaderName, HeaderValue>, ConnectError> {
    let mut map = HashMap::new();
    for (name, value) in headers {
        let bad = || ConnectError::BadHeader { server: config.name.clone(), header: name.clone() };
        let key: HeaderName = name.parse().map_err(|_| bad())?;
        let mut value: HeaderValue = value.expose_secret().parse().map_err(|_| bad())?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}

pub(super) fn unreachable_server(config: &ServerConfig, error: &reqwest::Error) -> ConnectError {
    // The error's own text repeats the URL, query included.
    let mut problem = String::new();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(cause) = source {
        problem = cause.to_string();
        source = cause.source();
    }
    if problem.is_empty() {
        problem.push_str("no connection");
    }
    let url = config.transport.describe();
    ConnectError::Unreachable { server: config.name.clone(), url, problem }
}

/// Returns what a failure to post a call says about the call.
pub(super) fn reply_of(error: &HttpError) -> Reply {
    let text = error.to_string();
    match error {
        StreamableHttpError::Client(cause) if cause.is_connect() || cause.is_builder() => {
            Reply::not_sent("no connection to the server".to_owned())
        }
        StreamableHttpError::AuthRequired(_) | StreamableHttpError::InsufficientScope(_) => {
            Reply::not_sent("the server wants authorization".to_owned())
        }
        // A server that does not know the session has not looked at the call.
        StreamableHttpError::SessionExpired => Reply::not_sent(text),
        StreamableHttpError::HttpStatus(status) if status.status == 429 => {
            let after = status.retry_after.as_deref().unwrap_or_default();
            let message = match after {
                "" => "too many requests".to_owned(),
                after => format!("too many requests; retry after {after}"),
            };
            // A date instead of seconds is rare, and the contract's own backoff will do.
            let seconds = after.trim().parse::<u64>().unwrap_or(0);
            Reply::Refused(Refusal {
                code: Some(429),
                retry_after_ms: Some(seconds.saturating_mul(1000)),
                ..Refusal::of_kind(kind::RATE_LIMITED, message)
            })
        }
        // The SDK's enum is open, and in doubt a call may have arrived.
        _ => Reply::Lost { reason: format!("no usable answer over HTTP: {text}") },
    }
}
