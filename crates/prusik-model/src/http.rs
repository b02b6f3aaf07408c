//! One provider's address over HTTP: sending, limits, and errors that people can act on.

use std::error::Error as _;
use std::io::Cursor;
use std::time::{Duration, SystemTime};

use futures_util::stream;
use prusik_core::model::{Answer, ModelError, ModelErrorKind};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sse_stream::SseStream;

use crate::Delta;
use crate::config::ConnectError;
use crate::stream::{Decode, read_events};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole answer may take, however lively its stream is.
const ANSWER_TIME_MAX: Duration = Duration::from_hours(1);
/// Largest answer, in bytes on the wire.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest answer that is no model's, in bytes.
const SHORT_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How much of an error's body is read, in bytes.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
/// How much of a provider's own words an error repeats, in bytes.
const QUOTE_BYTES_MAX: usize = 600;
/// Shorter keys are placeholders for servers that want none (`ollama`, `none`): to redact them
/// would hide ordinary words.
const REDACTED_KEY_BYTES_MIN: usize = 12;
/// Longest wait that a provider may ask for, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Where a provider is reached, and how.
pub(crate) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    key: Option<Key>,
    idle_timeout: Duration,
}

/// A key with the place it was read from, which errors name.
pub(crate) struct Key {
    pub secret: SecretString,
    pub origin: String,
}

/// What a provider says about an error, in its own words.
pub(crate) struct Complaint {
    /// The kind that the provider's own code stands for; else the HTTP status decides.
    pub kind: Option<ModelErrorKind>,
    pub message: String,
}

impl Endpoint {
    /// Makes the one client of a connection. Requests to this machine never go through a proxy.
    pub(crate) fn new(
        url: Url,
        key: Option<Key>,
        idle_timeout: Duration,
    ) -> Result<Self, ConnectError> {
        // Somebody else may have installed a provider before; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect would carry the key to an address that nobody configured.
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("prusik/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ConnectError::Client {
            url: url.to_string(),
            problem: deepest(&error),
        })?;
        Ok(Self { client, url, key, idle_timeout })
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Sends one request and decodes its answer, streamed or whole.
    pub(crate) async fn ask<D: Decode>(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
        decoder: D,
        complaint: fn(StatusCode, &str) -> Complaint,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let attempt = self.attempt(headers, body, decoder, complaint, progress);
        let answered = tokio::time::timeout(ANSWER_TIME_MAX, attempt).await.unwrap_or_else(|_| {
            let minutes = ANSWER_TIME_MAX.as_secs() / 60;
            let message = format!("the answer was not complete after {minutes} minutes");
            Err(ModelError::new(ModelErrorKind::Timeout, message))
        });
        match answered {
            Ok(answer) => Ok(self.redact_answer(answer)),
            Err(error) => Err(self.explain(&self.url, &error)),
        }
    }

    async fn attempt<D: Decode>(
        &self,
        headers: HeaderMap,
        body: Vec<u8>,
        decoder: D,
        complaint: fn(StatusCode, &str) -> Complaint,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let response = self.send(&self.url, headers, body, complaint).await?;
        let is_json = response
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim_start().starts_with("application/json"));
        if is_json {
            let bytes = self.read_whole(response, ANSWER_BYTES_MAX, OverLimit::Fail).await?;
            return decoder.whole(&bytes, progress);
        }
        let events = SseStream::from_bytes_stream(self.chunks(response));
        read_events(events, decoder, progress).await
    }

    /// Sends a request to another address of the same server and returns the body of the answer,
    /// which is short.
    pub(crate) async fn fetch(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        complaint: fn(StatusCode, &str) -> Complaint,
    ) -> Result<Vec<u8>, ModelError> {
        let attempt = async {
            let response = self.send(url, headers, body, complaint).await?;
            self.read_whole(response, SHORT_ANSWER_BYTES_MAX, OverLimit::Fail).await
        };
        attempt.await.map_err(|error| self.explain(url, &error))
    }

    /// Sends one request; an answer with any status but success is an error.
    async fn send(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
        complaint: fn(StatusCode, &str) -> Complaint,
    ) -> Result<reqwest::Response, ModelError> {
        tracing::debug!(%url, bytes = body.len(), "asking the model");
        let sending = self.client.post(url.clone()).headers(headers).body(body).send();
        let response = match tokio::time::timeout(self.idle_timeout, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(send_error(&error)),
            Err(_) => return Err(self.silence("no answer began")),
        };
        let status = response.status();
        tracing::debug!(%url, %status, "the model's server answered");
        if status.is_success() {
            return Ok(response);
        }
        let retry_after_ms = retry_after_ms(response.headers(), SystemTime::now());
        let bytes = self.read_whole(response, ERROR_BODY_BYTES_MAX, OverLimit::Cut).await;
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Err(self.refused(status, &text, retry_after_ms, complaint))
    }

    /// Returns the body piece by piece, each in time, all within the limit.
    fn chunks(
        &self,
        response: reqwest::Response,
    ) -> impl stream::Stream<Item = Result<Cursor<Vec<u8>>, ModelError>> + Send + use<> {
        let idle = self.idle_timeout;
        stream::unfold(Some((response, 0usize)), move |reading| async move {
            let (mut response, read) = reading?;
            let chunk = match tokio::time::timeout(idle, response.chunk()).await {
                Ok(Ok(chunk)) => chunk?,
                Ok(Err(error)) => return Some((Err(cut(&error)), None)),
                Err(_) => return Some((Err(silence_of(idle, "the stream fell silent")), None)),
            };
            let read = read.saturating_add(chunk.len());
            if read > ANSWER_BYTES_MAX {
                return Some((Err(too_large(ANSWER_BYTES_MAX)), None));
            }
            Some((Ok(Cursor::new(chunk.into())), Some((response, read))))
        })
    }

    async fn read_whole(
        &self,
        mut response: reqwest::Response,
        bytes_max: usize,
        over_limit: OverLimit,
    ) -> Result<Vec<u8>, ModelError> {
        let mut bytes = Vec::new();
        loop {
            match tokio::time::timeout(self.idle_timeout, response.chunk()).await {
                Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(bytes),
                Ok(Err(error)) => return Err(cut(&error)),
                Err(_) => return Err(self.silence("the answer stopped coming")),
            }
            if bytes.len() > bytes_max {
                return match over_limit {
                    OverLimit::Cut => Ok(bytes),
                    OverLimit::Fail => Err(too_large(bytes_max)),
                };
            }
        }
    }

    fn refused(
        &self,
        status: StatusCode,
        body: &str,
        retry_after_ms: Option<u64>,
        complaint: fn(StatusCode, &str) -> Complaint,
    ) -> ModelError {
        let complaint = complaint(status, body);
        let kind = complaint.kind.unwrap_or_else(|| kind_of_status(status));
        let words = if complaint.message.trim().is_empty() {
            "it gave no reason".to_owned()
        } else {
            // The key goes before the text is cut: half a key would not be found.
            quote(&self.redact(complaint.message.trim()))
        };
        let message = format!("HTTP {}: {words}", status.as_u16());
        ModelError { kind, message, retry_after_ms }
    }

    fn silence(&self, what: &str) -> ModelError {
        silence_of(self.idle_timeout, what)
    }

    /// Names the address and the way out, and takes the key out of what a server echoed.
    fn explain(&self, url: &Url, error: &ModelError) -> ModelError {
        let message = format!(
            "the model at {url} failed: {}{}",
            quote(&self.redact(&error.message)),
            self.way_out(error.kind)
        );
        ModelError { message, ..*error }
    }

    fn way_out(&self, kind: ModelErrorKind) -> String {
        let hint = match kind {
            ModelErrorKind::Unreachable => "is the server running? check `base_url` in prusik.yaml",
            ModelErrorKind::Authentication => {
                return match &self.key {
                    Some(key) => format!("; check the key in {}", key.origin),
                    None => "; name an `api_key` for this model in prusik.yaml, such as env:OPENAI_API_KEY".to_owned(),
                };
            }
            ModelErrorKind::NotFound => "check `model` and `base_url` in prusik.yaml",
            ModelErrorKind::BadResponse => {
                "is this the right kind of server? check `base_url` in prusik.yaml"
            }
            ModelErrorKind::Billing => "check the account's credit",
            ModelErrorKind::Timeout => "a slow model needs a longer `idle_timeout_ms`",
            ModelErrorKind::ContextFull => "the conversation is longer than the model's window",
            ModelErrorKind::RateLimited
            | ModelErrorKind::Overloaded
            | ModelErrorKind::Server
            | ModelErrorKind::StreamCut
            | ModelErrorKind::InvalidRequest
            | ModelErrorKind::Drift => return String::new(),
        };
        format!("; {hint}")
    }

    fn secret(&self) -> Option<&str> {
        let secret = self.key.as_ref()?.secret.expose_secret();
        (secret.len() >= REDACTED_KEY_BYTES_MIN).then_some(secret)
    }

    fn redact(&self, text: &str) -> String {
        match self.secret() {
            Some(secret) => text.replace(secret, "[key]"),
            None => text.to_owned(),
        }
    }

    /// Takes the key out of an answer that a server echoed it into.
    fn redact_answer(&self, mut answer: Answer) -> Answer {
        if let Some(secret) = self.secret() {
            crate::redact::answer(&mut answer, secret);
        }
        answer
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let origin = self.key.as_ref().map(|key| &key.origin);
        f.debug_struct("Endpoint")
            .field("url", &self.url.as_str())
            .field("key", &origin)
            .finish_non_exhaustive()
    }
}

/// What becomes of a body that is over its limit.
#[derive(Clone, Copy)]
enum OverLimit {
    Cut,
    Fail,
}

/// Returns a header value that is never shown, or none if the key has bytes that no header takes.
pub(crate) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Parses `base_url` and appends `path`.
pub(crate) fn join(base_url: &str, path: &str) -> Result<Url, ConnectError> {
    let bad = |problem: String| ConnectError::BadUrl { url: base_url.to_owned(), problem };
    let url = Url::parse(base_url.trim()).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad("it must begin with http:// or https:// and name a host".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let url = "base_url".to_owned();
        let problem = "it holds a user or a password: use `key` for that".to_owned();
        return Err(ConnectError::BadUrl { url, problem });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it holds a query or a fragment: only an address is due".into()));
    }
    let whole = format!("{}{path}", url.as_str().trim_end_matches('/'));
    Url::parse(&whole).map_err(|error| bad(error.to_string()))
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn send_error(error: &reqwest::Error) -> ModelError {
    let kind = if error.is_connect() {
        ModelErrorKind::Unreachable
    } else if error.is_timeout() {
        ModelErrorKind::Timeout
    } else {
        // The connection was there and went before the first byte of an answer.
        ModelErrorKind::StreamCut
    };
    ModelError::new(kind, deepest(error))
}

fn cut(error: &reqwest::Error) -> ModelError {
    let message = format!("the answer was cut off: {}", deepest(error));
    ModelError::new(ModelErrorKind::StreamCut, message)
}

fn silence_of(idle: Duration, what: &str) -> ModelError {
    let message = format!("{what} within {} ms", idle.as_millis());
    ModelError::new(ModelErrorKind::Timeout, message)
}

fn too_large(bytes_max: usize) -> ModelError {
    let message = format!("the answer is larger than {bytes_max} bytes");
    ModelError::new(ModelErrorKind::BadResponse, message)
}

/// Returns the innermost cause, which says what really happened.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.source().is_none() { "no connection".to_owned() } else { cause.to_string() }
}

fn quote(text: &str) -> String {
    if text.len() <= QUOTE_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(QUOTE_BYTES_MAX)])
}

/// Returns what a status means where the provider's own code says nothing.
pub(crate) fn kind_of_status(status: StatusCode) -> ModelErrorKind {
    match status.as_u16() {
        401 | 403 => ModelErrorKind::Authentication,
        402 => ModelErrorKind::Billing,
        404 | 405 => ModelErrorKind::NotFound,
        408 | 504 => ModelErrorKind::Timeout,
        429 => ModelErrorKind::RateLimited,
        503 | 529 => ModelErrorKind::Overloaded,
        400..=499 => ModelErrorKind::InvalidRequest,
        500..=599 => ModelErrorKind::Server,
        _ => ModelErrorKind::BadResponse,
    }
}

/// Returns how long the provider asks us to wait, from `retry-after-ms`, or from `retry-after` as
/// seconds or as an HTTP date.
fn retry_after_ms(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let from_ms = text("retry-after-ms").and_then(whole_number);
    let from_seconds = || {
        let value = text("retry-after")?;
        if let Ok(seconds) = value.parse::<f64>() {
            let duration = Duration::try_from_secs_f64(seconds).ok()?;
            return u64::try_from(duration.as_millis()).ok();
        }
        let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis();
        let date = u128::try_from(date).ok()?;
        u64::try_from(date.saturating_sub(now)).ok()
    };
    from_ms.or_else(from_seconds).map(|ms| ms.min(RETRY_AFTER_MS_MAX))
}

fn whole_number(text: &str) -> Option<u64> {
    let duration = Duration::try_from_secs_f64(text.parse::<f64>().ok()? / 1_000.0).ok()?;
    u64::try_from(duration.as_millis()).ok()
}

/// Returns the code and the words of an error body in any of the shapes that servers use:
/// `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, `{"detail": …}`, or plain text.
pub(crate) fn read_error_body(body: &str) -> (Value, String) {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return (Value::Null, body.trim().to_owned());
    };
    let error = value.get("error").cloned().unwrap_or_else(|| value.clone());
    let words = match &error {
        Value::String(text) => text.clone(),
        other => ["message", "detail"]
            .iter()
            .find_map(|name| match other.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Null => None,
                structured => Some(structured.to_string()),
            })
            .unwrap_or_else(|| other.to_string()),
    };
    (error, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| ((*k).parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn waits_come_as_milliseconds_seconds_or_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480 - 30);
        let cases = [
            (headers(&[("retry-after-ms", "250.7"), ("retry-after", "9")]), Some(250)),
            (headers(&[("retry-after", "2")]), Some(2_000)),
            (headers(&[("retry-after", "0.5")]), Some(500)),
            (headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(30_000)),
            (headers(&[("retry-after", "Wed, 21 Oct 2009 07:28:00 GMT")]), Some(0)),
            (headers(&[("retry-after", "99999999999")]), Some(RETRY_AFTER_MS_MAX)),
            (headers(&[("retry-after", "-1")]), None),
            (headers(&[("retry-after", "NaN")]), None),
            (headers(&[("retry-after", "soon")]), None),
            (headers(&[]), None),
        ];
        for (headers, expected) in cases {
            assert_eq!(retry_after_ms(&headers, now), expected, "{headers:?}");
        }
    }

    #[test]
    fn addresses_are_joined_and_checked() {
        let joined = join("https://api.anthropic.com/", "/v1/messages").unwrap();
        assert_eq!(joined.as_str(), "https://api.anthropic.com/v1/messages");
        for bad in ["", "api.example.com", "ftp://x/", "http://", "http://h/?a=b", "http://h/#x"] {
            let error = join(bad, "/x").unwrap_err().to_string();
            assert!(error.contains("base_url"), "{bad}: {error}");
        }
        let error = join("https://me:hunter2hunter2@h/", "/x").unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn error_bodies_come_in_many_shapes() {
        for (body, words) in [
            (r#"{"error":{"message":"a","type":"t"}}"#, "a"),
            (r#"{"error":"a"}"#, "a"),
            (r#"{"message":"a"}"#, "a"),
            (r#"{"detail":[{"loc":1}]}"#, r#"[{"loc":1}]"#),
            ("  a \n", "a"),
            ("", ""),
            (r#"{"x":1}"#, r#"{"x":1}"#),
            ("[]", "[]"),
        ] {
            assert_eq!(read_error_body(body).1, words, "{body}");
        }
    }

    #[test]
    fn this_machine_is_recognised() {
        for (url, expected) in [
            ("http://localhost:1/", true),
            ("http://127.0.0.2/", true),
            ("http://[::1]:80/", true),
            ("http://a.localhost/", true),
            ("http://example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
