//! Faults on demand, in the very binary that is shipped: what is promised of it is tested on it.
//!
//! `PRUSIK_CRASH=before:7` kills the process when its seventh step is submitted, before any of it is
//! written; `after:7` kills it as soon as that step is durable. It is SIGKILL: nothing is flushed,
//! closed or said.
//!
//! `PRUSIK_FAULTS=SEED:PROCESS:FAMILY` draws faults of tools, model, store and clock from the seed, as
//! `prusik chaos` asks for them. The same seed, process number and call meet the same fault, in
//! whatever order calls are made.

mod clock;
mod model;
mod store;
mod tool;

use std::sync::Arc;

use prusik_core::contract::EffectClass;
use prusik_core::ids::Digest;
use prusik_engine::{Clock, SystemClock, World};
use prusik_store::Store;
use prusik_tool::Children;

pub use self::store::{Point, StoreFaults};
use crate::library::Error;

/// The variable that asks for a crash.
pub const CRASH: &str = "PRUSIK_CRASH";
/// The variable that asks for faults.
pub const FAULTS: &str = "PRUSIK_FAULTS";

/// What a fault may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Answers are lost or late and calls do not arrive: the run must end as if nothing had happened.
    Transport,
    /// What comes back is not what the tool said: the run may end otherwise, and does no harm.
    Content,
}

impl Family {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Content => "content",
        }
    }
}

/// The faults that one process meets.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub seed: u64,
    /// How many processes drove the run before this one: the first meets the most faults, the later
    /// ones fewer and fewer, so that every run comes to its end.
    pub process: u64,
    pub family: Family,
}

impl Faults {
    pub fn to_text(self) -> String {
        format!("{}:{}:{}", self.seed, self.process, self.family.as_str())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (seed, process) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let family = match parts.next()? {
            "transport" => Family::Transport,
            "content" => Family::Content,
            _ => return None,
        };
        parts.next().is_none().then_some(Self { seed, process, family })
    }

    /// Returns a number between 0 and `choices` that depends on the seed, the process and `what`.
    pub fn draw(&self, what: &[&str], choices: u64) -> u64 {
        let mut parts: Vec<Vec<u8>> =
            vec![self.seed.to_le_bytes().to_vec(), self.process.to_le_bytes().to_vec()];
        parts.extend(what.iter().map(|part| part.as_bytes().to_vec()));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let digest = Digest::of_parts(&parts).0;
        let first: [u8; 8] = std::array::from_fn(|i| digest[i]);
        u64::from_le_bytes(first) % choices
    }

    /// Returns whether a fault happens here at all.
    fn strikes(&self, what: &[&str]) -> bool {
        self.draw(&[what, &["strikes"]].concat(), 4 << self.process.min(16)) == 0
    }
}

fn asked_for() -> Result<Option<Faults>, Error> {
    let Ok(text) = std::env::var(FAULTS) else { return Ok(None) };
    Faults::parse(&text)
        .map(Some)
        .ok_or_else(|| Error::Misuse(format!("{FAULTS} is SEED:PROCESS:FAMILY, and not `{text}`")))
}

/// Returns the store with the faults that the environment asks for, if any.
pub fn store(store: Arc<dyn Store>) -> Result<Arc<dyn Store>, Error> {
    let crash = match std::env::var(CRASH) {
        Err(_) => None,
        Ok(text) => Some(Point::parse(&text).ok_or_else(|| {
            Error::Misuse(format!("{CRASH} is before:N or after:N, and not `{text}`"))
        })?),
    };
    let mut faults = StoreFaults { crash, ..StoreFaults::default() };
    if let Some(drawn) = asked_for()? {
        if drawn.strikes(&["slow disk"]) {
            faults.slow_ms = 20;
        }
        if drawn.process == 0 && drawn.draw(&["full disk"], 8) == 0 {
            faults.full_at = Some(1 + drawn.draw(&["full at"], 12));
        }
    }
    if faults == StoreFaults::default() {
        return Ok(store);
    }
    Ok(Arc::new(store::FaultyStore::new(store, faults)))
}

/// Returns the clock of the engine.
pub fn clock() -> Result<Arc<dyn Clock>, Error> {
    Ok(match asked_for()? {
        Some(faults) if faults.draw(&["clock"], 4) == 0 => {
            Arc::new(clock::ShiftedClock::new(&faults))
        }
        Some(_) | None => Arc::new(SystemClock),
    })
}

/// Returns the world with the faults that the environment asks for, if any.
pub fn world(
    world: World,
    effect: impl Fn(&str) -> EffectClass,
    children: Option<&Children>,
) -> Result<World, Error> {
    let Some(faults) = asked_for()? else { return Ok(world) };
    let tools = world.tools.into_iter().map(|(name, tool)| {
        let effect = effect(&name);
        (name, tool::FaultyTool::over(tool, faults, effect, children.cloned()))
    });
    let faulty = |model| model::FaultyModel::over(model, faults);
    Ok(World {
        tools: tools.collect(),
        model: faulty(world.model),
        summarizer: world.summarizer.map(faulty),
    })
}
