//! What the engine takes from its machine besides stores, models and tools: time, chance, names.
//!
//! Nothing else in the engine asks for any of them, so that a simulation in which all three come
//! from a seed is the same every time.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prusik_core::ids::{RunId, Timestamp};

/// Gives time, random bits and names of new runs.
pub trait Clock: Send + Sync {
    /// Returns the wall clock. From one process to the next it may go backwards.
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

/// Returns the time: what the wall clock said when this process first asked, and what has passed since.
///
/// A clock that somebody sets an hour back must not make a retry wait for that hour, and one that is
/// set forward must not cut short the wait of a probe. A clock that is mended while the process lives is
/// believed by the next one; elsewhere than on Linux what has passed leaves out a machine's sleep.
pub fn now() -> Timestamp {
    static BEGAN: LazyLock<(Duration, Duration)> = LazyLock::new(|| {
        (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), passed())
    });
    let (wall, began) = *BEGAN;
    let since = wall + passed().saturating_sub(began);
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns what has passed since some instant, a machine's sleep included.
#[cfg(target_os = "linux")]
fn passed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Returns what has passed since this was first asked.
#[cfg(not(target_os = "linux"))]
fn passed() -> Duration {
    static FIRST: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}
