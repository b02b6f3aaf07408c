//! What answers behind the wire: a script, the model of long work, or the worst case.

use prusik_core::model::{ModelError, ModelRequest};
use prusik_model::{Played, Script, UsageSource};

use crate::long::{LongModel, Scenario};
use crate::worst::WorstCase;

/// What decides the answers of a server. Equal requests get equal answers.
#[derive(Debug)]
pub enum Brain {
    Script(Script),
    Long(LongWork),
    Worst(Box<WorstCase>),
}

/// Long work, served: the model, and the scenario, whose results the server hands out as well. The
/// model does not know the scenario.
#[derive(Debug, Clone, Copy)]
pub struct LongWork {
    pub scenario: Scenario,
    pub model: LongModel,
}

impl Brain {
    pub fn play(&self, request: &ModelRequest) -> Result<Played, ModelError> {
        match self {
            Self::Script(script) => script.play(request),
            Self::Long(long) => {
                let answer = long.model.answer(request)?;
                Ok(Played { answer, usage: UsageSource::Estimate })
            }
            Self::Worst(worst) => {
                Ok(Played { answer: worst.answer(request), usage: UsageSource::Estimate })
            }
        }
    }

    /// Returns the scenario, where there is one.
    pub fn scenario(&self) -> Option<&Scenario> {
        match self {
            Self::Script(_) | Self::Worst(_) => None,
            Self::Long(long) => Some(&long.scenario),
        }
    }
}

impl From<Script> for Brain {
    fn from(script: Script) -> Self {
        Self::Script(script)
    }
}

impl From<LongWork> for Brain {
    fn from(long: LongWork) -> Self {
        Self::Long(long)
    }
}

impl From<WorstCase> for Brain {
    fn from(worst: WorstCase) -> Self {
        Self::Worst(Box::new(worst))
    }
}
