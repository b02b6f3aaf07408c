//! The pure core of Prusik: what a run is, what may happen to it, and what follows.
//!
//! Nothing in this crate does I/O, waits, reads a clock, draws random bits or looks at the
//! environment. A driver does that, in this order:
//!
//! ```text
//! Run::start | replay | restore      a run, from nothing or from its journal
//!   handle(Recovered)                after a load: what was open when the last driver died
//! loop:
//!   poll_effect()  -> Effect         perform it once record `effect.after` is durable
//!   poll_timeout() -> instant        hand in TimerFired then
//!   handle(input)  -> Step           an outcome, an answer, a person's word: decide
//!   apply(step)    -> Sealed         change the state; append what comes back, in this order
//! ```
//!
//! Two rules make it safe to kill a driver at any instant:
//!
//! - **Append, then act.** An effect is performed only when the record that holds its intent is
//!   durable. [`effect::Effect::after`] names that record.
//! - **State is a fold of the journal.** [`run::Run::apply`] and replay run the same code, so what
//!   was not appended has not happened.
//!
//! A step may be applied before it is durable, and further inputs handled on top of it: the store
//! keeps the order. If an append fails, the driver drops the run and loads it again.

pub mod agent;
pub mod budget;
pub mod contract;
pub mod effect;
pub mod event;
pub mod expr;
pub mod grant;
pub mod ids;
pub mod input;
pub mod json;
pub mod label;
pub mod ledger;
pub mod message;
pub mod model;
pub mod outcome;
pub mod outline;
pub mod policy;
pub mod record;
pub mod run;
pub mod schema;
