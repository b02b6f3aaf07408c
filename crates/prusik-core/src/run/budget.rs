//! Ceilings, checked before the spend.

use super::context;
use super::definition::Definition;
use super::program::Program;
use super::state::State;
use crate::budget::BudgetKind;
use crate::event::{CloseHow, ParkReason};
use crate::ids::Timestamp;
use crate::model::{Price, Usage};

/// An answer shorter than this is not worth asking for; a budget with less left parks the run.
const ANSWER_TOKENS_MIN: u64 = 256;

/// Returns the token cap of the next answer, or why it must not be asked for.
///
/// Input is estimated: what the provider counted up to its last answer, plus the bytes that came
/// since. The cap is lowered to what tokens and money are left, so that an answer cannot pass the
/// ceiling by more than that estimate is wrong.
pub(super) fn before_model(
    state: &State,
    definition: &Definition,
    now: Timestamp,
) -> Result<u32, ParkReason> {
    if exhausted(state, BudgetKind::Turns).is_some() {
        return Err(park_reason(state, BudgetKind::Turns));
    }
    if wall_is_over(state, now) {
        return Err(wall_park(state, now));
    }
    let summary = state.agent_loop().summary.as_ref();
    let (model, longest, asking) = match (summary, &definition.agent().context) {
        (Some(wanted), Some(policy)) => {
            let bytes_max = policy.summary_bytes_max;
            let asking = state.context.tokens_of(context::bytes_of_asking(wanted, bytes_max));
            let model = definition.summarizer();
            (model, context::tokens_max(policy, model), asking)
        }
        (Some(_), None) | (None, _) => (&definition.model, u64::MAX, 0),
    };
    let input = state.context.tokens_estimated().saturating_add(asking);
    let mut cap = u64::from(model.max_tokens).min(longest);
    let least = ANSWER_TOKENS_MIN.min(cap);
    if let Some(limit) = state.budget.tokens {
        cap = cap.min(limit.saturating_sub(state.spent.tokens).saturating_sub(input));
        if cap < least {
            return Err(park_reason(state, BudgetKind::Tokens));
        }
    }
    if let (Some(limit), Some(price)) = (state.budget.nano_usd, &model.price) {
        let left = limit.saturating_sub(state.spent.nano_usd);
        cap = cap.min(affordable_tokens(price, input, left));
        if cap < least {
            return Err(park_reason(state, BudgetKind::NanoUsd));
        }
    }
    Ok(u32::try_from(cap).unwrap_or(u32::MAX))
}

/// Returns how many output tokens `left` nano-dollars buy once the input is paid at its dearest.
fn affordable_tokens(price: &Price, input: u64, left: u64) -> u64 {
    let dearest = Price { input: price.input.max(price.cache_write), ..*price };
    let input_cost = dearest.cost_nano_usd(&Usage { input, ..Usage::default() });
    let Some(rest) = left.checked_sub(input_cost) else { return 0 };
    if price.output == 0 {
        return u64::MAX;
    }
    u64::try_from(u128::from(rest) * 1_000_000 / u128::from(price.output)).unwrap_or(u64::MAX)
}

/// A run at its ceiling can still be undone.
fn is_undoing(state: &State) -> bool {
    match &state.program {
        Program::Agent(_) => {
            state.closing.as_ref().is_some_and(|closing| closing.how == CloseHow::Undo)
        }
        Program::Compensation(_) => true,
    }
}

/// Returns how many more calls may start.
pub(super) fn calls_left(state: &State) -> u64 {
    if is_undoing(state) {
        return u64::MAX;
    }
    state.budget.tool_calls.map_or(u64::MAX, |limit| limit.saturating_sub(state.spent.tool_calls))
}

/// Returns what is spent and the limit, if the ceiling is reached.
pub(super) fn exhausted(state: &State, kind: BudgetKind) -> Option<(u64, u64)> {
    let limit = state.budget.limit(kind)?;
    let spent = state.spent.of(kind);
    (spent >= limit).then_some((spent, limit))
}

/// Returns the instant at which the wall-time budget ends if the run is driven until then.
pub(super) fn wall_deadline(state: &State) -> Option<Timestamp> {
    if is_undoing(state) {
        return None;
    }
    let left = state.budget.wall_ms?.saturating_sub(state.spent.wall_ms);
    // What is over is over, wherever the clock has gone since.
    Some(if left == 0 { Timestamp(0) } else { state.updated.plus_ms(left) })
}

/// Returns whether the wall-time budget is used up.
pub(super) fn wall_is_over(state: &State, now: Timestamp) -> bool {
    wall_deadline(state).is_some_and(|deadline| now >= deadline)
}

pub(super) fn park_reason(state: &State, kind: BudgetKind) -> ParkReason {
    let limit = state.budget.limit(kind).unwrap_or(u64::MAX);
    ParkReason::Budget { kind, limit, spent: state.spent.of(kind) }
}

pub(super) fn wall_park(state: &State, now: Timestamp) -> ParkReason {
    let limit = state.budget.wall_ms.unwrap_or(u64::MAX);
    let spent = state.spent.wall_ms + now.since_ms(state.updated);
    ParkReason::Budget { kind: BudgetKind::WallMs, limit, spent }
}
