//! A tool's contract: what it does to the world, how it fails, how it is repeated and limited.
//!
//! What nobody declared gets the strictest reading: a `write` that cannot be repeated, asked about
//! or undone.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expr::Expr;
use crate::grant::{ArgumentKind, ArgumentTerm};
use crate::ledger::EntryKind;

/// What a call does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// Changes nothing; may be repeated.
    Read,
    /// May be repeated with the same key: the second call lands on the first.
    Idempotent,
    /// May not be repeated.
    #[default]
    Write,
}

impl EffectClass {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Write => "write",
        }
    }
}

/// How the key of an `idempotent` call reaches the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// In this argument, which the model neither sees nor fills.
    Argument(String),
    /// In this field of the MCP request's `_meta`.
    Meta(String),
    /// Nowhere: the same arguments are the same call.
    Call,
}

/// The read that tells whether a call landed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    pub tool: String,
    /// The probe's arguments. A string that starts with `=` is a CEL expression over `args` (the
    /// call's arguments) and `key`; anything else stands for itself.
    pub arguments: BTreeMap<String, Value>,
    /// CEL over `result` (the probe's structured result, or its text), `args` and `key`: true if
    /// the call landed.
    pub landed: Expr,
    /// CEL over the same: the result that the call would have returned. The probe's own result
    /// stands in when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Expr>,
    /// How long to wait before asking, in milliseconds. A call that was on the wire when its answer
    /// was lost may still land for that long; a probe that asks too soon would miss it.
    #[serde(default)]
    pub wait_ms: u64,
}

/// The call that reverses this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    pub tool: String,
    /// The undo call's arguments. A string that starts with `=` is a CEL expression over `args`
    /// and `result`; anything else stands for itself.
    pub arguments: BTreeMap<String, Value>,
}

/// A kind of failure that a tool may report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FailureTerm {
    /// Whether the same call may succeed later. A failure that is declared did not land.
    pub retry: bool,
    /// What the model is told to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tell: Option<String>,
    /// A text that the tool's error message holds when it means this kind; the kind's own name
    /// when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// CEL over `reply` that is true when the tool means this kind, whether it says that it failed or
    /// not. `reply` has `is_error`, `message` (all text), `code` (of JSON-RPC or HTTP; null where there
    /// is none) and `value` (the structured part; null where there is none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
}

/// Calls that the project forbids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DenyRule {
    /// CEL over `args`: true for a call that must not be made. A call of which it cannot be said is
    /// not made either.
    pub when: Expr,
    /// What the model is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tell: Option<String>,
}

impl DenyRule {
    /// Returns what the model is told if this rule forbids a call.
    pub fn forbids(&self, arguments: &Value) -> Option<String> {
        match self.when.eval_bool(&[("args", arguments)]) {
            Ok(false) => None,
            Ok(true) => Some(self.tell.clone().unwrap_or_else(|| {
                format!("The project forbids this call: {}", self.when.as_str())
            })),
            Err(error) => Some(format!("It cannot be said that the call is allowed: {error}")),
        }
    }
}

/// What of a result goes into the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordTerm {
    pub kind: EntryKind,
    /// CEL over `args` and `result`: the entry's text.
    pub text: Expr,
    /// CEL over the same: whether there is something to record. Without it there always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
}

/// Who can have written what a tool returns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returns {
    /// Anybody.
    #[default]
    Untrusted,
    /// Nobody from outside.
    Trusted,
    /// Nobody from outside, but for what stands in these places of a structured result: keys, with
    /// points between, and `*` for all items of a list.
    TrustedBut(Vec<String>),
}

impl Returns {
    /// Returns whether nothing in a result can have been written by an outsider.
    pub fn vouch_for(&self, result: &Value) -> bool {
        match self {
            Self::Untrusted => false,
            Self::Trusted => true,
            // Of what has no structure no part can be told from another.
            Self::TrustedBut(places) => {
                (result.is_object() || result.is_array())
                    && places.iter().all(|place| standing_in(result, place).is_empty())
            }
        }
    }

    /// Returns the part of a result that no outsider can have written; none if there is no such part.
    pub fn vouched_part(&self, result: &Value) -> Option<Value> {
        match self {
            Self::Untrusted => None,
            Self::Trusted => Some(result.clone()),
            Self::TrustedBut(_) if !(result.is_object() || result.is_array()) => None,
            Self::TrustedBut(places) => {
                let mut part = result.clone();
                for place in places {
                    without(&mut part, place);
                }
                Some(part)
            }
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns what stands in a place of a value: keys with points between, and `*` for all items.
pub(crate) fn standing_in<'a>(value: &'a Value, place: &str) -> Vec<&'a Value> {
    let (first, rest) = match place.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (place, None),
    };
    let inside: Vec<&Value> = match (value, first) {
        (Value::Array(items), "*") => items.iter().collect(),
        (Value::Object(map), "*") => map.values().collect(),
        (Value::Object(map), key) => map.get(key).into_iter().collect(),
        (Value::Array(items), key) => {
            key.parse::<usize>().ok().and_then(|index| items.get(index)).into_iter().collect()
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => Vec::new(),
    };
    match rest {
        None => inside.into_iter().filter(|value| !value.is_null()).collect(),
        Some(rest) => inside.into_iter().flat_map(|value| standing_in(value, rest)).collect(),
    }
}

/// Takes out what stands in a place of a value.
fn without(value: &mut Value, place: &str) {
    let (first, rest) = match place.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (place, None),
    };
    let clear = |value: &mut Value| match rest {
        None => *value = Value::Null,
        Some(rest) => without(value, rest),
    };
    match (value, first) {
        (Value::Array(items), "*") => items.iter_mut().for_each(clear),
        (Value::Object(map), "*") => map.values_mut().for_each(clear),
        (Value::Object(map), key) => {
            if let Some(value) = map.get_mut(key) {
                clear(value);
            }
        }
        (Value::Array(items), key) => {
            let index = key.parse::<usize>().ok();
            if let Some(value) = index.and_then(|index| items.get_mut(index)) {
                clear(value);
            }
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {}
    }
}

/// How often and how soon a failed attempt is repeated: exponential, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries in all; 1 means no retry.
    pub attempts_max: u32,
    pub backoff_ms: u64,
    pub backoff_ms_max: u64,
    /// No try begins later than this after the first one began, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl RetryPolicy {
    /// The policy of tools that declare none: three tries within a few seconds.
    pub const TOOL: Self =
        Self { attempts_max: 3, backoff_ms: 200, backoff_ms_max: 5_000, deadline_ms: None };
    /// The policy of model calls: rate limits pass within minutes.
    pub const MODEL: Self =
        Self { attempts_max: 6, backoff_ms: 500, backoff_ms_max: 30_000, deadline_ms: None };

    /// Returns how long to wait before try number `attempt`, in milliseconds: a point between 0
    /// and the exponential ceiling, chosen by `entropy`.
    ///
    /// Full jitter, after M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.
    pub fn backoff_before(&self, attempt: u32, entropy: u64) -> u64 {
        let doublings = attempt.saturating_sub(2).min(20);
        let ceiling = self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_ms_max);
        if ceiling == 0 { 0 } else { entropy % (ceiling + 1) }
    }
}

/// All that is declared about a tool beyond its schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    pub effect: EffectClass,
    /// Set for `idempotent` tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyPlace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, FailureTerm>,
    /// By the rule's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deny: BTreeMap<String, DenyRule>,
    /// What of a result the run must not forget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<RecordTerm>,
    /// What the arguments decide. What is not named here says who or what is affected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, ArgumentTerm>,
    /// Who can have written its results.
    #[serde(default, skip_serializing_if = "Returns::is_default")]
    pub returns: Returns,
    /// Those who may see its results; none if everybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<BTreeSet<String>>,
    /// Who sees what a call says. A string that starts with `=` is a CEL expression over `args` that
    /// gives one name or several. None if nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<Value>>,
    /// Places of a structured result that hold the id of what the call has made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub creates: Vec<String>,
    /// Whether the arguments of a read leave the machine, so that it could carry something out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub leaves: bool,
    /// How many people must say yes when a call is asked about.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub people: u32,
    /// Whether a result that says nothing is a failure.
    #[serde(default, skip_serializing_if = "is_false")]
    pub empty_fails: bool,
    pub timeout_ms: u64,
    pub retry: RetryPolicy,
    /// A result above this becomes a blob; the model sees its head, its tail and a handle.
    pub result_bytes_max: u64,
    /// Whether calls of this tool may run beside other calls of the same turn. Reads always may.
    pub parallel: bool,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_one(value: &u32) -> bool {
    *value == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Contract {
    pub const TIMEOUT_MS: u64 = 60_000;
    pub const RESULT_BYTES_MAX: u64 = 32 * 1024;

    /// Returns what an `effect` of that class means when nothing else is declared.
    pub fn of(effect: EffectClass) -> Self {
        Self {
            effect,
            key: (effect == EffectClass::Idempotent).then_some(KeyPlace::Call),
            probe: None,
            undo: None,
            failures: BTreeMap::new(),
            deny: BTreeMap::new(),
            records: Vec::new(),
            arguments: BTreeMap::new(),
            returns: Returns::Untrusted,
            readers: None,
            audience: None,
            creates: Vec::new(),
            leaves: false,
            people: 1,
            empty_fails: false,
            timeout_ms: Self::TIMEOUT_MS,
            retry: RetryPolicy::TOOL,
            result_bytes_max: Self::RESULT_BYTES_MAX,
            parallel: effect == EffectClass::Read,
        }
    }

    /// Returns what is declared of an argument; what nobody declared says who or what is affected.
    pub fn term(&self, argument: &str) -> ArgumentTerm {
        let declared = self.arguments.get(argument).cloned();
        declared.unwrap_or_else(|| ArgumentTerm::of(ArgumentKind::Identity))
    }

    /// Returns the first of the project's rules that forbids a call, and what the model is told. One that
    /// cannot be evaluated does.
    pub fn forbids(&self, arguments: &Value) -> Option<(&str, String)> {
        let mut rules = self.deny.iter();
        rules.find_map(|(name, rule)| Some((name.as_str(), rule.forbids(arguments)?)))
    }

    /// Returns whether a call whose outcome is lost can be resolved without a person.
    pub fn resolves_alone(&self) -> bool {
        self.effect != EffectClass::Write || self.probe.is_some()
    }
}
