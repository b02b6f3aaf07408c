//! Which policy of the organisation the calls of an agent are held to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prusik_core::agent;
use prusik_core::ids::Digest;
use prusik_core::policy::{DenyAll, Policy};
use prusik_policy::{Finding, Policies, Vocabulary};

use super::agent::Agent;
use crate::project::{Project, ProjectErrors, policy};

/// Most definitions whose policies are kept ready.
const READY_MAX: usize = 64;

/// The policies of a project and of a program, and those that they speak of.
pub(super) struct Court {
    policies: Policies,
    project: Option<Arc<Project>>,
    agents: Vec<Agent>,
    /// By the definition that they are for.
    ready: Mutex<BTreeMap<Digest, Ready>>,
}

type Ready = Result<Arc<dyn Policy>, ProjectErrors>;

impl Court {
    pub fn new(
        project: Option<Arc<Project>>,
        agents: impl IntoIterator<Item = Agent>,
        policies: Policies,
    ) -> Self {
        let agents = agents.into_iter().collect();
        Self { policies, project, agents, ready: Mutex::default() }
    }

    /// Returns what the calls of an agent are held to, or what is wrong with it where the agent's tools
    /// are; none if there are no policies.
    pub fn policy_of(
        &self,
        agent: &agent::Agent,
    ) -> Result<Option<Arc<dyn Policy>>, ProjectErrors> {
        if self.policies.is_empty() {
            return Ok(None);
        }
        let key = agent.digest();
        let known = self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let made = known.unwrap_or_else(|| self.made(agent));
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        ready.insert(key, made.clone());
        made.map(Some)
    }

    /// Returns the same, but for a policy that cannot be used: it denies every call.
    pub fn policy_or_denial(&self, agent: &agent::Agent) -> Option<Arc<dyn Policy>> {
        self.policy_of(agent).unwrap_or_else(|errors| {
            let because = errors.iter().next().map(ToString::to_string).unwrap_or_default();
            Some(Arc::new(DenyAll { because }))
        })
    }

    fn made(&self, agent: &agent::Agent) -> Ready {
        let programs = self.agents.iter().map(|agent| agent.name().to_owned());
        let declared = self.project.iter().flat_map(|project| project.agent_names());
        let names = programs.chain(declared).chain([agent.name.clone()]);
        let mut vocabulary = Vocabulary::new(names, &agent.tools);
        if let Some(project) = &self.project {
            vocabulary = project.with_what_is_elsewhere(vocabulary)?;
        }
        for agent in &self.agents {
            let own = agent.parts().own().iter().map(|own| own.name().to_owned());
            vocabulary = vocabulary.with_others(own).with_unheard(agent.parts().server_names());
        }
        let enforced = self.policies.enforced(agent, &vocabulary);
        enforced.map_or_else(|found| Err(errors(&found)), |enforced| Ok(Arc::new(enforced) as _))
    }
}

impl fmt::Debug for Court {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Court({} policies)", self.policies.len())
    }
}

pub(super) fn errors(found: &[Finding]) -> ProjectErrors {
    let errors = found.iter().map(policy::error).collect();
    ProjectErrors::check(errors).expect_err("there is a finding")
}
