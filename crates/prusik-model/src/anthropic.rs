//! Anthropic's Messages API.
//!
//! Source: <https://platform.claude.com/docs/en/api/messages> and
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::config::ConnectError;
use crate::http::{Complaint, Endpoint, Key, join, read_error_body, secret_header};
use crate::stream::not_protocol;
use crate::{Delta, Model};
use decode::Decoder;

/// The name under which blocks in this API's own shape are kept.
pub(crate) const PROVIDER: &str = "anthropic";
/// Where the API is unless the project says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";
/// The version of the API that is spoken here.
const VERSION: &str = "2023-06-01";

/// A connection to the API.
#[derive(Debug)]
pub(crate) struct Anthropic {
    endpoint: Endpoint,
    count_url: Url,
}

/// What the counter of tokens answers.
#[derive(Deserialize)]
struct Counted {
    input_tokens: u64,
}

impl Anthropic {
    pub(crate) fn new(
        base_url: &str,
        key: Option<Key>,
        idle_timeout: std::time::Duration,
    ) -> Result<Self, ConnectError> {
        let base_url = base_url.trim().trim_end_matches('/');
        let base_url = base_url.strip_suffix("/v1").unwrap_or(base_url);
        let url = join(base_url, "/v1/messages")?;
        let count_url = join(base_url, "/v1/messages/count_tokens")?;
        Ok(Self { endpoint: Endpoint::new(url, key, idle_timeout)?, count_url })
    }

    fn headers(&self) -> Result<HeaderMap, ModelError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        if let Some(key) = self.endpoint.key() {
            let value = secret_header(key.secret.expose_secret()).ok_or_else(|| {
                let message = format!("the key in {} fits in no HTTP header", key.origin);
                ModelError::new(ModelErrorKind::Authentication, message)
            })?;
            headers.insert("x-api-key", value);
        }
        Ok(headers)
    }
}

#[async_trait]
impl Model for Anthropic {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let body = wire_body(request);
        self.endpoint.ask(self.headers()?, body, Decoder::default(), complaint, progress).await
    }

    /// Asks the API, which counts images, too. Servers that imitate it may not count: they have no
    /// such address.
    ///
    /// Source: <https://platform.claude.com/docs/en/build-with-claude/token-counting>.
    async fn count_tokens(&self, request: &ModelRequest) -> Result<Option<u64>, ModelError> {
        let body = encode::count_body(request);
        let fetched = self.endpoint.fetch(&self.count_url, self.headers()?, body, complaint).await;
        match fetched {
            Ok(bytes) => {
                let counted: Counted = serde_json::from_slice(&bytes).map_err(not_protocol)?;
                Ok(Some(counted.input_tokens))
            }
            Err(error) if error.kind == ModelErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the body that a request goes over the wire with.
pub(crate) fn wire_body(request: &ModelRequest) -> Vec<u8> {
    encode::body(request)
}

fn complaint(_: StatusCode, body: &str) -> Complaint {
    let (error, message) = read_error_body(body);
    let kind = error["type"].as_str().and_then(|word| kind_of(word, &message));
    Complaint { kind, message }
}

/// Returns what a type of error means. Some conditions have no type of their own and can only be
/// told by the message.
fn kind_of(word: &str, message: &str) -> Option<ModelErrorKind> {
    let kind = match word {
        "invalid_request_error" => {
            let message = message.to_lowercase();
            if message.contains("prompt is too long") || message.contains("exceed context limit") {
                ModelErrorKind::ContextFull
            } else if message.contains("credit balance is too low") {
                ModelErrorKind::Billing
            } else {
                ModelErrorKind::InvalidRequest
            }
        }
        "authentication_error" | "permission_error" => ModelErrorKind::Authentication,
        "billing_error" => ModelErrorKind::Billing,
        "not_found_error" => ModelErrorKind::NotFound,
        "request_too_large" => ModelErrorKind::InvalidRequest,
        "rate_limit_error" => ModelErrorKind::RateLimited,
        "api_error" => ModelErrorKind::Server,
        "timeout_error" => ModelErrorKind::Timeout,
        "overloaded_error" => ModelErrorKind::Overloaded,
        _ => return None,
    };
    Some(kind)
}
