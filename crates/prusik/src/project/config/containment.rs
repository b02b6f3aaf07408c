//! What a project says of containment: what arguments decide, who can have written a result, and what an
//! agent's calls are held to.

use schemars::JsonSchema;
use serde::Deserialize;

/// What an argument decides: its kind alone, or with its bounds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ArgumentConfig {
    /// Its kind.
    Kind(ArgumentKindConfig),
    /// Its kind, and what a plan may leave open of it.
    Bounded(BoundedArgument),
}

/// The kind of an argument, and what a plan may leave open of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundedArgument {
    /// Its kind.
    pub kind: ArgumentKindConfig,
    /// The largest amount.
    #[serde(default)]
    pub max: Option<f64>,
    /// The only values.
    #[serde(default)]
    pub members: Vec<serde_json::Value>,
}

/// What an argument decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArgumentKindConfig {
    /// Words for whoever receives the call's effect, who is laid down elsewhere.
    Content,
    /// A value that cannot carry words: a number, a date or time, a boolean, an id, a choice.
    Closed,
    /// An amount of money.
    Money,
    /// The id of something that the call destroys or gives away.
    DestructiveId,
    /// Who or what is affected: a recipient, a path, a URL, a command.
    Identity,
}

/// Who can have written what a tool returns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnsConfig {
    /// Anybody.
    Untrusted,
    /// Nobody from outside.
    Trusted,
    /// Nobody from outside, but for what stands in these places of a structured result: keys with points
    /// between, such as `items.*.review`.
    TrustedBut(Vec<String>),
}

/// Whether calls are held to anything once something from outside has been read, and to what.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ContainmentSetting {
    /// To nothing.
    Off(ContainmentOff),
    /// To plans, and to what people say.
    On(ContainmentConfig),
}

impl Default for ContainmentSetting {
    fn default() -> Self {
        Self::On(ContainmentConfig::default())
    }
}

/// Calls are held to nothing.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainmentOff {
    Off,
}

/// What calls are held to once something from outside has been read.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainmentConfig {
    /// Whether the model is given a tool to lay down a plan with; `true` when it is left out.
    #[serde(default)]
    pub plan: Option<bool>,
    /// What becomes of a call that no plan foresees: it is refused, or a person is asked.
    #[serde(default)]
    pub unplanned: UnplannedConfig,
    /// How long a question to a person is good for, in hours; a week when it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8760))]
    pub expires_hours: Option<u32>,
}

/// What becomes of a call that no plan foresees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnplannedConfig {
    /// It is refused, and the model is told how to go on.
    #[default]
    Refuse,
    /// A person is asked.
    Ask,
}
