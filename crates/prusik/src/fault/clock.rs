//! A clock that differs from that of the process before, as when somebody sets it or another machine
//! takes over.

use prusik_core::ids::{RunId, Timestamp};
use prusik_engine::{Clock, SystemClock};

use super::Faults;

/// The furthest that the clock is off, in milliseconds: an hour, a time zone's worth.
const SHIFT_MS: u64 = 3_600_000;

pub struct ShiftedClock {
    ahead_ms: u64,
    behind_ms: u64,
}

impl ShiftedClock {
    pub fn new(faults: &Faults) -> Self {
        let by = faults.draw(&["shift"], SHIFT_MS);
        let ahead = faults.draw(&["ahead"], 2) == 0;
        let (ahead_ms, behind_ms) = if ahead { (by, 0) } else { (0, by) };
        Self { ahead_ms, behind_ms }
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp((SystemClock.now().0 + self.ahead_ms).saturating_sub(self.behind_ms))
    }

    fn entropy(&self) -> u64 {
        SystemClock.entropy()
    }

    fn new_run_id(&self) -> RunId {
        SystemClock.new_run_id()
    }
}
