//! Which model to connect to: what a project says of it, and what can be wrong with that.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prusik_core::model::ModelRequest;
use secrecy::SecretString;

use crate::anthropic::Anthropic;
use crate::cassette::{Cassette, CassetteError, CassetteMode};
use crate::http::{Key, secret_header};
use crate::openai::{MaxTokensField, OpenAi};
use crate::{Model, Script, ScriptError, ScriptedModel};

/// How long a stream may be silent unless the project says otherwise, in milliseconds.
pub const DEFAULT_IDLE_TIMEOUT_MS: u64 = 90_000;
/// Largest file that is read as a key, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A model's connection as a project declares it. It holds no secret, only where to find one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelConfig {
    /// Anthropic's Messages API.
    Anthropic { server: Server },
    /// Any server that speaks OpenAI's chat completions.
    OpenAi { server: Server, max_tokens_field: MaxTokensField },
    /// A script of answers.
    Scripted { path: PathBuf },
    /// A recording of another model; only recording needs the model itself.
    Recorded { path: PathBuf, mode: CassetteMode, inner: Option<Box<ModelConfig>> },
}

/// A server and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub base_url: String,
    /// Servers on this machine mostly want none.
    pub key: Option<KeyRef>,
    /// How long nothing may come before the attempt is given up, in milliseconds.
    pub idle_timeout_ms: u64,
}

/// Where a key is found. A key itself is never part of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the key and nothing else.
    File(PathBuf),
}

/// Why a model cannot be used. Nothing has been sent yet.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("there is no key in the environment: set {variable} to the model's API key")]
    NoKey { variable: String },
    #[error("the key file {} cannot be read: {source}", path.display())]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error("the key in {origin} is not usable: {problem}")]
    BadKey { origin: String, problem: &'static str },
    #[error("the base_url {url:?} in prusik.yaml cannot be used: {problem}")]
    BadUrl { url: String, problem: String },
    #[error("no client can be made for {url}: {problem}")]
    Client { url: String, problem: String },
    #[error("the script {} cannot be read: {source}", path.display())]
    ScriptFile { path: PathBuf, source: std::io::Error },
    #[error("a script is not valid: {0}")]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    #[error(
        "the cassette {} is to be recorded, but no model to record is named: add one in prusik.yaml",
        path.display()
    )]
    NothingToRecord { path: PathBuf },
}

impl ModelConfig {
    /// Connects, reading keys from this process's environment. Nothing is sent.
    pub fn connect(&self) -> Result<Arc<dyn Model>, ConnectError> {
        self.connect_with(&|variable| std::env::var(variable).ok())
    }

    /// Connects, reading keys through `env`, which returns the value of a variable.
    pub fn connect_with(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Arc<dyn Model>, ConnectError> {
        match self {
            Self::Anthropic { server } => {
                let (key, idle) = server.resolve(env)?;
                Ok(Arc::new(Anthropic::new(&server.base_url, key, idle)?))
            }
            Self::OpenAi { server, max_tokens_field } => {
                let (key, idle) = server.resolve(env)?;
                Ok(Arc::new(OpenAi::new(&server.base_url, key, idle, *max_tokens_field)?))
            }
            Self::Scripted { path } => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConnectError::ScriptFile { path: path.clone(), source })?;
                let script = Script::parse(&text, &path.display().to_string())?;
                Ok(Arc::new(ScriptedModel::new(script)))
            }
            Self::Recorded { path, mode: CassetteMode::Replay, .. } => {
                Ok(Arc::new(Cassette::replay(path)?))
            }
            Self::Recorded { path, mode: CassetteMode::Record, inner } => {
                let inner = inner
                    .as_ref()
                    .ok_or_else(|| ConnectError::NothingToRecord { path: path.clone() })?;
                Ok(Arc::new(Cassette::record(path, inner.connect_with(env)?)?))
            }
        }
    }
}

impl ModelConfig {
    /// Returns the body that a request goes over the wire with, byte for byte. None where nothing goes
    /// over a wire: a script answers it, or a recording of which it is not said whose it is.
    pub fn wire_body(&self, request: &ModelRequest) -> Result<Option<Vec<u8>>, ConnectError> {
        Ok(match self {
            Self::Anthropic { .. } => Some(crate::anthropic::wire_body(request)),
            Self::OpenAi { server, max_tokens_field } => {
                let idle = Duration::from_millis(server.idle_timeout_ms);
                let model = OpenAi::new(&server.base_url, None, idle, *max_tokens_field)?;
                Some(model.wire_body(request))
            }
            Self::Scripted { .. } => None,
            Self::Recorded { inner, .. } => match inner {
                Some(inner) => inner.wire_body(request)?,
                None => None,
            },
        })
    }
}

impl Server {
    pub fn new(base_url: impl Into<String>, key: Option<KeyRef>) -> Self {
        Self { base_url: base_url.into(), key, idle_timeout_ms: DEFAULT_IDLE_TIMEOUT_MS }
    }

    fn resolve(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Option<Key>, Duration), ConnectError> {
        let key = self.key.as_ref().map(|key| key.resolve(env)).transpose()?;
        Ok((key, Duration::from_millis(self.idle_timeout_ms)))
    }
}

impl KeyRef {
    fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Key, ConnectError> {
        let (text, origin) = match self {
            Self::Env(variable) => {
                let text = env(variable)
                    .ok_or_else(|| ConnectError::NoKey { variable: variable.clone() })?;
                (text, format!("the environment variable {variable}"))
            }
            Self::File(path) => {
                let text = read_key_file(path)
                    .map_err(|source| ConnectError::KeyFile { path: path.clone(), source })?;
                (text, format!("the file {}", path.display()))
            }
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(ConnectError::BadKey { origin, problem: "it is empty" });
        }
        if !text.chars().all(|char| char.is_ascii_graphic()) || secret_header(text).is_none() {
            let problem = "it holds white space or characters that no key has";
            return Err(ConnectError::BadKey { origin, problem });
        }
        Ok(Key { secret: SecretString::from(text), origin })
    }
}

fn read_key_file(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > KEY_FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is too large to be a key"));
    }
    std::fs::read_to_string(path)
}
