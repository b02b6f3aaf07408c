//! The engine's clock in a schedule: fake time, seeded chance, names that count up.

use prusik_core::ids::{RunId, Timestamp};
use prusik_engine::Clock;

use super::world::{Sim, run_id};

/// The clock of one process.
pub struct SimClock {
    pub sim: Sim,
    pub run: usize,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.sim.with(super::world::World::look)
    }

    fn entropy(&self) -> u64 {
        self.sim.with(|world| world.rng.u64(..))
    }

    fn new_run_id(&self) -> RunId {
        run_id(self.run)
    }
}
