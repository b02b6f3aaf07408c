//! What the engine takes from its machine besides stores, models and tools: time, chance, names.
//!
//! Nothing else in the engine asks for any of them, so that a simulation in which all three come
//! from a seed is the same every time.

use std::time::{SystemTime, UNIX_EPOCH};

use prusik_core::ids::{RunId, Timestamp};

/// Gives time, random bits and names of new runs.
pub trait Clock: Send + Sync {
    /// Returns the wall clock. It may go backwards.
    fn now(&self) -> Timestamp;

    /// Returns random bits for jitter.
    fn entropy(&self) -> u64;

    /// Returns the id of a new run: never the same twice, and later ones sort behind earlier ones.
    fn new_run_id(&self) -> RunId;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn entropy(&self) -> u64 {
        fastrand::u64(..)
    }

    fn new_run_id(&self) -> RunId {
        new_run_id()
    }
}

/// Returns a new run's id: a UUID v7, so that ids sort by time.
pub fn new_run_id() -> RunId {
    RunId::new(uuid::Uuid::now_v7().to_string())
}

/// Returns the wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
