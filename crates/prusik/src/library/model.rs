//! The model of an agent that is put together in code.

use std::path::PathBuf;
use std::sync::Arc;

use prusik_core::model::{ModelSpec, Price};
use prusik_model::{
    ANTHROPIC_BASE_URL, Cassette, ConnectError, KeyRef, MaxTokensField, ModelConfig,
    OPENAI_BASE_URL, Script, ScriptError, ScriptedModel, Server,
};

use crate::project::{is_loopback, prices};
use crate::window::window_tokens;

/// Most tokens of an answer unless the program says otherwise, as in a project.
const MAX_TOKENS: u32 = 4096;
const FREE: Price = Price { input: 0, output: 0, cache_read: 0, cache_write: 0 };

/// The model that an agent asks, and how it is reached.
#[derive(Clone)]
pub struct Model {
    pub(crate) spec: ModelSpec,
    window_tokens: Option<u64>,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Anthropic { base_url: String, key: KeyRef },
    OpenAi { base_url: String, key: Option<KeyRef> },
    Replayed { path: PathBuf },
    Recorded { path: PathBuf, of: Box<Model> },
    Own(Arc<dyn prusik_model::Model>),
}

impl Model {
    /// A model of Anthropic's Messages API. Its key is in `ANTHROPIC_API_KEY`.
    pub fn anthropic(model: impl Into<String>) -> Self {
        let model = model.into();
        let key = KeyRef::Env("ANTHROPIC_API_KEY".to_owned());
        let price = prices::anthropic(&model);
        let source = Source::Anthropic { base_url: ANTHROPIC_BASE_URL.to_owned(), key };
        Self::of(model, price, source)
    }

    /// A model of a server that speaks OpenAI's chat completions. Its key is in `OPENAI_API_KEY`,
    /// unless [`Model::base_url`] names a server of this machine, which mostly wants none.
    pub fn openai(model: impl Into<String>) -> Self {
        let model = model.into();
        let price = prices::openai(&model);
        Self::of(model, price, Source::OpenAi { base_url: OPENAI_BASE_URL.to_owned(), key: None })
    }

    /// Answers that are written down beforehand, in the YAML or JSON of a script's file.
    pub fn script(text: &str) -> Result<Self, ScriptError> {
        let script = Script::parse(text, "script")?;
        let model: Arc<dyn prusik_model::Model> = Arc::new(ScriptedModel::new(script));
        Ok(Self::of("script".to_owned(), Some(FREE), Source::Own(model)))
    }

    /// Answers from a recording.
    pub fn recorded(path: impl Into<PathBuf>) -> Self {
        Self::of("recorded".to_owned(), Some(FREE), Source::Replayed { path: path.into() })
    }

    /// Records what this model answers into a file, for [`Model::recorded`].
    pub fn record_to(self, path: impl Into<PathBuf>) -> Self {
        let (name, price) = (self.spec.model.clone(), self.spec.price);
        let (spec, window_tokens) = (self.spec.clone(), self.window_tokens);
        let source = Source::Recorded { path: path.into(), of: Box::new(self) };
        let recorded = Self::of(name, price, source);
        Self { spec, window_tokens, ..recorded }
    }

    /// A model that the program implements itself.
    pub fn own(name: impl Into<String>, model: Arc<dyn prusik_model::Model>) -> Self {
        Self::of(name.into(), None, Source::Own(model))
    }

    fn of(model: String, price: Option<Price>, source: Source) -> Self {
        let spec = ModelSpec {
            alias: "default".to_owned(),
            model,
            max_tokens: MAX_TOKENS,
            temperature: None,
            thinking_tokens: None,
            price,
        };
        Self { spec, window_tokens: None, source }
    }

    /// Sets the server's address. It means nothing to a model without one.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        match &mut self.source {
            Source::Anthropic { base_url, .. } | Source::OpenAi { base_url, .. } => {
                *base_url = url.into();
            }
            Source::Replayed { .. } | Source::Recorded { .. } | Source::Own(_) => {}
        }
        self
    }

    /// Names the variable of the environment that holds the key.
    pub fn key_env(self, variable: impl Into<String>) -> Self {
        self.key(KeyRef::Env(variable.into()))
    }

    /// Names the file that holds the key and nothing else.
    pub fn key_file(self, path: impl Into<PathBuf>) -> Self {
        self.key(KeyRef::File(path.into()))
    }

    fn key(mut self, new: KeyRef) -> Self {
        match &mut self.source {
            Source::Anthropic { key, .. } => *key = new,
            Source::OpenAi { key, .. } => *key = Some(new),
            Source::Replayed { .. } | Source::Recorded { .. } | Source::Own(_) => {}
        }
        self
    }

    /// Sets the most tokens that one answer may have; 4096 if nobody does.
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.spec.max_tokens = tokens;
        self
    }

    /// Sets the temperature, between 0 and 2.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.spec.temperature = Some(temperature);
        self
    }

    /// Lets the model think for so many tokens before it answers.
    pub fn thinking_tokens(mut self, tokens: u32) -> Self {
        self.spec.thinking_tokens = Some(tokens);
        self
    }

    /// Sets what the model can take in, prompt and answer together, where the name does not say it.
    pub fn window_tokens(mut self, tokens: u64) -> Self {
        self.window_tokens = Some(tokens);
        self
    }

    /// Returns what the model can take in, in tokens.
    pub(crate) fn window(&self) -> u64 {
        self.window_tokens.unwrap_or_else(|| window_tokens(&self.spec.model))
    }

    /// Sets what the model costs, where the built-in list does not know or is not right.
    pub fn price(mut self, price: Price) -> Self {
        self.spec.price = Some(price);
        self
    }

    pub(crate) fn connect(&self) -> Result<Arc<dyn prusik_model::Model>, ConnectError> {
        match &self.source {
            Source::Own(model) => Ok(Arc::clone(model)),
            Source::Recorded { path, of } => Ok(Arc::new(Cassette::record(path, of.connect()?)?)),
            Source::Replayed { path } => Ok(Arc::new(Cassette::replay(path)?)),
            Source::Anthropic { base_url, key } => anthropic(base_url, key).connect(),
            Source::OpenAi { base_url, key } => openai(base_url, key.as_ref()).connect(),
        }
    }

    /// Returns how the model is reached over a wire, if it is.
    pub(crate) fn config(&self) -> Option<ModelConfig> {
        match &self.source {
            Source::Anthropic { base_url, key } => Some(anthropic(base_url, key)),
            Source::OpenAi { base_url, key } => Some(openai(base_url, key.as_ref())),
            Source::Recorded { of, .. } => of.config(),
            Source::Replayed { .. } | Source::Own(_) => None,
        }
    }

    /// Returns whose limits the schemas of the tools must fit.
    pub(crate) fn provider(&self) -> prusik_check::Provider {
        match &self.source {
            Source::Anthropic { .. } => prusik_check::Provider::Anthropic,
            Source::OpenAi { .. } => prusik_check::Provider::OpenAi,
            Source::Recorded { of, .. } => of.provider(),
            Source::Replayed { .. } | Source::Own(_) => prusik_check::Provider::Offline,
        }
    }
}

fn anthropic(base_url: &str, key: &KeyRef) -> ModelConfig {
    ModelConfig::Anthropic { server: Server::new(base_url, Some(key.clone())) }
}

fn openai(base_url: &str, key: Option<&KeyRef>) -> ModelConfig {
    let local = is_loopback(base_url) && key.is_none();
    let default = || KeyRef::Env("OPENAI_API_KEY".to_owned());
    let key = (!local).then(|| key.cloned().unwrap_or_else(default));
    ModelConfig::OpenAi {
        server: Server::new(base_url, key),
        max_tokens_field: MaxTokensField::default(),
    }
}
