//! Events of containment: what a run may do once it has read what it cannot trust, and what people
//! decided.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::grant::{Doubt, Plan};
use crate::ids::{CallId, Digest};
use crate::label::Label;
use crate::policy::Concern;

/// The model laid down what it will do, before it read anything from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanMade {
    pub call: CallId,
    pub plan: Plan,
}

/// A call was made that a grant covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantSpent {
    pub call: CallId,
    /// Its place among the grants of the run, from 0.
    pub grant: usize,
}

/// Calls are held to another policy of the organisation from now on, or to none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAdopted {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
}

/// A person is asked whether a call may be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    pub call: CallId,
    /// What an answer must name: it covers the run, the call, its tool as it was described, its
    /// arguments and their label.
    pub digest: Digest,
    pub label: Label,
    /// The grant that foresees the call, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<usize>,
    /// What to look at.
    pub doubts: Vec<Doubt>,
    /// What the organisation's policy wants looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Concern>,
    /// How many people must say yes.
    pub people: u32,
    /// When the question is void, in milliseconds since 1970.
    pub expires: crate::ids::Timestamp,
}

/// A person answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovalAnswered {
    pub call: CallId,
    pub digest: Digest,
    pub by: String,
    pub decision: Decision,
}

/// What a person said about a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approved {
        /// Other arguments, where the person changed them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<Value>,
        /// Whether these values are good for the rest of the run.
        #[serde(default)]
        endorsed: bool,
    },
    Denied {
        /// What the model is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Nobody answered in time.
    Expired,
}
