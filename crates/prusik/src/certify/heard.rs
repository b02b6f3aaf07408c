//! What came of one call, as the runtime would take it.

use prusik_core::contract::Contract;
use prusik_core::outcome::{Failure, Reply, ToolResult};
use serde_json::{Value, json};

use crate::cli::text::one_line;

/// What came of one call, as the runtime would take it.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Returned(ToolResult),
    Failed(Failure),
    /// It does not fit its schema, or says nothing where something is due.
    Unfit {
        result: ToolResult,
        problem: String,
    },
    TimedOut {
        after_ms: u64,
    },
    Lost(String),
    NotSent(String),
}

impl Heard {
    pub fn of(contract: &Contract, reply: Reply) -> Self {
        match reply {
            Reply::Returned(result) => match Failure::in_result(contract, &result) {
                Some(failure) => Self::Failed(failure),
                None if contract.empty_fails && result.is_empty() => {
                    let problem = "it says nothing where something is due".to_owned();
                    Self::Unfit { result, problem }
                }
                None => Self::Returned(result),
            },
            Reply::Refused(refusal) => Self::Failed(Failure::from_refusal(contract, refusal)),
            Reply::Unfit { result, problem } => Self::Unfit { result, problem },
            Reply::NotSent { reason, .. } => Self::NotSent(reason),
            Reply::Lost { reason } => Self::Lost(reason),
        }
    }

    /// Returns what came in a line.
    pub fn told(&self) -> String {
        let text = match self {
            Self::Returned(result) => result.value().to_string(),
            Self::Failed(failure) => format!("failed ({}): {}", failure.kind, failure.message),
            Self::Unfit { result, problem } => format!("{} ({problem})", result.value()),
            Self::TimedOut { after_ms } => format!("no answer within {after_ms} ms"),
            Self::Lost(reason) => format!("no answer: {reason}"),
            Self::NotSent(reason) => format!("not sent: {reason}"),
        };
        one_line(&text, 240)
    }

    /// Returns what came as a value that can be compared.
    pub fn value(&self) -> Value {
        match self {
            Self::Returned(result) | Self::Unfit { result, .. } => result.value(),
            Self::Failed(failure) => json!({"failed": failure.kind, "message": failure.message}),
            Self::TimedOut { .. } | Self::Lost(_) | Self::NotSent(_) => json!({"answered": false}),
        }
    }

    /// Returns the result of a call that landed.
    pub fn landed(&self) -> Option<&ToolResult> {
        match self {
            Self::Returned(result) | Self::Unfit { result, .. } => Some(result),
            Self::Failed(_) | Self::TimedOut { .. } | Self::Lost(_) | Self::NotSent(_) => None,
        }
    }
}
