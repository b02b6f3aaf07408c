//! The engine: drives the pure core with real models, tools and stores.
//!
//! It performs effects, keeps the order "append, then act", and decides nothing: rules are the
//! core's.

mod clock;
mod driver;
mod engine;
mod journal;
mod perform;
mod recall;
mod row;

pub use clock::{Clock, SystemClock, new_run_id, now};
pub use driver::{Command, Controls, Notice, Observer, World};
pub use engine::{Engine, EngineError, Held, PolicyOf};
