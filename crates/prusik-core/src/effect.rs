//! Effects: what the core asks its driver to do.

use std::sync::Arc;

use serde_json::Value;

use crate::ids::{Attempt, CallId, Seq, Turn};
use crate::model::ModelRequest;

/// Something to do in the world, to be performed only once the journal is durable through
/// [`Effect::after`].
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The record that must be durable before this is performed.
    pub after: Seq,
    pub action: Action,
}

/// What an effect does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Read the records `from..=through` and hand their events to
    /// [`Run::load_transcript`](crate::run::Run::load_transcript).
    LoadTranscript {
        from: Seq,
        through: Seq,
    },
    CallModel(Arc<ModelRequest>),
    CallTool(ToolCall),
    /// Ask whether a call in doubt landed.
    Probe {
        call: CallId,
        probe: ToolCall,
    },
    /// Give up an effect that is under way. Its outcome is no longer waited for, unless it is a call
    /// that may have changed the world: such a call is to hurry, and its reply is still due.
    Abort(EffectId),
}

/// One attempt of a tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    pub call: CallId,
    pub attempt: Attempt,
    pub tool: String,
    /// The arguments, the key included where the contract places it in one.
    pub arguments: Arc<Value>,
    /// The field of `_meta` that carries the key, and the key.
    pub meta_key: Option<(String, String)>,
    pub timeout_ms: u64,
    /// The largest result that the context has room for; a larger one is cut.
    pub result_bytes_max: u64,
}

/// Names an effect that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EffectId {
    Transcript,
    Model { turn: Turn, attempt: Attempt },
    Call { call: CallId, attempt: Attempt },
    Probe { call: CallId, attempt: Attempt },
}

impl Action {
    /// Returns the name under which the effect can be aborted; none for an abort itself.
    pub fn id(&self) -> Option<EffectId> {
        match self {
            Self::LoadTranscript { .. } => Some(EffectId::Transcript),
            Self::CallModel(request) => {
                Some(EffectId::Model { turn: request.turn, attempt: request.attempt })
            }
            Self::CallTool(call) => Some(EffectId::Call { call: call.call, attempt: call.attempt }),
            Self::Probe { call, probe } => {
                Some(EffectId::Probe { call: *call, attempt: probe.attempt })
            }
            Self::Abort(_) => None,
        }
    }
}
