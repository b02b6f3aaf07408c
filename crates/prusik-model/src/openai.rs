//! OpenAI's chat completions, as OpenAI and the many servers that imitate it speak them.
//!
//! Source: <https://platform.openai.com/docs/api-reference/chat> and the documentation of Ollama,
//! vLLM and llama.cpp. Where they differ, what comes in is read leniently.

mod calls;
mod count;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use prusik_core::model::{Answer, ModelError, ModelErrorKind, ModelRequest};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::ConnectError;
use crate::http::{Complaint, Endpoint, Key, join, kind_of_status, read_error_body, secret_header};
use crate::{Delta, Model};
use count::Vocabulary;
use decode::Decoder;

/// The name under which blocks in this API's own shape are kept.
const PROVIDER: &str = "openai";
/// Where OpenAI's own server is.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// How the request calls the most tokens that an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxTokensField {
    /// The newer name for OpenAI's own server, the older one for every other.
    #[default]
    ByServer,
    MaxTokens,
    MaxCompletionTokens,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct OpenAi {
    endpoint: Endpoint,
    max_tokens_field: &'static str,
    /// Whether the server is OpenAI's own, where a bare name is one of its models.
    is_first_hand: bool,
}

impl OpenAi {
    pub(crate) fn new(
        base_url: &str,
        key: Option<Key>,
        idle_timeout: std::time::Duration,
        max_tokens_field: MaxTokensField,
    ) -> Result<Self, ConnectError> {
        let base_url = base_url.trim().trim_end_matches('/');
        let base_url = base_url.strip_suffix("/chat/completions").unwrap_or(base_url);
        let bare = join(base_url, "")?;
        let path = if bare.path() == "/" { "/v1/chat/completions" } else { "/chat/completions" };
        let url = join(base_url, path)?;
        let is_first_hand = url.host_str() == Some("api.openai.com");
        let max_tokens_field = match max_tokens_field {
            MaxTokensField::ByServer if is_first_hand => "max_completion_tokens",
            MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
            MaxTokensField::ByServer | MaxTokensField::MaxTokens => "max_tokens",
        };
        let endpoint = Endpoint::new(url, key, idle_timeout)?;
        Ok(Self { endpoint, max_tokens_field, is_first_hand })
    }

    /// Returns the vocabulary of `model`, where the server or the name says that it is OpenAI's:
    /// gateways write `openai/gpt-5`. Another server may call any model by such a name.
    fn vocabulary(&self, model: &str) -> Option<Vocabulary> {
        match model.strip_prefix("openai/") {
            Some(bare) => Vocabulary::of(bare),
            None if self.is_first_hand => Vocabulary::of(model),
            None => None,
        }
    }

    /// Returns the body that a request goes over the wire with.
    pub(crate) fn wire_body(&self, request: &ModelRequest) -> Vec<u8> {
        encode::body(request, self.max_tokens_field)
    }

    fn headers(&self) -> Result<HeaderMap, ModelError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = self.endpoint.key() {
            let bearer = format!("Bearer {}", key.secret.expose_secret());
            let value = secret_header(&bearer).ok_or_else(|| {
                let message = format!("the key in {} fits in no HTTP header", key.origin);
                ModelError::new(ModelErrorKind::Authentication, message)
            })?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

#[async_trait]
impl Model for OpenAi {
    async fn answer(
        &self,
        request: &ModelRequest,
        progress: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        let body = self.wire_body(request);
        let decoder = Decoder::new(request, body.len());
        self.endpoint.ask(self.headers()?, body, decoder, complaint, progress).await
    }

    /// Counts without asking: the protocol has no question for it. Images are not counted.
    async fn count_tokens(&self, request: &ModelRequest) -> Result<Option<u64>, ModelError> {
        let Some(vocabulary) = self.vocabulary(&request.model.model) else { return Ok(None) };
        let prompt = encode::prompt(request);
        // A vocabulary is megabytes to read and a prompt may be, too. What panics over it has not
        // counted, and nothing else hangs on that.
        let counting = tokio::task::spawn_blocking(move || count::tokens(&prompt, vocabulary));
        Ok(counting.await.ok())
    }
}

fn complaint(status: StatusCode, body: &str) -> Complaint {
    let (error, message) = read_error_body(body);
    let kind = kind_of(&error, &message).or_else(|| {
        // Only the words tell a prompt that is too long from other refusals.
        (status.is_client_error() && speaks_of_the_window(&message))
            .then_some(ModelErrorKind::ContextFull)
    });
    Complaint { kind, message }
}

/// Returns what an error means by its `code` or `type`; none where neither is known.
fn kind_of(error: &Value, message: &str) -> Option<ModelErrorKind> {
    let by_word = [&error["code"], &error["type"]].into_iter().find_map(|word| {
        Some(match word.as_str()? {
            "context_length_exceeded" | "exceed_context_size_error" => ModelErrorKind::ContextFull,
            "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => {
                ModelErrorKind::Billing
            }
            "invalid_api_key" | "authentication_error" | "permission_error" => {
                ModelErrorKind::Authentication
            }
            "model_not_found" | "not_found_error" => ModelErrorKind::NotFound,
            "rate_limit_exceeded" | "rate_limit_error" => ModelErrorKind::RateLimited,
            "server_overloaded" | "overloaded_error" | "unavailable_error" => {
                ModelErrorKind::Overloaded
            }
            "server_error" | "api_error" if speaks_of_the_window(message) => {
                ModelErrorKind::ContextFull
            }
            _ => return None,
        })
    });
    by_word.or_else(|| {
        let code = u16::try_from(error["code"].as_u64()?).ok()?;
        if code == 400 && speaks_of_the_window(message) {
            return Some(ModelErrorKind::ContextFull);
        }
        let status = StatusCode::from_u16(code).ok()?;
        (status.is_client_error() || status.is_server_error()).then(|| kind_of_status(status))
    })
}

fn speaks_of_the_window(message: &str) -> bool {
    let message = message.to_lowercase();
    ["maximum context length", "available context size", "context size has been exceeded"]
        .iter()
        .any(|words| message.contains(words))
}
