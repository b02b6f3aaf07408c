//! Budgets: ceilings that bind because they are checked before the spend.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Price, Usage};

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
    /// What went in and no cache held. This and the next three are what providers counted; where
    /// one counted nothing, `tokens` holds an estimate and these hold nothing.
    #[serde(default)]
    pub input_fresh: u64,
    #[serde(default)]
    pub cache_read: u64,
    #[serde(default)]
    pub cache_write: u64,
    #[serde(default)]
    pub output: u64,
    /// What the caches have saved against the full price of all that went in. It is below zero
    /// while what was written cost more than reading it has brought.
    #[serde(default)]
    pub saved_nano_usd: i64,
}

impl Spent {
    /// Adds what one answer was made of, at the price of the model that gave it.
    pub fn count(&mut self, usage: &Usage, price: Option<&Price>) {
        self.input_fresh = self.input_fresh.saturating_add(usage.input);
        self.cache_read = self.cache_read.saturating_add(usage.cache_read);
        self.cache_write = self.cache_write.saturating_add(usage.cache_write);
        self.output = self.output.saturating_add(usage.output);
        let saved = price.map_or(0, |price| price.saved_nano_usd(usage));
        self.saved_nano_usd = self.saved_nano_usd.saturating_add(saved);
    }

    /// Returns all that went in, cached or not, as providers counted it.
    pub fn input_total(&self) -> u64 {
        self.input_fresh.saturating_add(self.cache_read).saturating_add(self.cache_write)
    }

    /// Returns how much of what went in was read from a cache, in per cent, rounded down; none if
    /// nothing was counted.
    pub fn cache_read_percent(&self) -> Option<u64> {
        let total = u128::from(self.input_total());
        let percent = (u128::from(self.cache_read) * 100).checked_div(total)?;
        u64::try_from(percent).ok()
    }

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
