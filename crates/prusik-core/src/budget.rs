//! Budgets: ceilings that bind because they are checked before the spend.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The ceilings of a run. A missing one does not bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Budget {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Input and output tokens together, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_usd: Option<u64>,
    /// Time in which the run was being driven; parked time does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetKind {
    Turns,
    Tokens,
    NanoUsd,
    WallMs,
    ToolCalls,
}

impl BudgetKind {
    pub const ALL: [Self; 5] =
        [Self::Turns, Self::Tokens, Self::NanoUsd, Self::WallMs, Self::ToolCalls];

    /// Returns the name that people use for it in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Tokens => "tokens",
            Self::NanoUsd => "usd",
            Self::WallMs => "wall",
            Self::ToolCalls => "tool_calls",
        }
    }
}

impl fmt::Display for BudgetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Budget {
    pub fn limit(&self, kind: BudgetKind) -> Option<u64> {
        match kind {
            BudgetKind::Turns => self.turns,
            BudgetKind::Tokens => self.tokens,
            BudgetKind::NanoUsd => self.nano_usd,
            BudgetKind::WallMs => self.wall_ms,
            BudgetKind::ToolCalls => self.tool_calls,
        }
    }

    /// Returns this budget with every ceiling that `raise` names replaced.
    pub fn raised(self, raise: &Self) -> Self {
        Self {
            turns: raise.turns.or(self.turns),
            tokens: raise.tokens.or(self.tokens),
            nano_usd: raise.nano_usd.or(self.nano_usd),
            wall_ms: raise.wall_ms.or(self.wall_ms),
            tool_calls: raise.tool_calls.or(self.tool_calls),
        }
    }
}

/// What a run has spent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    pub turns: u64,
    pub tokens: u64,
    pub nano_usd: u64,
    pub wall_ms: u64,
    pub tool_calls: u64,
}

impl Spent {
    pub fn of(&self, kind: BudgetKind) -> u64 {
        match kind {
            BudgetKind::Turns => self.turns,
            BudgetKind::Tokens => self.tokens,
            BudgetKind::NanoUsd => self.nano_usd,
            BudgetKind::WallMs => self.wall_ms,
            BudgetKind::ToolCalls => self.tool_calls,
        }
    }
}
