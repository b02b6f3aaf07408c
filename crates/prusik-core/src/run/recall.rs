//! Recall: the tool that reads back what the context no longer shows.

use serde_json::json;

use crate::agent::Tool;
use crate::contract::{Contract, EffectClass};

/// The call that reads what is no longer shown.
pub const RECALL: &str = "recall";

/// Returns the tool as every agent with a context policy holds it.
pub(super) fn tool() -> Tool {
    Tool {
        name: RECALL.to_owned(),
        description: "Reads back what this run has seen.".to_owned(),
        input_schema: json!({"type": "object"}),
        output_schema: None,
        contract: Contract::of(EffectClass::Read),
        shown: true,
    }
}
