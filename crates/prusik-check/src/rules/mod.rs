//! The rules, by what they look at.

pub(crate) mod amount;
pub(crate) mod blast;
pub(crate) mod context;
pub(crate) mod contract;
pub(crate) mod names;
pub(crate) mod overlap;
pub(crate) mod parameters;
pub(crate) mod poison;
pub(crate) mod quantities;
pub(crate) mod schema;
pub(crate) mod wording;
